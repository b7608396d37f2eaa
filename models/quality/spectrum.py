"""The averaged power spectrum of a frame in polar cells, and the level of its noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

from models.preprocess import median

Real = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]

TILE = 256
"""Side of a tile at canonical sampling: 12.8 nm, which tells frequencies 0.08 nm⁻¹ apart [px]."""
TILES_A_SIDE = 3
NATIVE_TILE = 64
"""Side of a tile in the frame's own pixels, for the noise: its spectrum is smooth [px]."""
NATIVE_TILES_A_SIDE = 8
_TOGETHER = 2**16
"""Pixels of the tiles that are transformed one after the other, so that they stay in the processor's cache."""
KEPT = 0.75
"""Share of these tiles that count: those with the least noise, for a hot pixel or an X-ray hit raises that of its
tile."""
SECTORS = 12
"""Of the half circle, 15° each."""
STEP_PER_NM = 0.1
"""Width of a ring [nm⁻¹]."""
NATIVE_RINGS = 30
"""Rings of the native spectrum up to Nyquist."""
LATTICE_PER_NM = (2.3, 5.5)
"""Where the reflections of the lattices lie [nm⁻¹]."""
CLIPPED = 3.0
"""Power beyond so many times its ring's median belongs to a lattice, not to the film or the noise."""
KNOWN = 0.1
"""The noise is that of a camera where the logarithm of its spectrum is off by less. Simulated cameras stay below 0.05,
exported pictures that were filtered or enlarged lie from 0.1 to 2."""
#: Frequencies at which the camera's transfer falls to a half, in units of Nyquist, that are tried for the noise.
_FALLS = np.append(np.geomspace(0.3, 6, 120), np.inf)


@dataclass(frozen=True)
class Spectrum:
    """The averaged power of a frame by frequency and direction."""

    frequencies: Real
    """(K,) the middle of each ring [nm⁻¹]."""
    cells: Real
    """(K, SECTORS) mean power without what stands far above its ring (a lattice), over the noise; 1 is noise
    alone."""
    rings: Real
    """(K,) mean power with the lattice, over the noise."""
    counted: Real
    """(K,) independent values that went into a ring."""
    peak: float
    """Highest power over the median at its radius, 2.3 to 5.5 nm⁻¹; 1 where there is no lattice."""
    tile_peak: float
    """The same within single tiles, their mean logarithm: it does not change with how many there are."""
    level: Real
    """(K,) median over the sectors of the power of the standardised frame, not over the noise."""
    noise_power: float
    """At frequency 0 [counts² a pixel]."""
    whiteness: float
    """Noise at Nyquist over noise at 0, in the frame's own pixels: 1 for noise that no camera has spread."""
    noise_known: bool
    """The noise has the form of a camera's; not so in pictures that were filtered, enlarged or compressed."""

    @cached_property
    def diffuse(self) -> Real:
        """(K,) median over the sectors of what stands above the noise, in units of the noise."""
        return of_sectors(self.cells, 0.5) - 1

    @cached_property
    def error(self) -> Real:
        """(K,) standard deviation of `diffuse` where there is noise alone."""
        return 1.25 / np.sqrt(self.counted)


