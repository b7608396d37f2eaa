"""The hard set: what a poor session makes of the test's images, and what of it is scored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.bundle import load_bundle
from models.examples.shards import Examples, examples_by_split
from models.studies.crops import HARD_DOSE
from models.studies.hard import made_hard, study, suited, tables_of


@pytest.fixture(scope="module")
def data(discs: Path) -> Examples:
    return examples_by_split(discs, ["test"])


def test_faults_that_nobody_sees_any_more_are_not_scored(data: Examples) -> None:
    image = next(i for i, about in enumerate(data.about) if about["particles"])
    clear = {**data.about[image]["particles"][0], "class": "yes", "snr": 1000.0}
    hidden = {**clear, "class": "no", "snr": 1.6}
    unseen = {**clear, "class": "null", "snr": 0.1}
    about = {**data.about[image], "particles": [clear, hidden, unseen]}
    told = replace(data, about=[about if i == image else one for i, one in enumerate(data.about)])
    size = data.images.shape[1]
    hard = made_hard(told, [image], [np.ones((size, size), np.float32)], 0)
    assert [p["class"] for p in hard.about[0]["particles"]] == ["yes", None, "null"]
    assert hard.about[0]["conditions"]["dose_e_per_A2"] == HARD_DOSE
    assert hard.images.shape == (1, size, size)
    assert hard.images[0].std() > data.images[image].std()


def test_the_same_seed_gives_the_same_images_of_particles(data: Examples) -> None:
    chosen = suited(data, 3, 1)
    assert len(chosen) == 3
    assert (chosen == suited(data, 3, 1)).all()
    assert all(data.about[i]["particles"] for i in chosen)
    film = [np.ones(data.images.shape[1:], np.float32)]
    once, again, other = (made_hard(data, chosen.tolist(), film, seed).images for seed in (0, 0, 1))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_the_bar_stands_beside_the_figure(discs: Path) -> None:
    result = study(load_bundle(None, "cpu"), discs, most=2)
    json.dumps(result, allow_nan=False)
    hard = result["hard"]
    assert set(hard["missed"]) == {"null", "no", "yes"}
    assert hard["balanced_accuracy_with_misses"] <= hard["balanced_accuracy"]
    text = "\n".join(table.as_text() for table in tables_of(result))
    assert "≥ 0.8 NOT met" in text or "≥ 0.8 met" in text
