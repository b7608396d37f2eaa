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
Columns = dict[str, Real]
"""Features by name, each (P,) of all regions."""
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
        taken = (labels[: rows * size, : cols * size] > 0).view(np.uint8).reshape(rows, size, cols * size)
        # No column of a tile has more pixels than a byte can count.
        occupied = taken.sum(axis=1, dtype=np.uint8).reshape(-1, size).sum(axis=1)
        tiles = image[: rows * size, : cols * size].reshape(rows, size, cols, size).swapaxes(1, 2)
    else:
        occupied, cols = np.zeros(1), 1
        tiles = np.zeros((1, 1, size, size), np.float32)
        tiles[0, 0, : image.shape[0], : image.shape[1]] = image[:size, :size]
    order = np.argsort(occupied, kind="stable")
    free = order[occupied[order] == 0]
    chosen = (free if len(free) else order[: max(1, len(order) // 8)])[:TILES]
    stack = tiles[chosen // cols, chosen % cols]
    stack -= stack.reshape(len(stack), -1).mean(axis=1)[:, None, None]
    stack *= window
    half = fft.rfft2(stack).reshape(len(stack), -1)
    inside, ring, weight = _tile_rings(pixel_size_nm)
    power = _middle((half.real**2 + half.imag**2)[:, inside]) / (window**2).sum() / np.log(2)
    return np.asarray(np.bincount(ring, power * weight, len(RINGS) - 1) + 1e-9)


@lru_cache(maxsize=4)
def _tile_rings(pixel_size_nm: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Real]:
    """Flat bins of half a tile's transform that lie in the `RINGS`, the ring of each, and its share of the ring."""
    radius = np.hypot(fft.fftfreq(TILE, pixel_size_nm)[:, None], fft.rfftfreq(TILE, pixel_size_nm)[None])
    weight = np.broadcast_to(np.where(np.arange(TILE // 2 + 1) % (TILE // 2) == 0, 1.0, 2.0), radius.shape)
    ring = np.digitize(radius.ravel(), RINGS) - 1
    inside = np.flatnonzero((ring >= 0) & (ring < len(RINGS) - 1))
    ring, weight = ring[inside], weight.ravel()[inside]
    return inside, ring, weight / np.bincount(ring, weight, len(RINGS) - 1)[ring]


def _middle(values: Image) -> Image:
    """(N,) median along the first axis of (T, N): NumPy's own sorts across memory."""
    ordered = np.sort(values.T.copy(), axis=-1)
    count = len(values)
    return np.asarray((ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2)


def spectrum_of(detail: Image, soft: Image, over: Image, pixel_size_nm: float) -> Spectrum:
    """The power spectrum of a region.

    Parameters
    ----------
    detail : (h, w) the frame without its slow variation, within the window.
    soft : (h, w) the window.
    over : one over the background's power, from `Bins.over`.
    """
    here = bins(pixel_size_nm)
    power = np.empty(here.radius.shape, np.float32)
    power_into(power, detail, soft)
    ratio = power * over
    return Spectrum(power, ratio, peaks_of(bragg_peaks(ratio, here), here))


def power_into(power: Image, detail: Image, soft: Image) -> None:
    """Write the power spectrum of a region, per unit of window area, into a half plane (reach + 1, 2 reach + 1).

    Products with the waves of the bins that are kept, from the middle of the crop: for crops of some hundred pixels
    they are quicker than a fast transform that has all bins of `TRANSFORM`². With e and o for what is even and odd
    along a direction, cosines see the one and sines the other, so that half of each is enough; with cc, cs, sc and ss
    for cosine and sine along rows and columns, the power at (u, ±v) is (cc ∓ ss)² + (sc ± cs)².

    Parameters
    ----------
    detail, soft : (h, w) as of `spectrum_of`.
    """
    bins, half_h, half_w = len(power), (detail.shape[0] + 1) // 2, (detail.shape[1] + 1) // 2
    cos, sin = _waves(bins)
    scaled = np.zeros((2 * half_h, 2 * half_w), np.float32)
    area = float(np.vdot(soft, soft)) + 1e-6
    np.multiply(detail, np.float32(1 / np.sqrt(area)), out=scaled[: detail.shape[0], : detail.shape[1]])
    right, left = scaled[:, half_w:], scaled[:, half_w - 1 :: -1]
    halves = np.concatenate([right + left, right - left], axis=1)  # e | o along columns
    below, above = halves[half_h:], halves[half_h - 1 :: -1]
    along_cos, along_sin = cos[:, :half_h] @ (below + above), sin[:, :half_h] @ (below - above)
    even = np.concatenate([along_cos[:, :half_w], along_sin[:, :half_w]]) @ cos[:, :half_w].T  # cc above sc
    odd = np.concatenate([along_sin[:, half_w:], along_cos[:, half_w:]]) @ sin[:, :half_w].T  # ss above cs
    sums, differences = even + odd, np.subtract(even, odd, out=even)
    sums *= sums
    differences *= differences
    np.add(differences[:bins], sums[bins:], out=power[:, bins - 1 :])
    np.add(sums[:bins, 1:], differences[bins:, 1:], out=power[:, bins - 2 :: -1])


@lru_cache(maxsize=4)
def _waves(bins: int) -> tuple[Image, Image]:
    """(bins, `TRANSFORM` / 2) cosines and sines of so many bins from zero on, at pixels from half of one on."""
    phase = 2 * np.pi / TRANSFORM * np.outer(np.arange(bins), np.arange(TRANSFORM // 2) + 0.5)
    return np.cos(phase).astype(np.float32), np.sin(phase).astype(np.float32)


def bragg_peaks(ratio: Image, here: Bins) -> Real:
    """(`PEAKS`, 2) strength and flat place of the strongest Bragg spots of a half plane, the strongest first.

    Where there are fewer, the strength is -1.

    Parameters
    ----------
    ratio : power over the background's, in the half plane of the bins `here`.
    """
    wide = blurred(ratio, beyond=APART_BINS)
    largest = cv2.dilate(wide, np.ones((2 * APART_BINS + 1,) * 2, np.uint8))[APART_BINS:]
    smooth = wide[APART_BINS:]
    top = np.flatnonzero((smooth >= largest) & here.spots)
    strength = smooth.ravel()[top]
    order = np.argsort(strength)[::-1][:PEAKS]
    found = np.full((PEAKS, 2), (-1.0, 0.0))
    found[: len(order), 0], found[: len(order), 1] = strength[order], top[order]
    return found


def peaks_of(found: Real, here: Bins) -> list[Peak]:
    """Bragg spots of one half plane from their strengths and flat places (`PEAKS`, 2)."""
    flat, width = here.radius.ravel(), here.radius.shape[1]
    there = [(strength, int(place)) for strength, place in found.tolist() if strength >= 0]
    return [
        (float(place // width), float(place % width - here.reach), float(flat[place]), strength)
        for strength, place in there
    ]


def by_bins(planes: Image) -> Image:
    """(bins, P) the values of half planes (P, rows, cols): sparse matrices are laid over all of them at once."""
    return np.asarray(cv2.transpose(planes.reshape(len(planes), -1)))


def ring_sums(powers: Image, here: Bins) -> Real:
    """(P, 2, rings) mean and mean square of power spectra (P, rows, cols) in each of the `RINGS` of the whole plane."""
    flat = by_bins(powers)
    mean = here.adder @ flat
    square = here.adder @ np.multiply(flat, flat, out=flat)
    return np.asarray(np.stack([mean.T, square.T], axis=1) / here.number)


def ring_features(sums: Real, background: Real) -> Columns:
    """Radial profile over the background's (rings,), and how unevenly the power is spread within each ring.

    The unevenness is the mean square over twice the squared mean: 1 (logarithm 0) for noise, more where a few
    spots hold the power.

    Parameters
    ----------
    sums : (P, 2, rings) from `ring_sums`.
    """
    mean, square = sums[:, 0], sums[:, 1]
    rings = np.log(mean / background + 1e-6)
    uneven = np.log(square / (2 * mean**2) + 1e-6)
    edges = RINGS[:-1].tolist()
    values = {f"ring_{edge:.1f}": rings[:, i] for i, edge in enumerate(edges)}
    return values | {f"uneven_{edges[i]:.1f}": uneven[:, i] for i in range(2, len(edges) - 2)}


def peak_features(found: Real, here: Bins) -> Columns:
    """Strength, place and number of the Bragg spots, and the strongest that is not a multiple of the first.

    Parameters
    ----------
    found : (P, `PEAKS`, 2) from `bragg_peaks`.
    """
    strength, place = found[:, :, 0], found[:, :, 1].astype(np.intp)
    there = strength >= 0
    rows, cols = np.divmod(place, here.radius.shape[1])
    cols -= here.reach
    told = np.where(there, np.log(np.maximum(strength, 0) + 1e-3), -5.0)
    values = {f"peak_{i}": told[:, i] for i in range(4)}
    values["peak_first_k"] = np.where(there[:, 0], here.radius.ravel()[place[:, 0]], 0.0)
    values["peak_count"] = (strength > STRONG).sum(axis=1).astype(float)
    # The strongest spot that is not a multiple of the first: two directions make columns of fringes.
    cross, length = np.abs(rows * cols[:, :1] - cols * rows[:, :1]), np.hypot(rows, cols)
    across = there & (cross > 0.35 * length * length[:, :1])
    across[:, 0] = False
    values["peak_across"] = np.log(np.where(across, strength, 0.0).max(axis=1) + 1e-3)
    return values
