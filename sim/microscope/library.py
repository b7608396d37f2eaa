"""A library of exit waves with their truth, from which the virtual microscope composes its fields.

Every particle stands alone *in vacuum*, cropped to where its wave differs from 1; films of amorphous carbon stand
beside them. All waves are given at the mid-plane of what they went through. The library is made by `faultwatch simulate
OUT --preset library` from a seed of its own, and ships with the package as one HDF5 file:

=====================  ========================  ================================================================
dataset                shape, type               meaning
=====================  ========================  ================================================================
`particles/NNN/wave`   (h, w, 2) float16         real and imaginary part of the wave less 1; h and w are odd, the
                                                 particle's centre lies in the middle pixel
`particles/NNN/mask`   (h, w) uint8              1 where the particle projects to (`sim.specimen.draw.projected_mask`)
`films/N/wave`         (n, n, 2) float16         the same of a periodic film, on a coarser grid of its own
=====================  ========================  ================================================================

Attributes of a particle: `record` (JSON, as `Nanoparticle.record` writes it), `class` (that of its geometry, at
unlimited dose and ideal transfer; `unscored` where the rule gives none) and `height_nm`; of a film: `thickness_nm`,
`side_nm` and `mean` (real and imaginary part of its mean wave, by which the rest was divided). Attributes of the file:
`format`, `seed`, `pixel_size_nm` (of the particles), `energy_kev`. Numbers are rounded to 7 significant bits, so that
they pack well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from math import ceil, inf
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from scipy import fft

from sim.optics.multislice import exit_wave
from sim.optics.transfer import Wave, frequencies, wavelength_nm
from sim.specimen.carbon import amorphous_slab
from sim.specimen.draw import Placed, Recipe, Specimen, draw_particle, projected_mask
from sim.specimen.particle import Nanoparticle
from sim.specimen.truth import Visibility, classify

FORMAT = "faultwatch wave library 2"
SHIPPED = Path(__file__).parent / "waves" / "particles.h5"
PIXEL_NM = 0.025
FILM_PIXEL_NM = 0.04
"""Pixel of a film as it is stored [nm]; what amorphous carbon scatters beyond 12.5 nm⁻¹ no image shows."""
ENERGY_KEV = 300.0
SEED = 770_001
"""Of the shipped library; training never uses it."""
FILMS = ((25.6, 1.2), (20.0, 1.0), (25.6, 2.2), (20.0, 1.8))
"""Side and thickness [nm]. A field stands on two of different side, so that nothing repeats for hundreds of nm."""
VACUUM_NM = 1.2
"""Of vacuum about a particle in its box, on every side [nm]."""
NEGLIGIBLE = 0.02
"""A wave is cropped where it comes no further than this from 1."""
UNSCORED = "unscored"

#: What every two dozen particles hold: so many of a material and a class of the geometry.
SHARES: dict[tuple[str, str], int] = {
    ("CdSe-wurtzite", "yes"): 5,
    ("CdSe-wurtzite", "no"): 5,
    ("CdSe-wurtzite", "null"): 4,
    ("CdSe-zincblende", "yes"): 2,
    ("CdSe-zincblende", "no"): 2,
    ("CdSe-zincblende", "null"): 1,
    ("Au", "yes"): 2,
    ("Au", "no"): 2,
    ("Au", "null"): 1,
}
MIX = tuple(pair for turn in range(5) for pair, times in SHARES.items() if turn < times)
#: Every so many particles one that the rule does not score takes the place of what would be next.
UNSCORED_EVERY = 16
#: The recipe that is drawn from for each class; the rule of `sim.specimen.truth` decides.
RECIPE = Recipe(12.8, {"CdSe-wurtzite": 1.0}, particles=(1, 1), diameter_nm=(3.0, 6.5), largest_tilt_deg=8.0)
ATTEMPTS: dict[str, Recipe] = {
    "yes": replace(RECIPE, near_zone=1.0, faulted=1.0, largest_tilt_deg=5.0),
    "no": replace(RECIPE, near_zone=1.0, faulted=0.0, largest_tilt_deg=5.0),
    "null": replace(RECIPE, near_zone=0.0, named_zone=0.4, faulted=0.5),
    UNSCORED: replace(RECIPE, near_zone=1.0, faulted=1.0, largest_tilt_deg=12.0),
}


@dataclass(frozen=True)
class ParticleWave:
    """One particle in vacuum."""

    wave: Wave
    """(h, w) at the particle's mid-plane, 1 in vacuum; its centre lies in the middle pixel."""
    mask: npt.NDArray[np.bool_]
    """(h, w)."""
    record: dict[str, Any]
    height_nm: float
    """Along the beam [nm]."""

    @property
    def material(self) -> str:
        """Name of what it is made of."""
        return str(self.record["material"])


