"""Defocus and two-fold astigmatism of a frame, where Thon rings show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi, sqrt

import numpy as np
import numpy.typing as npt

from models.quality.spectrum import SECTORS, STEP_PER_NM, Real, Spectrum, of_sectors

LOWEST_PER_NM, HIGHEST_PER_NM = 0.8, 8.0
"""Below, particles and the uneven film outweigh what the optics do; above, no rings are left [nm⁻¹]."""
#: Defocus that is tried, without its sign [nm]: from where a second ring is within reach, to survey frames.
DEFOCUS_NM = np.geomspace(15, 800, 100)
#: Frequencies at which the rings have faded to 1/e that are tried [nm⁻¹].
FADES_PER_NM = (2.0, 3.0, 4.5, 7.0, 12.0)
#: Astigmatism that is tried, as a share of the defocus, in so many directions.
SHARES, DIRECTIONS = (0.04, 0.08, 0.12, 0.17, 0.23), 6
GROUND = 0.1
"""Power, over that of the noise, that fills the zeros of the transfer and keeps logarithms in bounds."""
SMOOTH_ORDER = 4
"""Degree of the polynomial in frequency that stands for the film, the envelope and the ground."""
LEAST_RINGS = 0.25
"""A defocus counts if rings are at least this share of its template; the rest is a smooth hump."""
SURE, SURE_NEAR_FOCUS = 0.7, 0.8
"""Rings show from this correlation on. Near focus the lattices of frames without any rings reach up to 0.78."""
NEAR_FOCUS_NM = 50.0

_ANGLES = (np.arange(SECTORS) + 0.5) * pi / SECTORS


@dataclass(frozen=True)
class Rings:
    """What Thon rings say."""

    defocus_nm: float
    """Without its sign, which rings do not tell where spherical aberration is corrected [nm]."""
    astigmatism_nm: float | None
    """Two-fold: half the difference between the largest and the smallest defocus; `None` where the directions do not
    agree [nm]."""
    astigmatism_deg: float | None
    """Direction of the largest defocus, from the rows' axis to the columns'."""
    confidence: float
    """Correlation of the rings with those expected, `SURE` to 1."""


def wavelength_nm(energy_kev: float) -> float:
    """Relativistic electron wavelength [nm]: h c / √(E (2 m c² + E)) (Kirkland, ch. 2)."""
    e = energy_kev * 1e3
    return 1239.84198 / sqrt(e * (2 * 510998.95 + e))


def thon_rings(spectrum: Spectrum, energy_kev: float = 300.0, cs_mm: float = 0.0) -> Rings | None:
    """Defocus and two-fold astigmatism from the rings of the diffuse spectrum; `None` where none show.

    The logarithm of the squared transfer sin² χ is correlated with that of the spectrum, after a smooth curve was
    taken off both (after Rohou and Grigorieff, J. Struct. Biol. 192 (2015) 216): for every defocus and astigmatism
    on a grid, summed over the directions. Then the directions are laid over each other, which gives the defocus and
    how sure it is, and each is fitted by itself, which gives the astigmatism.

    Parameters
    ----------
    energy_kev : of the electrons.
    cs_mm : third-order spherical aberration, 0 for corrected microscopes; the defocus is then underfocus [mm].
    """
    here = (spectrum.frequencies > LOWEST_PER_NM) & (spectrum.frequencies < HIGHEST_PER_NM)
    if (spectrum.diffuse > 4 * spectrum.error)[here].sum() < 10:
        return None
    excess = _lower_quartile(spectrum.cells[here] - 1)
    relative = 2 * spectrum.error[here] / (GROUND + np.maximum(excess, 0))
    weights = np.sqrt(spectrum.frequencies[here] / (1 + relative**2)) * (excess > 0)
    if np.count_nonzero(weights) <= SMOOTH_ORDER + 1:
        return None
    matcher = _Matcher(
        weights, _templates(len(spectrum.frequencies), float(energy_kev), cs_mm * 1e6)[..., here]
    )
    cells = spectrum.cells[here] - 1
    # Each with its neighbours: one sector alone has few values in each ring.
    wide = 0.5 * cells + 0.25 * (np.roll(cells, 1, axis=1) + np.roll(cells, -1, axis=1))
    match = matcher.match(wide)
    by_sector = np.ascontiguousarray(np.moveaxis(match, 2, 0)).reshape(-1, len(FADES_PER_NM))
    scores = by_sector.take(_shifted(), axis=0, mode="clip").sum(axis=0)
    ellipse, which, fade = np.unravel_index(int(np.argmax(scores)), scores.shape)
    ratio = _ellipses()[ellipse]
    laid = np.stack(
        [
            np.interp(spectrum.frequencies[here] / sqrt(ratio[n]), spectrum.frequencies, spectrum.cells[:, n])
            for n in range(SECTORS)
        ],
        axis=1,
    )
    near = slice(max(0, int(which) - 3), int(which) + 4)
    together = matcher.match(_lower_quartile(laid - 1)[:, None])[near, fade, 0]
    defocus = _refined(together, int(np.argmax(together)), near.start)
    if together.max() < (SURE if defocus > NEAR_FOCUS_NM else SURE_NEAR_FOCUS):
        return None
    found = np.empty(SECTORS)
    for n in range(SECTORS):
        middle = int(np.argmin(np.abs(DEFOCUS_NM - defocus * ratio[n])))
        start = max(0, middle - 4)
        column = match[start : middle + 5, fade, n]
        found[n] = _refined(column, int(np.argmax(column)), start)
    return Rings(defocus, *_astigmatism(found), float(min(together.max(), 1.0)))


def _lower_quartile(cells: Real) -> Real:
    """(K,) of the directions: a lattice stands in some of them, the film in all."""
    return of_sectors(cells, 0.25)


@lru_cache(maxsize=16)
def _templates(count: int, energy_kev: float, cs_nm: float) -> Real:
    """(D, F, K) logarithm of the squared transfer for every defocus and fade, and the ground that fills its zeros."""
    k = (np.arange(count) + 0.5) * STEP_PER_NM
    wave = wavelength_nm(energy_kev)
    phase = pi * wave * k**2 * DEFOCUS_NM[:, None] - pi / 2 * cs_nm * wave**3 * k**4
    fades = np.exp(-((k[None] / np.array(FADES_PER_NM)[:, None]) ** 2))
    return np.asarray(np.log(GROUND + (np.sin(phase) ** 2)[:, None] * fades[None]))


class _Matcher:
    """Correlates spectra with the templates, both less their smooth part."""

    def __init__(self, weights: Real, templates: Real) -> None:
        smooth = np.polynomial.legendre.legvander(np.linspace(-1, 1, len(weights)), SMOOTH_ORDER)
        self.weights = weights
        self.basis = np.linalg.qr(smooth * weights[:, None])[0]
        weighted = templates.reshape(-1, len(weights)) * weights
        rest = weighted - (weighted @ self.basis) @ self.basis.T
        size = np.sqrt(np.vecdot(rest, rest))
        level = weighted @ (weights / np.linalg.norm(weights))
        whole = np.sqrt(np.maximum(np.vecdot(weighted, weighted) - level * level, 0))
        known = (size > LEAST_RINGS * whole) & (size > 1e-9)
        self.shape = templates.shape[:2]
        self.rings = np.where(known[:, None], rest / np.maximum(size, 1e-9)[:, None], 0.0)

    def match(self, excess: Real) -> Real:
        """(D, F, S) correlation, -1 to 1, of the logarithm of `excess` (K, S); 0 for a template without rings."""
        values = np.log(GROUND + np.maximum(excess, 0)) * self.weights[:, None]
        values = values - self.basis @ (self.basis.T @ values)
        values /= np.maximum(np.linalg.norm(values, axis=0), 1e-12)
        return np.asarray((self.rings @ values).reshape(*self.shape, -1))


@lru_cache(maxsize=1)
def _ellipses() -> Real:
    """(E, S) defocus by direction over the mean one, for every astigmatism that is tried; none at all is the
    first."""
    turns = np.arange(DIRECTIONS) * pi / DIRECTIONS
    tried = [1 + share * np.cos(2 * (_ANGLES - turn)) for share in SHARES for turn in turns]
    return np.stack([np.ones(SECTORS), *tried])


@lru_cache(maxsize=1)
def _shifted() -> npt.NDArray[np.int64]:
    """(S, E, D) the place of each direction's defocus among those of all directions (S · D), for every astigmatism and
    mean defocus."""
    step = np.log(DEFOCUS_NM[1] / DEFOCUS_NM[0])
    moved = np.round(np.log(_ellipses()) / step).astype(np.int64)
    places = np.arange(len(DEFOCUS_NM))[None, :, None] + moved[:, None, :]
    within = np.clip(places, 0, len(DEFOCUS_NM) - 1) + np.arange(SECTORS) * len(DEFOCUS_NM)
    return np.ascontiguousarray(np.moveaxis(within, 2, 0))


def _refined(match: Real, which: int, first: int) -> float:
    """Defocus [nm] at the top of the parabola through the best match and those beside it; `first`: place of
    match[0]."""
    shift = 0.0
    if 0 < which < len(match) - 1:
        low, middle, high = match[which - 1 : which + 2]
        bend = low - 2 * middle + high
        shift = float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend < 0 else 0.0
    places = np.log(DEFOCUS_NM)
    return float(np.exp(np.interp(first + which + shift, np.arange(len(places)), places)))


def _astigmatism(by_direction: Real) -> tuple[float | None, float | None]:
    """Size [nm] and direction [°] of the second harmonic of the defocus by direction; `None` where it is not sure."""
    basis = np.stack([np.ones(SECTORS), np.cos(2 * _ANGLES), np.sin(2 * _ANGLES)], axis=1)
    weights = np.ones(SECTORS)
    spread = 0.0
    solution = np.zeros(3)
    for _ in range(5):  # a direction that found another ring is left out
        root = np.sqrt(weights)
        solution = np.linalg.lstsq(basis * root[:, None], by_direction * root, rcond=None)[0]
        off = by_direction - basis @ solution
        spread = 1.4826 * float(np.median(np.abs(off))) + 1e-9
        weights = np.clip(1 - (off / (4.7 * spread)) ** 2, 0, 1) ** 2
    # Taking a direction together with its neighbours leaves (1 + cos 30°) / 2 of a second harmonic.
    size = float(np.hypot(solution[1], solution[2])) / ((1 + float(np.cos(2 * pi / SECTORS))) / 2)
    if size < 2 * spread * sqrt(2 / SECTORS) or weights.sum() < SECTORS / 2:
        return None, None
    return size, float((90 - np.degrees(np.arctan2(solution[2], solution[1])) / 2) % 180)
