"""A model as shipped: one folder with the network, the forest, how frames are prepared, figures and hashes.

==================  ====================================================================================
file                holds
==================  ====================================================================================
`bundle.json`       format, name, settings, classes, features, rates, metrics, licence, SHA-256 of the rest
`unet.safetensors`  the network's weights, for torch
`unet.onnx`         the same network, for ONNX Runtime
`forest.onnx`       the forest, for ONNX Runtime
`forest.skops`      the same forest, for refitting
==================  ====================================================================================
"""

from __future__ import annotations

import ctypes.util
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import BundleRefused
from models.features import feature_names
from models.forest import sharpened
from models.preprocess import Preprocessing
from models.results import CLASSES
from models.segment import Network, Segmentation

FORMAT = "faultwatch bundle 1"
FILES = ("unet.safetensors", "unet.onnx", "forest.onnx", "forest.skops")
BUNDLES = Path(__file__).parent / "bundles"
#: What a bundle's identity follows from: whatever can change what it says of a frame.
_JUDGING = ("name", "sha256", "preprocessing", "segmentation", "features", "abstain_below", "sharpening")
SHIPPED = BUNDLES / "cdse-au-1"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: everything that `models.analysis.analyse` needs."""

    id: str
    path: Path
    details: dict[str, Any]
    """`bundle.json`, as it is."""
    preprocessing: Preprocessing
    segmentation: Segmentation
    feature_names: list[str]
    abstain_below: float
    """A particle whose likeliest class has a lower probability is marked as abstained."""
    backend: str
    network: Network
    forest: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
    """(P, F) features → (P, 4) probabilities in the order of `CLASSES`."""


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_manifest(folder: Path, name: str, details: dict[str, Any]) -> str:
    """Write `bundle.json` beside the finished files; returns the bundle's identity."""
    hashes = {file: _hash(folder / file) for file in FILES}
    details = {"format": FORMAT, "name": name, "classes": list(CLASSES), **details, "sha256": hashes}
    (folder / "bundle.json").write_text(json.dumps(details, indent=1) + "\n")
    return identity(details)


def identity(details: dict[str, Any]) -> str:
    """Name and eight digits that change with any weight or setting."""
    judged = {k: details[k] for k in _JUDGING}
    return f"{details['name']}-{hashlib.sha256(json.dumps(judged, sort_keys=True).encode()).hexdigest()[:8]}"


def describe(path: Path | None = None) -> tuple[str, dict[str, Any]]:
    """Identity and manifest of a bundle without loading it; `None`: the shipped one.

    Raises
    ------
    BundleRefused
        There is none, or it is of a format that this version does not know.
    """
    folder = path or SHIPPED
    manifest = folder / "bundle.json"
    if not manifest.is_file():
        raise BundleRefused(f"{folder} is no bundle: it has no bundle.json")
    try:
        details = json.loads(manifest.read_text())
        if details.get("format") != FORMAT:
            raise BundleRefused(
                f"{folder} is of format {details.get('format')!r}; this version reads {FORMAT!r}"
            )
        if not isinstance(details["sha256"], dict) or not isinstance(details["features"], list):
            raise ValueError("hashes or features are missing")
        if details["classes"] != list(CLASSES):
            raise BundleRefused(f"{folder} knows the classes {details['classes']}, not {list(CLASSES)}")
        return identity(details), details
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BundleRefused(f"{manifest} is damaged: {error}") from error


def load_bundle(path: Path | None = None, device: str = "auto", threads: int = 1) -> Bundle:
    """Load and check a bundle; `None`: the shipped one.

    Parameters
    ----------
    device : "cpu" (ONNX Runtime), "cuda" (torch), or "auto": cuda where there is one.
    threads : of the network on a CPU.

    Raises
    ------
    BundleRefused
        Damaged, foreign or of another format; or cuda was asked for where there is none.
    """
    folder = path or SHIPPED
    bundle_id, details = describe(folder)
    for file in FILES:
        if not (folder / file).is_file():
            raise BundleRefused(f"{folder} lacks {file}")
        if _hash(folder / file) != details["sha256"].get(file):
            raise BundleRefused(f"{folder / file} is damaged: its SHA-256 is not the one in bundle.json")
    unknown = set(details["features"]) - set(feature_names())
    if unknown:
        raise BundleRefused(
            f"{folder} asks for features that this version does not measure: {', '.join(sorted(unknown))}"
        )
    try:
        preprocessing = Preprocessing(**details["preprocessing"])
        segmentation = Segmentation(**details["segmentation"])
        names = [str(name) for name in details["features"]]
        abstain_below = float(details["abstain_below"])
        sharpening = float(details["sharpening"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleRefused(f"{folder / 'bundle.json'} is damaged: {error}") from error
    backend, network = load_network(folder, details, device, threads)
    return Bundle(
        bundle_id,
        folder,
        details,
        preprocessing,
        segmentation,
        names,
        abstain_below,
        backend,
        network,
        _onnx_forest(folder / "forest.onnx", sharpening),
    )


def cuda_there() -> bool:
    """Whether a CUDA driver is installed and torch can use it; torch is imported only where there is a driver."""
    if ctypes.util.find_library("cuda") is None and ctypes.util.find_library("nvcuda") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def load_network(folder: Path, details: dict[str, Any], device: str, threads: int) -> tuple[str, Network]:
    """The network on a device: ("onnxruntime-cpu" or "torch-cuda", callable)."""
    if device not in ("auto", "cpu", "cuda"):
        raise BundleRefused(f"no device {device}; there are auto, cpu and cuda")
    if device == "cuda" and not cuda_there():
        raise BundleRefused("there is no usable CUDA device; use --device cpu")
    if device == "cuda" or (device == "auto" and cuda_there()):
        return "torch-cuda", torch_network(folder, int(details["unet"]["width"]), "cuda")
    return "onnxruntime-cpu", onnx_network(folder / "unet.onnx", threads)


def onnx_network(path: Path, threads: int = 1) -> Network:
    """The network in ONNX Runtime on the CPU."""
    session = _session(path, threads)

    def run(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(session.run(None, {"image": image})[0], dtype=np.float32)

    return run


def torch_network(folder: Path, width: int, device: str) -> Network:
    """The network in torch, from its safetensors."""
    import torch
    from safetensors.torch import load_file

    from models.unet import UNet

    net = UNet(width)
    net.load_state_dict(load_file(folder / "unet.safetensors"))
    net = net.to(device).eval()

    @torch.inference_mode()
    def run(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        result = net(torch.from_numpy(image).to(device, memory_format=torch.channels_last))
        return np.asarray(result.float().cpu().numpy())

    return run


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena keeps the largest frame's memory for the next one: quicker, and the footprint stays at its height.
    options.enable_cpu_mem_arena = True
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _onnx_forest(
    path: Path, sharpening: float
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    session = _session(path, 1)
    name = session.get_inputs()[0].name

    def run(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if len(rows) == 0:
            return np.zeros((0, len(CLASSES)), np.float32)
        return sharpened(np.asarray(session.run(None, {name: rows})[1], dtype=np.float32), sharpening)

    return run
