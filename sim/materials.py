"""The materials that can be built: close-packed stacks described by two lengths and a basis."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from ase.data import atomic_numbers


@dataclass(frozen=True)
class Material:
    """A close-packed material: hexagonal nets of constant `net_nm`, one every `layer_nm` along the stacking axis.

    Wurtzite, zinc blende and fcc differ only in the word of the layers and in what sits on a net point.
    """

    name: str
    polytype: str
    """`wurtzite`, `zinc blende` or `fcc`: the word that counts as faultless."""
    net_nm: float
    """In-plane lattice constant of the hexagonal net [nm]."""
    layer_nm: float
    """Distance of two layers along the stacking axis [nm]."""
    basis: tuple[tuple[str, float], ...]
    """(symbol, height above the net point in units of the layer distance)."""

    @property
    def row_per_nm(self) -> float:
        """Lateral spatial frequency of the rows A, B, C seen along ⟨11-20⟩, 2 / (√3 net) [nm⁻¹]."""
        return 2 / (sqrt(3) * self.net_nm)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Atomic numbers of the basis."""
        return tuple(atomic_numbers[symbol] for symbol, _ in self.basis)

    @property
    def hexagonal(self) -> bool:
        """Whether the faultless word is ABAB rather than ABCABC."""
        return self.polytype == "wurtzite"


def wurtzite(name: str, cation: str, anion: str, a_nm: float, c_nm: float) -> Material:
    """A wurtzite material from a and c; the bond along c is taken as 3/8 c (ideal u)."""
    return Material(name, "wurtzite", a_nm, c_nm / 2, ((cation, 0.0), (anion, 0.75)))


def zinc_blende(name: str, cation: str, anion: str, a_nm: float) -> Material:
    """A zinc-blende material from its cubic lattice constant; stacked along ⟨111⟩."""
    return Material(name, "zinc blende", a_nm / sqrt(2), a_nm / sqrt(3), ((cation, 0.0), (anion, 0.75)))


def fcc(symbol: str, a_nm: float) -> Material:
    """An fcc metal from its cubic lattice constant; stacked along ⟨111⟩."""
    return Material(symbol, "fcc", a_nm / sqrt(2), a_nm / sqrt(3), ((symbol, 0.0),))


#: Lattice constants as in SCIENCE literature: CdSe P6₃mc and F-43m; Au, Ag, Pt at room temperature (Kittel).
MATERIALS: dict[str, Material] = {
    material.name: material
    for material in (
        wurtzite("CdSe-wurtzite", "Cd", "Se", 0.42985, 0.70152),
        zinc_blende("CdSe-zincblende", "Cd", "Se", 0.6077),
        fcc("Au", 0.4078),
        fcc("Ag", 0.4085),
        fcc("Pt", 0.3924),
    )
}
