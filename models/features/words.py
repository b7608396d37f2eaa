"""Candidate stacking sequences: words in A, B, C with no planar fault or with one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]

RUNS: tuple[tuple[str, str, str], ...] = (
    ("h", "I1", "c"),
    ("h", "I2", "cc"),
    ("h", "E", "ccc"),
    ("c", "twin", "h"),
    ("c", "intrinsic", "hh"),
    ("c", "extrinsic", "hch"),
)
FAULTLESS = 4
"""The first words of a length have no fault: ABAB and ABCABC, each in both hands."""


@dataclass(frozen=True)
class Words:
    """Candidate words for a number of layers; the `FAULTLESS` ones stand first."""

    base: npt.NDArray[np.str_]
    """(C,) `h` or `c`."""
    kind: npt.NDArray[np.str_]
    """(C,) name of the fault, empty for a faultless word."""
    place: Real
    """(C,) middle of the fault [layers from the first]; NaN for a faultless word."""
    phases: Complex
    """(C, N) exp(2πi σ/3) of every layer."""
    conjugates: npt.NDArray[np.complex64]
    """(N, C) the same, conjugate, each word a column."""
    following: tuple[Complex, Complex]
    """(C, N - 1) and (C, N - 2): each layer's conjugate phase times that of the next, and of the next but one."""
    letters: tuple[str, ...]
    """The words (N letters), the first layer's A."""


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
    following = tuple(phases[:, :-n].conj() * phases[:, n:] for n in (1, 2))
    letters = tuple("".join("ABC"[step % 3] for step in positions) for positions in steps)
    return Words(
        base=np.array(base),
        kind=np.array(kind),
        place=np.array(place),
        phases=phases,
        conjugates=np.ascontiguousarray(phases.conj().T, dtype=np.complex64),
        following=(following[0], following[1]),
        letters=letters,
    )
