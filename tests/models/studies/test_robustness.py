"""The study of poor pictures: that what is done to them is undone for the comparison, and that a figure can be bad."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle, load_bundle
from models.evaluation.evaluate import judge_of
from models.evaluation.judge import Judge
from models.examples.shards import Examples, examples_by_split
from models.preprocess import Preprocessing
from models.segment import Image, Segmentation
from models.studies.robustness import CHANGES, changed_figures, cut_out, recalls, seen_in, study
from models.studies.robustness_tables import picture, tables_of


def dark_ones(image: Image) -> Image:
    """A network that marks what is dark."""
    return np.stack([-4 * (image[:, 0] + 0.8)] * 2, axis=1)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return replace(
        load_bundle(None, "cpu"),
        network=dark_ones,
        preprocessing=Preprocessing(),
        segmentation=Segmentation(),
    )


@pytest.fixture(scope="module")
def by(bundle: Bundle) -> Judge:
    return judge_of(bundle)


@pytest.fixture(scope="module")
def data(discs: Path) -> Examples:
    return examples_by_split(discs, ["test"])


def test_discs_that_are_plain_to_see_stay_so_whatever_is_done(by: Judge, data: Examples) -> None:
    lattice = [i for i, about in enumerate(data.about) if about["particles"]]
    figures = changed_figures(by, data, lattice)
    assert set(figures) == set(CHANGES)
    for name, row in figures.items():
        assert row["before"] > 0.9, name
        assert row["dice"] > 0.86, name
        assert row["agree"] > 0.86, name


def test_a_change_that_ruins_a_picture_is_told(
    by: Judge, data: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "8 bits"
    change = CHANGES[name]
    ruined = type(change)(
        lambda image, step: type(cut_out(image, step))(-image, step, (slice(128), slice(128))), 0.03
    )
    monkeypatch.setitem(CHANGES, name, ruined)
    lattice = next(i for i, about in enumerate(data.about) if about["particles"])
    row = changed_figures(by, data, [lattice])[name]
    assert row["dice"] < 0.5 < 0.9 < row["before"]


def test_a_particle_at_the_border_is_told_from_one_that_is_whole() -> None:
    truth = np.zeros((100, 100), np.uint8)
    truth[0:40, 10:60], truth[60:90, 30:70] = 1, 2
    about = {
        "particles": [
            {"label": 1, "material": "Au", "diameter_nm": 2.5},
            {"label": 2, "material": "CdSe-wurtzite", "diameter_nm": 2.2},
        ]
    }
    seen = list(seen_in((truth == 2).astype(np.int32), truth, about, 0.05))
    assert [(one.cut, one.judged, one.found) for one in seen] == [(True, True, False), (False, True, True)]
    rows = recalls(seen)
    assert rows["cut by the border, at least half seen"] == {"particles": 1, "recall": 0.0}
    assert rows["CdSe, 2 to 3 nm"] == {"particles": 1, "recall": 1.0}
    assert rows["2 to 3 nm"] == {"particles": 2, "recall": 0.5}
    assert rows["1.6 to 2 nm"]["recall"] is None


def test_the_study_has_every_table_and_says_which_bars_are_met(bundle: Bundle, data: Examples) -> None:
    result = study(bundle, data, images=2, frames=1, seed=0)
    json.dumps(result, allow_nan=False)
    text = "\n".join(table.as_text() for table in tables_of(result))
    for expected in (
        "median of 3 × 3",
        "curved, soft, fringe",
        "half-dark, curved, sharp",
        "preset bare",
        "NOT met",
        " met",
    ):
        assert expected in text
    assert len(picture(result).axes) == 3
