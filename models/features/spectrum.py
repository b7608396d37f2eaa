"""A region's power spectrum over that of the frame's background: profile in rings, and Bragg peaks.

The image is real, so that the power at -k is that at k: only rows from 0 on are computed and kept, and of them the bins
that the rings reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft, sparse

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Real = npt.NDArray[np.float64]
Peak = tuple[float, float, float, float]
"""Row bin, column bin, |k| [nm⁻¹], power over the background's."""

RINGS = np.arange(0.5, 8.51, 0.5)
"""Edges of the rings of the radial profile [nm⁻¹]."""
TRANSFORM = 256
"""Side of the (zero-padded) transform [px]; larger regions are cut to it."""
PEAKS = 6
"""So many Bragg peaks are kept."""
STRONG = 6.0
"""Power over the background's from which a peak is a Bragg spot."""
BLUR_BINS = 1.0
"""Standard deviation of the blur before peaks and templates are looked for [bins]."""
BLUR_REACH = 4
"""The blur's kernel reaches so far [bins]."""
APART_BINS = 4
"""A peak is the largest within so many bins on every side."""
TILE = 64
"""Side of the tiles from which the power of the background is estimated [px]."""
TILES = 32
"""So many of them at the most."""


@dataclass(frozen=True)
class Bins:
    """The half of the transform's bins that is kept: rows 0 to `reach`, columns -`reach` to `reach`."""

    reach: int
    radius: Real
    """(reach + 1, 2 reach + 1) |k| [nm⁻¹]."""
    ring: npt.NDArray[np.intp]
    """The same shape: index into the `RINGS`; -1 below the first, and their number from the last on."""
    number: Real
    """(rings,) bins of the whole plane in each ring."""
    adder: sparse.csr_array
    """(rings, bins) sums flat values of the half plane over each ring of the whole plane."""
    spots: npt.NDArray[np.bool_]
    """(reach + 1, 2 reach + 1) where a Bragg spot is looked for: a half plane of a band of |k|."""

    def over(self, background: Real) -> Image:
        """(reach + 1, 2 reach + 1) one over the background's mean (rings,) at each bin; 0 beyond the `RINGS`."""
        inverse = np.concatenate(
            [1 / background, [0.0, 0.0]]
        )  # ring -1 takes the last, one too many the last but one
        return np.asarray(inverse[self.ring], dtype=np.float32)


@dataclass(frozen=True)
class Spectrum:
    """A region's power spectrum, in bins of 1 / (`TRANSFORM` · pixel size) [nm⁻¹], as `Bins` lay them out."""

    power: Image
    """(reach + 1, 2 reach + 1) per unit of window area."""
    ratio: Image
    """The same over the background's mean at that frequency; 0 beyond the `RINGS`."""
    peaks: list[Peak]
    """The strongest Bragg spots of a half plane."""

    def plane(self) -> Image:
        """(`TRANSFORM`, `TRANSFORM`) the ratio in the whole plane, zero frequency in the middle."""
        reach, centre = len(self.ratio) - 1, TRANSFORM // 2
        whole = np.zeros((TRANSFORM, TRANSFORM), np.float32)
        cols = slice(centre - reach, centre + reach + 1)
        whole[centre - reach : centre + reach + 1, cols] = _mirrored(self.ratio, reach)
        return whole


