"""A region cut across its stacking axes into half layers, each summed at the lateral frequency of the row."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, floor, hypot

import numpy as np
import numpy.typing as npt

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]

LATERAL_RATIO = 2 * np.sqrt(2) / 3
"""|q| / |g| of every ideal close packing: row frequency 2/(√3 a) over layer frequency 1/d, d = a √(2/3)."""
MOST_LAYERS = 56
"""Further layers of a region are not read."""
FEWEST_LAYERS = 5
"""A region with fewer layers has no reading."""
WIDE = 0.3
"""Ends of a region are left out up to the first half layer with this share of the pixels of the widest ones."""
WIDEST = 0.9
"""The widest ones: this quantile of the half layers' pixels."""
BESIDE = (0.72, 0.84, 1.16, 1.28)
"""Lateral frequencies, in units of the row's, at which the noise beside the row is measured."""
LATERAL = (1.0, *BESIDE)


@dataclass(frozen=True)
class HalfLayers:
    """What is seen of a stack along one axis: on each layer, and between it and the next."""

    layers: int
    """N, the number of layers that are read."""
    count: Real
    """(2N,) pixels of each half layer."""
    first_nm: float
    """Where the middle of the first layer lies along the axis [nm], in the coordinates that were given."""
    sums: Complex
    """(2N,) sum of each half layer's values, demodulated at the row's lateral frequency."""
    beside: float
    """Mean power of such sums at the lateral frequencies `BESIDE` the row's, per pixel."""


def half_layers(values: Image, rows_nm: Real, cols_nm: Real, axes: Real) -> list[HalfLayers | None]:
    """Cut a region into half layers along several axes; `None` for one along which it has fewer than five layers.

    Parameters
    ----------
    values : (P,) the region's pixels, their mean and slow variation removed.
    rows_nm, cols_nm : (P,) where they lie [nm].
    axes : (A, 2) the reflections of the layers (row, column) [nm⁻¹].
    """
    values = values.astype(np.float32, copy=False)
    rows, cols = rows_nm.astype(np.float32), cols_nm.astype(np.float32)
    found: list[HalfLayers | None] = []
    for row, col in axes.tolist():
        along = row * rows_nm + col * cols_nm  # in layers
        # The phase of the layers' reflection says where the layers lie; the regressors take what is left of the offset.
        cos, sin = _waves((2 * np.pi * along).astype(np.float32))
        origin = atan2(-float(sin @ values), float(cos @ values)) / (2 * np.pi)
        number, shift = _numbers(along, origin)
        count = np.bincount(number)
        first, layers = _whole(count)
        if layers < FEWEST_LAYERS:
            found.append(None)
            continue
        # Pixels in the order of their half layers: each sum is one run of them.
        ends, pixels = np.cumsum(count)[first : first + 2 * layers], count[first : first + 2 * layers]
        start = int(ends[0] - pixels[0])
        chosen = np.argsort(number, kind="stable")[start : int(ends[-1])]
        across = np.float32(2 * np.pi * LATERAL_RATIO) * (np.float32(row) * cols - np.float32(col) * rows)
        sums = _sums(values[chosen], across[chosen], ends - pixels - start, pixels)
        found.append(_cut(sums, pixels, (first + shift) / 2 - origin, (row, col)))
    return found


def cut_of(
    sums: Complex, count: npt.NDArray[np.intp], shift: int, origin: float, axis: Real
) -> HalfLayers | None:
    """The same of one region and axis whose half layers were counted and summed elsewhere.

    Parameters
    ----------
    sums : (F, L) of all half layers, at each of the `LATERAL` frequencies.
    count : (L,) pixels of each.
    shift, origin : the number that was taken off the half layers', and where the first layer lies [layers].
    axis : (2,) the reflection of the layers (row, column) [nm⁻¹].
    """
    first, layers = _whole(count)
    if layers < FEWEST_LAYERS:
        return None
    read = slice(first, first + 2 * layers)
    return _cut(sums[:, read], count[read], (first + shift) / 2 - origin, (float(axis[0]), float(axis[1])))


def _cut(sums: Complex, pixels: npt.NDArray[np.intp], first: float, axis: tuple[float, float]) -> HalfLayers:
    """From the sums (F, 2N) and pixels (2N,) of the half layers that are read; `first` in layers from the origin."""
    read = np.maximum(pixels, 1).astype(float)
    beside = np.mean((sums[1:].real ** 2 + sums[1:].imag ** 2) / read)
    return HalfLayers(len(pixels) // 2, read, first / hypot(*axis), sums[0], float(beside))


def _numbers(along: Real, origin: float) -> tuple[npt.NDArray[np.integer], int]:
    """The half layer of each pixel (P,), from 0, and the even number that was taken off for that."""
    half = 2 * along + (2 * origin + 0.5)
    least = floor(float(half.min()))
    shift = least - least % 2
    half -= shift
    return half.astype(np.uint8 if half.max() < 256 else np.int64), shift  # bytes are sorted fastest


def _whole(count: npt.NDArray[np.intp]) -> tuple[int, int]:
    """The first half layer that is read, and how many layers are, from the pixels of each half layer."""
    ordered = np.sort(count[count > 0])
    at = WIDEST * (len(ordered) - 1)
    below, above = int(ordered[int(at)]), int(ordered[min(int(at) + 1, len(ordered) - 1)])
    (wide,) = np.nonzero(count >= WIDE * (below + (at - int(at)) * (above - below)))
    first = int(wide[0]) - int(wide[0]) % 2
    return first, min((int(wide[-1]) + 1 - first) // 2, MOST_LAYERS)


def _sums(
    values: Image, row_phase: Image, starts: npt.NDArray[np.intp], pixels: npt.NDArray[np.intp]
) -> Complex:
    """(F, 2N) sums over runs of pixels (P,), demodulated at each of the `LATERAL` frequencies.

    Parameters
    ----------
    row_phase : (P,) lateral places, the row's period being 2π.
    starts, pixels : (2N,) where each run begins, and how many pixels it has.
    """
    cos, sin = _waves(np.multiply.outer(np.array(LATERAL, np.float32), row_phase))
    cos *= values
    sin *= values
    sums = np.zeros((len(LATERAL), len(starts)), complex)
    (filled,) = np.nonzero(pixels)
    sums.real[:, filled] = np.add.reduceat(cos, starts[filled], axis=1)
    sums.imag[:, filled] = -np.add.reduceat(sin, starts[filled], axis=1)
    return sums


def _waves(phase: Image) -> tuple[Image, Image]:
    """Cosine and sine, in single precision: NumPy has vector instructions for these, not for complex exp."""
    return np.cos(phase), np.sin(phase)
