"""From an exit wave to the intensity at the camera: one function a step, with units and the equation's source.

Lengths in nm, spatial frequencies in nm⁻¹, doses in e⁻/Å². Images are (H, W), row and column.
References: Kirkland, *Advanced Computing in Electron Microscopy*, 2nd ed. (K); Reimer and Kohl, *Transmission
Electron Microscopy*, 5th ed. (R).
"""

from __future__ import annotations

from math import pi

import numpy as np
from scipy import fft

from sim.optics.camera import illumination, take
from sim.optics.conditions import Conditions
from sim.optics.transfer import Image, Wave, filtered, frequencies, half_plane, wavelength_nm


def aberration_phase(kr: Image, kc: Image, conditions: Conditions) -> Image:
    """χ(k) [rad] = 2π/λ (½ C1 α² + ½ A1 α² cos 2(φ-φ₂₂) + ⅓ (B2 cos(φ-φ₂₁) + A2 cos 3(φ-φ₂₃)) α³ + ¼ C3 α⁴).

    α = λk; K, ch. 2, in the notation of Krivanek.
    """
    c = conditions
    wavelength = wavelength_nm(c.energy_kev)
    r, q = kr * wavelength, kc * wavelength
    squared = r**2 + q**2
    total = squared * (0.5 * c.defocus_nm + 0.25e3 * c.cs_um * squared)
    # The angles are written as polynomials of the two components: no trigonometry on the whole grid.
    if c.astigmatism_nm:
        angle = 2 * np.radians(c.astigmatism_deg)
        total += 0.5 * c.astigmatism_nm * ((r**2 - q**2) * np.cos(angle) + 2 * r * q * np.sin(angle))
    if c.coma_nm:
        angle = np.radians(c.coma_deg)
        total += c.coma_nm / 3 * squared * (r * np.cos(angle) + q * np.sin(angle))
    if c.trefoil_nm:
        angle = 3 * np.radians(c.trefoil_deg)
        cubic = (r**3 - 3 * r * q**2) * np.cos(angle) + (3 * r**2 * q - q**3) * np.sin(angle)
        total += c.trefoil_nm / 3 * cubic
    return np.asarray(2 * pi / wavelength * total, dtype=np.float32)


def coherence_envelope(kr: Image, kc: Image, conditions: Conditions) -> Image:
    """Damping by focal spread Δ, exp(-½ (πλΔk²)²), and by angular spread β, exp(-½ (2πβ (C1 k + C3 λ²k³))²).

    R, ch. 6.4 (contrast transfer under partial coherence).
    """
    c = conditions
    wavelength = wavelength_nm(c.energy_kev)
    squared = kr**2 + kc**2
    temporal = np.exp(-0.5 * (pi * wavelength * c.focal_spread_nm * squared) ** 2)
    slope = (c.defocus_nm + c.cs_um * 1e3 * wavelength**2 * squared) * np.sqrt(squared)
    spatial = np.exp(-0.5 * (2 * pi * c.angular_spread_mrad * 1e-3 * slope) ** 2)
    return np.asarray(temporal * spatial, dtype=np.float32)


def image_wave(wave: Wave, pixel_size_nm: float, conditions: Conditions) -> Image:
    """Intensity (H, W) in the image, 1 in vacuum: |F⁻¹[F ψ · exp(-iχ) · E · aperture]|² (K, ch. 3, quasi-coherent)."""
    kr, kc = frequencies((wave.shape[0], wave.shape[1]), pixel_size_nm)
    phase = aberration_phase(kr, kc, conditions)
    envelope = coherence_envelope(kr, kc, conditions) * (kr**2 + kc**2 <= conditions.aperture_per_nm**2)
    transfer = np.empty(wave.shape, np.complex64)
    transfer.real, transfer.imag = envelope * np.cos(phase), -envelope * np.sin(phase)
    image = fft.ifft2(fft.fft2(wave) * transfer)
    return np.asarray(image.real**2 + image.imag**2, dtype=np.float32)


def blur(image: Image, pixel_size_nm: float, conditions: Conditions) -> Image:
    """Vibration exp(-2π²σ²k²) and drift sinc(d·k) during the exposure, applied to the intensity (periodic)."""
    c = conditions
    if c.vibration_nm <= 0 and c.drift_nm <= 0:
        return image
    kr, kc = half_plane((image.shape[0], image.shape[1]), pixel_size_nm)
    angle = np.radians(c.drift_deg)
    along = (kr * np.cos(angle) + kc * np.sin(angle)) * c.drift_nm
    transfer = np.exp(-2 * pi**2 * c.vibration_nm**2 * (kr**2 + kc**2)) * np.sinc(along)
    return filtered(image, transfer)


def expected_image(wave: Wave, pixel_size_nm: float, conditions: Conditions) -> Image:
    """The noise-free intensity (H, W) that arrives at the camera, vibration and drift applied.

    A stack of waves (P, H, W), one a frozen phonon, adds up incoherently: the mean of the intensities.
    """
    waves = wave if wave.ndim == 3 else wave[None]
    total = image_wave(waves[0], pixel_size_nm, conditions)
    for other in waves[1:]:
        total = total + image_wave(other, pixel_size_nm, conditions)
    return blur(total / np.float32(len(waves)), pixel_size_nm, conditions)


def attenuate(image: Image, gold_nm: Image, conditions: Conditions) -> Image:
    """Mass-thickness contrast, I · exp(-µ t), of an image (H, W); thickness t (H, W) in nm of gold (R, ch. 6.1)."""
    if conditions.absorption_per_nm <= 0:
        return image
    return np.asarray(image * np.exp(-conditions.absorption_per_nm * gold_nm), dtype=np.float32)


def weaken(image: Image, conditions: Conditions) -> Image:
    """An image (H, W) with its contrast about the mean divided by the Stobbs factor.

    Lattice contrast of real micrographs is up to about three times weaker than simulations say (Hÿtch and Stobbs,
    Ultramicroscopy 53 (1994) 191); what of it is not the camera's transfer is drawn at random here.
    """
    if conditions.stobbs == 1:
        return image
    mean = image.mean()
    return np.asarray(mean + (image - mean) / np.float32(conditions.stobbs), dtype=np.float32)


def exposure(wave: Wave, gold_nm: Image, pixel_size_nm: float, conditions: Conditions) -> Image:
    """The noise-free intensity (H, W) that reaches the camera, as `expected_image`, weakened and attenuated.

    Parameters
    ----------
    gold_nm : (H, W) mass thickness of the specimen, from `sim.specimen.thickness`.
    """
    return attenuate(weaken(expected_image(wave, pixel_size_nm, conditions), conditions), gold_nm, conditions)


def record(intensity: Image, pixel_size_nm: float, conditions: Conditions, rng: np.random.Generator) -> Image:
    """Counts (H, W) as the camera gives them for an intensity (H, W) that is 1 in vacuum, smoothed if an export is."""
    c = conditions
    shape = (intensity.shape[0], intensity.shape[1])
    lit = intensity * illumination(shape, c.illumination, c.illumination_seed)
    counts = take(lit, pixel_size_nm, c.camera, c.dose_e_per_A2, rng)
    if c.smoothing_nm <= 0:
        return counts
    kr, kc = half_plane(shape, pixel_size_nm)
    return filtered(counts, np.exp(-2 * pi**2 * c.smoothing_nm**2 * (kr**2 + kc**2)))
