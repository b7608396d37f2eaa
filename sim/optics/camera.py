"""The camera: from the intensity that arrives to counts, one function a step.

Doses are in e⁻/Å², images (H, W). The steps follow the signal: shot noise, spread in the scintillator, converted with
each pixel's own gain, dark level and read noise, X-ray hits, bad pixels, saturation. References: Reimer and Kohl,
*Transmission Electron Microscopy*, 5th ed., ch. 4; Meyer and Kirkland, Ultramicroscopy 75 (1998) 23, for the transfer
of signal and noise in scintillators.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np

from sim.optics.transfer import Image, filtered, half_plane


@dataclass(frozen=True)
class Camera:
    """The properties of a camera."""

    name: str = "scintillator"
    mtf_nyquist: float = 0.25
    """Modulation transfer at the Nyquist frequency; 1 for an ideal counter."""
    dqe: float = 0.75
    """Detective quantum efficiency at frequency 0: the share of electrons that count."""
    gain_counts_per_e: float = 20.0
    gain_spread: float = 0.005
    """Standard deviation of what the gain correction leaves of the pixels' gains."""
    dark_counts: float = 100.0
    dark_spread: float = 0.5
    """Standard deviation of the dark level from pixel to pixel [counts]."""
    read_noise_e: float = 0.3
    """Standard deviation of the read noise, in electrons a pixel."""
    hot_pixels: float = 2e-6
    """Share of pixels that are far too bright in every frame."""
    dead_pixels: float = 2e-6
    """Share of pixels that give the dark level in every frame."""
    xrays_per_megapixel: float = 1.0
    """X-ray hits a frame, each over one to a few pixels."""
    saturation_counts: float = 65535.0
    pattern_seed: int = 0
    """Of the pixels' gains, dark levels and defects: the same in every frame of a session."""


CAMERAS: dict[str, Camera] = {
    camera.name: camera
    for camera in (
        Camera(),
        # Counting direct-electron detectors lose electrons to coincidence and clusters, and hardly spread them.
        Camera(
            "direct",
            mtf_nyquist=0.55,
            dqe=0.88,
            gain_counts_per_e=1.0,
            gain_spread=0.002,
            dark_counts=0.0,
            dark_spread=0.0,
            read_noise_e=0.0,
            xrays_per_megapixel=0.1,
        ),
        Camera(
            "ideal",
            mtf_nyquist=1.0,
            dqe=1.0,
            gain_counts_per_e=1.0,
            gain_spread=0.0,
            dark_counts=0.0,
            dark_spread=0.0,
            read_noise_e=0.0,
            hot_pixels=0.0,
            dead_pixels=0.0,
            xrays_per_megapixel=0.0,
            saturation_counts=float("inf"),
        ),
    )
}


