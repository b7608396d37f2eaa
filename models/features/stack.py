"""Read a particle's stacking sequence from its image: which word of A, B, C explains it best, and where it breaks.

Seen along ⟨11-20⟩ (⟨110⟩ of the cubic crystals) the layers of any close packing stand in three lateral positions a
third of a row apart. Demodulated at the row's lateral frequency |q| = (2√2/3) |g|, g being the reflection of the
layers, and summed over the lateral coordinate, each layer gives a complex number whose phase is 0°, 120° or 240°
for A, B or C. Words without and with one fault are fitted to these numbers by least squares; each layer and its
neighbours are regressors, so the layer's shape and the sign of the contrast transfer do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log, log1p
from typing import Any

import numpy as np
import numpy.typing as npt

from models.features.layers import HalfLayers, Image, half_layers
from models.features.words import FAULTLESS, Words, words

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]

REGRESSORS = 5
"""Complex coefficients that are fitted to every word."""
UNDETERMINED = 0.3
"""Combinations of them that count so little against the strongest are not fitted where layers are looked at singly."""
RAMPS = np.linspace(-0.04, 0.04, 9)
"""Phase ramps that are tried [cycles a layer]: an error of the axis' direction of up to 2.4°."""


@dataclass(frozen=True)
class Reading:
    """What the stack of one particle says along one axis."""

    axis_rc: tuple[float, float]
    """Reflection of the layers (row, column) [nm⁻¹]."""
    layers: int
    perfect_h: float
    """Share of the layers' variance that ABAB explains, adjusted for the number of regressors."""
    perfect_c: float
    """The same for ABCABC."""
    faulted: float
    """The same for the best word with a fault."""
    base: str
    kind: str
    """The best fault's kind."""
    place: float
    """Its place [layers from the particle's first]."""
    gain: float
    """faulted - max(perfect_h, perfect_c)."""
    significance: float
    """log of the ratio of the residuals, times the samples: grows with the evidence for the fault."""
    row_power: float
    """Power of the row over that beside it, logarithm."""
    turn_mean: float
    """Mean correlation of layers two apart: 1 where ABAB, -1/2 where ABC."""
    turn_spread: float
    """Standard deviation of the same along the stack."""
    depth: float
    """Layers from the fault to the nearer cap."""
    misfit_perfect: float
    """log of what the best faultless word leaves, over the noise that stands beside the row."""
    misfit_faulted: float
    """The same for the best word with a fault."""
    evidence: float
    """log(1 + what the fault takes off, in units of that noise)."""
    word: str
    """The letters of the best word with a fault, the first layer's A."""
    perfect_word: str
    """The letters of the best word without one."""
    ramps: tuple[float, float]
    """Phase ramps of `word` and `perfect_word` [cycles a layer]."""
    first_nm: float
    """Where the first layer's middle lies along the axis [nm], in the coordinates that were given."""
    samples: Complex
    """(N, 2) what was seen on each layer and between it and the next, noise of every sample alike."""
    roots: Real
    """(N, 2) root of the number of pixels behind each sample."""


@dataclass(frozen=True)
class Fits:
    """How well each candidate word explains the layers."""

    share: Real
    """(A, C) share of the samples' energy that each word explains at each of the `RAMPS`."""
    adjusted: Real
    """(C,) the largest over the ramps, adjusted for the number of regressors."""
    faultless: int
    """The best word without a fault."""
    faulted: int
    """The best word with one."""

    def explained(self, word: int) -> float:
        """Share of the energy that a word explains, at its best ramp."""
        return float(self.share[:, word].max())

    def ramp(self, word: int) -> float:
        """The best ramp of a word [cycles a layer]."""
        return float(RAMPS[self.share[:, word].argmax()])


