"""The confusion matrix as data: counts by particle, sure and doubtful apart, by stratum."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.confusion import CALLED, UNSCORED, columns, confusion, confusion_of
from models.evaluation.tables import tables
from models.results import CLASSES, sure

EMPTY, NULL, NO, YES = range(4)


def calls(*told: tuple[int, float]) -> np.ndarray:
    """Probabilities of calls, each with that of its class."""
    return np.array([[p if i == c else (1 - p) / 3 for i in range(4)] for c, p in told])


def test_a_call_is_sure_from_the_threshold_on() -> None:
    p = calls((YES, 0.6), (YES, 0.59))
    assert sure(p, 0.6).tolist() == [True, False]
    assert bool(sure(p[0] * 5, 0.6))  # votes that do not sum to 1


def test_sure_and_doubtful_are_told_apart_where_a_fraction_counts() -> None:
    p = calls((EMPTY, 0.4), (NULL, 0.9), (NO, 0.9), (NO, 0.5), (YES, 0.6), (YES, 0.5))
    assert [CALLED[i] for i in columns(p, 0.6)] == list(CALLED)


def test_the_images_of_a_particle_share_its_weight() -> None:
    """a: yes in three images and null in a fourth, called rightly but once; b: no, called yes without being sure."""
    true = np.array([YES, YES, YES, NULL, NO, UNSCORED])
    p = calls((YES, 0.9), (NULL, 0.9), (YES, 0.5), (NULL, 0.9), (YES, 0.5), (NO, 0.8))
    told = confusion(true, p, np.array(["a", "a", "a", "a", "b", "c"]), 0.6)
    found = {
        (name, called): told["counts"][i][j]
        for i, name in enumerate(CLASSES)
        for j, called in enumerate(CALLED)
        if told["counts"][i][j]
    }
    assert found == {
        ("yes", "yes sure"): 0.25,
        ("yes", "null"): 0.25,
        ("yes", "yes doubtful"): 0.25,
        ("null", "null"): 0.25,
        ("no", "yes doubtful"): 1.0,
    }
    assert told["unscored"] == [0, 0, 1, 0, 0, 0]
    assert (told["by"], told["sure_from"]) == ("particle", 0.6)


@given(st.integers(0, 2**31), st.integers(1, 60))
def test_the_matrix_sums_to_the_particles(seed: int, sightings: int) -> None:
    rng = np.random.default_rng(seed)
    particle = rng.integers(0, 12, sightings).astype(np.str_)
    p = rng.dirichlet(np.ones(4), sightings)
    dim = rng.random(sightings) < 0.5
    told = confusion(rng.integers(-1, 4, sightings), p, particle, 0.6, [("dose", "low", dim)])
    assert np.sum(told["counts"]) + np.sum(told["unscored"]) == pytest.approx(len(set(particle)), abs=0.05)
    assert np.sum(told["strata"][0]["counts"]) <= len(set(particle[dim])) + 0.05


def test_it_is_read_back_from_json() -> None:
    p = calls((YES, 0.9), (NO, 0.5))
    strata = [("dose", "20 to 60 e/Å²", np.array([True, False]))]
    told = confusion(np.array([YES, NO]), p, np.array(["a", "b"]), 0.6, strata)
    read = confusion_of(json.loads(json.dumps({"confusion": told})))
    assert read is not None
    assert read.counts.shape == (4, 6)
    assert read.counts.tolist() == told["counts"]
    assert read.sure_from == 0.6
    assert [(s.what, s.value, s.counts.sum()) for s in read.strata] == [("dose", "20 to 60 e/Å²", 1.0)]
    (table,) = tables({"confusion": told})
    assert table.rows[3] == ("yes", "0.0", "0.0", "0.0", "0.0", "1.0", "0.0")


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"confusion": None},
        {"confusion": {"all": {"yes": {"yes": [3, 1]}}, "by_condition": {}}},  # of earlier bundles
        {"confusion": {"true": list(CLASSES), "called": ["empty", "null", "no", "yes"], "by": "image"}},
    ],
)
def test_a_bundle_without_it_has_none(details: dict[str, object]) -> None:
    assert confusion_of(details) is None


def test_damaged_counts_are_not_believed() -> None:
    good = confusion(np.array([YES]), calls((YES, 0.9)), np.array(["a"]), 0.6)
    assert confusion_of({"confusion": good}) is not None
    for counts in ([[1.0] * 6] * 3, [[-1.0] * 6] * 4, [["x"] * 6] * 4, [[float("nan")] * 6] * 4):
        assert confusion_of({"confusion": {**good, "counts": counts}}) is None
