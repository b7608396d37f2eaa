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


def letters(phases: Complex) -> str:
    """The word (N letters) of phases (N,), the first layer's letter being A where its phase is 0."""
    return "".join("ABC"[round(3 * float(turn)) % 3] for turn in np.angle(phases) / (2 * np.pi))
