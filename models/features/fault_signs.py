"""Signs of a fault along one axis of a stack, each by itself; the words of `models.features.stack` use all
layers at once.

All are read from the samples of `models.features.stack.Reading`: what each layer, and each gap between two,
adds up to at the
row's lateral frequency; or from the Sobel edges along the axis.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.features.stack import Reading

Real = npt.NDArray[np.float64]

FINE = 4
"""Steps of a row's profile in each of its resolution elements."""
BIN_LAYERS = 2.0
"""Thickness of the slices whose edges are compared [layers]."""


def row_profile(samples: npt.NDArray[np.complexfloating]) -> tuple[Real, Real]:
    """Power along the row of reflections: heights [of the layers' reflection] from -1 to 1, and the power at each.

    Parameters
    ----------
    samples : (N, 2) as in `Reading`: half a layer apart, so that heights repeat after 2.

    P(h) = |Σⱼ sⱼ exp(-πi h j)|² / (2N Σⱼ |sⱼ|²), which is 1 where one reflection holds everything: the structure factor
    of a stack along a row (Warren, *X-ray Diffraction*, ch. 13, "Stacking faults").
    """
    series = samples.ravel()
    count = len(series)
    heights = np.arange(-FINE * count // 2, FINE * count // 2) * 2 / (FINE * count)
    wave = np.exp(-1j * np.pi * heights[:, None] * np.arange(count)[None])
    power = np.abs(wave @ series) ** 2 / (count * np.sum(np.abs(series) ** 2) + 1e-12)
    return heights, np.asarray(power)


def streak(samples: npt.NDArray[np.complexfloating]) -> float:
    """Over how many resolution elements the row's power is spread: few spots where the stack is regular.

    (ΣP)² / ΣP², the inverse participation ratio, in elements of 2 / 2N. Faults draw a row's spots out into streaks
    (Warren, ch. 13).
    """
    _, power = row_profile(samples)
    return float(power.sum() ** 2 / (FINE * (power**2).sum() + 1e-12))


def twin_spots(samples: npt.NDArray[np.complexfloating]) -> float:
    """The weaker of the two hands of ABC over the stronger, 0 to 1.

    ABC has its row's spots at heights 1/3 and -2/3, its twin CBA at -1/3 and 2/3; both are there in a twin (Hirsch et
    al., *Electron Microscopy of Thin Crystals*, ch. 6).
    """
    series = samples.ravel()
    j = np.arange(len(series))

    def power(height: float) -> float:
        return float(np.abs(np.sum(series * np.exp(-1j * np.pi * height * j))) ** 2)

    hands = [power(1 / 3) + power(-2 / 3), power(-1 / 3) + power(2 / 3)]
    return min(hands) / (max(hands) + 1e-12)


def phase_jump(samples: npt.NDArray[np.complexfloating], place: float) -> float:
    """By how much the geometric phase of the row's strongest reflection differs across a plane, 0 to 1 of π.

    Parameters
    ----------
    place : the plane [layers from the first], as `Reading.place`.

    φ = arg Σ s exp(-πi h j) on either side (Hÿtch, Snoeck, Kilaas, *Ultramicroscopy* 74, 1998, 131), h where both sides
    together, each by itself, have most power: the whole stack's spot is split by the jump. A fault with displacement R
    jumps by 2π g·R, which is two thirds of π for the cubic faults.
    """
    sides = [samples * side[:, None] for side in _sides(len(samples), place)]
    heights, one = row_profile(sides[0])
    _, other = row_profile(sides[1])
    strength = [np.sum(np.abs(side) ** 2) for side in sides]
    height = heights[int((one * strength[0] + other * strength[1]).argmax())]
    wave = np.exp(-1j * np.pi * height * np.arange(samples.size))
    first, second = (np.sum(side.ravel() * wave) for side in sides)
    return float(np.abs(np.angle(first * np.conj(second))) / np.pi)


def halves(samples: npt.NDArray[np.complexfloating], place: float) -> float:
    """How unlike the profiles of the row are on either side of a plane: 0 alike, 1 with nothing in common.

    1 - Σ √(P₁ P₂) / √(ΣP₁ ΣP₂) (Bhattacharyya, 1943), each part filled up to the whole's length with nothing.
    """
    one, other = (row_profile(samples * side[:, None])[1] for side in _sides(len(samples), place))
    return float(1 - np.sum(np.sqrt(one * other)) / np.sqrt(one.sum() * other.sum() + 1e-12))


def _sides(layers: int, place: float) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """(N,) the layers before a plane and those behind it, neither without any."""
    before = np.arange(layers) < int(np.clip(round(place + 0.5), 1, layers - 1))
    return before, ~before


def edge_profile(rows: Real, cols: Real, positions: Real, layer_nm: float) -> float:
    """How much the Sobel edges' direction changes along the axis: 0 the same in every slice, towards 1 where not.

    Parameters
    ----------
    rows, cols : (P,) Sobel gradients of the region's pixels.
    positions : (P,) where they lie along the axis [nm].
    layer_nm : distance of the layers [nm].

    1 - |Σ J_b| / Σ |J_b| of slices b with the structure tensor's double angle J = Σ (gᵣ + i g_c)² (Bigün, Granlund
    1987); a twin's fringes lean the other way.
    """
    which = np.floor((positions - positions.min()) / (BIN_LAYERS * layer_nm)).astype(int)
    doubled = (rows + 1j * cols) ** 2
    slices = np.bincount(which, doubled.real) + 1j * np.bincount(which, doubled.imag)
    return float(1 - np.abs(slices.sum()) / (np.abs(slices).sum() + 1e-12))


def signs_of(reading: Reading) -> dict[str, float]:
    """All signs that a reading alone gives, by name."""
    return {
        "streak": streak(reading.samples),
        "twin_spots": twin_spots(reading.samples),
        "phase_jump": phase_jump(reading.samples, reading.place),
        "halves": halves(reading.samples, reading.place),
    }
