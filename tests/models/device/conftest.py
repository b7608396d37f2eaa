"""One simulated frame, and what the CPU and the device in torch see in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest

from models.bundle import SHIPPED, Bundle, load_bundle, onnx_network
from models.device.chain import Chain
from models.preprocess import Canonical, canonical
from models.segment import calibrated, probability_maps, regions
from models.unet import architecture_of, read_unet
from sim.microscope.library import load_library
from sim.microscope.play import Story, take_frames

STEP = 0.025
SIDE = 640


@dataclass(frozen=True)
class Known:
    """A frame, and what the CPU makes of it with the network in single precision."""

    counts: npt.NDArray[np.uint16]
    prepared: Canonical
    maps: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The shipped bundle with its network in single precision, as a device has it."""
    loaded = load_bundle(device="cpu")
    network = onnx_network(SHIPPED / "unet.onnx")
    return replace(loaded, backend="onnxruntime-cpu", network=calibrated(network, loaded.calibration))


@pytest.fixture(scope="session")
def chain(bundle: Bundle) -> Chain:
    net = read_unet(SHIPPED / "unet.safetensors", architecture_of(bundle.details["unet"]))
    return Chain(net, bundle.preprocessing, bundle.calibration, "cpu")


@pytest.fixture(scope="session")
def known(bundle: Bundle) -> Known:
    (taken,) = take_frames(Story(frames=1, size=SIDE, seed=11), load_library())
    prepared = canonical(taken.counts, STEP, bundle.preprocessing)
    maps = probability_maps(prepared.image, bundle.network)
    return Known(
        taken.counts, prepared, maps, regions(maps, bundle.preprocessing.pixel_size_nm, bundle.segmentation)
    )
