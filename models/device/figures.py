"""What the CPU asks of whole frames, as sums over them on the device: light, counts, and how their values are spread.

What is decided by these figures is decided elsewhere, by the same code for both forms: `models.illumination.Light`,
`models.quality.frame.frame_quality`, `models.quality.likeness.frame_statistics`.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from models.batched import resizing
from models.illumination import grid_of
from models.quality.frame import COARSE, places_of
from models.quality.likeness import MARKED, SLOW_PX
from models.quality.spectrum import tile_places, window_of

BLACK = 0.001
"""Quantile of the counts below which a pixel is without light, as in `models.illumination.light_of`."""


class Blocks:
    """Means over the blocks of a grid, as OpenCV's `resize` by area has them: (B, H, W) → (B, rows, cols)."""

    def __init__(self, shape: tuple[int, int], grid: tuple[int, int], device: str) -> None:
        self._rows, self._cols = (
            torch.from_numpy(resizing(n, c, cv2.INTER_AREA)).to(device)
            for n, c in zip(shape, grid, strict=True)
        )

    def __call__(self, frames: Tensor) -> Tensor:
        return self._rows @ frames @ self._cols.T


class CountFigures:
    """`light_of` and `sampled` for frames of one size, from their counts in single precision (B, H, W)."""

    def __init__(self, shape: tuple[int, int], device: str) -> None:
        half = (shape[0] + 1) // 2, (shape[1] + 1) // 2
        self._light = Blocks(shape, grid_of(shape), device)
        self._ground = Blocks(half, (COARSE, COARSE), device)
        self._places = Blocks(half, places_of(half), device)
        self._steps = Blocks((half[0], half[1] - 1), places_of(half), device)

    def __call__(self, frames: Tensor) -> list[Tensor]:
        """What `models.device.sight.sight_of` reads of the counts; each with the frames along its first axis."""
        padded = pad(frames[:, None], (0, 1, 0, 1), mode="reflect")[:, 0]
        cross = padded[:, :-1, :-1] - padded[:, 1:, :-1] - padded[:, :-1, 1:] + padded[:, 1:, 1:]
        rough = cross * cross
        sample = frames[:, ::2, ::2].contiguous()
        highest = sample.amax((1, 2), keepdim=True)
        step = sample[:, :, 1:] - sample[:, :, :-1]
        dark = torch.quantile(frames[:, ::4, ::4].flatten(1), BLACK, dim=1).clamp(max=0.0)
        mean, spread = sample.mean((1, 2)), sample.std((1, 2), correction=0)
        at_highest = (sample >= highest).float().mean((1, 2))
        return [
            self._light(frames),
            self._light(rough).clamp(min=0).sqrt(),
            rough.mean(2).sqrt(),
            frames.mean(2),
            rough.mean(1).sqrt(),
            frames.mean(1),
            self._ground(sample),
            self._places(sample),
            self._steps(step * step),
            torch.stack([dark, mean, spread, at_highest], dim=1),
        ]


def tile_powers(images: Tensor, tile: int, a_side: int) -> Tensor:
    """(B, N, tile, tile/2 + 1) `models.quality.spectrum.tiled_power` of images (B, H, W); none of smaller ones."""
    if min(images.shape[1:]) < tile:
        return images.new_zeros((len(images), 0, tile, tile // 2 + 1))
    first = torch.tensor(tile_places((images.shape[1], images.shape[2]), tile, a_side), device=images.device)
    places = torch.arange(tile, device=images.device)
    rows, cols = (first[:, axis, None] + places for axis in (0, 1))
    tiles = images[:, rows[:, :, None], cols[:, None, :]]
    window = torch.from_numpy(window_of(tile)).to(images.device)
    transformed = torch.fft.rfft2((tiles - tiles.mean((2, 3), keepdim=True)) * window)
    power: Tensor = transformed.real**2 + transformed.imag**2
    return power / float((window_of(tile) ** 2).sum())


def shape_figures(frames: Tensor, particle_maps: Tensor) -> Tensor:
    """(B, 6) how standardised frames (B, h, w) and their maps of particles (B, h, w) are distributed, as `Shape` is."""
    coarse = particle_maps[:, ::2, ::2]
    marked = coarse > MARKED
    count = marked.sum((1, 2))
    sure = ((2 * coarse - 1).abs() * marked).sum((1, 2)) / count.clamp(min=1)
    sure = torch.where(count > 0, sure, torch.ones_like(sure))
    figures = [*_moments(frames), *_moments(_slow(frames)), sure, marked.float().mean((1, 2))]
    return torch.stack(figures, dim=1)


def _moments(frames: Tensor) -> tuple[Tensor, Tensor]:
    centred = frames - frames.mean((1, 2), keepdim=True)
    centred = centred / (frames.std((1, 2), correction=0, keepdim=True) + 1e-9)
    square = centred * centred
    return (square * centred).mean((1, 2)), (square * square).mean((1, 2))


def _slow(frames: Tensor) -> Tensor:
    """Every fourth pixel of frames blurred by `SLOW_PX`: products with the lines of the blur's matrix."""
    blurs = [_blur_matrix(n, frames.device) for n in frames.shape[1:]]
    return blurs[0] @ frames @ blurs[1].T


_known: dict[tuple[int, torch.device], Tensor] = {}


def _blur_matrix(length: int, device: torch.device) -> Tensor:
    """(⌈n/4⌉, n) what blurs a column, mirrored at its ends, and takes every fourth place of it."""
    key = (length, device)
    if key not in _known:
        unit = np.eye(length, dtype=np.float32)
        taps = round(SLOW_PX * 8 + 1) | 1  # OpenCV's own choice for single precision
        blur = cv2.GaussianBlur(unit, (1, taps), sigmaX=1, sigmaY=SLOW_PX)[::4]
        _known[key] = torch.from_numpy(np.ascontiguousarray(blur)).to(device)
    return _known[key]