def modulation_transfer(shape: tuple[int, int], at_nyquist: float) -> Image:
    """MTF on the half plane (H, W/2 + 1): 1 / (1 + (k/k₀)²) with this value at Nyquist; all 1 for 1 and more."""
    kr, kc = half_plane(shape, 0.5)  # Nyquist at 1
    if at_nyquist >= 1:
        return np.ones((shape[0], shape[1] // 2 + 1), np.float32)
    return np.asarray(1 / (1 + (kr**2 + kc**2) * (1 / at_nyquist - 1)), dtype=np.float32)


def illumination(shape: tuple[int, int], amplitude: float, seed: int) -> Image:
    """Uneven illumination (H, W), mean about 1: a ramp and a wide Gaussian, at most `amplitude` away from 1."""
    if amplitude <= 0:
        return np.ones(shape, np.float32)
    rng = np.random.default_rng(seed)
    r, c = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    angle = rng.uniform(0, 2 * pi)
    ramp = r * np.cos(angle) + c * np.sin(angle)
    centre = rng.uniform(-0.7, 0.7, 2)
    bell = np.exp(-((r - centre[0]) ** 2 + (c - centre[1]) ** 2) / (2 * rng.uniform(0.6, 1.5) ** 2))
    share = rng.uniform(0, 1)
    field = (
        share * ramp / np.abs(ramp).max()
        + (1 - share) * (bell - bell.mean()) / np.abs(bell - bell.mean()).max()
    )
    return np.asarray(1 + amplitude * field / np.abs(field).max(), dtype=np.float32)


def electrons_a_pixel(dose_e_per_A2: float, pixel_size_nm: float, dqe: float) -> float:
    """Electrons that count in a pixel at intensity 1: dose × pixel area × DQE."""
    return dose_e_per_A2 * 100 * pixel_size_nm**2 * dqe


def detect(intensity: Image, electrons: float, rng: np.random.Generator) -> Image:
    """Electrons (H, W) counted by chance: Poisson about intensity × electrons a pixel."""
    return rng.poisson(np.clip(intensity, 0, None) * np.float64(electrons)).astype(np.float32)


def spread(electrons: Image, camera: Camera) -> Image:
    """Signal and noise alike, filtered by the MTF: each electron is spread after it was counted by chance."""
    if camera.mtf_nyquist >= 1:
        return electrons
    return filtered(
        electrons, modulation_transfer((electrons.shape[0], electrons.shape[1]), camera.mtf_nyquist)
    )


def convert(electrons: Image, camera: Camera, rng: np.random.Generator) -> Image:
    """Counts (H, W): electrons and read noise times each pixel's gain, on each pixel's dark level."""
    pattern = np.random.default_rng([camera.pattern_seed, 1])
    read = electrons
    if camera.read_noise_e > 0:
        read = electrons + np.float32(camera.read_noise_e) * rng.standard_normal(electrons.shape, np.float32)
    counts = read * np.float32(camera.gain_counts_per_e)
    if camera.gain_spread > 0:
        counts *= 1 + np.float32(camera.gain_spread) * pattern.standard_normal(electrons.shape, np.float32)
    counts += np.float32(camera.dark_counts)
    if camera.dark_spread > 0:
        counts += np.float32(camera.dark_spread) * pattern.standard_normal(electrons.shape, np.float32)
    return counts


def xray_hits(counts: Image, camera: Camera, rng: np.random.Generator) -> Image:
    """As many hits as chance gives; each brightens a pixel and, half as much, a neighbour."""
    hits = int(rng.poisson(camera.xrays_per_megapixel * counts.size / 1e6))
    if hits == 0:
        return counts
    struck = counts.copy()
    brightness = rng.exponential(60 * camera.gain_counts_per_e, hits) + 20 * camera.gain_counts_per_e
    rows, cols = (rng.integers(0, n, hits) for n in counts.shape)
    np.add.at(struck, (rows, cols), brightness.astype(np.float32))
    beside = (rows + rng.integers(-1, 2, hits)) % counts.shape[0], (cols + 1) % counts.shape[1]
    np.add.at(struck, beside, (brightness / 2).astype(np.float32))
    return struck


def bad_pixels(counts: Image, camera: Camera) -> Image:
    """Hot pixels far too bright, dead ones at the dark level; the same ones in every frame of this camera."""
    if camera.hot_pixels <= 0 and camera.dead_pixels <= 0:
        return counts
    pattern = np.random.default_rng([camera.pattern_seed, 2])
    hot = pattern.integers(0, counts.size, pattern.poisson(camera.hot_pixels * counts.size))
    dead = pattern.integers(0, counts.size, pattern.poisson(camera.dead_pixels * counts.size))
    spoilt = counts.copy()
    bright = pattern.exponential(80 * camera.gain_counts_per_e, len(hot)) + 20 * camera.gain_counts_per_e
    spoilt.flat[hot] += bright.astype(np.float32)
    spoilt.flat[dead] = camera.dark_counts
    return spoilt


def saturate(counts: Image, camera: Camera) -> Image:
    """Counts stop at the camera's limit, and at 0."""
    return np.clip(counts, 0, np.float32(camera.saturation_counts))


def take(
    intensity: Image,
    pixel_size_nm: float,
    camera: Camera,
    dose_e_per_A2: float,
    rng: np.random.Generator,
) -> Image:
    """Counts (H, W) of one exposure to `intensity` (H, W), 1 in vacuum; all the steps of this module in their order.

    Parameters
    ----------
    dose_e_per_A2 : on the specimen; 0 is a frame with the beam off.
    """
    electrons = electrons_a_pixel(dose_e_per_A2, pixel_size_nm, camera.dqe)
    counts = convert(spread(detect(intensity, electrons, rng), camera), camera, rng)
    return saturate(bad_pixels(xray_hits(counts, camera, rng), camera), camera)
