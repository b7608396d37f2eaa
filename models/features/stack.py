"""Read a particle's stacking sequence from its image: which word of A, B, C explains it best, and where it breaks.

Seen along ⟨11-20⟩ (⟨110⟩ of the cubic crystals) the layers of any close packing stand in three lateral positions a
third of a row apart. Demodulated at the row's lateral frequency |q| = (2√2/3) |g|, g being the reflection of the
layers, and summed over the lateral coordinate, each layer gives a complex number whose phase is 0°, 120° or 240°
for A, B or C. Words without and with one fault are fitted to these numbers by least squares; each layer and its
neighbours are regressors, so the layer's shape and the sign of the contrast transfer do not matter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.features.fault_signs import streak, twin_spots
from models.features.fits import REGRESSORS, energy_of, fit_words
from models.features.layers import HalfLayers, Image, Summed, cuts_of, summed
from models.features.words import FAULTLESS, words

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]

UNDETERMINED = 0.3
"""Combinations of them that count so little against the strongest are not fitted where layers are looked at singly."""


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
    streak: float
    """Of the row, as `models.features.fault_signs` has it."""
    twin_spots: float
    """Of the row, the same."""
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

    @property
    def significance_a_layer(self) -> float:
        """`significance` over the number of layers."""
        return self.significance / self.layers


def two_apart(samples: Complex) -> tuple[Real, Real]:
    """Mean and standard deviation (…) of the correlation of layers two apart: 1 where ABAB, -1/2 where ABC.

    Parameters
    ----------
    samples : (…, N, 2).
    """
    turn = (samples[..., 2:, :] * samples[..., :-2, :].conj()).real
    size = np.abs(samples)
    norm = size[..., 2:, :] * size[..., :-2, :] + 1e-12
    correlation = (turn / norm).mean(axis=-1)
    return turn.sum(axis=(-2, -1)) / norm.sum(axis=(-2, -1)), correlation.std(axis=-1)


def read_stacks(values: Image, rows_nm: Real, cols_nm: Real, axes: Real) -> list[Reading]:
    """Read the stack of one region along several axes; those along which it has fewer than five layers are left out.

    Parameters
    ----------
    values : (P,) the region's pixels, their mean and slow variation removed.
    rows_nm, cols_nm : (P,) where they lie [nm].
    axes : (A, 2) the reflections of the layers (row, column) [nm⁻¹].
    """
    found = readings_of(summed(values, rows_nm, cols_nm, axes))
    return [reading for reading in found if reading is not None]


def readings_of(regions: Sequence[Summed]) -> list[Reading | None]:
    """The readings of regions that were cut along one axis each; `None` of one with fewer than five layers.

    Words are fitted to all that have as many layers together.
    """
    alike: defaultdict[int, list[int]] = defaultdict(list)
    cuts = cuts_of(regions)
    for i, cut in enumerate(cuts):
        if cut is not None:
            alike[cut.layers].append(i)
    found: list[Reading | None] = [None] * len(regions)
    if not alike:
        return found
    fitted = [_fitted([cut for i in some if (cut := cuts[i]) is not None]) for some in alike.values()]
    figures = _figures(*np.concatenate([numbers for numbers, _ in fitted]).T)
    rows = zip(*(figure.tolist() for figure in figures.values()), strict=True)
    told = [each for _, words_told in fitted for each in words_told]
    for i, row, of_words in zip((i for some in alike.values() for i in some), rows, told, strict=True):
        found[i] = Reading(axis_rc=regions[i].axis, **of_words, **dict(zip(figures, row, strict=True)))
    return found


def _fitted(cuts: Sequence[HalfLayers]) -> tuple[Real, list[dict[str, Any]]]:
    """Of regions with as many layers each: the arguments of `_figures` (R, 13), and fields of `Reading` about words."""
    layers = cuts[0].layers
    pixels = np.array([cut.count for cut in cuts]).reshape(-1, layers, 2)
    roots = np.sqrt(pixels)
    samples = (
        np.array([cut.sums for cut in cuts]).reshape(pixels.shape) / roots
    )  # noise of every sample alike
    known, everyone = words(layers), np.arange(len(cuts))
    fits = fit_words(samples, pixels, known)
    faulted, faultless = fits.faulted, fits.faultless
    numbers = (
        np.full(len(cuts), float(layers)),
        energy_of(samples),
        np.array([cut.beside for cut in cuts]),
        fits.adjusted[:, :2].max(axis=1),
        fits.adjusted[:, 2:FAULTLESS].max(axis=1),
        fits.adjusted[everyone, faulted],
        fits.explained[everyone, faultless],
        fits.explained[everyone, faulted],
        known.place[faulted],
        *two_apart(samples),
        streak(samples),
        twin_spots(samples),
    )
    ramps = zip(fits.ramps(faulted).tolist(), fits.ramps(faultless).tolist(), strict=True)
    best = zip(faulted.tolist(), faultless.tolist(), ramps, strict=True)
    told = [
        {
            "layers": layers,
            "base": str(known.base[fault]),
            "kind": str(known.kind[fault]),
            "word": known.letters[fault],
            "perfect_word": known.letters[perfect],
            "ramps": ramp,
            "first_nm": cuts[i].first_nm,
            "samples": samples[i],
            "roots": roots[i],
        }
        for i, (fault, perfect, ramp) in enumerate(best)
    ]
    return np.stack(numbers, axis=1), told


def _figures(
    layers: Real,
    energy: Real,
    beside: Real,
    h: Real,
    c: Real,
    faulted: Real,
    share_perfect: Real,
    share_faulted: Real,
    place: Real,
    turn_mean: Real,
    turn_spread: Real,
    streak: Real,
    twin_spots: Real,
) -> dict[str, Real]:
    """The figures of readings, each (R,), under the names that they have in `Reading`.

    Parameters
    ----------
    energy : squared length of the samples.
    beside : mean power beside the row, of a sample.
    h, c, faulted : adjusted shares of ABAB, ABCABC and the best word with a fault.
    share_perfect, share_faulted : shares, not adjusted, of the best word without a fault and with one.
    """
    left_perfect, left_faulted = np.maximum(0.0, 1 - share_perfect), np.maximum(0.0, 1 - share_faulted)
    noise = beside + 1e-12
    free = np.maximum(1, 2 * layers - REGRESSORS)
    return {
        "perfect_h": h,
        "perfect_c": c,
        "faulted": faulted,
        "place": place,
        "gain": faulted - np.maximum(h, c),
        "significance": 2 * layers * np.log((left_perfect + 1e-6) / (left_faulted + 1e-6)),
        "row_power": np.log((energy / (2 * layers) + 1e-12) / noise),
        "turn_mean": turn_mean,
        "turn_spread": turn_spread,
        "depth": np.minimum(place, layers - 1 - place),
        "misfit_perfect": np.log(energy * left_perfect / (free * noise) + 1e-3),
        "misfit_faulted": np.log(energy * left_faulted / (free * noise) + 1e-3),
        "evidence": np.log1p(np.maximum(0.0, energy * left_perfect - energy * left_faulted) / noise),
        "streak": streak,
        "twin_spots": twin_spots,
    }


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
