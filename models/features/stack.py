"""Read a particle's stacking sequence from its image: which word of A, B, C explains it best, and where it breaks.

Seen along ⟨11-20⟩ (⟨110⟩ of the cubic crystals) the layers of any close packing stand in three lateral positions a
third of a row apart. Demodulated at the row's lateral frequency |q| = (2√2/3) |g|, g being the reflection of the
layers, and summed over the lateral coordinate, each layer gives a complex number whose phase is 0°, 120° or 240°
for A, B or C. Words without and with one fault are fitted to these numbers by least squares; each layer and its
neighbours are regressors, so the layer's shape and the sign of the contrast transfer do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.features.words import Words, letters, words

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]

LATERAL_RATIO = 2 * np.sqrt(2) / 3
"""|q| / |g| of every ideal close packing: row frequency 2/(√3 a) over layer frequency 1/d, d = a √(2/3)."""
MOST_LAYERS = 56
"""Further layers of a region are not read."""
FEWEST_LAYERS = 5
"""A region with fewer layers has no reading."""
WIDE = 0.3
"""Ends of a region are left out up to the first half layer with this share of the pixels of the widest ones."""
BESIDE = (0.72, 0.84, 1.16, 1.28)
"""Lateral frequencies, in units of the row's, at which the noise beside the row is measured."""
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
class HalfLayers:
    """A region cut across its stacking axis into half layers: on each layer, and between it and the next."""

    across: Real
    """(P,) lateral coordinate of each pixel [nm]."""
    number: npt.NDArray[np.int64]
    """(P,) half layer of each pixel, before ends that hold few pixels are left out."""
    first: int
    """The first half layer that is read."""
    layers: int
    """N, the number of layers that are read."""
    count: Real
    """(2N,) pixels of each half layer that is read."""
    first_nm: float
    """Where the middle of the first layer lies along the axis [nm], in the coordinates that were given."""

    def sums(self, values: Real, frequency: float) -> Complex:
        """(2N,) sum of each half layer's values (P,), demodulated at a lateral frequency [nm⁻¹]."""
        wave = values * np.exp(-2j * np.pi * frequency * self.across)
        total = np.bincount(self.number, wave.real) + 1j * np.bincount(self.number, wave.imag)
        return np.asarray(total[self.first : self.first + 2 * self.layers])


