"""The fraction, its correction and its interval: known figures, laws, and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.statistics.fraction import (
    LEVEL,
    Fraction,
    Rate,
    Rates,
    Z,
    fraction,
    lang_reiczigel,
    rates_of,
    rogan_gladen,
    wilson,
)

GOOD = Rates(Rate(86, 100), Rate(188, 200))


def test_z_belongs_to_the_level() -> None:
    assert math.erf(Z / math.sqrt(2)) == pytest.approx(LEVEL, abs=1e-12)


def test_nothing_seen_is_no_fraction() -> None:
    assert fraction(0, 0, GOOD) == Fraction(None, None, None)


def test_without_rates_nothing_is_corrected() -> None:
    assert fraction(1, 3, None) == Fraction(0.25, None, None)


def test_a_perfect_classifier_needs_no_correction() -> None:
    assert rogan_gladen(0.3, Rates(Rate(10, 10), Rate(10, 10))) == pytest.approx(0.3)


@given(st.floats(0, 1), st.integers(60, 100), st.integers(60, 100))
def test_the_correction_undoes_the_confusion(truth: float, se: int, sp: int) -> None:
    rates = Rates(Rate(se, 100), Rate(sp, 100))
    apparent = truth * se / 100 + (1 - truth) * (1 - sp / 100)
    assert rogan_gladen(apparent, rates) == pytest.approx(truth, abs=1e-9)


def test_the_published_bias_is_taken_back() -> None:
    """Truths of 5, 10, 20, 50 % that read as 8.6, 12.2, 19.5, 42.2 %: Se + Sp − 1 = 0.7467, Sp = 0.951."""
    rates = Rates(Rate(7957, 10_000), Rate(9510, 10_000))
    for truth, read in ((0.05, 0.086), (0.1, 0.122), (0.2, 0.195), (0.5, 0.422)):
        assert rogan_gladen(read, rates) == pytest.approx(truth, abs=0.005)


def test_the_correction_stays_a_fraction() -> None:
    assert rogan_gladen(0.0, GOOD) == 0.0
    assert rogan_gladen(1.0, GOOD) == 1.0


def test_a_coin_can_not_be_corrected() -> None:
    coin = Rates(Rate(5, 10), Rate(5, 10))
    assert fraction(3, 3, coin) == Fraction(0.5, None, None)


def test_lang_and_reiczigel_by_hand() -> None:
    """y = 10 of n = 50, Se = 45/50, Sp = 95/100, evaluated by the paper's equations with pencil, z = 2."""
    # n' = 54, AP' = 12/54 = .22222; Se' = 46/52 = .88462; Sp' = 96/102 = .94118; J' = .82579
    # P' = (.22222 + .94118 − 1) / .82579 = .19787
    # dP = 2·4·(.19787·.10207/52 − .80213·.055363/102) = −.00038
    # Var = (.17284/54 + .039152·.10207/52 + .64342·.055363/102) / .68193 = .0053184
    # .19787 − .00038 ∓ 2·.072927
    interval = lang_reiczigel(10, 50, Rates(Rate(45, 50), Rate(95, 100)), z=2.0)
    assert interval == pytest.approx((0.05164, 0.34335), abs=2e-5)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Sensitivity, specificity and counts all drawn anew each time; the paper promises about nominal coverage."""
    random = np.random.default_rng(20140101)
    for truth, se, sp, n in ((0.05, 0.86, 0.95, 300), (0.2, 0.8, 0.9, 150), (0.5, 0.9, 0.9, 60)):
        covered, trials = 0, 2000
        for _ in range(trials):
            rates = Rates(Rate(int(random.binomial(120, se)), 120), Rate(int(random.binomial(240, sp)), 240))
            yes = int(random.binomial(n, truth * se + (1 - truth) * (1 - sp)))
            interval = lang_reiczigel(yes, n, rates)
            assert interval is not None
            covered += interval[0] <= truth <= interval[1]
        assert 0.935 <= covered / trials <= 0.99


@given(st.integers(0, 50), st.integers(0, 50))
def test_the_corrected_fraction_lies_in_its_interval(yes: int, no: int) -> None:
    now = fraction(yes, no, GOOD)
    if yes + no >= 5:
        assert now.corrected is not None
        assert now.interval is not None
        assert 0 <= now.interval[0] <= now.corrected + 1e-9
        assert now.corrected - 1e-9 <= now.interval[1] <= 1


def test_the_interval_narrows_with_the_count_but_not_beyond_the_rates() -> None:
    def width(n: int) -> float:
        low, high = lang_reiczigel(n // 4, n, GOOD) or (0.0, 1.0)
        return high - low

    assert width(40) > width(400) > width(4000)
    assert width(10**9) > 0.04  # sensitivity and specificity are still only known from samples


def test_wilson_has_the_textbook_values() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 0) is None


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"rates": {}},
        {"rates": {"sensitivity": [1, 2]}},
        {"rates": {"sensitivity": [0, 0], "specificity": [1, 2]}},
        {"rates": {"sensitivity": [3, 2], "specificity": [1, 2]}},
        {"rates": {"sensitivity": "x", "specificity": None}},
    ],
)
def test_a_bundle_without_usable_rates_has_none(details: dict[str, object]) -> None:
    assert rates_of(details) is None


def test_rates_are_read_from_a_bundle() -> None:
    details = {"rates": {"sensitivity": [86, 100], "specificity": [188, 200]}}
    assert rates_of(details) == GOOD
