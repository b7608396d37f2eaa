"""Random numbers for batches on a device, all from one seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Chance:
    """Draws tensors on one device; the same seed gives the same numbers on the same device."""

    def __init__(self, seed: Sequence[int] | int, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        mixed = 0
        for part in [seed] if isinstance(seed, int) else seed:
            mixed = (mixed * 6364136223846793005 + part + 1442695040888963407) % 2**63
        self._generator = torch.Generator(self.device).manual_seed(mixed)

    def rand(self, shape: Sequence[int]) -> Tensor:
        """Uniform in [0, 1)."""
        return torch.rand(tuple(shape), generator=self._generator, device=self.device)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Of zero mean and unit variance."""
        return torch.randn(tuple(shape), generator=self._generator, device=self.device)

    def poisson(self, mean: Tensor) -> Tensor:
        """Counts about a mean of any shape."""
        return torch.poisson(mean, generator=self._generator)

    def exponential(self, shape: Sequence[int], mean: float) -> Tensor:
        """Exponentially distributed with this mean."""
        return -mean * torch.log1p(-self.rand(shape))

    def uniform(self, b: int, low: float, high: float) -> Tensor:
        """(b, 1, 1) between two numbers, one for each image of a batch."""
        return self.rand((b, 1, 1)) * (high - low) + low

    def choice(self, b: int, values: Sequence[float]) -> Tensor:
        """(b, 1, 1) of these values, each as likely."""
        return torch.tensor(values, dtype=torch.float32, device=self.device)[self.integers(b, len(values))][
            :, None, None
        ]

    def integers(self, b: int, below: int) -> Tensor:
        """(b,) whole numbers from 0 to below this one."""
        return torch.randint(below, (b,), generator=self._generator, device=self.device)

    def some(self, b: int, share: float) -> Tensor:
        """Indices of about this share of b images."""
        return (self.rand((b,)) < share).nonzero()[:, 0]