@dataclass(frozen=True)
class Film:
    """A periodic film of amorphous carbon."""

    wave: Wave
    """(n, n) at the film's mid-plane, on the particles' grid."""
    thickness_nm: float


@dataclass(frozen=True)
class Library:
    """A library, read."""

    path: Path
    pixel_size_nm: float
    energy_kev: float
    particles: tuple[ParticleWave, ...]
    classes: tuple[str, ...]
    """Of each particle's geometry: `yes`, `no`, `null` or `unscored`."""
    films: tuple[Film, ...]

    def of_class(self, name: str, material: str | None = None) -> list[int]:
        """Indices of the particles of a class, of one material or of any."""
        return [
            i
            for i, (particle, own) in enumerate(zip(self.particles, self.classes, strict=True))
            if own == name and material in (None, particle.material)
        ]


def true_class(record: dict[str, Any], signal_to_noise: float) -> str | None:
    """The class of a particle by the rule of `sim.specimen.truth`, from its record; `None`: not scored."""
    elsewhere = record.get("weight_elsewhere", 0.0)
    if elsewhere > record["weight"] and "resolved_lateral_rc" not in record:
        return None  # an older library: the direction of the plane that resolves the stacking is not known
    seen = Visibility(
        record["weight"], record["zone_tilt_deg"], record["plane_tilt_deg"], np.zeros(3), elsewhere
    )
    return classify(seen, bool(record["faults"]), signal_to_noise)


def propagated(wave: Wave, pixel_size_nm: float, energy_kev: float, distance_nm: float) -> Wave:
    """A periodic wave (H, W) so much further along the beam: F⁻¹[F ψ · exp(-iπλ z k²)] (Fresnel; Kirkland, ch. 6)."""
    if distance_nm == 0:
        return wave
    kr, kc = frequencies((wave.shape[0], wave.shape[1]), pixel_size_nm)
    turn = np.pi * wavelength_nm(energy_kev) * distance_nm
    propagator = np.exp(-1j * turn * kr**2) * np.exp(-1j * turn * kc**2)
    return np.asarray(fft.ifft2(fft.fft2(wave) * propagator.astype(np.complex64)), dtype=np.complex64)


def resampled(wave: Wave, side: int) -> Wave:
    """A periodic square wave (n, n) on another grid (side, side), by its Fourier transform; values are kept."""
    n, half = wave.shape[0], min(wave.shape[0], side) // 2
    spectrum = fft.fft2(wave)
    out = np.zeros((side, side), np.complex64)
    for rows in (slice(None, half), slice(-half, None)):
        for cols in (slice(None, half), slice(-half, None)):
            out[rows, cols] = spectrum[rows, cols]
    return np.asarray(fft.ifft2(out) * (side / n) ** 2, dtype=np.complex64)


def particle_wave(particle: Nanoparticle, energy_kev: float = ENERGY_KEV) -> ParticleWave:
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


def film_wave(side_nm: float, thickness_nm: float, seed: int, energy_kev: float = ENERGY_KEV) -> Film:
    """The wave of a film of carbon, by multislice, at its mid-plane."""
    slab = amorphous_slab(side_nm, thickness_nm, seed).astype(np.float64)
    height = thickness_nm + 0.4
    specimen = Specimen(side_nm, height, (), slab + np.array([0.0, 0.0, 0.2]), thickness_nm)
    wave = exit_wave(specimen, round(side_nm / PIXEL_NM), energy_kev)
    return Film(propagated(wave, PIXEL_NM, energy_kev, -height / 2), thickness_nm)


