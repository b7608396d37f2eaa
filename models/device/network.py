"""The U-Net as a device runs it: batch norm folded into the convolutions, channels last, in half precision on a GPU."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.segment import STRIDE, Calibration
from models.unet import UNet

Precision = Literal["float32", "float16", "bfloat16"]
LARGEST_LOGIT = 30.0
"""As in `models.segment.probabilities`."""


def folded(net: UNet) -> nn.Module:
    """A copy of a trained network whose batch norms are part of the convolutions before them (other norms stay)."""
    copied = copy.deepcopy(net).eval()
    for module in list(copied.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for place in range(len(module) - 1):
            first, second = module[place], module[place + 1]
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                module[place] = fuse_conv_bn_eval(first, second)
                module[place + 1] = nn.Identity()
    return copied


class Segmenter:
    """Calibrated probabilities of `particle` and `core` for batches of standardised frames.

    Parameters
    ----------
    precision : in which the network computes; what goes in and comes out has single precision.
    """

    def __init__(self, net: UNet, calibration: Calibration, device: str, precision: Precision) -> None:
        self._type = getattr(torch, precision)
        self._net = folded(net).to(device, self._type)
        self._net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        scale, bias = (
            torch.tensor(values, dtype=torch.float32, device=device).view(1, 2, 1, 1)
            for values in (calibration.scale, calibration.bias)
        )
        self._scale, self._bias = scale, bias

    def __call__(self, frames: Tensor) -> Tensor:
        """(B, 2, h, w) from (B, h, w) of any size: a frame in one piece, mirrored up to what the network takes."""
        h, w = frames.shape[1:]
        padded = _mirrored(_mirrored(frames, 1, (-h) % STRIDE), 2, (-w) % STRIDE)
        image = padded[:, None].to(self._type, memory_format=torch.channels_last)
        logits = self._net(image)[:, :, :h, :w].float() * self._scale + self._bias
        return torch.sigmoid(logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT))


def _mirrored(frames: Tensor, axis: int, more: int) -> Tensor:
    """Frames with `more` rows or columns of their mirror image after the last, its own line repeated."""
    if more == 0:
        return frames
    return torch.cat([frames, frames.narrow(axis, frames.shape[axis] - more, more).flip(axis)], dim=axis)
