"""Where a particle's stacking may run: directions whose spots and rows look like those of a close packing.

A close-packed stack of layer frequency g along a direction has its layers' reflection at g and, a lateral
q = (2√2/3) |g| to either side of the axis, a row of reflections whose heights depend on the word: at whole and half
layers for ABAB, at thirds for ABC, a streak between them where it is faulted. A template of these points is laid over
the power spectrum in every direction; carbon's speckle, and lattices of other zones, rarely have both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.features.layers import LATERAL_RATIO
from models.features.spectrum import Columns, blurred

Real = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]

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
PERIODS = {"0001": 60.0, "111": 60.0, "100": 90.0, "112": 180.0}
"""Turned by so much, a zone's spots and their Friedel pairs come to lie on one another [°]."""


@dataclass(frozen=True)
class Points:
    """Places in a half plane of the spectrum, each read from the four bins around it."""

    bins: npt.NDArray[np.int32]
    """(P, 4) flat indices."""
    weights: Image
    """(P, 4)."""

    def read(self, flat: Image, chosen: npt.NDArray[np.intp]) -> Image:
        """(P, N) what P half planes (bins, P) have at places of their own, chosen for each (P, N)."""
        planes = np.arange(flat.shape[1])[:, None, None]
        return np.asarray((flat[self.bins[chosen], planes] * self.weights[chosen]).sum(axis=2))

    def matrix(self, size: int) -> sparse.csr_array:
        """(P, size) what reads all places from the flat half plane."""
        count = len(self.bins)
        starts = np.arange(0, 4 * count + 1, 4)
        return sparse.csr_array((self.weights.ravel(), self.bins.ravel(), starts), shape=(count, size))


def points(rows: Real, cols: Real, reach: int) -> Points:
    """Places (row, column) [bins from zero frequency], for the half plane that `models.features.spectrum` keeps."""
    upper = np.where(rows.ravel() < 0, -1.0, 1.0)  # the power at -k is that at k
    r = (rows.ravel() * upper).clip(0, reach)
    c = (cols.ravel() * upper).clip(-reach, reach) + reach
    r0, c0 = (np.minimum(np.floor(x), last - 1) for x, last in ((r, reach), (c, 2 * reach)))
    dr, dc = r - r0, c - c0
    first = (r0 * (2 * reach + 1) + c0).astype(np.int32)
    bins = first[:, None] + np.array([0, 1, 2 * reach + 1, 2 * reach + 2], np.int32)
    weights = np.stack([(1 - dr) * (1 - dc), (1 - dr) * dc, dr * (1 - dc), dr * dc], axis=1)
    return Points(bins, weights.astype(np.float32))


@dataclass(frozen=True)
class Templates:
    """The templates of every direction and layer frequency, for spectra of one sampling."""

    tried: Real
    """(F,) layer frequencies [nm⁻¹]."""
    stack: Points
    """Of (F, A, 10): the layers' reflection and the row's, in every direction."""
    scores: sparse.csr_array
    """(F A, bins) what scores the template of a stack."""
    spots: sparse.csr_array
    """(S, bins) what reads the spots of all other zones."""
    zones: dict[str, tuple[slice, int]]
    """Of each zone: its rows of `spots`, spot by spot, and how many spots one template of it has."""


@lru_cache(maxsize=8)
def templates(frequencies: tuple[float, ...], step_per_nm: float, reach: int) -> Templates:
    """The templates for known layer frequencies.

    Parameters
    ----------
    frequencies : layer frequencies that may be there [nm⁻¹].
    step_per_nm : between two bins [nm⁻¹].
    reach : rows and columns of the half plane reach so far from zero frequency [bins].
    """
    tried = np.array(sorted({round(f * scale, 3) for f in frequencies for scale in SCALES}))
    size = (reach + 1) * (2 * reach + 1)
    f = tried[:, None, None] / step_per_nm
    cos, sin = np.cos(ANGLES)[None, :, None], np.sin(ANGLES)[None, :, None]
    along = np.concatenate([[1.0], HEIGHTS])
    across = np.concatenate([[0.0], np.full(len(HEIGHTS), LATERAL_RATIO)])
    stack = points(f * (along * cos - across * sin), f * (along * sin + across * cos), reach)
    parts = np.array([1.0, *([ROW_COUNTS / len(HEIGHTS)] * len(HEIGHTS))], np.float32) / np.float32(
        1 + ROW_COUNTS
    )
    mean = sparse.kron(
        sparse.eye_array(len(tried) * len(ANGLES), dtype=np.float32), parts[None], format="csr"
    )
    read, zones, start = [], {}, 0
    for name, spots in OTHER_ZONES.items():
        length = np.array([k for k, _ in spots])
        turns = ANGLES[np.radians(PERIODS[name]) - ANGLES > 1e-9]
        angle = turns[None] + np.radians([a for _, a in spots])[:, None]
        radius = length[:, None, None] * f.ravel()[None, :, None]
        here = points(radius * np.cos(angle)[:, None], radius * np.sin(angle)[:, None], reach)
        read.append(here.matrix(size))
        zones[name] = (slice(start, start + len(here.bins)), len(spots))
        start += len(here.bins)
    scores = (mean @ stack.matrix(size)).tocsr()
    return Templates(tried, stack, scores, sparse.vstack(read, format="csr"), zones)


