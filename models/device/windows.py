"""Crops of regions as batches of one size: places in the frame, masks, and blurs as products with a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from models.features.contrast import RING_NM
from models.features.ground import SLOW_NM
from models.features.regions import EDGE_NM
from models.features.spectrum import TRANSFORM

BUCKET = 32
"""Crops are taken as squares whose side is a multiple of this, so that few sizes occur [px]."""


def side_of(boxes: np.ndarray) -> int:
    """The side of the squares that hold all of some crops (P, 4) [px]."""
    longest = int(boxes[:, 2:].max(initial=1))
    return min(TRANSFORM, -(-longest // BUCKET) * BUCKET)


def mirrored(places: Tensor, length: Tensor | int) -> Tensor:
    """Places along a line as a mirror at its first and last place has them (OpenCV's `BORDER_REFLECT_101`)."""
    last = torch.as_tensor(length, device=places.device) - 1
    period = (2 * last).clamp(min=1)
    folded = places.remainder(period)
    return torch.minimum(folded, period - folded).clamp(min=0)


@dataclass(frozen=True)
class Squares:
    """P squares of some frames, the same number of pixels a side, each beginning at its crop's corner."""

    labels: Tensor
    """(F, h, w) of the frames."""
    frame: Tensor
    """(P,) the frame of each square."""
    boxes: Tensor
    """(P, 4) first row, first column, rows and columns."""
    side: int
    numbers: Tensor
    """(P, 1, 1) the label of each region."""

    def of(self, frames: Tensor, reach: int = 0) -> Tensor:
        """(P, side + 2 reach, the same) of pictures (F, h, w), which are mirrored where squares go beyond them."""
        places = torch.arange(-reach, self.side + reach, device=frames.device)
        rows = mirrored(self.boxes[:, :1] + places, frames.shape[1])
        cols = mirrored(self.boxes[:, 1:2] + places, frames.shape[2])
        return self._read(frames, rows, cols)

    def _read(self, frames: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
        return frames[self.frame[:, None, None], rows[:, :, None], cols[:, None, :]]

    def within(self, reach: int = 0) -> Tensor:
        """(P, side + 2 reach, the same) what lies in the crop, widened by `reach`, and in the frame."""
        places = torch.arange(-reach, self.side + reach, device=self.boxes.device)
        inside = []
        for axis in (0, 1):
            first, length = self.boxes[:, axis : axis + 1], self.boxes[:, axis + 2 : axis + 3]
            at = first + places
            inside.append((places < length + reach) & (at >= 0) & (at < self.labels.shape[axis + 1]))
        return inside[0][:, :, None] & inside[1][:, None, :]

    def masks(self) -> Tensor:
        """(P, side, side) the regions."""
        return (self.of(self.labels) == self.numbers) & self.within()

    def windows(self, pixel_size_nm: float) -> Tensor:
        """(P, side, side) `models.features.regions.Region.soft`: the masks blurred, mirrored at the crops' borders."""
        kernel = kernel_rows(EDGE_NM / pixel_size_nm, self.side, str(self.boxes.device))
        reach = (kernel.shape[1] - self.side) // 2
        places = torch.arange(-reach, self.side + reach, device=self.boxes.device)
        rows = self.boxes[:, :1] + mirrored(places[None], self.boxes[:, 2:3])
        cols = self.boxes[:, 1:2] + mirrored(places[None], self.boxes[:, 3:4])
        # Squares reach beyond their crops, and may beyond the frame.
        height, width = self.labels.shape[1:]
        rows, cols = rows.clamp(max=height - 1), cols.clamp(max=width - 1)
        cut = (self._read(self.labels, rows, cols) == self.numbers).float()
        return kernel @ cut @ kernel.T * self.within()

    def slow(self, frames: Tensor, pixel_size_nm: float) -> Tensor:
        """(P, side, side) `models.features.ground.Ground.slow`."""
        kernel = kernel_rows(SLOW_NM / pixel_size_nm, self.side, str(frames.device))
        return kernel @ self.of(frames, (kernel.shape[1] - self.side) // 2) @ kernel.T


@lru_cache(maxsize=32)
def kernel_rows(sigma: float, side: int, device: str) -> Tensor:
    """(side, side + K - 1) a Gaussian kernel of K values, as OpenCV takes it, in every row, each a place further."""
    taps = round(sigma * 8 + 1) | 1
    kernel = cv2.getGaussianKernel(taps, sigma, cv2.CV_32F).ravel()
    rows = np.zeros((side, side + taps - 1), np.float32)
    for i in range(side):
        rows[i, i : i + taps] = kernel
    return torch.from_numpy(rows).to(device)


def ring_reach(pixel_size_nm: float) -> int:
    """How far the ring around a region reaches [px]."""
    return round(RING_NM / pixel_size_nm)
