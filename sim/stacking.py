"""Close-packed stacking as words in A, B, C: perfect polytypes, their faults, and the rule that finds faults again.

A word is turned into its Jagodzinski notation: layer i is `h` where its two neighbours carry the same letter, else
`c`. Wurtzite is all `h`, fcc and zinc blende all `c`; a fault is a run of the other letter (Hirth and Lothe, *Theory
of Dislocations*, ch. 10):

===========  ====================  ===========================
base         run                   fault
===========  ====================  ===========================
h h h h      c                     I1   (…ABABCBCB…)
h h h h      c c                   I2   (…ABABCACA…)
h h h h      c c c                 E    (…ABABCABAB…)
c c c c      h                     twin (…ABCBA…)
c c c c      h h                   intrinsic (one plane missing)
c c c c      h c h                 extrinsic (one plane inserted)
===========  ====================  ===========================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LETTERS = "ABC"

#: The fault's layers in Jagodzinski notation, by base.
RUNS: dict[str, dict[str, str]] = {
    "h": {"I1": "c", "I2": "cc", "E": "ccc"},
    "c": {"twin": "h", "intrinsic": "hh", "extrinsic": "hch"},
}


@dataclass(frozen=True)
class Fault:
    """One stacking fault in a word."""

    kind: str
    """I1, I2, E, twin, intrinsic or extrinsic."""
    layer: int
    """Index of the first layer whose surrounding differs from the base."""
    layers: int
    """How many layers the fault's run is long."""

    @property
    def centre(self) -> float:
        """Middle of the run, in layers from the word's first letter."""
        return self.layer + (self.layers - 1) / 2


def word(base: str, layers: int, faults: Sequence[tuple[str, int]] = ()) -> str:
    """The stacking word with the given faults.

    Parameters
    ----------
    base : "h" (wurtzite) or "c" (fcc, zinc blende).
    layers : length of the word.
    faults : (kind, first layer) of each fault; layers 1 to `layers` - 2 have two neighbours.

    Raises
    ------
    ValueError
        A kind that the base does not have, a fault beyond the word's ends, or two faults that touch.
    """
    surroundings = [base] * layers
    for kind, first in faults:
        if kind not in RUNS[base]:
            raise ValueError(f"{kind} is no fault of {base}; it has {', '.join(RUNS[base])}")
        run = RUNS[base][kind]
        if first < 1 or first + len(run) > layers - 1:
            raise ValueError(f"a {kind} fault at layer {first} does not fit into {layers} layers")
        if any(surroundings[i] != base for i in range(max(1, first - 1), min(layers, first + len(run) + 1))):
            raise ValueError(f"the {kind} fault at layer {first} touches another one")
        surroundings[first : first + len(run)] = run
    return from_surroundings(surroundings)


def from_surroundings(surroundings: Sequence[str]) -> str:
    """The word that has these Jagodzinski letters (its first and last are not used); it starts with AB."""
    letters = [0, 1]
    step = 1
    for surrounding in surroundings[1 : len(surroundings) - 1]:
        step = -step if surrounding == "h" else step
        letters.append((letters[-1] + step) % 3)
    return "".join(LETTERS[i] for i in letters[: len(surroundings)])


def surroundings(stack: str) -> str:
    """Jagodzinski letters of the inner layers of a word: layer i is `h` where i - 1 and i + 1 carry the same letter.

    Raises
    ------
    ValueError
        Two neighbouring layers carry the same letter: that is no close packing.
    """
    for i in range(len(stack) - 1):
        if stack[i] == stack[i + 1]:
            raise ValueError(f"layers {i} and {i + 1} of {stack} are both {stack[i]}: no close packing")
    return "".join("h" if stack[i - 1] == stack[i + 1] else "c" for i in range(1, len(stack) - 1))


def find_faults(stack: str, base: str) -> tuple[Fault, ...]:
    """The faults of a word, by the rule of this module's table; a run that is in no table is called `other`."""
    inner = surroundings(stack)
    by_run = {run: kind for kind, run in RUNS[base].items()}
    found: list[Fault] = []
    i = 0
    while i < len(inner):
        if inner[i] == base:
            i += 1
            continue
        end = i + 1
        while end < len(inner) and (inner[end] != base or (inner[end : end + 2] == "ch" and base == "c")):
            end += 1
        run = inner[i:end]
        found.append(Fault(by_run.get(run, "other"), i + 1, len(run)))
        i = end
    return tuple(found)
