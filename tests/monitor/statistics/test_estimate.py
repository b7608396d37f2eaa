"""The estimate of a session: what it says, when it is silent, and what moves it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from monitor.statistics.confusion import Confusion
from monitor.statistics.estimate import ENOUGH_LABELS, confidence_sequence, estimate
from monitor.statistics.posterior import posterior

BUNDLE = Confusion(np.array([[687, 4, 6, 13, 8], [28, 62, 24, 5, 15], [29, 18, 11, 102, 23]], float))
LABELS = np.array([[10, 1, 2, 1, 2], [1, 12, 6, 0, 2], [0, 1, 2, 7, 3]], float)


def test_the_same_arguments_give_the_same_estimate() -> None:
    assert estimate([100, 50, 20, 15, 10], BUNDLE) == estimate([100, 50, 20, 15, 10], BUNDLE)


def test_a_session_like_any() -> None:
    now = estimate([100, 50, 20, 15, 10], BUNDLE)
    assert now.counted == pytest.approx(25 / 95)
    assert (now.n, now.effective_n, now.labels, now.reason) == (95, 95, 0, None)
    assert now.interval is not None
    assert now.sequence is not None
    assert now.corrected is not None
    assert now.sequence[0] < now.interval[0] < now.corrected < now.interval[1] < now.sequence[1]


def test_nothing_called_is_no_fraction() -> None:
    for counts in ([0] * 5, [7, 0, 0, 0, 0]):
        now = estimate(counts, BUNDLE)
        assert (now.counted, now.corrected, now.interval) == (None, None, None)
        assert now.reason == "no track is called yes or no yet"


@pytest.mark.parametrize(
    "counts", [[3, 1, 0, 0, 0], [0, 1, 0, 1, 0], [40, 30, 12, 0, 0], [400, 300, 100, 8, 14]]
)
def test_few_or_no_yes_leave_room_above(counts: list[float]) -> None:
    now = estimate(counts, BUNDLE)
    assert now.interval is not None
    assert now.interval[0] < 0.05
    assert now.interval[1] > 0.02


def test_one_track_says_next_to_nothing() -> None:
    now = estimate([0, 0, 0, 1, 0], BUNDLE)
    assert now.interval is not None
    assert now.interval[1] - now.interval[0] > 0.9


def test_millions_of_tracks_are_no_better_known_than_the_classifier() -> None:
    """The bundle's own calls at a fraction of a half, a million times over."""
    shares = (BUNDLE.counts / BUNDLE.counts.sum(axis=1, keepdims=True)).mean(axis=0)
    few, many = (estimate(n * shares, BUNDLE).interval for n in (2e4, 2e6))
    assert few is not None
    assert many is not None
    assert many == pytest.approx(few, abs=1e-3)
    assert many[1] - many[0] > 0.1
    assert many[0] < 0.5 < many[1]


def test_all_doubtful_is_asked_about() -> None:
    now = estimate([0, 0, 1000, 0, 500], BUNDLE)
    assert now.counted == pytest.approx(1 / 3)
    assert now.interval is None
    assert now.reason == "the calls are unlike those that the bundle was measured on: audit 20 tracks"


def test_without_confusion_or_unlike_the_training_labels_are_asked_for() -> None:
    few = np.zeros((3, 5))
    few[1, 1] = 5
    for labels, missing in ((None, 20), (few, 15)):
        assert estimate([50, 40, 5, 20, 3], None, labels).reason == (
            f"the bundle has no confusion matrix: audit {missing} tracks"
        )
        assert estimate([50, 40, 5, 20, 3], BUNDLE, labels, unlike_training=True).reason == (
            f"these frames are unlike the training: audit {missing} tracks"
        )


