"""From exit waves to images as a data set has them, in torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.examples.chance import Chance
from sim.dataset.make import CANONICAL_NM, TILE
from sim.optics.batched.camera import record
from sim.optics.batched.imaging import exposure
from sim.streaming.waves import Fields

Moved = Callable[[Tensor, Tensor, Chance], tuple[Tensor, Tensor]]


def photographed(
    fields: Fields, side_nm: float, chance: Chance, moved: Moved | None = None
) -> tuple[Tensor, Tensor]:
    """Images (T, 256, 256) in counts divided by their field's mean, and their labels (T, 256, 256).

    Intensity, camera, reduction to `CANONICAL_NM` and tiles are those of `sim.dataset.make.images_of`. Each image is
    shifted at random.

    Parameters
    ----------
    moved : done to intensities and labels (B, gpts, gpts) before the camera, so that noise is not interpolated.
    """
    gpts = fields.waves.shape[-1]
    pixel_nm = side_nm / gpts
    clean = exposure(fields.waves, fields.gold_nm, pixel_nm, fields.parameters)
    shifts = list(zip(*(chance.integers(len(clean), gpts).tolist() for _ in range(2)), strict=True))
    clean = torch.stack([image.roll(shift, (0, 1)) for image, shift in zip(clean, shifts, strict=True)])
    labels = torch.stack(
        [image.roll(shift, (0, 1)) for image, shift in zip(fields.labels, shifts, strict=True)]
    )
    if moved is not None:
        clean, labels = moved(clean, labels, chance)
    counts = record(clean, pixel_nm, fields.parameters, chance)
    size = round(side_nm / CANONICAL_NM)
    counts, labels = reduced(counts, size), labels[:, :: gpts // size, :: gpts // size]
    counts = counts / counts.mean((1, 2), keepdim=True).clamp(min=1e-6)
    return tiles(counts), tiles(labels)


def reduced(images: Tensor, size: int) -> Tensor:
    """The same periodic fields (B, size, size) on a coarser grid, as `sim.optics.transfer.resample` has it."""
    before = images.shape[-1]
    if size == before:
        return images
    spectrum = torch.fft.fftshift(torch.fft.fft2(images), dim=(1, 2))
    first = before // 2 - size // 2
    kept = spectrum[:, first : first + size, first : first + size]
    small: Tensor = torch.fft.ifft2(torch.fft.ifftshift(kept, dim=(1, 2))).real
    return small * (size / before) ** 2


def tiles(images: Tensor) -> Tensor:
    """(B, n·256, n·256) → (B·n², 256, 256)."""
    b, n = len(images), images.shape[-1] // TILE
    parts = images.reshape(b, n, TILE, n, TILE).transpose(2, 3)
    return parts.reshape(b * n * n, TILE, TILE)
