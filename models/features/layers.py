"""A region cut across its stacking axes into half layers, each summed at the lateral frequency of the row."""

from __future__ import annotations

from collections.abc import Sequence
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
AWAY = (0.16, 0.28)
"""So far to either side of the row's lateral frequency the noise beside it is measured, in units of it."""
BESIDE = (1 - AWAY[1], 1 - AWAY[0], 1 + AWAY[0], 1 + AWAY[1])
"""The lateral frequencies of that noise, in the same units."""
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


@dataclass(frozen=True)
class Summed:
    """A region along one axis: all its half layers, whether they are read or not."""

    axis: tuple[float, float]
    """The reflection of the layers (row, column) [nm⁻¹]."""
    sums: Complex
    """(F, L) sums of each half layer's values, at each of the `LATERAL` frequencies."""
    count: npt.NDArray[np.intp]
    """(L,) pixels of each."""
    shift: int
    """The even number that was taken off the half layers', so that they count from 0."""
    origin: float
    """Where the first layer lies [layers]."""


def half_layers(values: Image, rows_nm: Real, cols_nm: Real, axes: Real) -> list[HalfLayers | None]:
    """Cut a region into half layers along several axes; `None` for one along which it has fewer than five layers.

    Parameters
    ----------
    values : (P,) the region's pixels, their mean and slow variation removed.
    rows_nm, cols_nm : (P,) where they lie [nm].
    axes : (A, 2) the reflections of the layers (row, column) [nm⁻¹].
    """
    return cuts_of(summed(values, rows_nm, cols_nm, axes))


def summed(values: Image, rows_nm: Real, cols_nm: Real, axes: Real) -> list[Summed]:
    """The sums of a region's half layers along every axis; parameters as of `half_layers`."""
    values = values.astype(np.float32, copy=False)
    rows, cols = rows_nm.astype(np.float32), cols_nm.astype(np.float32)
    found = []
    for row, col in axes.tolist():
        along = row * rows_nm  # in layers
        along += col * cols_nm
        # The phase of the layers' reflection says where the layers lie; the regressors take what is left of the offset.
        phase = (2 * np.pi * along).astype(np.float32)
        origin = atan2(-float(np.sin(phase) @ values), float(np.cos(phase) @ values)) / (2 * np.pi)
        number, shift = _numbers(along, origin)
        # Pixels in the order of their half layers: each sum is one run of them.
        order, count = np.argsort(number, kind="stable"), np.bincount(number)
        across = np.float32(row) * cols
        across -= np.float32(col) * rows
        across *= np.float32(2 * np.pi * LATERAL_RATIO)
        sums = _sums(values.take(order), across.take(order), count)
        found.append(Summed((row, col), sums, count, shift, origin))
    return found


def cuts_of(regions: Sequence[Summed]) -> list[HalfLayers | None]:
    """What is read of regions along one axis each; `None` of one that has fewer than five layers."""
    if not regions:
        return []
    longest = max(len(one.count) for one in regions)
    count = np.zeros((len(regions), longest), np.intp)
    power = np.zeros((len(regions), longest))
    for i, one in enumerate(regions):
        beside = one.sums[1:]
        count[i, : len(one.count)] = one.count
        power[i, : len(one.count)] = (beside.real**2 + beside.imag**2).sum(axis=0)
    first, layers = _whole(count)
    pixels = np.maximum(count, 1).astype(float)
    places = np.arange(longest)
    read = (places >= first[:, None]) & (places < (first + 2 * layers)[:, None])
    beside = (power / pixels * read).sum(axis=1) / np.maximum(2 * layers * len(BESIDE), 1)
    found: list[HalfLayers | None] = []
    for i, (one, start, number) in enumerate(zip(regions, first.tolist(), layers.tolist(), strict=True)):
        if number < FEWEST_LAYERS:
            found.append(None)
            continue
        own = slice(start, start + 2 * number)
        first_nm = ((start + one.shift) / 2 - one.origin) / hypot(*one.axis)
        found.append(HalfLayers(number, pixels[i, own], first_nm, one.sums[0, own], float(beside[i])))
    return found


def _numbers(along: Real, origin: float) -> tuple[npt.NDArray[np.integer], int]:
    """The half layer of each pixel (P,), from 0, and the even number that was taken off for that."""
    half = 2 * along
    half += 2 * origin + 0.5
    least = floor(float(half.min()))
    shift = least - least % 2
    half -= shift
    return half.astype(np.uint8 if half.max() < 256 else np.int64), shift  # bytes are sorted fastest


def _whole(count: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The first half layer that is read, and how many layers are, each (R,), from the pixels of half layers (R, L)."""
    ordered = np.sort(count, axis=1)
    filled = np.count_nonzero(count, axis=1)
    empty, rank = count.shape[1] - filled, WIDEST * (filled - 1)
    whole = rank.astype(np.intp)
    below, above = (
        np.take_along_axis(ordered, (empty + place)[:, None], axis=1)[:, 0]
        for place in (whole, np.minimum(whole + 1, filled - 1))
    )
    wide = count >= (WIDE * (below + (rank - whole) * (above - below)))[:, None]
    first, end = wide.argmax(axis=1), count.shape[1] - wide[:, ::-1].argmax(axis=1)
    first -= first % 2
    return first, np.minimum((end - first) // 2, MOST_LAYERS)


def _sums(values: Image, row_phase: Image, pixels: npt.NDArray[np.intp]) -> Complex:
    """(F, L) sums over runs of pixels (P,), demodulated at each of the `LATERAL` frequencies.

    At 1 ± d times the row's frequency the wave is cos x cos dx ∓ sin x sin dx, and so on: waves are computed for x and
    each dx alone, and the products are summed.

    Parameters
    ----------
    row_phase : (P,) lateral places, the row's period being 2π.
    pixels : (L,) how many pixels each run has.
    """
    away, several = np.multiply.outer(np.array(AWAY, np.float32), row_phase), len(AWAY)
    waves = np.empty((2 * several, len(values)), np.float32)
    np.cos(away, out=waves[:several])
    np.sin(away, out=waves[several:])
    products = np.empty((2, 1 + len(waves), len(values)), np.float32)
    np.multiply(np.cos(row_phase), values, out=products[0, 0])
    np.multiply(np.sin(row_phase), values, out=products[1, 0])
    np.multiply(products[:, :1], waves, out=products[:, 1:])
    (filled,) = np.nonzero(pixels)
    starts = np.cumsum(pixels) - pixels
    summed = np.zeros((*products.shape[:2], len(pixels)))
    summed[:, :, filled] = np.add.reduceat(products, starts[filled], axis=2)
    (row_cos, row_sin), (cos_cos, sin_cos), (cos_sin, sin_sin) = (
        summed[:, 0], summed[:, 1 : 1 + several], summed[:, 1 + several :]
    )  # fmt: skip
    sums = np.empty((len(LATERAL), len(pixels)), complex)
    below, above = slice(several, 0, -1), slice(1 + several, None)
    sums.real[0], sums.imag[0] = row_cos, -row_sin
    sums.real[below], sums.imag[below] = cos_cos + sin_sin, cos_sin - sin_cos
    sums.real[above], sums.imag[above] = cos_cos - sin_sin, -sin_cos - cos_sin
    return sums
