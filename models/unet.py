"""The U-Net (Ronneberger 2015) that marks particles, as its `Architecture` says; here four levels, stem "half".

::

    image ── stem ½ ── w ───────────────────────────────────── w ── head ── ×2 ── (particle, core) logits
                        └ ½ ─ 2w ───────────────────── 2w ┘
                               └ ½ ─ 4w ───────── 4w ┘
                                      └ ½ ─ 6w ──┘

At 0.05 nm/px a pixel of the first level is then 0.1 nm wide, of the last 0.8 nm. With the stem "full" the first level
stands at the image's own sampling, and nothing is enlarged at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import gcd
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import BundleRefused, ModelError

GROWTH = (1, 2, 4, 6, 8)
"""Channels of each level, in widths."""
STEM_KERNEL = 5
LARGEST_STRIDE = 16
"""Frames are padded to multiples of this before they are judged [px]."""
GROUPS = 8
"""Groups of the group norm, or the largest divisor of the channels and it."""


@dataclass(frozen=True)
class Architecture:
    """What the net is built from; a net is rebuilt from this and its weights.

    Raises
    ------
    ModelError
        No such net can be built.
    """

    width: int = 24
    """Channels of the first level."""
    levels: int = 4
    stem: Literal["half", "full"] = "half"
    """Sampling at which the first level stands, of the image's."""
    norm: Literal["batch", "group", "instance"] = "batch"
    kernel: int = 3
    """Side of the blocks' convolutions [px of their level]; odd."""

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 512 or not 1 <= self.levels <= len(GROWTH):
            raise ModelError(
                f"a net of width {self.width} and {self.levels} levels can't be built; "
                f"the width is 1 to 512, the levels are 1 to {len(GROWTH)}"
            )
        if self.stem not in ("half", "full") or self.norm not in ("batch", "group", "instance"):
            raise ModelError(
                f"no stem {self.stem!r} or norm {self.norm!r}; "
                "there are the stems half, full and the norms batch, group, instance"
            )
        if self.kernel not in (1, 3, 5, 7):
            raise ModelError(f"the blocks' kernel is 1, 3, 5 or 7, not {self.kernel}")
        if self.stride > LARGEST_STRIDE:
            raise ModelError(
                f"{self.levels} levels and the stem {self.stem!r} need frames in multiples of {self.stride} px; "
                f"frames are padded to multiples of {LARGEST_STRIDE}"
            )

    @property
    def stride(self) -> int:
        """Height and width of an image are multiples of this [px]: a pixel of the deepest level."""
        return int(2 ** (self.levels - 1)) * (2 if self.stem == "half" else 1)

    @property
    def receptive_field_px(self) -> int:
        """Side of the square of image pixels that one output pixel can depend on (the largest of all) [px].

        Followed back through the deepest way: an interval [first, last] of each level's pixels at a time.
        """
        reach = self.kernel - 1  # of two convolutions, to either side
        sides = []
        for pixel in range(self.stride):
            first = last = pixel
            if self.stem == "half":  # linear interpolation between two pixels
                first, last = (pixel - 1) // 2, (pixel - 1) // 2 + 1
            for _ in range(self.levels - 1):  # up the right side: block, then each pixel from its nearest
                first, last = (first - reach) // 2, (last + reach) // 2
            for _ in range(self.levels - 1):  # down the left side: block, then the largest of two
                first, last = 2 * (first - reach), 2 * (last + reach) + 1
            first, last = first - reach, last + reach
            step = 2 if self.stem == "half" else 1
            first, last = step * first - STEM_KERNEL // 2, step * last + STEM_KERNEL // 2
            sides.append(last - first + 1)
        return max(sides)

    def receptive_field_nm(self, pixel_size_nm: float) -> float:
        """The receptive field at a sampling [nm]."""
        return self.receptive_field_px * pixel_size_nm

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def architecture_of(described: Mapping[str, Any]) -> Architecture:
    """The architecture as `training.json`, or `unet` in `bundle.json`, says it; older ones say the width alone.

    Raises
    ------
    ModelError
        It says none, or one that this version does not know.
    """
    try:
        if "architecture" in described:
            return Architecture(**described["architecture"])
        return Architecture(
            int(described["width"] if "width" in described else described["settings"]["width"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"no architecture of a U-Net that this version knows: {error}") from error


class Block(nn.Sequential):
    """Two convolutions, each normalised and rectified: (B, inputs, H, W) → (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, architecture: Architecture) -> None:
        kernel = architecture.kernel
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            _norm(outputs, architecture),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, kernel, padding=kernel // 2, bias=False),
            _norm(outputs, architecture),
            nn.ReLU(inplace=True),
        )


def _norm(channels: int, architecture: Architecture) -> nn.Module:
    """Normalisation; batch norm alone does not depend on what else is in the image once it is trained."""
    if architecture.norm == "batch":
        return nn.BatchNorm2d(channels)
    groups = channels if architecture.norm == "instance" else gcd(GROUPS, channels)
    return nn.GroupNorm(groups, channels)


class UNet(nn.Module):
    """(B, 1, H, W) standardised image → (B, 2, H, W) logits of `particle` and `core`.

    H and W are multiples of the architecture's stride.
    """

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = built = architecture or Architecture()
        w = [growth * built.width for growth in GROWTH[: built.levels]]
        self.stem = nn.Sequential(
            nn.Conv2d(
                1,
                w[0],
                STEM_KERNEL,
                stride=2 if built.stem == "half" else 1,
                padding=STEM_KERNEL // 2,
                bias=False,
            ),
            _norm(w[0], built),
            nn.ReLU(inplace=True),
        )
        self.down = nn.ModuleList(
            Block(w[max(level - 1, 0)], w[level], built) for level in range(built.levels)
        )
        self.up = nn.ModuleList(
            Block(w[level + 1] + w[level], w[level], built) for level in reversed(range(built.levels - 1))
        )
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(w[0], 2, 1)

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
        logits: Tensor = self.head(x)  # (B, 2, H/2, W/2)
        if self.architecture.stem == "full":
            return logits
        return nn.functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)


def read_unet(weights: Path, architecture: Architecture) -> UNet:
    """The network that a safetensors file holds.

    Raises
    ------
    BundleRefused
        The weights can't be read, or are those of another network.
    """
    net = UNet(architecture)
    try:
        net.load_state_dict(load_file(weights))
    except (SafetensorError, OSError, RuntimeError) as error:  # RuntimeError: weights of another net
        said = " ".join(str(error).split())[:160]
        raise BundleRefused(f"{weights} does not hold this network: {said}") from error
    return net
