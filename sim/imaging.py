"""From an exit wave to a camera's counts: one function a step, with units and the equation's source.

Lengths in nm, spatial frequencies in nm⁻¹, doses in e⁻/Å². Images are (H, W), row and column.
References: Kirkland, *Advanced Computing in Electron Microscopy*, 2nd ed. (K); Reimer and Kohl, *Transmission
Electron Microscopy*, 5th ed. (R).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import pi, sqrt

import numpy as np
import numpy.typing as npt
from scipy import fft

Image = npt.NDArray[np.float32]
Wave = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Conditions:
    """How one frame is taken."""

    microscope: str = "corrected"
    """Name of the preset it was drawn from."""
    energy_kev: float = 300.0
    defocus_nm: float = -8.0
    """C1 [nm]; negative is underfocus."""
    cs_um: float = -10.0
    """Third-order spherical aberration C3 [µm]."""
    astigmatism_nm: float = 0.0
    astigmatism_deg: float = 0.0
    coma_nm: float = 0.0
    coma_deg: float = 0.0
    trefoil_nm: float = 0.0
    trefoil_deg: float = 0.0
    focal_spread_nm: float = 3.0
    """Standard deviation of the focus [nm]."""
    angular_spread_mrad: float = 0.1
    """Standard deviation of the illumination's angle [mrad]."""
    aperture_per_nm: float = 20.0
    """Radius of the objective aperture [nm⁻¹]."""
    vibration_nm: float = 0.02
    """Standard deviation of the specimen's vibration [nm]."""
    drift_nm: float = 0.0
    """Way that the specimen drifts during the exposure [nm]."""
    drift_deg: float = 0.0
    dose_e_per_A2: float = 400.0
    mtf_nyquist: float = 0.4
    """Camera MTF at its Nyquist frequency; 1 for an ideal counter."""
    dqe: float = 0.8
    """Share of electrons that are detected."""
    read_noise_e: float = 0.3
    """Standard deviation of the read noise, in electrons a pixel."""
    hot_pixels: float = 0.0
    """Share of pixels that are far too bright."""
    illumination: float = 0.0
    """Largest relative departure from even illumination."""
    illumination_seed: int = 0
    smoothing_nm: float = 0.0
    """Standard deviation of a blur of the finished picture (reduced or filtered exports) [nm]."""

    def as_dict(self) -> dict[str, float | str | int]:
        """Plain values, for JSON."""
        return asdict(self)


def wavelength_nm(energy_kev: float) -> float:
    """Relativistic electron wavelength [nm]: h c / √(E (2 m c² + E)) (K, ch. 2)."""
    e = energy_kev * 1e3
    return 1239.84198 / sqrt(e * (2 * 510998.95 + e))


def frequencies(shape: tuple[int, int], pixel_size_nm: float) -> tuple[Image, Image]:
    """Spatial frequencies along rows (H, 1) and columns (1, W) [nm⁻¹], in FFT order."""
    kr = fft.fftfreq(shape[0], pixel_size_nm).astype(np.float32)[:, None]
    kc = fft.fftfreq(shape[1], pixel_size_nm).astype(np.float32)[None, :]
    return kr, kc


def _half_plane(shape: tuple[int, int], pixel_size_nm: float) -> tuple[Image, Image]:
    """As `frequencies`, for the half plane of a real image's transform: (H, 1) and (1, W/2 + 1)."""
    kr, _ = frequencies(shape, pixel_size_nm)
    return kr, fft.rfftfreq(shape[1], pixel_size_nm).astype(np.float32)[None, :]


def filtered(image: Image, transfer: npt.NDArray[np.floating]) -> Image:
    """A real image (H, W) with its half-plane transform multiplied by `transfer` (H, W/2 + 1)."""
    spectrum = fft.rfft2(image) * transfer.astype(np.float32)
    return np.asarray(fft.irfft2(spectrum, s=image.shape), dtype=np.float32)


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
    kr, kc = _half_plane((image.shape[0], image.shape[1]), pixel_size_nm)
    angle = np.radians(c.drift_deg)
    along = (kr * np.cos(angle) + kc * np.sin(angle)) * c.drift_nm
    transfer = np.exp(-2 * pi**2 * c.vibration_nm**2 * (kr**2 + kc**2)) * np.sinc(along)
    return filtered(image, transfer)


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


def camera_mtf(shape: tuple[int, int], at_nyquist: float) -> Image:
    """MTF of a scintillator camera, half plane (H, W/2 + 1): 1 / (1 + (k/k₀)²) with this value at Nyquist."""
    kr, kc = _half_plane(shape, 0.5)  # Nyquist at 1
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