def test_with_labels_enough_there_is_an_interval_without_confusion() -> None:
    assert LABELS.sum() > ENOUGH_LABELS
    for confusion, unlike in ((None, False), (BUNDLE, True)):
        now = estimate([60, 40, 15, 20, 8], confusion, LABELS, unlike_training=unlike)
        assert now.reason is None
        assert now.interval is not None
        assert now.interval[1] - now.interval[0] < 0.7


def test_labels_narrow_the_interval_and_move_it() -> None:
    counts = np.array([100, 60, 20, 20, 10], float)
    contrary = np.array([[10, 1, 2, 5, 2], [1, 12, 6, 3, 3], [0, 0, 0, 0, 0]], float)
    bare = estimate(counts, BUNDLE)
    moved = estimate(counts - contrary.sum(axis=0), BUNDLE, contrary)
    told = estimate(counts - LABELS.sum(axis=0), BUNDLE, LABELS)
    assert bare.interval is not None
    assert told.interval is not None
    assert told.interval[1] - told.interval[0] < bare.interval[1] - bare.interval[0]
    assert told.counted == bare.counted
    assert moved.corrected is not None
    assert told.corrected is not None
    assert moved.corrected < told.corrected


def test_where_all_is_labelled_the_classifier_does_not_matter() -> None:
    labels = np.zeros((3, 5))
    labels[1, 1], labels[2, 3] = 80, 20
    now = estimate([0] * 5, BUNDLE, labels)
    assert now.interval == pytest.approx(stats.beta(20.5, 80.5).ppf([0.025, 0.975]).tolist(), abs=0.01)


def test_the_design_effect_widens() -> None:
    plain, clustered = (estimate([100, 50, 20, 30, 10], BUNDLE, design_effect=d) for d in (1.0, 3.0))
    assert clustered.effective_n == pytest.approx(plain.n / 3)
    assert plain.interval is not None
    assert clustered.interval is not None
    assert np.ptp(clustered.interval) > np.ptp(plain.interval)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0, 300), min_size=5, max_size=5),
    st.lists(st.integers(0, 4), min_size=15, max_size=15),
    st.floats(1, 4),
)
def test_whatever_is_counted_the_numbers_are_in_order(
    counts: list[float], labels: list[int], effect: float
) -> None:
    now = estimate(counts, BUNDLE, np.array(labels).reshape(3, 5), effect)
    if now.reason is None:
        assert now.interval is not None
        assert now.corrected is not None
        assert now.sequence is not None
        assert 0 <= now.interval[0] <= now.corrected <= now.interval[1] <= 1
        assert 0 <= now.sequence[0] <= now.sequence[1] <= 1
        assert now.interval[1] > 0
    else:
        assert now.interval is None


@pytest.mark.parametrize(
    ("counts", "labels", "effect"),
    [
        ([1, 2], None, 1.0),
        ([1, 2, 3, 4, -5], None, 1.0),
        ([1] * 5, np.ones((2, 2)), 1.0),
        ([1] * 5, None, 0.5),
    ],
)
def test_what_can_not_be_is_refused(counts: list[float], labels: object, effect: float) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  three sentences
        estimate(counts, BUNDLE, labels, effect)  # type: ignore[arg-type]


def test_the_sequence_is_the_mixture_martingale_of_a_binomial() -> None:
    """Where every call is right: where the beta posterior is above 5 % of its prior, by root finding."""
    right = np.full((3, 5), 1e-4) + 1e7 * np.eye(3, 5)[:, [0, 1, 3, 2, 4]]
    found = posterior(np.array([[3.0, 80, 0, 20, 0]]), np.zeros((1, 3, 5)), right[None], np.full((1, 3), 0.5))

    def above(p: float) -> float:
        return float(stats.beta(20.5, 80.5).logpdf(p) - stats.beta(0.5, 0.5).logpdf(p) - np.log(0.05))

    expected = [optimize.brentq(above, 0.01, 0.2), optimize.brentq(above, 0.2, 0.6)]
    assert confidence_sequence(found)[0] == pytest.approx(expected, abs=0.004)
