"""What a process draws: a specimen with imaging conditions, and frames that hold nothing. No torch is needed for it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.examples.augment import empty_image, stamp, step_field
from models.preprocess import Preprocessing
from sim.dataset.make import ENERGIES_KEV, SLABS, TILE, slab_for
from sim.dataset.presets import PRESETS
from sim.optics.conditions import Conditions, draw_conditions
from sim.specimen.draw import Specimen, draw_specimen, label_image

LAID = 2
"""Steps of the light, and stamps, that come with each specimen."""


@dataclass(frozen=True)
class Plan:
    """What is drawn; a specimen follows from this and its number alone."""

    slabs: Path
    """Folder of the slabs of carbon; those that are missing are made there."""
    seed: tuple[int, ...]
    split: str
    """"train" or "validation": each has its own slabs and its own specimens."""
    presets: dict[str, float]
    """Share of the specimens of each preset; the first specimens are one of each."""
    gpts: int
    """Side of the exit waves [px]."""
    images: int = 64
    """Imaging conditions that come with each specimen."""
    empty: int = 8
    """Frames that hold nothing that come with each specimen."""
    kinds: dict[str, float] | None = None
    """How often each kind of them comes (`models.examples.batches.Drawing.kinds`)."""
    marks: float = 0.0
    """Share of them with burnt-in marks."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)


@dataclass(frozen=True)
class Drawn:
    """One specimen as atoms, and what is to be seen of it."""

    number: int
    preset: str
    positions: npt.NDArray[np.float32]
    """(N, 3) of the atoms [nm]."""
    numbers: npt.NDArray[np.uint8]
    """(N,) atomic numbers."""
    side_nm: float
    height_nm: float
    energy_kev: float
    labels: npt.NDArray[np.uint8]
    """(gpts, gpts) instances, 0 background."""
    conditions: tuple[Conditions, ...]
    empty: npt.NDArray[np.float16]
    """(E, 256, 256) standardised images that hold nothing."""
    lights: npt.NDArray[np.float32]
    """(L, 256, 256) steps of the light (`models.examples.augment.step_field`)."""
    stamps: npt.NDArray[np.uint8]
    """(L, 256, 256) marks (`models.examples.augment.stamp`)."""
    carbon_nm: float


def specimen_of(plan: Plan, number: int) -> tuple[str, Specimen, np.random.Generator]:
    """Preset and specimen of a number, and the generator as it stands after them."""
    rng = np.random.default_rng([*plan.seed, zlib.crc32(plan.split.encode()), number])
    names = sorted(plan.presets)
    shares = np.array([plan.presets[name] for name in names])
    preset = names[number] if number < len(names) else str(rng.choice(names, p=shares / shares.sum()))
    recipe = PRESETS[preset].recipe
    which = int(rng.integers(SLABS[plan.split]))
    slab = slab_for(plan.slabs, recipe.side_nm, plan.seed[0], plan.split, which)
    return preset, draw_specimen(recipe, slab, rng), rng


def draw(plan: Plan, number: int) -> Drawn:
    """Everything that comes with the specimen of a number."""
    preset, specimen, rng = specimen_of(plan, number)
    energy = float(rng.choice(list(ENERGIES_KEV), p=list(ENERGIES_KEV.values())))
    positions, numbers = specimen.atoms()
    return Drawn(
        number,
        preset,
        positions.astype(np.float32),
        numbers.astype(np.uint8),
        specimen.side_nm,
        specimen.height_nm,
        energy,
        label_image(specimen, plan.gpts),
        tuple(draw_conditions(rng, energy_kev=energy, field_nm=specimen.side_nm) for _ in range(plan.images)),
        _stack(
            plan.empty,
            lambda: empty_image(TILE, plan.kinds or {}, plan.preprocessing, plan.marks, rng),
        ).astype(np.float16),
        _stack(LAID, lambda: step_field(TILE, rng)),
        _stack(LAID, lambda: stamp(TILE, rng)),
        specimen.carbon_nm,
    )


def _stack(count: int, make: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.stack([make() for _ in range(count)]) if count else np.zeros((0, TILE, TILE), np.float32)


def missing_slabs(folder: Path, splits: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """(split, number) of the slabs of carbon that are not in a folder yet."""
    for split in splits:
        for number in range(SLABS[split]):
            if not (folder / f"carbon-{split}-{number}.npz").exists():
                yield split, number
