"""Makes a library of waves (`sim.microscope.library`): `faultwatch simulate OUT --preset library`.

Particles are drawn as they come: a share of them near a zone that shows the stacking, some along other zones, the rest
in any orientation. Their classes follow from the rule of `sim.specimen.truth`, so that `null` has its natural share.
Every particle and every film follows from the seed and its own number alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from math import ceil, inf
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from scipy import fft

from sim.microscope.library import (
    FORMAT,
    PIXEL_NM,
    UNSCORED,
    WAVE_PIXEL_NM,
    Film,
    ParticleWave,
    propagated,
    regridded,
    resampled,
    true_class,
)
from sim.optics.multislice import exit_wave
from sim.optics.transfer import Wave
from sim.specimen.carbon import amorphous_slab
from sim.specimen.draw import Placed, Recipe, Specimen, draw_particle, projected_mask
from sim.specimen.materials import parse_material
from sim.specimen.particle import Nanoparticle

FILMS = ((16.4, 1.2), (12.4, 1.0), (16.4, 2.2), (12.4, 1.8))
"""Side and thickness [nm]. A field stands on at least two of different side, so that nothing repeats for hundreds of
nm; thicker carbon is more of them."""
VACUUM_NM = 1.2
"""Of vacuum about a particle in its box, on every side [nm]."""
NEGLIGIBLE = 0.02
"""A wave is cropped where it comes no further than this from 1."""
RECIPE = Recipe(12.8, {}, particles=(1, 1), diameter_nm=(2.5, 7.0), largest_tilt_deg=8.0)


@dataclass(frozen=True)
class LibraryOrder:
    """All that a library follows from, but for the number of its particles."""

    seed: int = 770_008
    """The shipped library has the default; training uses neither it nor any other seed of a library."""
    near_zone: float = 0.55
    """Share of particles near a zone that shows the stacking."""
    named_zone: float = 0.15
    """Share of particles along another zone."""
    faulted: float = 0.5
    materials: dict[str, float] = field(
        default_factory=lambda: {"CdSe-wurtzite": 0.55, "CdSe-zincblende": 0.225, "Au": 0.225}
    )
    energies_kev: tuple[float, ...] = (300.0, 200.0, 80.0)
    """Voltages [kV]; the first is the one that is taken where none is asked for."""

    @property
    def recipe(self) -> Recipe:
        """From what its particles are drawn."""
        return replace(
            RECIPE,
            materials=self.materials,
            near_zone=self.near_zone,
            named_zone=min(self.named_zone, 1 - self.near_zone),
            faulted=self.faulted,
        )


def particle_wave(particle: Nanoparticle, energy_kev: float = 300.0) -> ParticleWave:
    """The wave of one particle in vacuum, by multislice, at its mid-plane and cropped."""
    extent = np.ptp(particle.positions, axis=0)
    gpts = fft.next_fast_len(2 * ceil((float(extent[:2].max()) / 2 + VACUUM_NM) / PIXEL_NM))
    gpts += gpts % 2
    side, height = gpts * PIXEL_NM, float(extent[2]) + 0.4
    placed = Placed(particle, (side / 2, side / 2, height / 2))
    specimen = Specimen(side, height, (placed,), np.zeros((0, 3)), 0.0)
    wave = propagated(exit_wave(specimen, gpts, energy_kev), PIXEL_NM, energy_kev, -height / 2)
    mask = projected_mask(placed, side, gpts)
    there = (np.abs(wave - 1) > NEGLIGIBLE) | mask
    half = [
        min(int(np.abs(np.flatnonzero(there.any(axis=1 - axis)) - gpts // 2).max()) + 4, gpts // 2 - 1)
        for axis in (0, 1)
    ]
    crop = tuple(slice(gpts // 2 - h, gpts // 2 + h + 1) for h in half)
    return ParticleWave(wave[crop], mask[crop], particle.record(), float(extent[2]))


def film_wave(side_nm: float, thickness_nm: float, seed: int, energy_kev: float = 300.0) -> Film:
    """The wave of a film of carbon, by multislice, at its mid-plane."""
    return _film_of(amorphous_slab(side_nm, thickness_nm, seed), side_nm, thickness_nm, energy_kev)


def _film_of(slab: npt.NDArray[np.float32], side_nm: float, thickness_nm: float, energy_kev: float) -> Film:
    height = thickness_nm + 0.4
    atoms = slab.astype(np.float64) + np.array([0.0, 0.0, 0.2])
    specimen = Specimen(side_nm, height, (), atoms, thickness_nm)
    wave = exit_wave(specimen, round(side_nm / PIXEL_NM), energy_kev)
    return Film(propagated(wave, PIXEL_NM, energy_kev, -height / 2), thickness_nm)


@dataclass(frozen=True)
class _Entry:
    """A group of the file, before it is written."""

    name: str
    attributes: dict[str, Any]
    waves: dict[str, tuple[npt.NDArray[np.float16], dict[str, Any]]]
    mask: npt.NDArray[np.bool_] | None = None

    def write(self, file: h5py.File) -> None:
        if self.name in file:  # what an interruption left of it
            del file[self.name]
        group = file.create_group(self.name)
        for kev, (wave, attributes) in self.waves.items():
            _write(group, f"waves/{kev}", wave).attrs.update(attributes)
        if self.mask is not None:
            _write(group, "mask", self.mask.astype(np.uint8))
        group.attrs.update(self.attributes)


def _film_entry(order: LibraryOrder, n: int, side_nm: float, thickness_nm: float) -> _Entry:
    rng = np.random.default_rng([order.seed, 1, n])
    slab = amorphous_slab(side_nm, thickness_nm, int(rng.integers(2**31)))
    waves = {}
    for kev in order.energies_kev:
        film = _film_of(slab, side_nm, thickness_nm, kev)
        coarse = resampled(film.wave, round(side_nm / WAVE_PIXEL_NM))
        mean = complex(coarse.mean())
        waves[f"{kev:g}"] = _packed(coarse / np.complex64(mean)), {"mean": [mean.real, mean.imag]}
    return _Entry(f"films/{n}", {"thickness_nm": thickness_nm, "side_nm": side_nm}, waves)


def _particle_entry(order: LibraryOrder, n: int) -> _Entry:
    particle = draw_particle(order.recipe, np.random.default_rng([order.seed, 2, n]))
    by_energy = {f"{kev:g}": particle_wave(particle, kev) for kev in order.energies_kev}
    # One mask for all voltages, as wide as the widest of the waves.
    shape = tuple(max(one.mask.shape[axis] for one in by_energy.values()) for axis in (0, 1))
    first = next(iter(by_energy.values()))
    mask = np.zeros(shape, bool)
    inner = tuple(slice((n - m) // 2, (n + m) // 2) for n, m in zip(shape, first.mask.shape, strict=True))
    mask[inner] = first.mask
    record = first.record
    attributes = {
        "record": json.dumps(record),
        "class": true_class(record, inf) or UNSCORED,
        "height_nm": first.height_nm,
    }
    waves: dict[str, tuple[npt.NDArray[np.float16], dict[str, Any]]] = {
        kev: (_stepped(_coarse(one.wave)), {}) for kev, one in by_energy.items()
    }
    return _Entry(f"particles/{n:04d}", attributes, waves, mask)


def _coarse(wave: Wave) -> Wave:
    """A particle's wave as it is stored."""
    rows, columns = (2 * ceil(n * PIXEL_NM / WAVE_PIXEL_NM / 2) + 1 for n in wave.shape)
    return regridded(wave, (rows, columns), PIXEL_NM, WAVE_PIXEL_NM)


