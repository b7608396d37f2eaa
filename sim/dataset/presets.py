"""Presets of data sets: recipes by name, and the settings that an order may change."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from sim.specimen.draw import Recipe
from sim.specimen.materials import parse_material


@dataclass(frozen=True)
class Preset:
    """A recipe and how often each specimen is imaged."""

    recipe: Recipe
    draws: int


_MIX = {
    "CdSe-wurtzite": 0.42,
    "CdSe-zincblende": 0.12,
    "Au": 0.28,
    "Ag": 0.05,
    "Pt": 0.06,
    "PbS": 0.07,
}
_WIDE_NM = 25.6

PRESETS: dict[str, Preset] = {
    # Few particles, seen close: lattices, faults, tilts.
    "lattice": Preset(
        Recipe(
            12.8,
            _MIX,
            particles=(1, 4),
            diameter_nm=(2.0, 8.5),
            carbon_nm=(2, 10),
            near_zone=0.68,
            named_zone=0.17,
            faulted=0.58,
            polytype=0.05,
            polycrystal=0.06,
            clusters=0.15,
        ),
        draws=8,
    ),
    # Many particles in a wide field.
    "overview": Preset(
        Recipe(
            _WIDE_NM,
            {**_MIX, "Au": 0.6},
            particles=(4, 20),
            diameter_nm=(1.6, 12.0),
            carbon_nm=(2, 10),
            near_zone=0.3,
            clusters=0.2,
        ),
        draws=3,
    ),
    # Particles of several grains, overlapping.
    "grains": Preset(
        Recipe(
            _WIDE_NM,
            {"Au": 0.6, "Pt": 0.1, "Ag": 0.1, "CdSe-wurtzite": 0.2},
            particles=(3, 14),
            diameter_nm=(2.0, 12.0),
            carbon_nm=(2, 10),
            near_zone=0.2,
            polycrystal=0.6,
            overlapping=0.4,
            clusters=0.2,
        ),
        draws=3,
    ),
    # One particle along a zone that hardly ever resolves the stacking, or in any orientation: nearly all are `null`.
    "zones": Preset(
        Recipe(
            12.8,
            {"CdSe-wurtzite": 0.4, "CdSe-zincblende": 0.35, "Au": 0.25},
            particles=(1, 1),
            diameter_nm=(2.5, 8.0),
            carbon_nm=(2, 10),
            near_zone=0.0,
            named_zone=0.85,
            soot=0.0,
            no_particle=0.0,
        ),
        draws=8,
    ),
    # Nothing but film: its edges, holes and contamination.
    "bare": Preset(
        Recipe(
            12.8,
            _MIX,
            particles=(0, 0),
            diameter_nm=(2.0, 8.0),
            carbon_nm=(1, 10),
            no_particle=1.0,
            no_carbon=0.03,
            edge_of_carbon=0.4,
            contamination=0.4,
            soot=0.2,
        ),
        draws=8,
    ),
    # Nothing but soot: curved graphitic fringes, which are no particles of the kind looked for.
    "soot": Preset(
        Recipe(_WIDE_NM, _MIX, particles=(0, 0), diameter_nm=(2.0, 8.0), no_particle=1.0, soot_only=True),
        draws=3,
    ),
}


@dataclass(frozen=True)
class Order:
    """All that a data set follows from; the same order gives the same data set, bit for bit, on one machine."""

    preset: str = "lattice"
    seed: int = 0
    near_zone: float | None = None
    """Share of particles near a zone that shows faults; the preset's where it is `None`."""
    materials: dict[str, float] | None = None
    """What particles are made of, by `sim.specimen.materials.parse_material`, with weights; the preset's where
    it is `None`."""
    draws: int | None = None
    """Images of each specimen; the preset's where it is `None`."""
    phonons: int = 0
    """Frozen phonons of each specimen; 0 leaves its atoms still."""
    device: str = "cpu"
    """What runs the multislice: "cpu", or "gpu" with CuPy."""
    background: float = 0.0
    """Share of specimens that lie on a real frame of empty support instead of simulated carbon."""
    kinds: str = "planar"
    """Which faults make a particle `yes`, a name of `sim.specimen.truth.COUNTED`."""
    split: str | None = None
    """The split that all specimens belong to; by their numbers where it is `None`."""

    def preset_as_ordered(self) -> Preset:
        """The preset with this order's changes.

        Raises
        ------
        ValueError
            No preset of this name, or no such material.
        """
        if self.preset not in PRESETS:
            raise ValueError(f"no preset {self.preset}; there are {', '.join([*PRESETS, 'library'])}")
        preset = PRESETS[self.preset]
        changes: dict[str, Any] = {}
        if self.near_zone is not None:
            changes |= {"near_zone": self.near_zone, "named_zone": (1 - self.near_zone) / 2}
        if self.materials is not None:
            for name in self.materials:
                parse_material(name)
            changes |= {"materials": self.materials}
        return Preset(replace(preset.recipe, **changes), self.draws or preset.draws)

    def as_json(self) -> str:
        """As it is kept in every shard; what is as usual of the settings that were added later is left out."""
        told = asdict(self)
        usual = {
            name: told[name] for name, value in (("kinds", "planar"), ("split", None)) if told[name] == value
        }
        return json.dumps({name: value for name, value in told.items() if name not in usual}, sort_keys=True)
