"""Every sign of a fault is small for a faultless stack and large for the fault that it is a sign of."""

import numpy as np
import numpy.typing as npt
import pytest

from models.features.fault_signs import row_profile, streak, twin_spots

LETTERS = "ABC"


def samples(stack: str, noise: float = 0.0, turn: float = 0.0) -> npt.NDArray[np.complex128]:
    """Of a row: layers of `stack` at their letters' phases, and nothing in the gaps; (N, 2) as in `Reading`."""
    rng = np.random.default_rng(3)
    series = np.zeros((len(stack), 2), complex)
    series[:, 0] = np.exp(-2j * np.pi * np.array([LETTERS.index(letter) for letter in stack]) / 3)
    wave = np.exp(1j * turn) * series
    return wave + noise * (rng.standard_normal(series.shape) + 1j * rng.standard_normal(series.shape))


WURTZITE, CUBIC = "ABABABABABAB", "ABCABCABCABC"
TWIN = "ABCABCABACBACBA"
I1 = "ABABABCBCBCBC"


def test_a_row_s_power_stands_at_its_structure_s_heights() -> None:
    heights, power = row_profile(samples(CUBIC))
    spots = sorted(heights[np.argsort(power)[-2:]])
    assert spots == pytest.approx([-1 / 3, 2 / 3], abs=0.05) or spots == pytest.approx(
        [-2 / 3, 1 / 3], abs=0.05
    )
    # Each of 2N resolution elements is sampled FINE times, and the powers of all elements add up to 1 (Parseval).
    assert power.sum() == pytest.approx(4.0)


def test_faults_draw_spots_out_into_streaks() -> None:
    regular = max(streak(samples(WURTZITE)), streak(samples(CUBIC)))
    assert streak(samples(I1)) > 1.1 * regular
    assert streak(samples("ABCBACABABCACBAB")) > 2 * regular


def test_a_twin_has_the_spots_of_both_hands() -> None:
    assert twin_spots(samples(CUBIC)) < 0.05
    assert twin_spots(samples(TWIN)) > 0.6


@pytest.mark.parametrize("stack", [CUBIC, TWIN, I1])
def test_no_sign_hangs_on_the_origin_or_the_strength(stack: str) -> None:
    plain, other = samples(stack), 7.3 * samples(stack, turn=1.1)
    for sign in (streak, twin_spots):
        assert sign(other) == pytest.approx(sign(plain))


def test_noise_is_no_regular_stack() -> None:
    assert streak(samples(WURTZITE, noise=3.0)) > 2 * streak(samples(WURTZITE))
