"""From the goal: reached, so many particles and minutes, or an audit."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.statistics.confusion import Confusion
from monitor.statistics.estimate import estimate
from monitor.statistics.sequence import Goal, audited_more, goal

BUNDLE = Confusion(np.array([[687, 4, 6, 13, 8], [28, 62, 24, 5, 15], [29, 18, 11, 102, 23]], float))
COUNTS = [100, 50, 20, 15, 10]


def test_reached() -> None:
    now = goal(COUNTS, BUNDLE, 0.3)
    assert now.reached
    sequence = estimate(COUNTS, BUNDLE).sequence
    assert sequence is not None
    assert now.now == pytest.approx((sequence[1] - sequence[0]) / 2)
    assert now.sentence == "± 30% reached"


def test_so_many_more_particles_do_it() -> None:
    now = goal(COUNTS, BUNDLE, 0.2, per_minute=10)
    assert not now.reached
    assert now.particles is not None
    assert now.minutes == pytest.approx(now.particles / 10)
    assert now.sentence.startswith(f"± 20%: about {now.particles} more particles, about ")
    factor = 1 + now.particles / 95
    sequence = estimate(np.array(COUNTS) * factor, BUNDLE).sequence
    assert sequence is not None
    assert (sequence[1] - sequence[0]) / 2 == pytest.approx(0.2, abs=0.005)


def test_what_the_bundle_can_not_needs_labels() -> None:
    now = goal(COUNTS, BUNDLE, 0.1)
    assert (now.reached, now.particles) == (False, None)
    assert now.labels is not None
    assert now.sentence == f"± 10% can't be reached with this bundle: audit about {now.labels} more tracks"


def test_what_nothing_can() -> None:
    now = goal(COUNTS, BUNDLE, 0.001)
    assert (now.particles, now.labels) == (None, None)
    assert now.sentence == "± 0% can't be reached with this bundle, nor with 640 more labels"


def test_nothing_known_yet() -> None:
    assert goal([0] * 5, BUNDLE, 0.05) == Goal(0.05, None, False, None, None, None)
    for now in (
        goal(COUNTS, None, 0.05),
        goal(COUNTS, BUNDLE, 0.05, unlike_training=True),
        goal([0, 0, 1000, 0, 500], BUNDLE, 0.05),
    ):
        assert (now.now, now.labels) == (None, 20)
        assert now.sentence == "± 5%: not known yet, audit 20 tracks"


def test_an_audit_moves_tracks_and_makes_none() -> None:
    truth = np.full((3, 5), 1 / 3)
    counts, labels = audited_more(np.array([10.0, 5, 5, 5, 5]), np.zeros((3, 5)), truth, 12)
    assert labels.sum() == pytest.approx(12)
    assert counts.sum() + labels.sum() == pytest.approx(30)
    assert (counts >= 0).all()
