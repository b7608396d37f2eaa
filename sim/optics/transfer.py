"""Fourier space of images: wavelength, frequencies [nm⁻¹], filtering, and another grid for the same field."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy import fft

Image = npt.NDArray[np.float32]
Wave = npt.NDArray[np.complex64]


def wavelength_nm(energy_kev: float) -> float:
    """Relativistic electron wavelength [nm]: h c / √(E (2 m c² + E)) (K, ch. 2)."""
    e = energy_kev * 1e3
    return 1239.84198 / sqrt(e * (2 * 510998.95 + e))


def frequencies(shape: tuple[int, int], pixel_size_nm: float) -> tuple[Image, Image]:
    """Spatial frequencies along rows (H, 1) and columns (1, W) [nm⁻¹], in FFT order."""
    kr = fft.fftfreq(shape[0], pixel_size_nm).astype(np.float32)[:, None]
    kc = fft.fftfreq(shape[1], pixel_size_nm).astype(np.float32)[None, :]
    return kr, kc


def half_plane(shape: tuple[int, int], pixel_size_nm: float) -> tuple[Image, Image]:
    """As `frequencies`, for the half plane of a real image's transform: (H, 1) and (1, W/2 + 1)."""
    kr, _ = frequencies(shape, pixel_size_nm)
    return kr, fft.rfftfreq(shape[1], pixel_size_nm).astype(np.float32)[None, :]


def filtered(image: Image, transfer: npt.NDArray[np.floating]) -> Image:
    """A real image (H, W) with its half-plane transform multiplied by `transfer` (H, W/2 + 1)."""
    spectrum = fft.rfft2(image) * transfer.astype(np.float32)
    return np.asarray(fft.irfft2(spectrum, s=image.shape), dtype=np.float32)


def resample(image: npt.NDArray[np.float32], gpts: tuple[int, int]) -> Image:
    """The same periodic field on another grid, by cropping or padding its Fourier transform; values are kept."""
    rows, cols = gpts
    spectrum = fft.fftshift(fft.fft2(image))
    out = np.zeros(gpts, np.complex64)
    half = [min(a, b) // 2 for a, b in zip(image.shape, gpts, strict=True)]
    centre_in = [n // 2 for n in image.shape]
    centre_out = [n // 2 for n in gpts]
    source = tuple(slice(c - h, c + h) for c, h in zip(centre_in, half, strict=True))
    target = tuple(slice(c - h, c + h) for c, h in zip(centre_out, half, strict=True))
    out[target] = spectrum[source]
    scale = rows * cols / image.size
    return np.asarray(fft.ifft2(fft.ifftshift(out)).real * scale, dtype=np.float32)