def fit_words(samples: Complex, pixels: Real, candidates: Words) -> Fits:
    """Fit every candidate word to the samples (N, 2) of a stack by least squares.

    A sample on a layer is fitted by that layer, its predecessor and its successor, one between two layers by those two:
    five complex coefficients, the same along the whole stack, and two fits that share none.

    Parameters
    ----------
    pixels : (N, 2) number of pixels behind each sample.
    """
    layers = len(samples)
    # Samples times the roots of their pixels, at every ramp: (A, N) on the layers, and between them.
    on, between = (samples * np.sqrt(pixels)).T[:, None] * _ramps(layers)
    sides = np.zeros((REGRESSORS, len(RAMPS), layers), np.complex64)
    sides[0], sides[1, :, :-1], sides[2, :, 1:] = on, on[:, 1:], on[:, :-1]
    sides[3], sides[4, :, 1:] = between, between[:, :-1]
    right = (sides.reshape(-1, layers) @ candidates.conjugates).reshape(REGRESSORS, len(RAMPS), -1)
    explained = _explained(_gram_on(pixels[:, 0], candidates), list(right[:3]))
    explained += _explained(_gram_between(pixels[:, 1], candidates), list(right[3:]))
    share = explained / (_energy(samples) + 1e-12)  # (A, C)
    best = share.max(axis=0)
    adjusted = 1 - (1 - best) * (2 * layers) / max(1, 2 * layers - REGRESSORS)
    return Fits(
        share,
        adjusted,
        faultless=int(best[:FAULTLESS].argmax()),
        faulted=FAULTLESS + int(best[FAULTLESS:].argmax()),
    )


def _energy(samples: Complex) -> float:
    return float(np.vdot(samples, samples).real)


@lru_cache(maxsize=64)
def _ramps(layers: int) -> Complex:
    """(A, N) the phase ramps that are tried."""
    return np.asarray(np.exp(-2j * np.pi * np.outer(RAMPS, np.arange(layers))))


Gram = list[list[Any]]
"""[R][R] scalar products of the regressors of every word, each (C,) or the same for all; below the diagonal unused."""


def _gram_on(pixels: Real, candidates: Words) -> Gram:
    """Of the samples on layers: the layer, its predecessor, its successor. Pixels (N,)."""
    one, two = candidates.following
    before, after = (one @ pixels[1:]).conj(), one @ pixels[:-1]
    across = two @ pixels[1:-1]
    return [
        [pixels.sum(), before, after],
        [None, pixels[1:].sum(), across],
        [None, None, pixels[:-1].sum()],
    ]


def _gram_between(pixels: Real, candidates: Words) -> Gram:
    """Of the samples between two layers: the one, and the next. Pixels (N,)."""
    return [[pixels.sum(), candidates.following[0] @ pixels[:-1]], [None, pixels[:-1].sum()]]


def _explained(gram: Gram, right: list[Complex]) -> Real:
    """(A, C) squared length of what least squares explains: Gaussian elimination, for all words and ramps at once.

    Parameters
    ----------
    right : [R] of (A, C), the regressors' scalar products with what was seen.
    """
    total = np.zeros(right[0].shape)
    for i, row in enumerate(gram):
        pivot = np.maximum(np.real(row[i]), 0.0) + 1e-9
        total += (right[i].real ** 2 + right[i].imag ** 2) / pivot
        for j in range(i + 1, len(gram)):
            factor = np.conj(row[j]) / pivot
            right[j] = right[j] - factor.astype(np.complex64) * right[i]
            for k in range(j, len(gram)):
                gram[j][k] = gram[j][k] - factor * row[k]
    return total


def two_apart(samples: Complex) -> tuple[float, float]:
    """Mean and standard deviation of the correlation of layers two apart: 1 where ABAB, -1/2 where ABC."""
    turn = (samples[2:] * samples[:-2].conj()).real
    size = np.abs(samples)
    norm = size[2:] * size[:-2] + 1e-12
    correlation = (turn / norm) @ np.array([0.5, 0.5])
    return float(turn.sum() / norm.sum()), float(correlation.std())


def read_stacks(values: Image, rows_nm: Real, cols_nm: Real, axes: Real) -> list[Reading]:
    """Read the stack of one region along several axes; those along which it has fewer than five layers are left out.

    Parameters
    ----------
    values : (P,) the region's pixels, their mean and slow variation removed.
    rows_nm, cols_nm : (P,) where they lie [nm].
    axes : (A, 2) the reflections of the layers (row, column) [nm⁻¹].
    """
    return readings_of(half_layers(values, rows_nm, cols_nm, axes), axes)


def readings_of(cuts: Sequence[HalfLayers | None], axes: Real) -> list[Reading]:
    """The readings of a region that was cut along several axes (A, 2) [nm⁻¹]; none of an axis without a cut."""
    return [_reading(cut, axis) for cut, axis in zip(cuts, axes.tolist(), strict=True) if cut is not None]