_Task = tuple[LibraryOrder, int, tuple[float, float] | None]
"""The order, the number of a particle or a film, and the film's side and thickness [nm]."""


def _entry(task: _Task) -> _Entry:
    order, n, film = task
    return _particle_entry(order, n) if film is None else _film_entry(order, n, *film)


def make_library(out: Path, order: LibraryOrder, *, particles: int, processes: int = 1) -> None:
    """Simulate so many particles and the films into one file, with a progress bar.

    What was made before an interruption lies in a file beside it, `.partial`, and is kept.

    Raises
    ------
    ValueError
        An unknown material, a folder at `out`, or the file beside it was made to another order.
    """
    from tqdm import tqdm

    if out.is_dir():
        raise ValueError(f"{out} is a folder; a library is one file")
    for name in order.materials:
        parse_material(name)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    told = json.dumps(asdict(order), sort_keys=True)
    with h5py.File(partial, "a") as file:
        if file.attrs.get("order", told) != told:
            raise ValueError(f"{partial} was made to another order; remove it, or choose another name")
        file.attrs.update(
            {
                "format": FORMAT,
                "order": told,
                "pixel_size_nm": PIXEL_NM,
                "wave_pixel_nm": WAVE_PIXEL_NM,
                "energies_kev": order.energies_kev,
            }
        )
        names = [f"films/{n}" for n in range(len(FILMS))] + [f"particles/{n:04d}" for n in range(particles)]
        tasks: list[_Task] = [(order, n, film) for n, film in enumerate(FILMS)]
        tasks += [(order, n, None) for n in range(particles)]
        todo = [task for name, task in zip(names, tasks, strict=True) if not _whole(file, name)]
        with tqdm(total=len(tasks), initial=len(tasks) - len(todo), unit="wave", disable=None) as bar:
            for entry in _made(todo, processes):
                entry.write(file)
                file.flush()
                bar.update()
    partial.replace(out)


def _whole(file: h5py.File, name: str) -> bool:
    """Whether a group was written to its end: the attributes come last."""
    return name in file and len(file[name].attrs) > 0


def _made(tasks: list[_Task], processes: int) -> Iterator[_Entry]:
    """The entries in the order of the tasks."""
    if processes <= 1 or len(tasks) <= 1:
        yield from map(_entry, tasks)
        return
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        yield from pool.map(_entry, tasks)
    finally:
        pool.shutdown(cancel_futures=True)


def _parts(wave: Wave) -> npt.NDArray[np.float32]:
    return np.stack([wave.real - 1, wave.imag], axis=-1)


def _stepped(wave: Wave) -> npt.NDArray[np.float16]:
    """A particle's wave less 1, rounded to 1/256: what is left packs to a third."""
    return np.asarray(np.rint(_parts(wave) * 256) / 256, dtype=np.float16)


def _packed(wave: Wave) -> npt.NDArray[np.float16]:
    """A film's wave less 1, which is little everywhere, rounded to 7 significant bits: it packs to half."""
    bits = _parts(wave).astype(np.float16).view(np.uint16)
    return ((bits + 8) & 0xFFF0).astype(np.uint16).view(np.float16)


def _write(group: h5py.Group, name: str, data: npt.NDArray[Any]) -> h5py.Dataset:
    return group.create_dataset(name, data=data, chunks=data.shape, compression="gzip", shuffle=True)