def smoothed(ratio: Image) -> Image:
    """What templates are laid over: a half plane of power over the background's, its logarithm, a little blurred."""
    return blurred(np.log1p(ratio))


def stacking_axes(smooth: Image, known: Templates) -> Real:
    """(P, `MOST`, 5) the likeliest axes of P regions, the likeliest first.

    Of each: the layers' reflection (row, column) [nm⁻¹], the mean logarithm of the template's power over the
    background's, that of the layers' reflection alone, and that of the three highest points of the row.

    Parameters
    ----------
    smooth : (bins, P) the `smoothed` half planes of their spectra, as `by_bins` lays them out.
    """
    count, width = smooth.shape[1], 1 + len(HEIGHTS)
    everyone = np.arange(count)
    scores = (known.scores @ smooth).reshape(len(known.tried), len(ANGLES), count)
    which, best = scores.argmax(axis=0), scores.max(axis=0)
    found = []
    for _ in range(MOST):
        angle = best.argmax(axis=0)
        frequency, score = which[angle, everyone], best[angle, everyone]
        first = (frequency * len(ANGLES) + angle) * width
        power = known.stack.read(smooth, first[:, None] + np.arange(width))
        tried = known.tried[frequency]
        top = np.sort(power[:, 1:], axis=1)[:, -3:].mean(axis=1)
        row, col = tried * np.cos(ANGLES[angle]), tried * np.sin(ANGLES[angle])
        found.append(np.stack([row, col, score, power[:, 0], top], axis=1))
        best[_NEAR[:, angle]] = -np.inf
    return np.stack(found, axis=1)


#: (A, A) which directions are too near each other to be two axes.
_NEAR = np.abs((ANGLES[:, None] - ANGLES + np.pi / 2) % np.pi - np.pi / 2) < APART


def other_zones(smooth: Image, known: Templates) -> Image:
    """(P, zones) how much of each of `OTHER_ZONES` there is: the weakest of its spots, at the best angle and frequency.

    Mean logarithm of the power over the background's; parameters as of `stacking_axes`. Wurtzite [0001] has six
    {10-10}, the cubic [111] six {220}, [100] four {200} and {220}, [112] (wurtzite [10-10]) {111} and {220} at right
    angles.
    """
    power, count = known.spots @ smooth, smooth.shape[1]
    found = [
        power[rows].reshape(spots, -1, count).min(axis=0).max(axis=0) for rows, spots in known.zones.values()
    ]
    return np.stack(found, axis=1)


def refine(inside: Image, pixel_size_nm: float, places: Real) -> Real:
    """Reflections (…, A, 2) [nm⁻¹] placed between the bins, where the transforms of pictures (…, h, w) are largest.

    Twice, a parabola is laid through the magnitude at each place and a step to either side of it, along rows and along
    columns.
    """
    rows, cols = (-2 * np.pi * pixel_size_nm * np.arange(n) for n in inside.shape[-2:])
    k, step = np.array(places, float), 0.03
    for _ in range(2):
        at = k[..., None] + np.array([-step, 0.0, step])
        along_rows, along_cols = _waves(at[..., 0, :, None] * rows), _waves(at[..., 1, :, None] * cols)
        grid = np.abs(_summed(along_rows, inside) @ along_cols.swapaxes(-1, -2))  # (…, A, 3, 3)
        before, here, after = np.moveaxis(np.stack([grid[..., 1], grid[..., 1, :]], axis=-2), -1, 0)
        bend = np.minimum(before - 2 * here + after, 0)
        k += step * np.clip(0.5 * (before - after) / np.where(bend < 0, bend, -np.inf), -1, 1)
        step /= 2
    return k


def _summed(waves: npt.NDArray[np.complex64], pictures: Image) -> npt.NDArray[np.complex64]:
    """(…, A, 3, w) waves along rows (…, A, 3, h) summed over pictures (…, h, w), which are real."""
    found = np.empty((*waves.shape[:-1], pictures.shape[-1]), np.complex64)
    lines = (*waves.shape[:-3], waves.shape[-3] * 3)
    for into, wave in ((found.real, waves.real), (found.imag, waves.imag)):
        into[:] = (wave.reshape(*lines, wave.shape[-1]) @ pictures).reshape(found.shape)
    return found


def _waves(phase: Real) -> npt.NDArray[np.complex64]:
    """exp(i x), in single precision."""
    single = phase.astype(np.float32)
    waves = np.empty(phase.shape, np.complex64)
    waves.real, waves.imag = np.cos(single), np.sin(single)
    return waves


def axis_features(axes: Real) -> Columns:
    """How much the two likeliest axes look like axes of a stack; `axes` (P, `MOST`, 5) as of `stacking_axes`."""
    values: Columns = {}
    for i in range(2):
        _, _, score, layers, top = axes[:, i].T
        values |= {f"axis_{i}": score, f"axis_{i}_layers": layers, f"axis_{i}_top": top}
    return values