def _reading(cut: HalfLayers, axis: Sequence[float]) -> Reading:
    """What the half layers along one axis (row, column) [nm⁻¹] say."""
    layers, pixels = cut.layers, cut.count.reshape(-1, 2)
    samples = cut.sums.reshape(layers, 2) / np.sqrt(pixels)  # noise of every sample alike
    candidates = words(layers)
    fits = fit_words(samples, pixels, candidates)
    h, c = float(fits.adjusted[:2].max()), float(fits.adjusted[2:FAULTLESS].max())
    faulted, faultless = fits.faulted, fits.faultless
    left_faulted, left_perfect = (max(0.0, 1 - fits.explained(word)) for word in (faulted, faultless))
    energy, noise = _energy(samples), cut.beside + 1e-12
    free = max(1, 2 * layers - REGRESSORS)
    turn_mean, turn_spread = two_apart(samples)
    place = float(candidates.place[faulted])
    return Reading(
        axis_rc=(axis[0], axis[1]),
        layers=layers,
        perfect_h=h,
        perfect_c=c,
        faulted=float(fits.adjusted[faulted]),
        base=str(candidates.base[faulted]),
        kind=str(candidates.kind[faulted]),
        place=place,
        gain=float(fits.adjusted[faulted]) - max(h, c),
        significance=2 * layers * log((left_perfect + 1e-6) / (left_faulted + 1e-6)),
        row_power=log((energy / (2 * layers) + 1e-12) / noise),
        turn_mean=turn_mean,
        turn_spread=turn_spread,
        depth=min(place, layers - 1 - place),
        misfit_perfect=log(energy * left_perfect / (free * noise) + 1e-3),
        misfit_faulted=log(energy * left_faulted / (free * noise) + 1e-3),
        evidence=log1p(max(0.0, energy * left_perfect - energy * left_faulted) / noise),
        word=candidates.letters[faulted],
        perfect_word=candidates.letters[faultless],
        ramps=(fits.ramp(faulted), fits.ramp(faultless)),
        first_nm=cut.first_nm,
        samples=samples,
        roots=np.sqrt(pixels),
    )


def layers_seen(reading: Reading, word: str, ramp: float) -> Complex:
    """(N,) each layer's own complex number, its phase 0, 1/3 or 2/3 of a turn for A, B or C, about 1 in size.

    With the coefficients fitted for a word, what its neighbours give is taken off each layer's two samples, and what
    is left is read back through the layer's own two coefficients (the partial residuals of the fit).
    """
    turns = np.array(["ABC".index(letter) for letter in word]) / 3
    told = np.exp(2j * np.pi * turns)
    turned = reading.samples * np.exp(-2j * np.pi * ramp * np.arange(reading.layers))[:, None]
    design = _designs(told[None], reading.roots)[0]
    # In a periodic word a layer's and its neighbours' coefficients are told apart by its ends alone: what is as good
    # as undetermined is left out, else large ones that cancel would pull every layer onto its letter.
    c, *_ = np.linalg.lstsq(design, turned.ravel(), rcond=UNDETERMINED)
    padded = np.concatenate([[0], told, [0]])
    seen = turned / reading.roots
    on = seen[:, 0] - c[1] * padded[:-2] - c[2] * padded[2:]
    between = seen[:, 1] - c[4] * padded[2:]
    own = np.abs(c[0]) ** 2 + np.abs(c[3]) ** 2 + 1e-12
    return np.asarray((c[0].conj() * on + c[3].conj() * between) / own)


def _designs(phases: Complex, root: Real) -> Complex:
    """Regressors (C, 2N, 5) of each word (C, N) for two samples a layer.

    The sample on a layer sees that layer and both neighbours, the sample between two layers sees those two: five
    complex coefficients, the same along the whole stack.
    """
    count, layers = phases.shape
    shifted = np.zeros((count, layers + 2), complex)
    shifted[:, 1:-1] = phases
    # Beyond its ends the crystal goes on for a layer at most; what would follow is not known and left out.
    previous, here, following = shifted[:, :-2], shifted[:, 1:-1], shifted[:, 2:]
    design = np.zeros((count, layers, 2, REGRESSORS), complex)
    design[:, :, 0, 0], design[:, :, 0, 1], design[:, :, 0, 2] = here, previous, following
    design[:, :, 1, 3], design[:, :, 1, 4] = here, following
    design *= root[None, :, :, None]
    return design.reshape(count, 2 * layers, REGRESSORS)