def tiled_power(image: npt.NDArray[Any], tile: int, a_side: int) -> Image:
    """(N, tile, tile/2 + 1) power of the Hann-windowed tiles of an image, at most `a_side`², per pixel."""
    window = window_of(tile)
    places = tile_places((image.shape[0], image.shape[1]), tile, a_side)
    gain = np.float32(1 / (window**2).sum())
    power = np.empty((len(places), tile, tile // 2 + 1), np.float32)
    together = max(1, _TOGETHER // tile**2)
    for first in range(0, len(places), together):
        here = places[first : first + together]
        tiles = np.stack([image[r : r + tile, c : c + tile] for r, c in here]).astype(np.float32)
        tiles -= tiles.mean(axis=(1, 2), keepdims=True)
        tiles *= window
        for one in tiles:
            cv2.dft(one, dst=one)
        tiles *= tiles
        _unpacked(tiles, power[first : first + together])
    power *= gain
    return power


def _unpacked(packed: Image, into: Image) -> None:
    """The power (N, n, n/2 + 1) of tiles of an even side, from the squares (N, n, n) of their packed transforms.

    OpenCV packs the transform of real numbers: between the first and the last column lie the real and the imaginary
    part of each frequency side by side; these two columns repeat themselves, and hold such pairs below each other.
    """
    half = packed.shape[1] // 2
    np.add(packed[:, :, 1:-1:2], packed[:, :, 2:-1:2], out=into[:, :, 1:-1])
    for column in (0, -1):
        own = packed[:, :, column]
        into[:, 0, column], into[:, half, column] = own[:, 0], own[:, -1]
        into[:, 1:half, column] = own[:, 1:-1:2] + own[:, 2:-1:2]
        into[:, half + 1 :, column] = into[:, half - 1 : 0 : -1, column]


def tile_places(shape: tuple[int, int], tile: int, a_side: int) -> list[tuple[int, int]]:
    """First row and column of each tile of an image (H, W)."""
    starts = [
        np.linspace(0, n - tile, max(1, min(a_side, 2 * n // tile - 1))).round().astype(int).tolist()
        for n in shape
    ]
    return [(r, c) for r in starts[0] for c in starts[1]]


def tile_of(shape: tuple[int, int]) -> int:
    """Side of the tiles of a standardised image (h, w)."""
    return TILE if min(shape) >= TILE else TILE // 2


@lru_cache(maxsize=4)
def window_of(tile: int) -> Image:
    return np.outer(np.hanning(tile), np.hanning(tile)).astype(np.float32)


@dataclass(frozen=True)
class Cells:
    """Where the values of a half plane (tile, tile/2 + 1) lie: in rings, and in sectors of these."""

    ring: npt.NDArray[np.int64]
    """(tile, tile/2 + 1)"""
    cell: npt.NDArray[np.int64]
    """Of the values that count."""
    counts: npt.NDArray[np.intp]
    """Flat places of the values that count: they lie within the rings, and no other repeats them."""
    having: Real
    """(K, SECTORS) values in each cell."""

    def means(self, power: npt.NDArray[np.floating]) -> Real:
        """(K, SECTORS) mean of every cell; the ring's where a cell has no value."""
        total = np.bincount(self.cell, power.ravel()[self.counts], self.having.size).reshape(
            self.having.shape
        )
        whole = total.sum(axis=1, keepdims=True) / np.maximum(self.having.sum(axis=1, keepdims=True), 1)
        return np.asarray(np.where(self.having > 0, total / np.maximum(self.having, 1), whole))

    def ring_means(self, cells: Real) -> Real:
        """(K,) from (K, SECTORS) means."""
        return np.asarray((cells * self.having).sum(axis=1) / np.maximum(self.having.sum(axis=1), 1))


@lru_cache(maxsize=8)
def cells_of(tile: int, step: float, count: int) -> Cells:
    """The cells of a tile's half plane, in `count` rings of width `step` [cycles/px]."""
    rows, columns = fft.fftfreq(tile)[:, None], fft.rfftfreq(tile)[None]
    ring = (np.hypot(rows, columns) / step).astype(np.int64)
    sector = (np.arctan2(rows, columns) % np.pi / np.pi * SECTORS).astype(np.int64) % SECTORS
    counts = ring < count
    counts[:, 0] &= rows[:, 0] > 0
    cell = (ring * SECTORS + sector)[counts]
    having = np.bincount(cell, minlength=count * SECTORS).reshape(count, SECTORS).astype(np.float64)
    return Cells(np.minimum(ring, count - 1), cell, np.flatnonzero(counts), having)


def of_sectors(cells: Real, share: float) -> Real:
    """(K,) the quantile of this share among the sectors of each ring (K, SECTORS), as `numpy.quantile` has it."""
    ordered = np.sort(cells, axis=1)
    place = share * (cells.shape[1] - 1)
    low = int(place)
    return np.asarray(ordered[:, low] + (place - low) * (ordered[:, low + 1] - ordered[:, low]))


def noise_of(profile: Real) -> tuple[float, float, float]:
    """Level at frequency 0, fall and misfit (of the logarithm) of the noise in a radial profile (K,) up to Nyquist.

    Noise behind a camera's transfer 1 / (1 + (k/fall)²) has the square of that (Meyer and Kirkland, Ultramicroscopy
    75 (1998) 23): each electron is spread after it was counted by chance. It is fitted to the upper half, which no
    specimen reaches at usual samplings, and may not lie above what was measured below.
    """
    k = (np.arange(len(profile)) + 0.5) / len(profile)
    shapes = -2 * np.log1p((k[None] / _FALLS[:, None]) ** 2)
    logs = np.log(np.maximum(profile, 1e-12))
    upper = k > 0.5
    levels = (logs - shapes)[:, upper].mean(axis=1)
    off = logs - shapes - levels[:, None]
    misfit = (off[:, upper] ** 2).mean(axis=1)
    misfit += (np.maximum(-off[:, ~upper & (k > 0.06)] - 0.03, 0) ** 2).mean(axis=1)
    best = int(np.argmin(misfit))
    return float(np.exp(levels[best])), float(_FALLS[best]), float(np.sqrt(misfit[best]))


def spectrum_of(
    native: npt.NDArray[np.floating],
    native_nm: float,
    standardised: Image,
    step_nm: float,
    powers: tuple[Image, Image] | None = None,
) -> Spectrum | None:
    """The spectrum of a frame; `None` where it is too small for one, or holds nothing at all.

    Parameters
    ----------
    native : (H, W) in the frame's own pixels.
    native_nm : their size [nm].
    standardised : (h, w) at canonical sampling.
    step_nm : of that [nm].
    powers : `tiled_power` of the standardised frame and of the native one, where they are known already.
    """
    tile = tile_of((standardised.shape[0], standardised.shape[1]))
    count = int(min(0.5 / step_nm, 0.5 / native_nm) / STEP_PER_NM + 1e-6)
    if min(standardised.shape) < tile or min(native.shape) < NATIVE_TILE or count < 20:
        return None
    if powers is None:
        powers = (
            tiled_power(standardised, tile, TILES_A_SIDE),
            tiled_power(native, NATIVE_TILE, NATIVE_TILES_A_SIDE),
        )
    tiles, fine = powers
    power = tiles.mean(axis=0)
    if not power.any():
        return None
    places = cells_of(tile, STEP_PER_NM * step_nm, count)
    every = places.means(power)
    most = (CLIPPED * of_sectors(every, 0.5)).astype(np.float32)
    cells = places.means(np.minimum(power, most[places.ring]))
    middle: Real = (np.arange(count, dtype=np.float64) + 0.5) * STEP_PER_NM
    level = of_sectors(cells, 0.5)
    noise, noise_power, whiteness, misfit = _noise(fine, native_nm, middle, level)
    # Hann windows that overlap by half leave about 0.7 independent tiles of each.
    counted = np.maximum(1.0, places.having.sum(axis=1) * max(1.0, 0.7 * len(tiles)) / 2.0)
    return Spectrum(
        middle,
        cells / noise[:, None],
        places.ring_means(every) / noise,
        counted,
        _peak(power, tile, step_nm),
        _tile_peak(tiles, level, places.ring),
        level,
        noise_power,
        whiteness,
        misfit < KNOWN,
    )


def _noise(fine: Image, native_nm: float, middle: Real, level: Real) -> tuple[Real, float, float, float]:
    """The noise: (K,) in the units of `level` (K,), the canonical spectrum at `middle` (K,) [nm⁻¹]; its power, its
    whiteness and how much its form is off."""
    loudness = fine[:, NATIVE_TILE // 4 : -NATIVE_TILE // 4, NATIVE_TILE // 4 :].mean(axis=(1, 2))
    quiet = np.argsort(loudness)[: max(1, round(KEPT * len(fine)))]
    places = cells_of(NATIVE_TILE, 0.5 / NATIVE_RINGS, NATIVE_RINGS)
    profile = of_sectors(places.means(fine[quiet].mean(axis=0)), 0.5)
    own_level, fall, misfit = noise_of(profile)
    # Both spectra show the same frame: their ratio where both are smooth is that of their units.
    own = np.interp(middle, (np.arange(NATIVE_RINGS) + 0.5) * 0.5 / NATIVE_RINGS / native_nm, profile)
    common = middle > 0.4 * middle[-1]
    unit = float(np.exp(np.mean(np.log(np.maximum(level, 1e-12) / np.maximum(own, 1e-12))[common])))
    noise = own_level * unit * (1 + (middle * 2 * native_nm / fall) ** 2) ** -2.0
    return np.maximum(noise, 1e-12), own_level, float((1 + fall**-2.0) ** -2.0), misfit


def _tile_peak(tiles: Image, level: Real, ring: npt.NDArray[np.int64]) -> float:
    low, high = (round(k / STEP_PER_NM) for k in LATTICE_PER_NM)
    here = (ring >= low) & (ring < min(high, len(level) - 1))
    if not here.any():
        return 0.0
    weights = np.where(here, 1 / np.maximum(level, 1e-12)[ring], 0).astype(np.float32)
    highest = [float((tile * weights).max()) for tile in tiles]
    return float(np.log(np.maximum(highest, 1e-6)).mean())


@lru_cache(maxsize=4)
def _lattice_rings(tile: int, step_nm: float) -> tuple[npt.NDArray[np.int64], ...]:
    """Flat places of the rings of lattices, 0.2 nm⁻¹ wide."""
    radius = np.hypot(fft.fftfreq(tile, step_nm)[:, None], fft.rfftfreq(tile, step_nm)[None]).ravel()
    rings = (
        np.flatnonzero((radius >= low) & (radius < low + 0.2)) for low in np.arange(*LATTICE_PER_NM, 0.2)
    )
    return tuple(ring for ring in rings if ring.size > 8)


def _peak(power: Image, tile: int, step_nm: float) -> float:
    flat = power.ravel()
    rings = (flat.take(places) for places in _lattice_rings(tile, step_nm))
    return max([1.0, *(float(ring.max()) / (median(ring) + 1e-12) for ring in rings)])
