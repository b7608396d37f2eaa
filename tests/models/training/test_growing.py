"""Growing a forest: what its classes weigh, what teaches it, and how true its probabilities are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.bundle import SHIPPED, file_hash
from models.errors import BundleRefused
from models.evaluation.class_scores import best_sharpening, calibration_error
from models.examples.collecting import OFTEN_MARKED, Source, collect
from models.examples.rows import NEGATIVE, Rows, joined, load_rows, rows_file
from models.results import CLASSES
from models.training.forest import finder_of, regrow
from models.training.forest_file import Grower
from models.training.weights import (
    EMPTY_WEIGHTS,
    MAY_LEAK,
    MAY_LOSE,
    NULL_WEIGHTS,
    empty_weight,
    null_weight,
)


@pytest.mark.slow
def test_a_forest_is_grown_anew_on_the_rows_beside_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a data set: only the frames that hold nothing are looked at again."""
    for weights in ("NULL_WEIGHTS", "EMPTY_WEIGHTS"):
        monkeypatch.setattr(f"models.training.weights.{weights}", (2.0,))
    out = tmp_path / "next"
    details = regrow(SHIPPED, [], out, name="next", grower=Grower(size=4), negatives=1)
    before, after = (joined(load_rows(rows_file(bundle))) for bundle in (SHIPPED, out))
    real = [~np.char.startswith(rows.specimen, NEGATIVE) for rows in (before, after)]
    assert np.array_equal(before.of(real[0]).features, after.of(real[1]).features)
    assert set(after.split[~real[1]]) <= {"train", "validation", "test"}
    assert details["provenance"]["rows"] == file_hash(rows_file(SHIPPED))
    with pytest.raises(BundleRefused, match="is there already"):
        regrow(SHIPPED, [], out, name="next", grower=Grower(size=4), negatives=1)


@pytest.mark.slow
def test_of_the_kinds_that_networks_mark_more_is_taught_and_no_more_is_judged() -> None:
    source = Source((), finder_of(SHIPPED), negatives=2)
    rows = collect(source)
    number = np.array([int(name.rsplit("-", 1)[1]) for name in rows.specimen])
    kind = np.array([name.removeprefix(NEGATIVE).rsplit("-", 2)[0] for name in rows.specimen])
    more = number >= source.negatives
    assert more.any()
    assert set(kind[more]) <= set(OFTEN_MARKED)
    assert set(rows.split[more]) == {"train"}
    assert not rows.marked[more].any()
    assert (rows.classes == CLASSES.index("empty")).all()


def test_empty_weighs_as_much_as_costs_no_particles() -> None:
    """Where `empty` looks like particles a large weight would take them; where it does not, none is lost."""
    rng = np.random.default_rng(0)

    def rows(apart: float, count: int = 800) -> Rows:
        classes = np.arange(count) % 4
        features = np.eye(4)[classes] * apart + rng.normal(0, 0.5, (count, 4))
        name = np.where(classes == 0, f"{NEGATIVE}edge-1-0", "a")
        number = np.full(count, 300.0)
        return Rows(
            features.astype(np.float32), classes, name, name, number, name, number, name, classes >= 0,
            list("abcd"),
        )  # fmt: skip

    def with_empty(learn: Rows) -> Rows:
        """A few of `empty` are of no negative, so that all classes are known without them."""
        name = learn.specimen.copy()
        name[:16] = "a"
        return replace(learn, specimen=name)

    weight, lost = empty_weight(with_empty(rows(6.0)), rows(6.0), Grower(seed=0), 2.0)
    assert weight == max(EMPTY_WEIGHTS)
    assert lost == {"untaught": 0.0, "4": 0.0}
    weight, lost = empty_weight(with_empty(rows(0.8)), rows(0.8), Grower(seed=0), 2.0)
    assert weight < max(EMPTY_WEIGHTS)
    assert all(share > lost["untaught"] + MAY_LOSE for share in list(lost.values())[1:-1])


def test_the_sharpening_is_judged_of_populations_with_more_null_too() -> None:
    """Votes that are right of a set of few `null` are too cautious where there are many."""
    null, yes = CLASSES.index("null"), CLASSES.index("yes")
    truth = np.array([null] * 70 + [yes] * 30 + [yes] * 60 + [null] * 40)
    votes = np.zeros((200, 4))
    votes[:100, null], votes[:100, yes] = 0.7, 0.3
    votes[100:, null], votes[100:, yes] = 0.4, 0.6
    assert calibration_error(truth, votes) == pytest.approx(0.0)
    # Of 280 `null` and 30 `yes` that are called `null`, 280 are right: .903, and not .7.
    more = calibration_error(truth, votes, null_weighs=4.0)
    assert more == pytest.approx((310 * (280 / 310 - 0.7) + 220 * (0.6 - 60 / 220)) / 530)
    cautious = votes[:100]
    assert best_sharpening(truth[:100], cautious) == 1.0
    assert best_sharpening(truth[:100], cautious, 4.0) > 1.0


def test_null_weighs_as_little_as_keeps_it_from_leaking() -> None:
    """Where `null` and `yes` cannot be told apart a larger weight is needed than where they can."""
    rng = np.random.default_rng(0)

    def rows(apart: float, count: int = 400) -> Rows:
        classes = np.arange(count) % 4
        features = np.eye(4)[classes] * apart + rng.normal(0, 0.5, (count, 4))
        name, number = np.full(count, "a"), np.full(count, 300.0)
        return Rows(
            features.astype(np.float32),
            classes,
            name,
            name,
            number,
            name,
            number,
            name,
            classes >= 0,
            list("abcd"),
        )

    weight, leaks = null_weight(rows(4.0), rows(4.0), Grower(seed=0))
    assert (weight, leaks) == (NULL_WEIGHTS[0], {"2": 0.0})
    weight, leaks = null_weight(rows(0.6), rows(0.6), Grower(seed=0))
    assert weight == float(list(leaks)[-1]) > NULL_WEIGHTS[0]
    assert all(leak > MAY_LEAK for leak in list(leaks.values())[:-1])
    assert null_weight(rows(4.0), rows(4.0).of(np.zeros(400, bool)), Grower(seed=0)) == (NULL_WEIGHTS[-1], {})
