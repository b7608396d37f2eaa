"""The design effect is that of the fields, and careful where there are few."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.statistics.design import CORRELATION, WORTH, design_effect, effective_number, weighted_counts


def test_by_hand() -> None:
    """Fields 4 of 4, 0 of 4, 1 of 2, 0 of 2; share 5.5/13."""
    # residuals 4 − 4p, −4p, 1 − 2p, −2p; p = .423077: squares 5.3254, 2.8639, .023669, .71598, sum 8.9290
    # variance 4/3 · 8.9290/144 = .082676; independent p(1 − p)/12 = .020340; their ratio 4.0647
    # assumed 1 + .05 (40/12 − 1) = 1.11667; (3 · 4.0647 + 8 · 1.11667) / 11
    assert (CORRELATION, WORTH) == (0.05, 8.0)
    assert design_effect([4, 0, 1, 0], [4, 4, 2, 2]) == pytest.approx(1.9207, abs=2e-3)


def test_beside_the_known_correlation() -> None:
    """1 + (tracks a field − 1) · correlation, over many fields."""
    rng = np.random.default_rng(4)
    correlation, m, fields = 0.3, 8, 4000
    more = 1 / correlation - 1
    p = rng.beta(0.3 * more, 0.7 * more, fields)
    yes = rng.binomial(m, p)
    assert design_effect(yes, np.full(fields, m)) == pytest.approx(1 + 7 * correlation, rel=0.06)


def test_independent_tracks_are_worth_about_themselves() -> None:
    rng = np.random.default_rng(5)
    assert design_effect(rng.binomial(6, 0.2, 400), np.full(400, 6)) < 1.2


def test_few_or_no_fields() -> None:
    assert design_effect([], []) == 1
    assert design_effect([0], [1]) == 1
    assert design_effect([3], [11]) == pytest.approx(1 + CORRELATION * 10)
    assert design_effect([0, 0, 0], [5, 5, 0]) >= 1
    with pytest.raises(ValueError, match="among its judged"):
        design_effect([3], [2])


def test_weights_count_as_their_effective_number() -> None:
    assert effective_number([1, 1, 1, 1]) == 4
    assert effective_number([3, 1]) == pytest.approx(16 / 10)
    assert effective_number([]) == 0
    counts = weighted_counts([0, 3, 3, 1], [1, 3, 1, 1])
    assert counts.sum() == pytest.approx(36 / 12)
    assert counts[3] / counts[1] == pytest.approx(4)
    assert weighted_counts([], []).tolist() == [0] * 5
