"""What the averaged spectrum says of the imaging: information limit, strength, sharpness and directional blur."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from models.quality.spectrum import SECTORS, Spectrum

LOWEST_PER_NM = 0.8
"""Below, particles and the uneven film outweigh what the optics do [nm⁻¹]."""
LIMIT_SIGMAS = 4.0
LIMIT_EXCESS = 0.12
"""The spectrum stands above the noise where it exceeds it by this share, and by `LIMIT_SIGMAS` of its error: the form
of the noise is known to a few per cent."""


def information_limit(spectrum: Spectrum) -> float | None:
    """Frequency up to which the averaged spectrum, lattice included, stands above the noise [nm⁻¹]; `None`:
    nowhere."""
    above = spectrum.rings - 1 > np.maximum(
        LIMIT_EXCESS, LIMIT_SIGMAS * np.sqrt(1 / np.maximum(spectrum.counted, 1))
    )
    above &= spectrum.frequencies > 0.5
    pairs = above[1:] & above[:-1]
    return float(spectrum.frequencies[1:][pairs].max()) if pairs.any() else None


def signal(spectrum: Spectrum) -> float:
    """Power of the diffuse specimen over that of the noise, 1 to 4 nm⁻¹, by area of Fourier space."""
    k = spectrum.frequencies
    here = (k > 1) & (k < 4)
    return float((spectrum.diffuse * k)[here].sum() / k[here].sum())


def sharpness(spectrum: Spectrum) -> float | None:
    """Frequency below which half the power of the diffuse specimen lies, from 0.8 to 8 nm⁻¹; `None` where none is."""
    k = spectrum.frequencies
    here = (k > LOWEST_PER_NM) & (k < 8)
    excess = np.where(spectrum.diffuse > 2 * spectrum.error, spectrum.diffuse, 0)[here] * k[here]
    total = float(excess.sum())
    if total <= 0:
        return None
    return float(np.interp(0.5, np.cumsum(excess) / total, k[here]))


def directional_blur(spectrum: Spectrum) -> tuple[float, float] | None:
    """Length [nm] and direction (from the rows' axis to the columns' [°]) of a smear that would take as much
    contrast along one direction as is missing.

    A picture that moves by d while it is taken is multiplied by sinc(d k cos θ); to second order the logarithm of its
    power loses π² d² k² (1 + cos 2θ) / 6. The part with cos 2θ is fitted to the sectors by least squares.
    `None` where the diffuse specimen is too weak. Strong astigmatism reads as a blur too.
    """
    k = spectrum.frequencies
    here = (k > 1.0) & (k < 4.5) & (spectrum.diffuse > 4 * spectrum.error)
    if here.sum() < 8:
        return None
    excess = np.maximum(spectrum.cells[here] - 1, 0.05 * spectrum.diffuse[here][:, None])
    angles = (np.arange(SECTORS) + 0.5) * pi / SECTORS
    second = 2 / SECTORS * np.log(excess) @ np.exp(-2j * angles)
    weights = spectrum.counted[here] * (spectrum.diffuse[here] / (1 + spectrum.diffuse[here])) ** 2
    squares = k[here] ** 2
    along = -(weights * squares * second).sum() / (weights * squares**2).sum()
    return sqrt(6 * abs(along)) / pi, float((90 + np.degrees(np.angle(along) / 2)) % 180)
