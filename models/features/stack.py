"""Read a particle's stacking sequence from its image: which word of A, B, C explains it best, and where it breaks.

Seen along ⟨11-20⟩ (⟨110⟩ of the cubic crystals) the layers of any close packing stand in three lateral positions a
third of a row apart. Demodulated at the row's lateral frequency |q| = (2√2/3) |g|, g being the reflection of the
layers, and summed over the lateral coordinate, each layer gives a complex number whose phase is 0°, 120° or 240°
for A, B or C. Words without and with one fault are fitted to these numbers by least squares; each layer and its
neighbours are regressors, so the layer's shape and the sign of the contrast transfer do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]

LATERAL_RATIO = 2 * np.sqrt(2) / 3
"""|q| / |g| of every ideal close packing: row frequency 2/(√3 a) over layer frequency 1/d, d = a √(2/3)."""
MOST_LAYERS = 56
REGRESSORS = 5
"""Complex coefficients that are fitted to every word."""
UNDETERMINED = 0.3
"""Combinations of them that count so little against the strongest are not fitted where layers are looked at singly."""
RAMPS = np.linspace(-0.04, 0.04, 9)
"""Phase ramps that are tried [cycles a layer]: an error of the axis' direction of up to 2.4°."""
RUNS: tuple[tuple[str, str, str], ...] = (
    ("h", "I1", "c"),
    ("h", "I2", "cc"),
    ("h", "E", "ccc"),
    ("c", "twin", "h"),
    ("c", "intrinsic", "hh"),
    ("c", "extrinsic", "hch"),
)


@dataclass(frozen=True)
class Words:
    """Candidate words for a number of layers."""

    base: npt.NDArray[np.str_]
    """(C,) `h` or `c`."""
    kind: npt.NDArray[np.str_]
    """(C,) name of the fault, empty for a faultless word."""
    place: Real
    """(C,) middle of the fault [layers from the first]; NaN for a faultless word."""
    phases: Complex
    """(C, N) exp(2πi σ/3) of every layer."""


@lru_cache(maxsize=64)
def words(layers: int) -> Words:
    """All words of this many layers with no fault or one, of both bases and both hands."""
    base, kind, place, steps = [], [], [], []
    for letter, name, run in (("h", "", ""), ("c", "", ""), *RUNS):
        for first in range(1, layers - 1 - len(run) + 1) if run else (0,):
            surroundings = [letter] * layers
            surroundings[first : first + len(run)] = run
            for hand in (1, -1):
                step, positions = hand, [0, hand]
                for i in range(1, layers - 1):
                    step = -step if surroundings[i] == "h" else step
                    positions.append(positions[-1] + step)
                base.append(letter)
                kind.append(name)
                place.append(first + (len(run) - 1) / 2 if run else np.nan)
                steps.append(positions[:layers])
    phases = np.exp(2j * np.pi / 3 * np.array(steps))
    return Words(np.array(base), np.array(kind), np.array(place), phases)


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


