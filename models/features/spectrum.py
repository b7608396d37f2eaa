"""A region's power spectrum over that of the frame's background: profile in rings, and Bragg peaks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

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


@dataclass(frozen=True)
class Spectrum:
    """A region's power spectrum: `TRANSFORM`² bins of 1 / (`TRANSFORM` · pixel size) [nm⁻¹], 0 in the middle."""

    power: Real
    """Per unit of window area."""
    ratio: Real
    """The same over the background's mean at that frequency; 0 beyond the `RINGS`."""
    peaks: list[Peak]
    """The strongest Bragg spots of a half plane."""


@dataclass(frozen=True)
class Bins:
    """The bins of the transform, zero frequency in the middle."""

    radius: Real
    """(N, N) |k| [nm⁻¹]."""
    ring: npt.NDArray[np.intp]
    """(N, N) index into the `RINGS`; -1 below the first, and their number from the last on."""

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """(N, N) whether a bin lies in one of the rings."""
        return (self.ring >= 0) & (self.ring < len(RINGS) - 1)


@lru_cache(maxsize=4)
def bins(pixel_size_nm: float) -> Bins:
    """The bins of the transform of an image with this pixel size [nm]."""
    k = fft.fftshift(fft.fftfreq(TRANSFORM, pixel_size_nm))
    radius = np.hypot(k[:, None], k[None])
    return Bins(radius, np.digitize(radius, RINGS) - 1)


def background_profile(image: Image, labels: Labels, pixel_size_nm: float) -> Real:
    """Mean power of the frame outside all regions in each of the `RINGS`, (rings,), per unit of window area.

    Median over tiles that are free of regions; where there is none, over the quietest tiles.
    """
    size = 64
    window = np.outer(np.hanning(size), np.hanning(size)).astype(np.float32)
    tiles, occupied = [], []
    for r in range(0, max(1, image.shape[0] - size + 1), size):
        for c in range(0, max(1, image.shape[1] - size + 1), size):
            tile = image[r : r + size, c : c + size]
            if tile.shape == (size, size):
                tiles.append(tile)
                occupied.append(float((labels[r : r + size, c : c + size] > 0).mean()))
    if not tiles:
        padded = np.zeros((size, size), np.float32)
        padded[: image.shape[0], : image.shape[1]] = image[:size, :size]
        tiles, occupied = [padded], [0.0]
    order = np.argsort(occupied, kind="stable")
    free = [i for i in order if occupied[i] == 0.0] or list(order[: max(1, len(order) // 8)])
    stack = np.stack([tiles[i] for i in free[:32]])
    stack = (stack - stack.mean(axis=(1, 2), keepdims=True)) * window
    power = np.median(np.abs(fft.fft2(stack)) ** 2, axis=0) / (window**2).sum() / np.log(2)
    radius = np.hypot(fft.fftfreq(size, pixel_size_nm)[:, None], fft.fftfreq(size, pixel_size_nm)[None])
    ring = np.digitize(radius.ravel(), RINGS) - 1
    inside = (ring >= 0) & (ring < len(RINGS) - 1)
    sums = np.bincount(ring[inside], power.ravel()[inside], len(RINGS) - 1)
    return np.asarray(sums / np.bincount(ring[inside], minlength=len(RINGS) - 1) + 1e-9)


def spectrum_of(detail: Image, soft: Image, background: Real, pixel_size_nm: float) -> Spectrum:
    """The power spectrum of a region.

    Parameters
    ----------
    detail : (h, w) the frame without its slow variation, within the window.
    soft : (h, w) the window.
    background : (rings,) from `background_profile`.
    """
    here = bins(pixel_size_nm)
    area = float((soft**2).sum()) + 1e-6
    transform = fft.fftshift(fft.fft2(detail, s=(TRANSFORM, TRANSFORM)))
    power = (transform.real**2 + transform.imag**2) / area
    ratio = power / np.where(here.inside, background[np.clip(here.ring, 0, len(RINGS) - 2)], np.inf)
    return Spectrum(power, ratio, bragg_peaks(ratio, here.radius))


def bragg_peaks(ratio: Real, radius: Real) -> list[Peak]:
    """The strongest Bragg spots of a half plane, the strongest first.

    Parameters
    ----------
    ratio : (N, N) power over the background's.
    radius : (N, N) |k| [nm⁻¹].
    """
    smooth = cv2.GaussianBlur(ratio.astype(np.float32), (0, 0), 1.0)
    band = (radius > 1.5) & (radius < 7.5)
    top = (smooth >= cv2.dilate(smooth, np.ones((9, 9), np.uint8))) & band
    centre = TRANSFORM // 2
    rows, cols = np.nonzero(top)
    half = (rows > centre) | ((rows == centre) & (cols > centre))
    rows, cols = rows[half], cols[half]
    order = np.argsort(smooth[rows, cols])[::-1][:PEAKS]
    return [
        (float(r - centre), float(c - centre), float(radius[r, c]), float(smooth[r, c]))
        for r, c in zip(rows[order], cols[order], strict=True)
    ]


def ring_features(power: Real, background: Real, here: Bins) -> dict[str, float]:
    """Radial profile over the background's, and how unevenly the power is spread within each ring.

    The unevenness is the mean square over twice the squared mean: 1 (logarithm 0) for noise, more where a few
    spots hold the power.
    """
    inside, count = here.inside, len(RINGS) - 1
    rings = here.ring[inside]
    n = np.bincount(rings, minlength=count)
    mean = np.bincount(rings, power[inside], count) / n
    square = np.bincount(rings, power[inside] ** 2, count) / n
    values = {f"ring_{RINGS[i]:.1f}": float(np.log(mean[i] / background[i] + 1e-6)) for i in range(count)}
    for i in range(2, count - 2):
        values[f"uneven_{RINGS[i]:.1f}"] = float(np.log(square[i] / (2 * mean[i] ** 2) + 1e-6))
    return values


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
