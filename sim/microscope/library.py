"""A library of exit waves with their truth, from which the virtual microscope composes its fields.

Every particle stands alone *in vacuum*, cropped to where its wave differs from 1; films of amorphous carbon stand
beside them. All waves are given at the mid-plane of what they went through, for every voltage of the library.
`sim.microscope.make_library` makes one HDF5 file of them; a small one ships with the package:

=============================  ===================  ==============================================================
dataset                        shape, type          meaning
=============================  ===================  ==============================================================
`particles/NNN/mask`           (h, w) uint8         1 where the particle projects to
                                                    (`sim.specimen.draw.projected_mask`); h and w are odd
`particles/NNN/waves/<kV>`     (h', w', 2) float16  real and imaginary part of the wave less 1, on a coarser grid
`films/N/waves/<kV>`           (n, n, 2) float16    the same of a periodic film
=============================  ===================  ==============================================================

The particle's centre lies in the middle pixel of both. Attributes of a particle: `record` (JSON, as
`Nanoparticle.record` writes it), `class` (that of its geometry, at unlimited dose and ideal transfer; `unscored` where
the rule gives none) and `height_nm`; of a film: `thickness_nm` and `side_nm`; of a film's wave: `mean` (real and
imaginary part of its mean, by which the rest was divided). Attributes of the file: `format`, `order` (JSON: what it
follows from), `pixel_size_nm` (of masks, and of waves as they are read), `wave_pixel_nm` (of waves as they are stored)
and `energies_kev`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from scipy import fft

from sim.optics.transfer import Wave, frequencies, wavelength_nm
from sim.specimen.truth import Visibility, classify, counted

FORMAT = "faultwatch wave library 3"
SHIPPED = Path(__file__).parent / "waves" / "particles.h5"
PIXEL_NM = 0.025
WAVE_PIXEL_NM = 0.04
"""Pixel of a wave as it is stored [nm]; what is scattered beyond 12.5 nm⁻¹ hardly any image shows."""
BOX_NM = 0.4
"""Whole, even numbers of both pixels fit into it."""
UNSCORED = "unscored"


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
    """A library, read for one voltage."""

    path: Path
    pixel_size_nm: float
    energy_kev: float
    particles: tuple[ParticleWave, ...]
    classes: tuple[str, ...]
    """Of each particle's geometry: `yes`, `no`, `null` or `unscored`."""
    films: tuple[Film, ...]

    def of_class(self, name: str, material: str | None = None, kinds: str = "planar") -> list[int]:
        """Indices of the particles of a class, of one material or of any.

        Parameters
        ----------
        kinds : which faults count, a name of `sim.specimen.truth.COUNTED`.
        """
        return [
            i
            for i, particle in enumerate(self.particles)
            if material in (None, particle.material)
            and (true_class(particle.record, inf, kinds) or UNSCORED) == name
        ]


def true_class(record: dict[str, Any], signal_to_noise: float, kinds: str = "planar") -> str | None:
    """The class of a particle by the rule of `sim.specimen.truth`, from its record; `None`: not scored.

    Parameters
    ----------
    kinds : which faults count, a name of `sim.specimen.truth.COUNTED`.
    """
    seen = Visibility(
        record["weight"],
        record["zone_tilt_deg"],
        record["plane_tilt_deg"],
        np.zeros(3),
        record["weight_elsewhere"],
    )
    return classify(seen, counted((fault["kind"] for fault in record["faults"]), kinds), signal_to_noise)


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


def regridded(wave: Wave, shape: tuple[int, int], pixel_nm: float, new_pixel_nm: float) -> Wave:
    """A wave (h, w) that is 1 beyond its borders on another grid: `shape`, the middle pixels at the same place.

    Parameters
    ----------
    wave, shape : odd numbers of pixels.
    pixel_nm, new_pixel_nm : of both grids; even numbers of them make up `BOX_NM`.
    """
    box_nm = BOX_NM * ceil(max(max(wave.shape) * pixel_nm, max(shape) * new_pixel_nm) / BOX_NM)
    sides = [round(box_nm / nm) for nm in (pixel_nm, new_pixel_nm)]
    canvas = np.zeros((sides[0], sides[0]), np.complex64)
    canvas[_middle(wave.shape, sides[0])] = wave - 1
    return np.asarray(resampled(canvas, sides[1])[_middle(shape, sides[1])] + np.complex64(1))


def _middle(shape: tuple[int, ...], side: int) -> tuple[slice, ...]:
    """Where an array of odd `shape` lies in a square of even `side`, middle on middle."""
    return tuple(slice(side // 2 - n // 2, side // 2 + n // 2 + 1) for n in shape)


def _read(data: h5py.Dataset) -> Wave:
    parts = data[:]
    wave = np.empty(parts.shape[:-1], np.complex64)
    wave.real, wave.imag = parts[..., 0], parts[..., 1]
    return wave + np.complex64(1)


def load_library(path: Path = SHIPPED, energy_kev: float | None = None) -> Library:
    """Read a library for one voltage; `None`: the first that it has.

    Raises
    ------
    ValueError
        There is none at this path, it is of another format, or it has no waves of this voltage.
    """
    again = f"make it with: faultwatch simulate {path} --preset library"
    if not path.is_file():
        raise ValueError(f"{path} is not there; {again}")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} is no library of waves")
    with h5py.File(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise ValueError(f"{path} is no library of waves of this version ({FORMAT}); {again}")
        pixel, stored = float(file.attrs["pixel_size_nm"]), float(file.attrs["wave_pixel_nm"])
        energies = [float(kev) for kev in file.attrs["energies_kev"]]
        energy_kev = energies[0] if energy_kev is None else energy_kev
        if energy_kev not in energies:
            has = ", ".join(f"{kev:g}" for kev in energies)
            raise ValueError(f"{path} has no waves of {energy_kev:g} kV; it has {has}")
        key = f"waves/{energy_kev:g}"
        particles, classes = [], []
        for group in file["particles"].values():
            mask = group["mask"][:].astype(bool)
            particles.append(
                ParticleWave(
                    regridded(_read(group[key]), mask.shape, stored, pixel),
                    mask,
                    json.loads(group.attrs["record"]),
                    float(group.attrs["height_nm"]),
                )
            )
            classes.append(true_class(particles[-1].record, inf) or UNSCORED)
        films = tuple(
            Film(
                resampled(_read(group[key]), round(float(group.attrs["side_nm"]) / pixel))
                * np.complex64(complex(*group[key].attrs["mean"])),
                float(group.attrs["thickness_nm"]),
            )
            for group in file["films"].values()
        )
        return Library(path, pixel, energy_kev, tuple(particles), tuple(classes), films)
