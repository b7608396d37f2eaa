"""From exit waves to intensities in torch, (B, H, W); equations and references as in `sim.optics.imaging`."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from sim.optics.batched.parameters import Parameters


def frequencies(
    shape: tuple[int, int], pixel_nm: float, device: torch.device, half: bool
) -> tuple[Tensor, Tensor]:
    """Spatial frequencies (1, H, 1) and (1, 1, W) or, of a half plane, (1, 1, W/2 + 1) [nm⁻¹]."""
    columns = torch.fft.rfftfreq if half else torch.fft.fftfreq
    kr = torch.fft.fftfreq(shape[0], pixel_nm, device=device)
    return kr[None, :, None], columns(shape[1], pixel_nm, device=device)[None, None, :]


def filtered(images: Tensor, transfer: Tensor) -> Tensor:
    """Images (B, H, W) with their half-plane transforms multiplied by `transfer` (B or 1, H, W/2 + 1)."""
    result: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=images.shape[-2:])
    return result


def aberration_phase(kr: Tensor, kc: Tensor, p: Parameters) -> Tensor:
    """χ(k) [rad], (B, H, W), as `sim.optics.imaging.aberration_phase`."""
    r, q = kr * p["wavelength_nm"], kc * p["wavelength_nm"]
    squared = r**2 + q**2
    total = squared * (0.5 * p["defocus_nm"] + 0.25e3 * p["cs_um"] * squared)
    angle = 2 * torch.deg2rad(p["astigmatism_deg"])
    total = total + 0.5 * p["astigmatism_nm"] * (
        (r**2 - q**2) * torch.cos(angle) + 2 * r * q * torch.sin(angle)
    )
    angle = torch.deg2rad(p["coma_deg"])
    total = total + p["coma_nm"] / 3 * squared * (r * torch.cos(angle) + q * torch.sin(angle))
    angle = 3 * torch.deg2rad(p["trefoil_deg"])
    cubic = (r**3 - 3 * r * q**2) * torch.cos(angle) + (3 * r**2 * q - q**3) * torch.sin(angle)
    return 2 * pi / p["wavelength_nm"] * (total + p["trefoil_nm"] / 3 * cubic)


def coherence_envelope(kr: Tensor, kc: Tensor, p: Parameters) -> Tensor:
    """Damping (B, H, W) by focal and angular spread, as `sim.optics.imaging.coherence_envelope`."""
    squared = kr**2 + kc**2
    temporal = torch.exp(-0.5 * (pi * p["wavelength_nm"] * p["focal_spread_nm"] * squared) ** 2)
    slope = (p["defocus_nm"] + p["cs_um"] * 1e3 * p["wavelength_nm"] ** 2 * squared) * torch.sqrt(squared)
    return temporal * torch.exp(-0.5 * (2 * pi * p["angular_spread_mrad"] * 1e-3 * slope) ** 2)


def exposure(waves: Tensor, gold_nm: Tensor, pixel_nm: float, p: Parameters) -> Tensor:
    """The noise-free intensities (B, H, W) that reach the camera, as `sim.optics.imaging.exposure`.

    Parameters
    ----------
    waves : (B, H, W) complex.
    gold_nm : (B, H, W) mass thickness.
    """
    shape = (waves.shape[-2], waves.shape[-1])
    kr, kc = frequencies(shape, pixel_nm, waves.device, half=False)
    phase = aberration_phase(kr, kc, p)
    envelope = coherence_envelope(kr, kc, p) * (kr**2 + kc**2 <= p["aperture_per_nm"] ** 2)
    images = torch.fft.ifft2(torch.fft.fft2(waves) * torch.polar(envelope, -phase)).abs() ** 2
    kr, kc = frequencies(shape, pixel_nm, waves.device, half=True)
    angle = torch.deg2rad(p["drift_deg"])
    along = (kr * torch.cos(angle) + kc * torch.sin(angle)) * p["drift_nm"]
    images = filtered(
        images, torch.exp(-2 * pi**2 * p["vibration_nm"] ** 2 * (kr**2 + kc**2)) * torch.sinc(along)
    )
    mean = images.mean((1, 2), keepdim=True)
    weakened = mean + (images - mean) / p["stobbs"]
    return weakened * torch.exp(-p["absorption_per_nm"] * gold_nm)
