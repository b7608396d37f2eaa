"""Where a particle's stacking may run: directions whose spots and rows look like those of a close packing.

A close-packed stack of layer frequency g along a direction has its layers' reflection at g and, a lateral
q = (2√2/3) |g| to either side of the axis, a row of reflections whose heights depend on the word: at whole and half
layers for ABAB, at thirds for ABC, a streak between them where it is faulted. A template of these points is laid over
the power spectrum in every direction; carbon's speckle, and lattices of other zones, rarely have both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from models.features.stack import LATERAL_RATIO

HEIGHTS = np.array([-1, -2 / 3, -1 / 2, -1 / 3, 0, 1 / 3, 1 / 2, 2 / 3, 1])
"""Where the row's reflections can lie, along the axis [of the layers' reflection]."""
ROW_COUNTS = 3.0
"""What the row weighs against the layers' reflection."""
ANGLES = np.radians(np.arange(0, 180, 2.0))
WINDOW = 0.05
"""Half width of the window around a known layer frequency in which an axis is found, relative."""
SCALES = (0.965, 1.0, 1.035)
"""Layer frequencies that are tried, of each known one: the pixel size is known to some per cent."""
APART = np.radians(12.0)
"""Two axes are at least so far from each other."""
MOST = 3


#: Spots of zones that do not show the stacking: (frequency [of the layers' reflection], angle [°]).
OTHER_ZONES: dict[str, tuple[tuple[float, float], ...]] = {
    "0001": ((LATERAL_RATIO, 0), (LATERAL_RATIO, 60), (LATERAL_RATIO, 120)),
    "111": ((np.sqrt(8 / 3), 0), (np.sqrt(8 / 3), 60), (np.sqrt(8 / 3), 120)),
    "100": ((2 / np.sqrt(3), 0), (2 / np.sqrt(3), 90), (np.sqrt(8 / 3), 45), (np.sqrt(8 / 3), 135)),
    "112": ((1.0, 0), (np.sqrt(8 / 3), 90)),
}


@dataclass(frozen=True)
class Axis:
    """One direction along which layers may be stacked."""

    row: float
    col: float
    """The layers' reflection [nm⁻¹]."""
    score: float
    """Mean logarithm of the template's power over the background's."""
    layers: float
    """Of the layers' reflection alone."""
    top: float
    """Of the three highest points of the row."""


def smoothed(ratio: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """What templates are laid over: a spectrum (N, N) over the background's, its logarithm, a little blurred."""
    return np.asarray(cv2.GaussianBlur(np.log1p(ratio).astype(np.float32), (0, 0), 1.0))


def stacking_axes(
    smooth: npt.NDArray[np.float32], step_per_nm: float, frequencies: Sequence[float]
) -> list[Axis]:
    """The likeliest axes, best first, `MOST` at the most.

    Parameters
    ----------
    smooth : (N, N) `smoothed` spectrum of a particle, zero frequency at (N // 2, N // 2).
    step_per_nm : between two bins [nm⁻¹].
    frequencies : layer frequencies that may be there [nm⁻¹].
    """
    tried = _tried(frequencies)
    f = np.array(tried)[:, None, None]
    cos, sin = np.cos(ANGLES)[None, :, None], np.sin(ANGLES)[None, :, None]
    along = np.concatenate([[1.0], HEIGHTS])
    across = np.concatenate([[0.0], np.full(len(HEIGHTS), LATERAL_RATIO)])
    centre = smooth.shape[0] // 2
    rows = f * (along * cos - across * sin) / step_per_nm + centre
    cols = f * (along * sin + across * cos) / step_per_nm + centre
    power = ndimage.map_coordinates(smooth, [rows, cols], order=1, mode="nearest")
    score = (power[..., 0] + ROW_COUNTS * power[..., 1:].mean(axis=-1)) / (1 + ROW_COUNTS)
    found: list[Axis] = []
    for _ in range(MOST):
        i, j = np.unravel_index(int(score.argmax()), score.shape)
        if not np.isfinite(score[i, j]):
            break
        found.append(
            Axis(
                float(tried[i] * np.cos(ANGLES[j])),
                float(tried[i] * np.sin(ANGLES[j])),
                float(score[i, j]),
                float(power[i, j, 0]),
                float(np.sort(power[i, j, 1:])[-3:].mean()),
            )
        )
        turn = np.abs((ANGLES - ANGLES[j] + np.pi / 2) % np.pi - np.pi / 2)
        score[:, turn < APART] = -np.inf
    return found


def other_zones(
    smooth: npt.NDArray[np.float32], step_per_nm: float, frequencies: Sequence[float]
) -> dict[str, float]:
    """How much of each of `OTHER_ZONES` there is: the weakest of its spots, at the best angle and frequency.

    Mean logarithm of the power over the background's; parameters as of `stacking_axes`. Wurtzite [0001] has six
    {10-10}, the cubic [111] six {220}, [100] four {200} and {220}, [112] (wurtzite [10-10]) {111} and {220} at right
    angles.
    """
    tried = _tried(frequencies)
    f, centre = np.array(tried)[:, None, None], smooth.shape[0] // 2
    found = {}
    for name, spots in OTHER_ZONES.items():
        size = np.array([k for k, _ in spots])
        angle = ANGLES[:, None] + np.radians([a for _, a in spots])[None]
        rows = f * size * np.cos(angle)[None] / step_per_nm + centre
        cols = f * size * np.sin(angle)[None] / step_per_nm + centre
        power = ndimage.map_coordinates(smooth, [rows, cols], order=1, mode="nearest")
        found[name] = float(power.min(axis=-1).max())
    return found


def _tried(frequencies: Sequence[float]) -> list[float]:
    return sorted({round(f * scale, 3) for f in frequencies for scale in SCALES})


def refine(
    detail: npt.NDArray[np.float32],
    mask: npt.NDArray[np.bool_],
    pixel_size_nm: float,
    axis: tuple[float, float],
) -> tuple[float, float]:
    """The reflection's place between the bins: a quadratic through the transform at nine points, twice."""
    inside = np.where(mask, detail, np.float32(0)).astype(np.complex64)
    rows, cols = (np.arange(n) * pixel_size_nm for n in detail.shape)
    step = 0.03
    k = np.array(axis)
    for _ in range(2):
        offsets = np.array([-step, 0.0, step])
        wave_r = np.exp(-2j * np.pi * np.outer(offsets + k[0], rows)).astype(np.complex64)
        wave_c = np.exp(-2j * np.pi * np.outer(offsets + k[1], cols)).astype(np.complex64)
        grid = np.abs(wave_r @ inside @ wave_c.T)
        for i, line in enumerate((grid[:, 1], grid[1])):
            bend = line[0] - 2 * line[1] + line[2]
            if bend < 0:
                k[i] += float(np.clip(0.5 * (line[0] - line[2]) / bend, -1, 1)) * step
        step /= 2
    return float(k[0]), float(k[1])


def axis_features(axes: list[Axis]) -> dict[str, float]:
    """How much the two likeliest axes look like axes of a stack."""
    values: dict[str, float] = {}
    for i in range(2):
        axis = axes[i] if i < len(axes) else Axis(0.0, 0.0, 0.0, 0.0, 0.0)
        values |= {f"axis_{i}": axis.score, f"axis_{i}_layers": axis.layers, f"axis_{i}_top": axis.top}
    return values
