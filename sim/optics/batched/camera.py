"""The camera in torch: counts (B, H, W) from intensities; the steps and references are those of `sim.optics.camera`."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from models.examples.chance import Chance
from sim.optics.batched.imaging import filtered, frequencies
from sim.optics.batched.parameters import Parameters


def illumination(shape: tuple[int, int], p: Parameters, chance: Chance) -> Tensor:
    """Uneven illumination (B, H, W): a ramp and a wide Gaussian, at most `illumination` away from 1."""
    b = len(p)
    r = torch.linspace(-1, 1, shape[0], device=chance.device)[None, :, None]
    c = torch.linspace(-1, 1, shape[1], device=chance.device)[None, None, :]
    angle = chance.uniform(b, 0, 2 * pi)
    ramp = r * torch.cos(angle) + c * torch.sin(angle)
    row, column, width = (
        chance.uniform(b, -0.7, 0.7),
        chance.uniform(b, -0.7, 0.7),
        chance.uniform(b, 0.6, 1.5),
    )
    bell = torch.exp(-((r - row) ** 2 + (c - column) ** 2) / (2 * width**2))
    bell = bell - bell.mean((1, 2), keepdim=True)
    share = chance.uniform(b, 0, 1)
    field = share * ramp / _largest(ramp) + (1 - share) * bell / _largest(bell)
    return 1 + p["illumination"] * field / _largest(field)


def _largest(field: Tensor) -> Tensor:
    return field.abs().amax((1, 2), keepdim=True)


def spread(electrons: Tensor, p: Parameters) -> Tensor:
    """Electrons (B, H, W) filtered by the modulation transfer function."""
    kr, kc = frequencies((electrons.shape[-2], electrons.shape[-1]), 0.5, electrons.device, half=True)
    at_nyquist = p["mtf_nyquist"].clamp(max=1.0)
    return filtered(electrons, 1 / (1 + (kr**2 + kc**2) * (1 / at_nyquist - 1)))


def take(intensity: Tensor, pixel_nm: float, p: Parameters, chance: Chance) -> Tensor:
    """Counts (B, H, W) of one exposure each to intensities that are 1 in vacuum.

    Gains, dark levels and defects are drawn anew for every frame: each comes from another camera.
    """
    electrons = p["dose_e_per_A2"] * 100 * pixel_nm**2 * p["dqe"]
    shape = tuple(intensity.shape)
    read = spread(chance.poisson(intensity.clamp(min=0) * electrons), p)
    read = read + p["read_noise_e"] * chance.normal(shape)
    gain = p["gain_counts_per_e"]
    counts = read * gain * (1 + p["gain_spread"] * chance.normal(shape))
    counts = counts + p["dark_counts"] + p["dark_spread"] * chance.normal(shape)
    drawn = chance.rand(shape)
    struck = p["hot_pixels"] + p["xrays_per_megapixel"] / 1e6
    counts = torch.where(drawn < struck, counts + gain * (20 + chance.exponential(shape, 60.0)), counts)
    counts = torch.where(drawn > 1 - p["dead_pixels"], p["dark_counts"].expand(shape), counts)
    return torch.minimum(counts.clamp(min=0), p["saturation_counts"])


def record(intensity: Tensor, pixel_nm: float, p: Parameters, chance: Chance) -> Tensor:
    """Counts (B, H, W) as `sim.optics.imaging.record` gives them, smoothed where an export is."""
    shape = (intensity.shape[-2], intensity.shape[-1])
    counts = take(intensity * illumination(shape, p, chance), pixel_nm, p, chance)
    kr, kc = frequencies(shape, pixel_nm, counts.device, half=True)
    return filtered(counts, torch.exp(-2 * pi**2 * p["smoothing_nm"] ** 2 * (kr**2 + kc**2)))
