"""The lattice spacings of the materials that may be on the grid, from their published constants.

A reflection is known here by its length alone: a spot's index is what its spacing allows, not a solved pattern.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import acos, atan2, degrees, sqrt

LONGEST = 7.5
"""Reflections beyond this frequency are not listed: no spot is looked for there [nm⁻¹]."""


@dataclass(frozen=True)
class Crystal:
    """One structure of a material."""

    material: str
    """As the operator names it."""
    structure: str
    """`wurtzite`, `zinc blende`, `rock salt` or `fcc`."""
    a_nm: float
    c_nm: float | None = None
    """Only of hexagonal structures."""

    def frequency(self, h: int, k: int, n: int) -> float:
        """1/d of the reflection h, k, n [nm⁻¹]: √(h² + k² + n²)/a, or √(4/3 (h² + hk + k²)/a² + n²/c²) of wurtzite."""
        if self.c_nm is None:
            return sqrt(h * h + k * k + n * n) / self.a_nm
        return sqrt(4 / 3 * (h * h + h * k + k * k) / self.a_nm**2 + (n / self.c_nm) ** 2)

    def allowed(self, h: int, k: int, n: int) -> bool:
        """Whether the structure's own extinctions leave the reflection.

        All cubic ones here are face-centred: h, k, n all even or all odd. In wurtzite (P6₃mc) those with h − k a
        multiple of 3 and n odd are extinct; the c-glide forbids less than the atoms' places do.
        """
        if self.c_nm is None:
            return h % 2 == k % 2 == n % 2
        return not ((h - k) % 3 == 0 and n % 2 == 1)

    @property
    def hexagonal(self) -> bool:
        """Whether its layers are stacked ABAB rather than ABCABC."""
        return self.c_nm is not None

    def angles(self, h: int, k: int, n: int) -> tuple[float, ...]:
        """Angles of the reflection, and of those like it, to the stacking direction [degrees], 0 to 90.

        That is [0001] of wurtzite and one ⟨111⟩ of a cubic crystal; a twin about it has the same angles.
        """
        if self.c_nm is not None:
            across = sqrt(4 / 3 * (h * h + h * k + k * k)) / self.a_nm
            return (degrees(atan2(across, n / self.c_nm)),)
        length = sqrt(3 * (h * h + k * k + n * n))
        dots = {abs(h + s * k + t * n) for s in (1, -1) for t in (1, -1)}
        return tuple(sorted(degrees(acos(min(1.0, dot / length))) for dot in dots))


#: Room temperature: CdSe as in Wyckoff, *Crystal Structures* (1963), and in the project's specification; the fcc metals
#: as tabulated in Kittel, *Introduction to Solid State Physics*; PbS (galena) in Wyckoff.
CRYSTALS: tuple[Crystal, ...] = (
    Crystal("CdSe", "wurtzite", 0.42985, 0.70152),
    Crystal("CdSe", "zinc blende", 0.6077),
    Crystal("PbS", "rock salt", 0.5936),
    Crystal("Au", "fcc", 0.4078),
    Crystal("Ag", "fcc", 0.4085),
    Crystal("Pt", "fcc", 0.3924),
)


@dataclass(frozen=True)
class Line:
    """One spacing of a crystal, with all reflections that share it named by one of them."""

    crystal: Crystal
    index: str
    """Miller indices, four of a hexagonal crystal: `111`, `10-10`."""
    frequency: float
    """[nm⁻¹]"""
    from_stacking: tuple[float, ...]
    """Angles to the stacking direction that its reflections have [degrees]."""


@cache
def lines(crystal: Crystal) -> tuple[Line, ...]:
    """The spacings of a crystal up to `LONGEST`, the widest first."""
    return tuple(sorted(_lines(crystal), key=lambda line: line.frequency))


def _lines(crystal: Crystal) -> Iterator[Line]:
    most = int(LONGEST * max(crystal.a_nm, crystal.c_nm or 0.0)) + 1
    seen: set[float] = set()
    for h in range(most + 1):
        for k in range(h + 1):
            for n in range(most + 1) if crystal.c_nm else range(k + 1):
                frequency = round(crystal.frequency(h, k, n), 6)
                if not 0 < frequency <= LONGEST or not crystal.allowed(h, k, n) or frequency in seen:
                    continue
                seen.add(frequency)
                index = f"{h}{k}{-h - k}{n}" if crystal.hexagonal else f"{h}{k}{n}"
                yield Line(crystal, index, frequency, crystal.angles(h, k, n))


def of_material(material: str) -> list[Crystal]:
    """The structures of a material, in whatever case it is written; none of one that is not known."""
    return [crystal for crystal in CRYSTALS if crystal.material.lower() == material.lower()]


def candidates(frequency: float, tolerance: float, material: str | None = None) -> list[Line]:
    """The lines within a relative tolerance of a frequency [nm⁻¹], the nearest first.

    Parameters
    ----------
    material : only of this one; `None`: of all that are known.
    """
    found = [
        line
        for crystal in (CRYSTALS if material is None else of_material(material))
        for line in lines(crystal)
        if abs(frequency / line.frequency - 1) <= tolerance
    ]
    return sorted(found, key=lambda line: abs(frequency / line.frequency - 1))
