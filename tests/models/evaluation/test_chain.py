"""Misses, inventions and confusion of the whole chain; what a group of features is worth."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from models.evaluation.chain import missed_particles, picture, scored_with_misses
from models.examples.strata import in_conditions
from models.features.measure import feature_names
from models.results import CLASSES
from models.studies.crops import gap_to_next
from models.studies.importance import group_of, importance


def disc(row: int, column: int, radius: int) -> np.ndarray:
    rows, cols = np.ogrid[:128, :128]
    return (rows - row) ** 2 + (cols - column) ** 2 < radius**2


def test_a_particle_without_a_region_is_missed() -> None:
    truth = np.zeros((128, 128), np.uint8)
    for label, (row, column) in enumerate(((30, 30), (30, 90), (90, 30), (90, 90)), 1):
        truth[disc(row, column, 15)] = label
    particles = [
        {"label": 1, "class": "yes", "whole": True},  # found
        {"label": 2, "class": "no", "whole": True},  # found by half its width: not enough
        {"label": 3, "class": "null", "whole": True},  # not at all
        {"label": 4, "class": None, "whole": True},  # not scored, so never missed
        {"label": 5, "class": "yes", "whole": False},
    ]
    found = np.zeros((128, 128), np.int32)
    found[disc(30, 31, 15)] = 1
    found[disc(30, 90, 7)] = 2
    assert missed_particles(found, truth, particles) == ["no", "null"]
    assert missed_particles(np.zeros_like(found), truth, particles) == ["yes", "no", "null"]
    found[truth == 2] = 2
    found[truth == 3] = 3
    assert missed_particles(found, truth, particles) == []


def test_misses_lower_the_recall_of_their_class_alone() -> None:
    truths = np.array([0, 1, 2, 3, 3])
    p = np.eye(4)[[0, 1, 2, 3, 3]]
    figures = scored_with_misses(truths, p, Counter({"yes": 2}))
    assert figures["macro_f1"] == 1.0
    assert figures["missed"] == {"null": 0, "no": 0, "yes": 2}
    assert figures["macro_f1_with_misses"] == pytest.approx((3 + 2 * 2 / (4 + 2)) / 4)


def test_the_picture_has_a_column_for_what_was_missed() -> None:
    truths = np.array([0, 1, 2, 3])
    figures = scored_with_misses(truths, np.eye(4), Counter({"no": 3}))
    drawn = picture(figures | {"fold_macro_f1": [0.5, 1.0]}, figures)
    validated, chain = drawn.axes
    assert "folds 0.500 to 1.000" in validated.get_title()
    assert [label.get_text() for label in chain.get_xticklabels()] == [*CLASSES, "no region"]
    assert "0.75\n3" in [text.get_text() for text in chain.texts]


def test_the_group_that_tells_the_class_counts_and_the_other_does_not() -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(240) % 4
    features = rng.normal(size=(240, 3)).astype(np.float32)
    features[:, 0] += 4 * classes
    half = np.arange(240) < 120
    parts = [(np.flatnonzero(half), np.flatnonzero(~half)), (np.flatnonzero(~half), np.flatnonzero(half))]
    names = ["ring_0.5", "sobel_mean", "uneven_1.5"]
    worth = importance(features, names, classes, parts, np.ones(240, bool), trees=20, seed=1)
    assert worth["radial profile"] > 0.4
    assert abs(worth["Sobel edges"]) < 0.1


def test_every_feature_belongs_to_a_group() -> None:
    assert len({group_of(name) for name in feature_names()}) == 11
    with pytest.raises(ValueError, match="no group"):
        group_of("weather")


def test_the_gap_is_that_to_the_nearest_pixel_of_another() -> None:
    regions = np.zeros((40, 40), np.int32)
    regions[5:10, 5:10] = 1
    assert gap_to_next(regions, 1) == float("inf")
    regions[5:10, 20:25] = 2
    regions[35:38, 5:10] = 3
    assert gap_to_next(regions, 1) == pytest.approx(11, abs=0.3)
    assert gap_to_next(regions, 2) == pytest.approx(11, abs=0.3)


@pytest.mark.parametrize(
    ("dose", "microscope", "counts"),
    [
        (60, "corrected", True),
        (1000, "uncorrected", True),
        (59, "corrected", False),
        (100, "overview", False),
    ],
)
def test_the_bars_hold_for_stated_conditions(dose: float, microscope: str, counts: bool) -> None:
    assert in_conditions({"conditions": {"dose_e_per_A2": dose, "microscope": microscope}}) is counts
