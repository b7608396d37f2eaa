"""The net as its architecture says it: shapes, receptive field, old descriptions."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.bundle import SHIPPED, describe
from models.errors import ModelError
from models.unet import Architecture, UNet, architecture_of

SOME = [
    Architecture(4),
    Architecture(4, levels=2, norm="group"),
    Architecture(4, levels=3, norm="instance", kernel=5),
    Architecture(4, levels=1),
    Architecture(4, levels=3, stem="full"),
]


def measured_field(architecture: Architecture) -> int:
    """The widest stretch of pixels that an output depends on, of all outputs within one stride in the middle."""
    net = UNet(architecture).double().eval()
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.fill_(0.0 if name.endswith("bias") else 1 / weight[0].numel() if weight.ndim == 4 else 1.0)
    net.pool = torch.nn.AvgPool2d(2)  # every one of the four counts, not the largest alone
    side = 16 * (architecture.receptive_field_px // 16 + 3)
    middle = side // 2 // 16 * 16
    widths = []
    for pixel in range(middle, middle + architecture.stride):
        image = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
        net(image)[0, 0, pixel, pixel].backward()
        reached = np.flatnonzero(image.grad[0, 0].abs().amax(dim=0) > 0)
        assert reached[0] > 0
        assert reached[-1] < side - 1
        widths.append(int(reached[-1] - reached[0] + 1))
    return max(widths)


@pytest.mark.parametrize("architecture", [a for a in SOME if a.norm == "batch"], ids=str)
def test_the_receptive_field_is_what_gradients_reach(architecture: Architecture) -> None:
    assert measured_field(architecture) == architecture.receptive_field_px


def test_the_default_sees_more_than_is_asked() -> None:
    assert Architecture().receptive_field_nm(0.05) == pytest.approx(10.15)
    assert Architecture(levels=3).receptive_field_nm(0.05) > 4


@pytest.mark.parametrize("architecture", SOME, ids=str)
def test_logits_have_the_size_of_the_image(architecture: Architecture) -> None:
    net = UNet(architecture).eval()
    for shape in ((architecture.stride, 2 * architecture.stride), (48, 64)):
        with torch.no_grad():
            assert net(torch.zeros(2, 1, *shape)).shape == (2, 2, *shape)


@pytest.mark.parametrize("architecture", SOME, ids=str)
def test_it_is_rebuilt_from_what_is_written(architecture: Architecture) -> None:
    assert architecture_of({"architecture": architecture.as_dict(), "width": 7}) == architecture


def test_older_descriptions_say_the_width_alone() -> None:
    assert architecture_of({"width": 16}) == Architecture(16)
    assert architecture_of({"settings": {"width": 8}}) == Architecture(8)
    built = UNet(architecture_of(describe(SHIPPED)[1]["unet"]))
    built.load_state_dict(load_file(SHIPPED / "unet.safetensors"))
    for described in ({}, {"architecture": {"depth": 3}}, {"width": "wide"}):
        with pytest.raises(ModelError, match="no architecture"):
            architecture_of(described)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"width": 0}, "width 0"),
        ({"levels": 9}, "9 levels"),
        ({"levels": 5}, "multiples of 32"),
        ({"stem": "third"}, "no stem 'third'"),
        ({"norm": "none"}, "norm 'none'"),
        ({"kernel": 4}, "not 4"),
    ],
)
def test_what_cannot_be_built_is_said(wrong: dict, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        Architecture(**wrong)