def read_stack(values: Real, rows_nm: Real, cols_nm: Real, axis: tuple[float, float]) -> Reading | None:
    """Read the stack of one region along one axis; `None` where it has fewer than five layers.

    Parameters
    ----------
    values : (P,) the region's pixels, their mean and slow variation removed.
    rows_nm, cols_nm : (P,) where they lie [nm].
    axis : the reflection of the layers (row, column) [nm⁻¹].
    """
    length = float(np.hypot(*axis))
    along = (rows_nm * axis[0] + cols_nm * axis[1]) / length
    across = (-rows_nm * axis[1] + cols_nm * axis[0]) / length
    position = along * length  # in layers
    # The reflection's own phase says where the layers lie; the regressors take what is left of the offset.
    origin = float(np.angle(np.sum(values * np.exp(-2j * np.pi * position)))) / (2 * np.pi)
    half = np.floor(2 * (position + origin) + 0.5).astype(int)
    shift = int(half.min()) - int(half.min()) % 2
    half -= shift
    count = np.bincount(half).astype(float)
    wide = count >= 0.3 * np.percentile(count[count > 0], 90)
    first, last = int(np.argmax(wide)), len(wide) - int(np.argmax(wide[::-1]))
    first -= first % 2
    layers = min((last - first) // 2, MOST_LAYERS)
    if layers < 5:
        return None
    last = first + 2 * layers
    count = np.maximum(count[first:last], 1.0)

    def row_sums(frequency: float) -> Complex:
        wave = values * np.exp(-2j * np.pi * frequency * across)
        total = np.bincount(half, wave.real) + 1j * np.bincount(half, wave.imag)
        return np.asarray(total[first:last])

    lateral = LATERAL_RATIO * length
    sums = row_sums(lateral)
    beside = np.mean([np.abs(row_sums(lateral * f)) ** 2 / count for f in (0.72, 0.84, 1.16, 1.28)])
    power = float(np.log((np.mean(np.abs(sums) ** 2 / count) + 1e-12) / (beside + 1e-12)))

    observed = (sums / np.sqrt(count)).reshape(layers, 2)  # noise of every sample alike
    root = np.sqrt(count).reshape(layers, 2)
    candidates = words(layers)
    turned = observed[None] * np.exp(-2j * np.pi * RAMPS[:, None, None] * np.arange(layers)[None, :, None])
    explained = _explained(_designs(candidates.phases, root), turned.reshape(len(RAMPS), -1))
    share = explained / (np.sum(np.abs(observed) ** 2) + 1e-12)  # (C, A)
    best_ramp = share.max(axis=1)
    samples = 2 * layers
    adjusted = 1 - (1 - best_ramp) * samples / max(1, samples - REGRESSORS)

    perfect = candidates.kind == ""
    h = float(adjusted[perfect & (candidates.base == "h")].max())
    c = float(adjusted[perfect & (candidates.base == "c")].max())
    with_fault = np.flatnonzero(~perfect)
    best = int(with_fault[np.argmax(best_ramp[with_fault])])
    without = int(np.flatnonzero(perfect)[np.argmax(best_ramp[perfect])])
    residuals = (1 - float(best_ramp[perfect].max()) + 1e-6) / (1 - float(best_ramp[best]) + 1e-6)
    energy, noise = float(np.sum(np.abs(observed) ** 2)), float(beside) + 1e-12
    left_perfect = energy * (1 - float(best_ramp[perfect].max()))
    left_faulted = energy * (1 - float(best_ramp[best]))
    free = max(1, samples - REGRESSORS)
    turn = observed[2:] * observed[:-2].conj()
    norm = np.abs(observed[2:]) * np.abs(observed[:-2]) + 1e-12
    correlation = (turn.real / norm).mean(axis=1)
    place = float(candidates.place[best])
    return Reading(
        axis_rc=(float(axis[0]), float(axis[1])),
        layers=layers,
        perfect_h=h,
        perfect_c=c,
        faulted=float(adjusted[best]),
        base=str(candidates.base[best]),
        kind=str(candidates.kind[best]),
        place=place,
        gain=float(adjusted[best]) - max(h, c),
        significance=float(samples * np.log(residuals)),
        row_power=power,
        turn_mean=float(turn.real.sum() / norm.sum()),
        turn_spread=float(correlation.std()),
        depth=float(min(place, layers - 1 - place)),
        misfit_perfect=float(np.log(left_perfect / (free * noise) + 1e-3)),
        misfit_faulted=float(np.log(left_faulted / (free * noise) + 1e-3)),
        evidence=float(np.log1p(max(0.0, left_perfect - left_faulted) / noise)),
        word=_letters(candidates.phases[best]),
        perfect_word=_letters(candidates.phases[without]),
        ramps=(float(RAMPS[share[best].argmax()]), float(RAMPS[share[without].argmax()])),
        first_nm=((first + shift) / 2 - origin) / length,
        samples=observed,
        roots=root,
    )


def _letters(phases: Complex) -> str:
    return "".join("ABC"[round(3 * float(turn)) % 3] for turn in np.angle(phases) / (2 * np.pi))


def layers_seen(reading: Reading, word: str, ramp: float) -> Complex:
    """(N,) each layer's own complex number, its phase 0, 1/3 or 2/3 of a turn for A, B or C, about 1 in size.

    With the coefficients fitted for a word, what its neighbours give is taken off each layer's two samples, and what
    is left is read back through the layer's own two coefficients (the partial residuals of the fit).
    """
    turns = np.array(["ABC".index(letter) for letter in word]) / 3
    letters = np.exp(2j * np.pi * turns)
    turned = reading.samples * np.exp(-2j * np.pi * ramp * np.arange(reading.layers))[:, None]
    design = _designs(letters[None], reading.roots)[0]
    # In a periodic word a layer's and its neighbours' coefficients are told apart by its ends alone: what is as good
    # as undetermined is left out, else large ones that cancel would pull every layer onto its letter.
    c, *_ = np.linalg.lstsq(design, turned.ravel(), rcond=UNDETERMINED)
    padded = np.concatenate([[0], letters, [0]])
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