@lru_cache(maxsize=4)
def bins(pixel_size_nm: float) -> Bins:
    """The bins of the transform of an image with this pixel size [nm]."""
    step = 1 / (TRANSFORM * pixel_size_nm)
    reach = min(TRANSFORM // 2 - 1, int(np.ceil(RINGS[-1] / step)) + 1)
    rows, cols = np.arange(reach + 1)[:, None], np.arange(-reach, reach + 1)[None]
    radius = np.hypot(rows * step, cols * step)
    ring, count = np.digitize(radius, RINGS) - 1, len(RINGS) - 1
    (inside,) = np.nonzero(((ring >= 0) & (ring < count)).ravel())
    twice = np.broadcast_to(
        np.where(rows > 0, 2.0, 1.0), radius.shape
    )  # a bin stands for its Friedel pair too
    weight, which = twice.ravel()[inside].astype(np.float32), ring.ravel()[inside]
    adder = sparse.csr_array((weight, (which, inside)), shape=(count, radius.size))
    number = np.bincount(which, weight, count).astype(float)
    upper = (rows > 0) | (cols > 0)
    return Bins(reach, radius, ring, number, adder, upper & (radius > 1.5) & (radius < 7.5))


def _mirrored(half: Image, rows: int) -> Image:
    """A half plane with so many rows of the other half above it."""
    return np.concatenate([half[rows:0:-1, ::-1], half])


def blurred(half: Image, beyond: int = 0) -> Image:
    """A half plane, a little blurred as the whole plane would be, with `beyond` rows of the other half above it."""
    margin = BLUR_REACH + beyond
    smooth = cv2.GaussianBlur(_mirrored(half, margin), (2 * BLUR_REACH + 1,) * 2, BLUR_BINS)
    return np.asarray(smooth[BLUR_REACH:])


def background_profile(image: Image, labels: Labels, pixel_size_nm: float) -> Real:
    """Mean power of the frame outside all regions in each of the `RINGS`, (rings,), per unit of window area.

    Median over tiles that are free of regions; where there is none, over the quietest tiles.
    """
    size = TILE
    window = np.outer(np.hanning(size), np.hanning(size)).astype(np.float32)
    rows, cols = (n // size for n in image.shape)
    if rows and cols:
        taken = (labels[: rows * size, : cols * size] > 0).reshape(rows, size, cols, size)
        occupied = taken.sum(axis=(1, 3)).ravel()
        tiles = image[: rows * size, : cols * size].reshape(rows, size, cols, size).swapaxes(1, 2)
    else:
        occupied, cols = np.zeros(1), 1
        tiles = np.zeros((1, 1, size, size), np.float32)
        tiles[0, 0, : image.shape[0], : image.shape[1]] = image[:size, :size]
    order = np.argsort(occupied, kind="stable")
    free = order[occupied[order] == 0]
    chosen = (free if len(free) else order[: max(1, len(order) // 8)])[:TILES]
    stack = tiles[chosen // cols, chosen % cols]
    stack = (stack - stack.mean(axis=(1, 2), keepdims=True)) * window
    half = fft.rfft2(stack)
    power = _middle(half.real**2 + half.imag**2) / (window**2).sum() / np.log(2)
    radius = np.hypot(fft.fftfreq(size, pixel_size_nm)[:, None], fft.rfftfreq(size, pixel_size_nm)[None])
    weight = np.broadcast_to(np.where(np.arange(size // 2 + 1) % (size // 2) == 0, 1.0, 2.0), radius.shape)
    ring = np.digitize(radius.ravel(), RINGS) - 1
    inside = (ring >= 0) & (ring < len(RINGS) - 1)
    sums = np.bincount(ring[inside], (power * weight).ravel()[inside], len(RINGS) - 1)
    return np.asarray(sums / np.bincount(ring[inside], weight.ravel()[inside], len(RINGS) - 1) + 1e-9)


def _middle(values: Image) -> Image:
    """Median along the first axis: NumPy's own sorts across memory."""
    ordered = np.sort(np.moveaxis(values, 0, -1).copy(), axis=-1)
    count = values.shape[0]
    return np.asarray((ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2)


def spectrum_of(detail: Image, soft: Image, over: Image, pixel_size_nm: float) -> Spectrum:
    """The power spectrum of a region.

    Parameters
    ----------
    detail : (h, w) the frame without its slow variation, within the window.
    soft : (h, w) the window.
    over : one over the background's power, from `Bins.over`.
    """
    here = bins(pixel_size_nm)
    reach = here.reach
    area = float(np.vdot(soft, soft)) + 1e-6
    transform = fft.fft(fft.rfft(detail, TRANSFORM, axis=0)[: reach + 1], TRANSFORM, axis=1)
    squares = transform.real**2
    squares += transform.imag**2
    power = np.concatenate([squares[:, -reach:], squares[:, : reach + 1]], axis=1)
    power /= np.float32(area)
    ratio = power * over
    return Spectrum(power, ratio, bragg_peaks(ratio, here))


def bragg_peaks(ratio: Image, here: Bins) -> list[Peak]:
    """The strongest Bragg spots of a half plane, the strongest first.

    Parameters
    ----------
    ratio : power over the background's, in the half plane of the bins `here`.
    """
    wide = blurred(ratio, beyond=APART_BINS)
    largest = cv2.dilate(wide, np.ones((2 * APART_BINS + 1,) * 2, np.uint8))[APART_BINS:]
    smooth = wide[APART_BINS:]
    (top,) = np.nonzero(((smooth >= largest) & here.spots).ravel())
    strength = smooth.ravel()[top]
    order = np.argsort(strength)[::-1][:PEAKS]
    rows, cols = np.divmod(top[order], ratio.shape[1])
    radius = here.radius.ravel()[top[order]]
    found = zip(rows.tolist(), cols.tolist(), radius.tolist(), strength[order].tolist(), strict=True)
    return [(float(r), float(c - here.reach), k, power) for r, c, k, power in found]


def ring_features(power: Image, background: Real, here: Bins) -> dict[str, float]:
    """Radial profile over the background's, and how unevenly the power is spread within each ring.

    The unevenness is the mean square over twice the squared mean: 1 (logarithm 0) for noise, more where a few
    spots hold the power.
    """
    flat = power.ravel()
    mean = (here.adder @ flat) / here.number
    square = (here.adder @ (flat * flat)) / here.number
    return ring_figures(mean, square, background)


def ring_figures(mean: Real, square: Real, background: Real) -> dict[str, float]:
    """`ring_features` from the mean and the mean square of the power in each of the `RINGS`, (rings,)."""
    rings = np.log(mean / background + 1e-6).tolist()
    uneven = np.log(square / (2 * mean**2) + 1e-6).tolist()
    values = {f"ring_{edge:.1f}": ring for edge, ring in zip(RINGS, rings, strict=False)}
    edges = RINGS.tolist()
    return values | {f"uneven_{edges[i]:.1f}": uneven[i] for i in range(2, len(uneven) - 2)}


def peak_features(peaks: list[Peak]) -> dict[str, float]:
    """Strength, place and number of the Bragg spots, and the strongest that is not a multiple of the first."""
    values: dict[str, float] = {}
    for i in range(4):
        values[f"peak_{i}"] = float(np.log(peaks[i][3] + 1e-3)) if i < len(peaks) else -5.0
    values["peak_first_k"] = peaks[0][2] if peaks else 0.0
    strong = [p for p in peaks if p[3] > STRONG]
    values["peak_count"] = float(len(strong))
    # The strongest spot that is not a multiple of the first: two directions make columns of fringes.
    second = 0.0
    for p in peaks[1:]:
        cross = abs(p[0] * peaks[0][1] - p[1] * peaks[0][0])
        if cross > 0.35 * np.hypot(p[0], p[1]) * np.hypot(peaks[0][0], peaks[0][1]):
            second = max(second, p[3])
    values["peak_across"] = float(np.log(second + 1e-3))
    return values
