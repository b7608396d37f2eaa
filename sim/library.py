"""A small library of exit waves with their truth, from which the virtual microscope draws frames at once.

Waves of one *film* share the same carbon, and particles keep away from the border: put side by side they make a larger
field without a seam. It is made by `faultwatch simulate OUT --preset library` from a seed of its own, and ships
with the package as one HDF5 file:

===========  ========================  =====================================================
dataset      shape, type               meaning
===========  ========================  =====================================================
`waves`      (N, 512, 512, 2) float16  real and imaginary part of the exit wave, 1 in vacuum
`labels`     (N, 512, 512) uint8       instances
`film`       (N,) int                  which film of carbon
`particles`  (N,) JSON                 the particles, as `Nanoparticle.record` writes them
===========  ========================  =====================================================
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from sim.carbon import amorphous_slab
from sim.multislice import exit_wave
from sim.specimen import Recipe, SlabOfCarbon, draw_specimen, label_image

FORMAT = "faultwatch wave library 1"
SHIPPED = Path(__file__).parent / "library" / "cdse.h5"
SIDE_NM = 12.8
GPTS = 512
ENERGY_KEV = 300.0
WAVES_A_FILM = 6
SEED = 770_001
"""Of the shipped library; training never uses it."""

RECIPE = Recipe(
    SIDE_NM,
    {"CdSe-wurtzite": 1.0},
    particles=(1, 2),
    diameter_nm=(3.5, 6.5),
    near_zone=0.8,
    named_zone=0.1,
    faulted=0.45,
    largest_tilt_deg=8.0,
    no_particle=0.0,
    no_carbon=0.0,
    edge_of_carbon=0.0,
    overlapping=0.0,
    soot=0.0,
    contamination=0.0,
    inside_nm=0.7,
)


def make_library(out: Path, *, waves: int, seed: int = SEED) -> None:
    """Simulate so many waves into one file, with a progress bar; the film changes every `WAVES_A_FILM`."""
    from tqdm import tqdm

    stored, labels, films, particles = [], [], [], []
    for n in tqdm(range(waves), unit="wave", disable=None):
        film, rng = n // WAVES_A_FILM, np.random.default_rng([seed, n])
        film_rng = np.random.default_rng([seed, 1_000_000 + film])
        thickness = float(film_rng.uniform(2.0, 4.0))
        # A slab exactly as thick as the film, used as it is: the same atoms in every wave of the film.
        slab = SlabOfCarbon(
            amorphous_slab(SIDE_NM, thickness, int(film_rng.integers(2**31))), SIDE_NM, thickness
        )
        specimen = draw_specimen(RECIPE, slab, rng, whole_slab=True)
        wave = exit_wave(specimen, GPTS, ENERGY_KEV)
        shown = label_image(specimen, GPTS)
        wave *= np.exp(-1j * np.angle(wave[shown == 0].mean()))  # films end in the same phase
        stored.append(np.stack([wave.real, wave.imag], axis=-1).astype(np.float16))
        labels.append(shown)
        films.append(film)
        particles.append(json.dumps([p.particle.record() for p in specimen.particles]))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    with h5py.File(partial, "w") as file:
        file.attrs.update(
            {"format": FORMAT, "seed": seed, "pixel_size_nm": SIDE_NM / GPTS, "energy_kev": ENERGY_KEV}
        )
        file.create_dataset(
            "waves", data=np.stack(stored), chunks=(1, GPTS, GPTS, 2), compression="gzip", shuffle=True
        )
        file.create_dataset("labels", data=np.stack(labels), chunks=(1, GPTS, GPTS), compression="gzip")
        file.create_dataset("film", data=np.array(films))
        file.create_dataset("particles", data=particles, dtype=h5py.string_dtype())
    partial.replace(out)


@dataclass(frozen=True)
class Library:
    """An opened library; waves are read as they are asked for and kept."""

    path: Path
    pixel_size_nm: float
    energy_kev: float
    films: npt.NDArray[np.int64]
    particles: list[list[dict[str, Any]]]
    waves: npt.NDArray[np.complex64]
    """(N, 512, 512)."""
    labels: npt.NDArray[np.uint8]


def load_library(path: Path = SHIPPED) -> Library:
    """Read a library.

    Raises
    ------
    ValueError
        There is none at this path, or it is of another format.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there; make it with: faultwatch simulate {path} --preset library")
    with h5py.File(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise ValueError(f"{path} is no library of waves")
        parts = file["waves"][:]
        waves = np.empty(parts.shape[:-1], np.complex64)
        waves.real, waves.imag = parts[..., 0], parts[..., 1]
        return Library(
            path,
            float(file.attrs["pixel_size_nm"]),
            float(file.attrs["energy_kev"]),
            np.asarray(file["film"][:]),
            [json.loads(text) for text in file["particles"].asstr()[:]],
            waves,
            file["labels"][:],
        )
