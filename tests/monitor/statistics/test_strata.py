"""Fractions by stratum are drawn towards that of all, the more the less they know."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.statistics.confusion import Confusion
from monitor.statistics.estimate import estimate
from monitor.statistics.strata import STRONGEST_PULL, WEAKEST_PULL, by_size, by_stratum, strength, tally

BUNDLE = Confusion(np.array([[687, 4, 6, 13, 8], [28, 62, 24, 5, 15], [29, 18, 11, 102, 23]], float))
TABLES = np.array([[40, 20, 8, 3, 3], [40, 15, 7, 8, 5], [20, 10, 3, 14, 4], [5, 1, 0, 0, 0]], float)


def test_sizes_and_tallies() -> None:
    stratum = by_size([1.9, 2.0, 3.5, 4.0, 9.0], [2, 4, 6])
    assert stratum.tolist() == [-1, 0, 0, 1, -1]
    assert tally([0, 3, 3, 1, 4], stratum, 2).tolist() == [[0, 0, 0, 2, 0], [0, 1, 0, 0, 0]]
    assert tally([0, 3, 3, 1, 4], stratum, 2, [1, 2, 0.5, 1, 1])[0, 3] == 2.5


def test_each_stratum_has_its_own_counts_and_the_outer_ones_lie_nearer_to_all() -> None:
    whole, found = estimate(TABLES.sum(axis=0), BUNDLE), by_stratum(TABLES, BUNDLE)
    assert whole.corrected is not None
    for now, table in zip(found, TABLES, strict=True):
        alone = estimate(table, BUNDLE)
        assert (now.counted, now.n) == (alone.counted, alone.n)
        assert alone.corrected is not None
        assert now.corrected is not None
        apart = abs(alone.corrected - whole.corrected)
        assert apart < 0.05 or abs(now.corrected - whole.corrected) < apart
    middles = [now.corrected or 0 for now in found]
    assert middles[0] < middles[1] < middles[2]


def test_a_stratum_with_one_track_lies_near_all() -> None:
    whole, last = estimate(TABLES.sum(axis=0), BUNDLE), by_stratum(TABLES, BUNDLE)[3]
    assert whole.corrected is not None
    assert last.corrected == pytest.approx(whole.corrected, abs=0.15)


def test_a_stratum_without_tracks_says_so() -> None:
    assert by_stratum([*TABLES.tolist(), [0] * 5], BUNDLE)[4].reason == "no track is called yes or no yet"


def test_labels_elsewhere_tell_of_the_confusion() -> None:
    labels = np.zeros((4, 3, 5))
    labels[0] = [[10, 2, 2, 1, 1], [2, 30, 8, 1, 2], [1, 1, 1, 20, 3]]
    bare, told = by_stratum(TABLES, BUNDLE)[1], by_stratum(TABLES, BUNDLE, labels)[1]
    assert told.labels == 0
    assert told.interval != bare.interval


def test_without_confusion_every_stratum_asks_for_labels() -> None:
    assert all("no confusion matrix" in (now.reason or "") for now in by_stratum(TABLES, None))


def test_the_pull_is_strong_where_strata_are_alike() -> None:
    alike = np.array([[0, 80, 0, 20, 0]] * 5, float)
    apart = np.array([[0, 100, 0, 0, 0], [0, 0, 0, 100, 0]] * 3, float)
    assert strength(alike) == STRONGEST_PULL
    assert strength(apart) == WEAKEST_PULL
    assert strength(alike[:1]) == STRONGEST_PULL
    between = np.array([[0, 70, 0, 30, 0], [0, 22, 0, 78, 0]], float)
    assert WEAKEST_PULL < strength(between) < STRONGEST_PULL