def draw_of_class(material: str, wanted: str, rng: np.random.Generator) -> Nanoparticle:
    """A particle whose geometry is of the class wanted.

    Raises
    ------
    RuntimeError
        None came in 400 attempts.
    """
    recipe = replace(ATTEMPTS[wanted], materials={material: 1.0})
    for _ in range(400):
        particle = draw_particle(recipe, rng)
        if (true_class(particle.record(), inf) or UNSCORED) == wanted:
            return particle
    raise RuntimeError(f"no particle of {material} of the class {wanted} in 400 attempts")


def make_library(out: Path, *, waves: int, seed: int = SEED) -> None:
    """Simulate so many particles and the films into one file, with a progress bar."""
    from tqdm import tqdm

    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    with h5py.File(partial, "w") as file, tqdm(total=waves + len(FILMS), unit="wave", disable=None) as bar:
        file.attrs.update(
            {"format": FORMAT, "seed": seed, "pixel_size_nm": PIXEL_NM, "energy_kev": ENERGY_KEV}
        )
        for n, (side_nm, thickness_nm) in enumerate(FILMS):
            rng = np.random.default_rng([seed, 1, n])
            film = film_wave(side_nm, thickness_nm, int(rng.integers(2**31)))
            coarse = resampled(film.wave, round(side_nm / FILM_PIXEL_NM))
            mean = complex(coarse.mean())
            group = file.create_group(f"films/{n}")
            group.attrs.update(
                {"thickness_nm": thickness_nm, "side_nm": side_nm, "mean": [mean.real, mean.imag]}
            )
            _write(group, "wave", _packed(coarse / np.complex64(mean)))
            bar.update()
        for n in range(waves):
            rng = np.random.default_rng([seed, 2, n])
            material, wanted = MIX[n % len(MIX)]
            if n % UNSCORED_EVERY == UNSCORED_EVERY - 1:
                wanted = UNSCORED
            one = particle_wave(draw_of_class(material, wanted, rng))
            group = file.create_group(f"particles/{n:03d}")
            group.attrs.update(
                {"record": json.dumps(one.record), "class": wanted, "height_nm": one.height_nm}
            )
            _write(group, "wave", _packed(one.wave))
            _write(group, "mask", one.mask.astype(np.uint8))
            bar.update()
    partial.replace(out)


def _packed(wave: Wave) -> npt.NDArray[np.float16]:
    """A wave less 1 as float16, rounded to 7 significant bits: what is left packs to half."""
    parts = np.stack([wave.real - 1, wave.imag], axis=-1).astype(np.float16)
    bits = parts.view(np.uint16)
    return ((bits + 8) & 0xFFF0).astype(np.uint16).view(np.float16)


def _write(group: h5py.Group, name: str, data: npt.NDArray[Any]) -> None:
    group.create_dataset(name, data=data, chunks=data.shape, compression="gzip", shuffle=True)


def _read(data: h5py.Dataset) -> Wave:
    parts = data[:]
    wave = np.empty(parts.shape[:-1], np.complex64)
    wave.real, wave.imag = parts[..., 0], parts[..., 1]
    return wave + np.complex64(1)


def load_library(path: Path = SHIPPED) -> Library:
    """Read a library.

    Raises
    ------
    ValueError
        There is none at this path, or it is of another format.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there; make it with: faultwatch simulate {path} --preset library")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} is no library of waves")
    with h5py.File(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise ValueError(f"{path} is no library of waves of this version ({FORMAT})")
        pixel = float(file.attrs["pixel_size_nm"])
        particles, classes = [], []
        for group in file["particles"].values():
            particles.append(
                ParticleWave(
                    _read(group["wave"]),
                    group["mask"][:].astype(bool),
                    json.loads(group.attrs["record"]),
                    float(group.attrs["height_nm"]),
                )
            )
            classes.append(true_class(particles[-1].record, inf) or UNSCORED)
        films = tuple(
            Film(
                resampled(_read(group["wave"]), round(float(group.attrs["side_nm"]) / pixel))
                * np.complex64(complex(*group.attrs["mean"])),
                float(group.attrs["thickness_nm"]),
            )
            for group in file["films"].values()
        )
        return Library(path, pixel, float(file.attrs["energy_kev"]), tuple(particles), tuple(classes), films)
