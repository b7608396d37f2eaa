"""Preprocessing in torch, for batches of frames (B, H, W) on a GPU; on a CPU it is the same code.

The steps are those of `models.preprocess.standardise`. What OpenCV does there by `resize` is here a product with the
matrix of that very `resize`, so that both forms share its definition; `tests/models/test_batched.py` compares them.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.preprocess import Preprocessing, polynomials

BLOCK_PX = 16
"""Side of the blocks whose means a surface is fitted to [px]."""

SORTED_FROM = 1 << 16
"""A GPU looks for one place in the order with one of its processors alone; of so many values all sort faster."""


def median(values: Tensor) -> Tensor:
    """(B, 1) median of (B, N), of an even number the mean of the two in the middle, as NumPy has it."""
    n = values.shape[1]
    if values.is_cuda and n > SORTED_FROM:
        ordered = values.sort(dim=1).values
        return 0.5 * (ordered[:, (n - 1) // 2, None] + ordered[:, n // 2, None])
    middle = {place: values.kthvalue(place, 1, keepdim=True).values for place in ((n + 1) // 2, n // 2 + 1)}
    return 0.5 * (middle[(n + 1) // 2] + middle[n // 2 + 1])


def resizing(before: int, after: int, interpolation: int) -> npt.NDArray[np.float32]:
    """The matrix (after, before) by which OpenCV's `resize` changes the length of a column."""
    unit = np.eye(before, dtype=np.float32)
    return np.asarray(cv2.resize(unit, (before, after), interpolation=interpolation))


class Standardiser:
    """`models.preprocess.standardise` for batches of one size."""

    def __init__(self, shape: tuple[int, int], settings: Preprocessing, device: str = "cpu") -> None:
        self.settings = settings
        coarse = (max(4, shape[0] // BLOCK_PX), max(4, shape[1] // BLOCK_PX))
        self._down = [
            self._on(resizing(n, c, cv2.INTER_AREA), device) for n, c in zip(shape, coarse, strict=True)
        ]
        self._up = [
            self._on(resizing(c, n, cv2.INTER_CUBIC), device) for n, c in zip(shape, coarse, strict=True)
        ]
        self._flat = self._on(polynomials(coarse, settings.surface_order).astype(np.float64), device)
        self._noise = self._on(polynomials(coarse, settings.noise_order).astype(np.float64), device)
        self._kernel = [float(share) for share in cv2.getGaussianKernel(9, 1.0).ravel()]

    @staticmethod
    def _on(array: npt.NDArray[np.floating], device: str) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    def __call__(self, frames: Tensor) -> Tensor:
        """(B, H, W) with flat field, even noise, zero mean, unit standard deviation; constant frames give zeros."""
        mean, spread = frames.mean((1, 2), keepdim=True), _spread(frames)
        constant = ~(spread > 1e-9 * (mean.abs() + 1e-30))
        scaled = torch.where(constant, torch.zeros_like(frames), (frames - mean) / spread)
        flat = scaled - self._enlarged(self._surface(self._coarse(scaled), self._flat))
        if self.settings.noise_order > 0:
            level = self._coarse((flat - self._blurred(flat)).abs())
            floor = (0.02 * median(level)).clamp(min=1e-6)
            fitted = self._enlarged(self._surface(torch.log(torch.maximum(level, floor)), self._noise))
            middle = median(fitted.flatten(1))[:, :, None]
            flat = flat / torch.exp((fitted - middle).clamp(-1.5, 1.5))
        flat = flat - median(flat[:, ::2, ::2].flatten(1))[:, :, None]
        deviation = _spread(flat)
        clip = self.settings.clip
        usable = (deviation > 1e-9) & ~constant
        return torch.where(usable, (flat / deviation).clamp(-clip, clip), torch.zeros_like(flat))

    def _coarse(self, frames: Tensor) -> Tensor:
        """Block means (B, blocks)."""
        return (self._down[0] @ frames @ self._down[1].T).flatten(1)

    def _enlarged(self, coarse: Tensor) -> Tensor:
        """(B, blocks) on the frames' own grid (B, H, W)."""
        grid = coarse.view(len(coarse), self._down[0].shape[0], self._down[1].shape[0])
        return self._up[0] @ grid @ self._up[1].T

    def _blurred(self, frames: Tensor) -> Tensor:
        """A Gaussian blur of one pixel, mirrored at the border."""
        for axis in (1, 2):  # shifted sums: a convolution of one channel is slow on processors
            edges = (4, 4, 0, 0) if axis == 2 else (0, 0, 4, 4)
            padded = torch.nn.functional.pad(frames[:, None], edges, mode="reflect")[:, 0]
            size = frames.shape[axis]
            frames = sum(
                (share * padded.narrow(axis, i, size) for i, share in enumerate(self._kernel)),
                torch.zeros_like(frames),
            )
        return frames

    @staticmethod
    def _surface(coarse: Tensor, basis: Tensor) -> Tensor:
        """`models.preprocess.robust_surface` at the blocks: polynomials by Tukey's biweight, (B, blocks)."""
        values = coarse.double()
        weights = torch.ones_like(values)
        small = 1e-6 * torch.eye(len(basis), dtype=torch.float64, device=basis.device)
        fitted = torch.zeros_like(values)
        for _ in range(6):
            weighted = basis[None] * weights[:, None]
            solution = torch.linalg.solve(weighted @ basis.T + small, weighted @ values[:, :, None])[:, :, 0]
            fitted = solution @ basis
            residual = values - fitted
            spread = 1.4826 * median((residual - median(residual)).abs()) + 1e-12
            weights = (1 - (residual / (4.0 * spread)) ** 2).clamp(0, 1) ** 2 + 1e-6
        return fitted.float()


def _spread(frames: Tensor) -> Tensor:
    """(B, 1, 1) standard deviation as NumPy has it."""
    return frames.std((1, 2), correction=0, keepdim=True)
