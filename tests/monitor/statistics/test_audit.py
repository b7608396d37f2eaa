"""Audits are drawn as stated; Cohen's kappa has the published values."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from monitor.statistics.audit import LIKELIHOOD, MOST_OTHER, agreement, draw

CALLED = np.repeat([0, 1, 2, 3, 4], [60, 50, 20, 30, 10])


def test_a_draw_is_repeatable_and_never_takes_a_labelled_track() -> None:
    labelled = np.zeros(len(CALLED), bool)
    labelled[::2] = True
    audit = draw(CALLED, labelled, 20, seed=3)
    assert audit == draw(CALLED, labelled, 20, seed=3)
    assert audit != draw(CALLED, labelled, 20, seed=4)
    assert len(set(audit.tracks)) == 20
    assert not labelled[list(audit.tracks)].any()


def test_every_call_is_drawn_and_doubtful_ones_more() -> None:
    audit = draw(CALLED, np.zeros(len(CALLED), bool), 40, seed=1)
    of_call = np.bincount(CALLED[list(audit.tracks)], minlength=5) / np.bincount(CALLED)
    assert (of_call > 0).all()
    assert of_call[2] > of_call[1]
    assert of_call[4] > of_call[3]


def test_the_probabilities_are_those_of_the_draw() -> None:
    """Over many draws each track is drawn as often as its probability says."""
    times, said = np.zeros(len(CALLED)), np.zeros(len(CALLED))
    for seed in range(600):
        audit = draw(CALLED, np.zeros(len(CALLED), bool), 25, seed)
        times[list(audit.tracks)] += 1
        said[list(audit.tracks)] = audit.probabilities
    assert np.abs(times / 600 - said).max() < 0.1


def test_tracks_called_other_do_not_take_the_audit() -> None:
    called = np.repeat([0, 1, 3], [5000, 20, 20])
    audit = draw(called, np.zeros(len(called), bool), 30, seed=0)
    assert (called[list(audit.tracks)] == 0).sum() <= MOST_OTHER * 30 + 1
    only = draw([0] * 9, [False] * 9, 4, seed=0)
    assert len(only.tracks) == 4


def test_more_than_there_are_gives_all() -> None:
    audit = draw(CALLED, np.zeros(len(CALLED), bool), 1000, seed=0)
    assert sorted(audit.tracks) == list(range(len(CALLED)))
    assert set(audit.probabilities) == {1.0}
    assert draw([], [], 5, seed=0).tracks == ()
    assert draw(CALLED, np.zeros(len(CALLED), bool), 0, seed=0).tracks == ()


def test_doubtful_calls_are_likelier() -> None:
    assert LIKELIHOOD[2] > LIKELIHOOD[1]
    assert LIKELIHOOD[4] > LIKELIHOOD[3]


def test_kappa_of_fleiss_cohen_and_everitt() -> None:
    """100 patients, two raters, three diagnoses (Fleiss, Levin and Paik, 3rd ed., table 18.1): 0.68."""
    found = agreement([[75, 1, 4], [5, 4, 1], [0, 0, 10]])
    assert found is not None
    assert found.kappa == pytest.approx(0.676, abs=0.001)
    assert (found.interval[1] - found.interval[0]) / 2 / 1.96 == pytest.approx(0.0877, abs=1e-4)


def test_kappa_of_the_statpsych_manual() -> None:
    """R package statpsych, ci.kappa(.05, 31, 12, 4, 58): 0.6756757, 0.5317210 to 0.8196303."""
    found = agreement([[31, 12], [4, 58]])
    assert found is not None
    assert (found.kappa, *found.interval) == pytest.approx((0.6756757, 0.5317210, 0.8196303), abs=1e-6)


def test_kappa_of_scikit_learn() -> None:
    rng = np.random.default_rng(7)
    first = rng.integers(0, 4, 200)
    second = np.where(rng.random(200) < 0.7, first, rng.integers(0, 4, 200))
    table = np.zeros((4, 4))
    np.add.at(table, (first, second), 1)
    found = agreement(table)
    assert found is not None
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second))


def test_full_agreement_has_a_width_and_one_label_no_kappa() -> None:
    found = agreement([[10, 0], [0, 10]])
    assert found is not None
    assert found.kappa == 1
    assert found.interval[0] == pytest.approx(0.678, abs=1e-3)  # Wilson's .8389 of 20 agreements, chance .5
    assert agreement([[20, 0], [0, 0]]) is None
    assert agreement(np.zeros((3, 3))) is None
