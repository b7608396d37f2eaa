"""The materials that can be built: close-packed stacks described by two lengths and a basis.

A further material is one text away: `parse_material("fcc:Cu:0.3615")`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from math import hypot, sqrt
from typing import NamedTuple

from ase.data import atomic_numbers, covalent_radii


class Site(NamedTuple):
    """One atom of the basis."""

    symbol: str
    height: float
    """Above the net point, in units of the layer distance."""
    hollow: bool = False
    """Whether it sits in the octahedral hollow between this layer and the next, on the letter that neither has."""


@dataclass(frozen=True)
class Material:
    """A close-packed material: hexagonal nets of constant `net_nm`, one every `layer_nm` along the stacking axis.

    Wurtzite, zinc blende, fcc and rock salt differ only in the word of the layers and in what sits on a net point.
    """

    name: str
    """A name of `MATERIALS`, or the text that `parse_material` reads."""
    polytype: str
    """`wurtzite`, `zinc blende`, `fcc` or `rock salt`: the word that counts as faultless, and the basis."""
    net_nm: float
    """In-plane lattice constant of the hexagonal net [nm]."""
    layer_nm: float
    """Distance of two layers along the stacking axis [nm]."""
    basis: tuple[Site, ...]

    @property
    def row_per_nm(self) -> float:
        """Lateral spatial frequency of the rows A, B, C seen along ⟨11-20⟩, 2 / (√3 net) [nm⁻¹]."""
        return 2 / (sqrt(3) * self.net_nm)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Atomic numbers of the basis."""
        return tuple(atomic_numbers[site.symbol] for site in self.basis)

    @property
    def hexagonal(self) -> bool:
        """Whether the faultless word is ABAB rather than ABCABC."""
        return self.polytype == "wurtzite"

    @property
    def base(self) -> str:
        """Jagodzinski letter of the faultless word (see `sim.specimen.stacking`): `h` or `c`."""
        return "h" if self.hexagonal else "c"

    @property
    def stacking_plane(self) -> str:
        """Miller indices of the close-packed plane: `(0001)` or `(111)`."""
        return "(0001)" if self.hexagonal else "(111)"

    @property
    def bond_nm(self) -> float:
        """Distance of nearest neighbours [nm]; in wurtzite that of the bond along c."""
        if len(self.basis) == 1:
            return self.net_nm
        (_, low, _), (_, high, hollow) = self.basis
        # From a net point to a hollow: a third of the net's long diagonal aside.
        return hypot((high - low) * self.layer_nm, self.net_nm / sqrt(3) if hollow else 0.0)


def wurtzite(name: str, cation: str, anion: str, a_nm: float, c_nm: float) -> Material:
    """A wurtzite material from a and c; the bond along c is taken as 3/8 c (ideal u)."""
    return Material(name, "wurtzite", a_nm, c_nm / 2, (Site(cation, 0.0), Site(anion, 0.75)))


def zinc_blende(name: str, cation: str, anion: str, a_nm: float) -> Material:
    """A zinc-blende material from its cubic lattice constant; stacked along ⟨111⟩."""
    return Material(
        name, "zinc blende", a_nm / sqrt(2), a_nm / sqrt(3), (Site(cation, 0.0), Site(anion, 0.75))
    )


def rock_salt(name: str, cation: str, anion: str, a_nm: float) -> Material:
    """A rock-salt material from its cubic lattice constant; stacked along ⟨111⟩, the anions in the hollows."""
    return Material(
        name,
        "rock salt",
        a_nm / sqrt(2),
        a_nm / sqrt(3),
        (Site(cation, 0.0), Site(anion, 0.5, hollow=True)),
    )


def fcc(symbol: str, a_nm: float, name: str | None = None) -> Material:
    """An fcc metal from its cubic lattice constant; stacked along ⟨111⟩."""
    return Material(name or symbol, "fcc", a_nm / sqrt(2), a_nm / sqrt(3), (Site(symbol, 0.0),))


#: Lattice constants at room temperature: CdSe P6₃mc and F-43m as in the project's specification; the metals and PbS as
#: tabulated in Kittel, *Introduction to Solid State Physics*, and Wyckoff, *Crystal Structures*.
MATERIALS: dict[str, Material] = {
    material.name: material
    for material in (
        wurtzite("CdSe-wurtzite", "Cd", "Se", 0.42985, 0.70152),
        zinc_blende("CdSe-zincblende", "Cd", "Se", 0.6077),
        rock_salt("PbS", "Pb", "S", 0.5936),
        fcc("Au", 0.4078),
        fcc("Ag", 0.4085),
        fcc("Pt", 0.3924),
    )
}