def record_electrons(
    intensity: Image, pixel_size_nm: float, conditions: Conditions, rng: np.random.Generator
) -> Image:
    """Electrons (H, W) as the camera gives them: Poisson of dose × pixel × DQE, then MTF, read noise, hot pixels.

    The camera spreads each electron after it was counted by chance, so its noise is correlated as its signal is.
    """
    c = conditions
    shape = (intensity.shape[0], intensity.shape[1])
    per_pixel = c.dose_e_per_A2 * 100 * pixel_size_nm**2 * c.dqe
    expected = (
        np.clip(intensity, 0, None) * illumination(shape, c.illumination, c.illumination_seed) * per_pixel
    )
    counts = rng.poisson(expected).astype(np.float32)
    transfer = camera_mtf(shape, c.mtf_nyquist)
    if c.smoothing_nm > 0:
        kr, kc = _half_plane(shape, pixel_size_nm)
        transfer = transfer * np.exp(-2 * pi**2 * c.smoothing_nm**2 * (kr**2 + kc**2))
    counts = filtered(counts, transfer)
    if c.read_noise_e > 0:
        counts += rng.normal(0, c.read_noise_e, shape).astype(np.float32)
    if c.hot_pixels > 0:
        hot = rng.random(shape) < c.hot_pixels
        counts[hot] += rng.exponential(20 * sqrt(per_pixel) + 5, int(hot.sum())).astype(np.float32)
    return counts


def expected_image(wave: Wave, pixel_size_nm: float, conditions: Conditions) -> Image:
    """The noise-free intensity (H, W) that arrives at the camera, vibration and drift applied."""
    return blur(image_wave(wave, pixel_size_nm, conditions), pixel_size_nm, conditions)


def draw_conditions(
    rng: np.random.Generator, *, energy_kev: float = 300.0, preset: str | None = None, field_nm: float = 12.8
) -> Conditions:
    """Imaging conditions of a session: a corrected or an uncorrected microscope, or an overview far from focus.

    Dose is log-uniform from 30 to 1,500 e⁻/Å².
    """
    if preset is None:
        preset = str(
            rng.choice(
                ["corrected", "uncorrected", "overview"],
                p=[0.5, 0.3, 0.2] if field_nm < 20 else [0.25, 0.2, 0.55],
            )
        )
    if preset == "corrected":
        cs = rng.normal(-8, 6)
        defocus, spread, angular = rng.normal(0, 10), rng.uniform(1, 4), rng.uniform(0.02, 0.2)
        astigmatism, coma = abs(rng.normal(0, 1.5)), abs(rng.normal(0, 40))
    elif preset == "uncorrected":
        cs = rng.uniform(400, 1300)
        scherzer = -1.2 * sqrt(cs * 1e3 * wavelength_nm(energy_kev))
        defocus, spread, angular = scherzer + rng.normal(0, 15), rng.uniform(2, 6), rng.uniform(0.05, 0.4)
        astigmatism, coma = abs(rng.normal(0, 4)), abs(rng.normal(0, 200))
    elif preset == "overview":
        cs = float(rng.choice([-8.0, 1000.0]))
        defocus, spread, angular = rng.uniform(-700, 100), rng.uniform(3, 7), rng.uniform(0.05, 0.5)
        astigmatism, coma = abs(rng.normal(0, 5)), 0.0
    else:
        raise ValueError(f"no preset {preset}; there are corrected, uncorrected, overview")
    return Conditions(
        microscope=preset,
        energy_kev=energy_kev,
        defocus_nm=float(defocus),
        cs_um=float(cs),
        astigmatism_nm=float(astigmatism),
        astigmatism_deg=float(rng.uniform(0, 180)),
        coma_nm=float(coma),
        coma_deg=float(rng.uniform(0, 360)),
        trefoil_nm=float(abs(rng.normal(0, 40))) if preset == "corrected" else 0.0,
        trefoil_deg=float(rng.uniform(0, 120)),
        focal_spread_nm=float(spread),
        angular_spread_mrad=float(angular),
        aperture_per_nm=float(rng.uniform(3.5, 8))
        if rng.random() < (0.5 if preset == "overview" else 0.1)
        else 20.0,
        vibration_nm=float(rng.uniform(0.01, 0.05)),
        drift_nm=float(abs(rng.normal(0, 0.05))) if rng.random() < 0.5 else 0.0,
        drift_deg=float(rng.uniform(0, 180)),
        dose_e_per_A2=float(np.exp(rng.uniform(np.log(30), np.log(1500)))),
        mtf_nyquist=float(rng.uniform(0.1, 0.6)) if rng.random() < 0.6 else 1.0,
        dqe=float(rng.uniform(0.5, 0.95)),
        read_noise_e=float(rng.uniform(0, 1.0)),
        hot_pixels=float(10 ** rng.uniform(-6, -3.5)) if rng.random() < 0.4 else 0.0,
        illumination=float(rng.uniform(0, 0.35)) if rng.random() < 0.5 else 0.0,
        illumination_seed=int(rng.integers(2**31)),
        smoothing_nm=float(rng.uniform(0.02, 0.12)) if rng.random() < 0.4 else 0.0,
    )
