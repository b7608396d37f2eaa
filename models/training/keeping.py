"""Going on from a network without losing what it does well: its own output as a target, wherever it is right.

Learning without forgetting (Li and Hoiem 2016), here pixel by pixel with the truth at hand: where the first network
and the truth agree, the target lies between them; where they do not, and in frames that hold nothing, the truth stands
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from models.unet import UNet

WRONG = 0.25
"""The first network is wrong where it gives a pixel outside more than this, or one inside less."""


def freeze_statistics(net: nn.Module) -> None:
    """Let batch norm use its running statistics and leave them as they are; its scale and offset still learn."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def first_network(net: UNet) -> UNet:
    """A copy of a network as it is now, which learns nothing."""
    return deepcopy(net).eval().requires_grad_(False)


@torch.no_grad()
def kept_where_right(
    batch: tuple[Tensor, Tensor], first: UNet, share: float, device: str, bfloat16: bool
) -> tuple[Tensor, Tensor]:
    """Images (B, 1, H, W) and targets (B, 2, H, W) from 0 to 1, of those of a batch.

    Parameters
    ----------
    share : of the first network's output in a target where it is right.
    """
    images, wanted = batch[0].to(device), batch[1].to(device)
    holding = wanted.amax((1, 2, 3)) > 0
    if not bool(holding.any()):
        return images, wanted
    with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
        logits = first(images[holding])
    given, true = torch.sigmoid(logits.float()), wanted[holding]
    right = (given - true).abs() < torch.where(true > 0, 1 - WRONG, WRONG)
    softened = wanted.clone()
    softened[holding] = torch.where(right, true + share * (given - true), true)
    return images, softened


def between(first: Mapping[str, Tensor], learnt: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights on the straight way from a first network's to those it learnt (Wortsman 2022).

    Parameters
    ----------
    share : of the way, 0 to 1; chosen on validation images, and calibrated anew.
    """
    return {
        name: (one + share * (learnt[name] - one) if one.is_floating_point() else one).contiguous()
        for name, one in first.items()
    }
