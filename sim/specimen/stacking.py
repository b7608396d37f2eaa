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

Four or more layers of the other letter in succession (`LAMELLA`) are no fault but a lamella of the other polytype:
`polytype`. A run that is in no table is `other`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LETTERS = "ABC"

#: The fault's layers in Jagodzinski notation, by base.
RUNS: dict[str, dict[str, str]] = {
    "h": {"I1": "c", "I2": "cc", "E": "ccc"},
    "c": {"twin": "h", "intrinsic": "hh", "extrinsic": "hch"},
}

LAMELLA = 4
"""From so many layers of the other letter on they are a polytype of their own."""
POLYTYPE = "polytype"
OTHER = {"h": "c", "c": "h"}

#: Runs in Jagodzinski notation, by base: a lamella, or what belongs to one fault (in cubic, `h` apart by one `c`).
_RUN = {
    "h": re.compile(r"c+"),
    "c": re.compile(rf"h{{{LAMELLA},}}|h+(?:c(?!h{{{LAMELLA}}})h+)*"),
}


@dataclass(frozen=True)
class Fault:
    """One stacking fault in a word, or a lamella of the other polytype."""

    kind: str
    """I1, I2, E, twin, intrinsic, extrinsic, polytype or other."""
    layer: int
    """Index of the first layer whose surrounding differs from the base."""
    layers: int
    """How many layers the fault's run is long."""

    @property
    def centre(self) -> float:
        """Middle of the run, in layers from the word's first letter."""
        return self.layer + (self.layers - 1) / 2


def word(
    base: str,
    layers: int,
    faults: Sequence[tuple[str, int]] = (),
    lamellas: Sequence[tuple[int, int]] = (),
) -> str:
    """The stacking word with the given faults.

    Parameters
    ----------
    base : "h" (wurtzite) or "c" (fcc, zinc blende, rock salt).
    layers : length of the word.
    faults : (kind, first layer) of each fault; layers 1 to `layers` - 2 have two neighbours.
    lamellas : (first layer, count) of each lamella of the other polytype; it may reach over the word's ends.

    Raises
    ------
    ValueError
        A kind that the base does not have, a fault beyond the word's ends, a lamella of fewer than `LAMELLA` layers, or
        two of them that touch.
    """
    surroundings = [base] * layers
    runs: list[tuple[str, int, str]] = []
    for first, count in lamellas:
        if count < LAMELLA:
            raise ValueError(f"a lamella of {count} layers: from {LAMELLA} on it is a polytype")
        begin, end = max(1, first), min(first + count, layers - 1)
        if end - begin < LAMELLA:
            raise ValueError(f"a lamella of {count} at layer {first} does not fit into {layers} layers")
        runs.append((POLYTYPE, begin, OTHER[base] * (end - begin)))
    for kind, first in faults:
        if kind not in RUNS[base]:
            raise ValueError(f"{kind} is no fault of {base}; it has {', '.join(RUNS[base])}")
        run = RUNS[base][kind]
        if first < 1 or first + len(run) > layers - 1:
            raise ValueError(f"a {kind} fault at layer {first} does not fit into {layers} layers")
        runs.append((kind, first, run))
    for kind, first, run in runs:
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
    """The faults and lamellas of a word, by the rule at the head of this module."""
    by_run = {run: kind for kind, run in RUNS[base].items()}
    found = []
    for match in _RUN[base].finditer(surroundings(stack)):
        run = match.group()
        lamella = len(run) >= LAMELLA and set(run) == {OTHER[base]}
        kind = POLYTYPE if lamella else by_run.get(run, "other")
        found.append(Fault(kind, match.start() + 1, len(run)))
    return tuple(found)
