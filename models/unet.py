"""The U-Net (Ronneberger 2015) that marks particles, entered at half resolution.

::

    image ── stem ½ ── w ───────────────────────────────────── w ── head ── ×2 ── (particle, core) logits
                        └ ½ ─ 2w ───────────────────── 2w ┘
                               └ ½ ─ 4w ───────── 4w ┘
                                      └ ½ ─ 6w ──┘

At 0.05 nm/px a pixel of the first level is 0.1 nm wide, of the last 0.8 nm; the receptive field is about 15 nm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Sequential):
    """Two 3 × 3 convolutions, each normalised and rectified: (B, inputs, H, W) → (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    """(B, 1, H, W) standardised image → (B, 2, H, W) logits of `particle` and `core`; H and W are multiples of 16."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        w = [width, 2 * width, 4 * width, 6 * width]
        self.width = width
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.down = nn.ModuleList(
            [Block(w[0], w[0]), Block(w[0], w[1]), Block(w[1], w[2]), Block(w[2], w[3])]
        )
        self.up = nn.ModuleList(
            [Block(w[3] + w[2], w[2]), Block(w[2] + w[1], w[1]), Block(w[1] + w[0], w[0])]
        )
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)  # (B, w, H/2, W/2)
        kept = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))  # (B, w[level], H/2^(level+1), ...)
            kept.append(x)
        kept.pop()
        for block in self.up:
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([x, kept.pop()], dim=1))
        logits = self.head(x)  # (B, 2, H/2, W/2)
        return nn.functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