#: Kinds that a text can name: how many elements and how many lengths [nm] they take.
KINDS: dict[str, tuple[int, int]] = {
    "fcc": (1, 1),
    "zincblende": (2, 1),
    "wurtzite": (2, 2),
    "rocksalt": (2, 1),
}
BOND_RANGE = (0.7, 1.4)
"""Bonds that are believed, in units of the sum of the two covalent radii."""
AXIAL_RATIO_RANGE = (1.5, 1.75)
"""c/a of wurtzite that is believed; ideal is √(8/3) = 1.633."""


def parse_material(text: str) -> Material:
    """A material from its name, or from `kind:elements:lengths` with lattice constants in nm.

    `fcc:Cu:0.3615`, `zincblende:GaAs:0.56533` or `zincblende:Ga:As:0.56533`, `wurtzite:Zn:O:0.3250:0.5207`,
    `rocksalt:Pb:S:0.5936`. The material's name is the text, so that a stored name can be read again.

    Raises
    ------
    ValueError
        Neither a known name nor such a text, an element that is none, or lengths that no bond has.
    """
    if text in MATERIALS:
        return MATERIALS[text]
    kind, *fields = text.split(":")
    if kind not in KINDS or not fields:
        raise ValueError(
            f"no material {text!r}; there are {', '.join(MATERIALS)}, and kind:elements:lengths "
            f"(as fcc:Cu:0.3615) of the kinds {', '.join(KINDS)}"
        )
    elements, lengths = KINDS[kind]
    names, values = fields[: max(0, len(fields) - lengths)], fields[max(0, len(fields) - lengths) :]
    symbols = re.findall(r"[A-Z][a-z]?", names[0]) if len(names) == 1 and elements == 2 else names
    if "".join(symbols) != "".join(names) or len(symbols) != elements or len(values) != lengths:
        raise ValueError(
            f"{text!r}: {kind} takes {elements} element(s) and {lengths} lattice constant(s) [nm]"
        )
    for symbol in symbols:
        if atomic_numbers.get(symbol, 0) < 1:
            raise ValueError(f"{text!r}: {symbol!r} is no element")
    try:
        nanometres = [float(value) for value in values]
    except ValueError:
        raise ValueError(
            f"{text!r}: the lattice constants {', '.join(values)} must be numbers [nm]"
        ) from None
    if kind == "fcc":
        material = fcc(symbols[0], nanometres[0], text)
    elif kind == "zincblende":
        material = zinc_blende(text, symbols[0], symbols[1], nanometres[0])
    elif kind == "rocksalt":
        material = rock_salt(text, symbols[0], symbols[1], nanometres[0])
    else:
        material = wurtzite(text, symbols[0], symbols[1], nanometres[0], nanometres[1])
        ratio = nanometres[1] / nanometres[0] if nanometres[0] > 0 else float("nan")
        if not AXIAL_RATIO_RANGE[0] <= ratio <= AXIAL_RATIO_RANGE[1]:
            raise ValueError(
                f"{text!r}: c/a is {ratio:.3f}; wurtzite has {AXIAL_RATIO_RANGE[0]} to {AXIAL_RATIO_RANGE[1]}"
            )
    first, last = material.numbers[0], material.numbers[-1]
    covalent_nm = float(covalent_radii[first] + covalent_radii[last]) / 10
    shortest, longest = (factor * covalent_nm for factor in BOND_RANGE)
    if not shortest <= material.bond_nm <= longest:
        raise ValueError(
            f"{text!r}: neighbours would be {material.bond_nm:.4f} nm apart; "
            f"{' and '.join(symbols)} are bonded at {shortest:.3f} to {longest:.3f} nm"
        )
    return material


def hollow_letters(stack: str) -> str:
    """The letter of the octahedral hollow above each layer: the one that neither it nor the next layer carries.

    Above the last layer the stack is taken to go on in cubic sequence.
    """
    if len(stack) < 2:
        raise ValueError(f"a stack of {len(stack)} layer(s) has no hollows between layers")
    between = [next(c for c in "ABC" if c not in pair) for pair in pairwise(stack)]
    return "".join(between) + stack[-2]