def half_layers(values: Real, rows_nm: Real, cols_nm: Real, axis: tuple[float, float]) -> HalfLayers | None:
    """Cut a region into half layers; parameters as of `read_stack`. `None` where it has fewer than five layers."""
    length = float(np.hypot(*axis))
    along = (rows_nm * axis[0] + cols_nm * axis[1]) / length
    across = (-rows_nm * axis[1] + cols_nm * axis[0]) / length
    position = along * length  # in layers
    # The phase of the layers' reflection says where the layers lie; the regressors take what is left of the offset.
    origin = float(np.angle(np.sum(values * np.exp(-2j * np.pi * position)))) / (2 * np.pi)
    number = np.floor(2 * (position + origin) + 0.5).astype(int)
    shift = int(number.min()) - int(number.min()) % 2
    number -= shift
    count = np.bincount(number).astype(float)
    wide = count >= WIDE * np.percentile(count[count > 0], 90)
    first, last = int(np.argmax(wide)), len(wide) - int(np.argmax(wide[::-1]))
    first -= first % 2
    layers = min((last - first) // 2, MOST_LAYERS)
    if layers < FEWEST_LAYERS:
        return None
    read = np.maximum(count[first : first + 2 * layers], 1.0)
    return HalfLayers(across, number, first, layers, read, ((first + shift) / 2 - origin) / length)


@dataclass(frozen=True)
class Fits:
    """How well each candidate word explains the layers."""

    share: Real
    """(C, A) share of the samples' energy that each word explains at each of the `RAMPS`."""
    adjusted: Real
    """(C,) the largest over the ramps, adjusted for the number of regressors."""
    faultless: int
    """The best word without a fault."""
    faulted: int
    """The best word with one."""

    def explained(self, word: int) -> float:
        """Share of the energy that a word explains, at its best ramp."""
        return float(self.share[word].max())

    def ramp(self, word: int) -> float:
        """The best ramp of a word [cycles a layer]."""
        return float(RAMPS[self.share[word].argmax()])


def fit_words(samples: Complex, roots: Real, candidates: Words) -> Fits:
    """Fit every candidate word to the samples (N, 2) of a stack by least squares.

    Parameters
    ----------
    roots : (N, 2) root of the number of pixels behind each sample.
    """
    layers = len(samples)
    ramps = np.exp(-2j * np.pi * RAMPS[:, None, None] * np.arange(layers)[None, :, None])
    turned = samples[None] * ramps
    explained = _explained(_designs(candidates.phases, roots), turned.reshape(len(RAMPS), -1))
    share = explained / (np.sum(np.abs(samples) ** 2) + 1e-12)  # (C, A)
    best = share.max(axis=1)
    adjusted = 1 - (1 - best) * (2 * layers) / max(1, 2 * layers - REGRESSORS)
    perfect = candidates.kind == ""
    with_fault, without = np.flatnonzero(~perfect), np.flatnonzero(perfect)
    return Fits(
        share,
        adjusted,
        faultless=int(without[np.argmax(best[without])]),
        faulted=int(with_fault[np.argmax(best[with_fault])]),
    )


def two_apart(samples: Complex) -> tuple[float, float]:
    """Mean and standard deviation of the correlation of layers two apart: 1 where ABAB, -1/2 where ABC."""
    turn = samples[2:] * samples[:-2].conj()
    norm = np.abs(samples[2:]) * np.abs(samples[:-2]) + 1e-12
    correlation = (turn.real / norm).mean(axis=1)
    return float(turn.real.sum() / norm.sum()), float(correlation.std())


def read_stack(values: Real, rows_nm: Real, cols_nm: Real, axis: tuple[float, float]) -> Reading | None:
    """Read the stack of one region along one axis; `None` where it has fewer than five layers.

    Parameters
    ----------
    values : (P,) the region's pixels, their mean and slow variation removed.
    rows_nm, cols_nm : (P,) where they lie [nm].
    axis : the reflection of the layers (row, column) [nm⁻¹].
    """
    cut = half_layers(values, rows_nm, cols_nm, axis)
    if cut is None:
        return None
    layers, count = cut.layers, cut.count
    lateral = LATERAL_RATIO * float(np.hypot(*axis))
    sums = cut.sums(values, lateral)
    beside = np.mean([np.abs(cut.sums(values, lateral * f)) ** 2 / count for f in BESIDE])
    samples = (sums / np.sqrt(count)).reshape(layers, 2)  # noise of every sample alike
    roots = np.sqrt(count).reshape(layers, 2)

    candidates = words(layers)
    fits = fit_words(samples, roots, candidates)
    perfect = candidates.kind == ""
    h, c = (float(fits.adjusted[perfect & (candidates.base == base)].max()) for base in "hc")
    faulted, faultless = fits.faulted, fits.faultless
    left_faulted, left_perfect = (1 - fits.explained(word) for word in (faulted, faultless))
    energy, noise = float(np.sum(np.abs(samples) ** 2)), float(beside) + 1e-12
    free = max(1, 2 * layers - REGRESSORS)
    turn_mean, turn_spread = two_apart(samples)
    place = float(candidates.place[faulted])
    return Reading(
        axis_rc=(float(axis[0]), float(axis[1])),
        layers=layers,
        perfect_h=h,
        perfect_c=c,
        faulted=float(fits.adjusted[faulted]),
        base=str(candidates.base[faulted]),
        kind=str(candidates.kind[faulted]),
        place=place,
        gain=float(fits.adjusted[faulted]) - max(h, c),
        significance=float(2 * layers * np.log((left_perfect + 1e-6) / (left_faulted + 1e-6))),
        row_power=float(np.log((np.mean(np.abs(sums) ** 2 / count) + 1e-12) / (beside + 1e-12))),
        turn_mean=turn_mean,
        turn_spread=turn_spread,
        depth=float(min(place, layers - 1 - place)),
        misfit_perfect=float(np.log(energy * left_perfect / (free * noise) + 1e-3)),
        misfit_faulted=float(np.log(energy * left_faulted / (free * noise) + 1e-3)),
        evidence=float(np.log1p(max(0.0, energy * left_perfect - energy * left_faulted) / noise)),
        word=letters(candidates.phases[faulted]),
        perfect_word=letters(candidates.phases[faultless]),
        ramps=(fits.ramp(faulted), fits.ramp(faultless)),
        first_nm=cut.first_nm,
        samples=samples,
        roots=roots,
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


def _explained(designs: Complex, observed: Complex) -> Real:
    """Squared length of each observation (A, S) projected on the columns of each design (C, S, R): (C, A)."""
    adjoint = designs.conj().swapaxes(1, 2)
    gram = adjoint @ designs + 1e-9 * np.eye(REGRESSORS)
    moments = adjoint @ observed.T  # (C, R, A)
    return np.asarray((moments.conj() * np.linalg.solve(gram, moments)).real.sum(axis=1))


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
