"""A model as shipped: one folder with the network, the forest, how frames are prepared, figures and hashes.

==================  ====================================================================================
file                holds
==================  ====================================================================================
`bundle.json`       format, name, version, parent, settings, classes, features, rates, metrics, licence,
                    SHA-256 of the rest
`unet.safetensors`  the network's weights, for torch
`unet.onnx`         the same network, for ONNX Runtime
`unet.int8.onnx`    the same in whole numbers, where it is as good and quicker (`models.training.quantise`)
`forest.onnx`       the forest, for ONNX Runtime
`forest.skops`      the same forest, for refitting
==================  ====================================================================================
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.device.there import TORCH_CPU, why_no_cuda
from models.errors import BundleRefused, ModelError
from models.features.measure import feature_names
from models.forest import Forest, onnx_forest
from models.preprocess import Preprocessing
from models.quality.likeness import Likeness
from models.results import CLASSES
from models.runtime import open_session
from models.segment import Calibration, Network, Segmentation, calibrated

if TYPE_CHECKING:  # torch is imported only where it is needed
    from models.device.chain import Chain
    from models.device.sight import Device
    from models.unet import Architecture

FORMAT = "faultwatch bundle 1"
FILES = ("unet.safetensors", "unet.onnx", "forest.onnx", "forest.skops")
FORMS_OF_FOREST = ("forest.onnx", "forest.skops")
INT8 = "unet.int8.onnx"
BUNDLES = Path(__file__).parent / "bundles"
#: The files and settings from which a bundle's identity is computed: all that can change a result.
_JUDGING = ("name", "sha256", "preprocessing", "segmentation", "features", "abstain_below", "sharpening")
#: The same, for files that a bundle may lack.
_JUDGING_TOO = ("calibration", "preferred_backend")
#: Further fields of `bundle.json`. A bundle with any other field is refused: it could change the results.
_TOLD = (
    *(
        "format",
        "classes",
        "licence",
        "unet",
        "forest",
        "rates",
        "rates_by_condition",
        "confusion",
        "metrics",
        "version",
        "parent",
        "provenance",
        "likeness",
    ),
    "metrics_of",
)
SHIPPED = BUNDLES / "cdse-au-8"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: everything that `models.analysis.analyse` needs."""

    id: str
    path: Path
    details: dict[str, Any]
    """`bundle.json`, as it is."""
    preprocessing: Preprocessing
    segmentation: Segmentation
    calibration: Calibration
    """Part of `network` already."""
    feature_names: list[str]
    abstain_below: float
    """A particle whose likeliest class has a lower probability is marked as abstained."""
    backend: str
    network: Network
    forest: Forest
    likeness: Likeness | None = None
    """What frames are compared with; `None` where the bundle has no reference, and nothing is judged."""
    device: Device | None = None
    """What prepares, segments and measures in place of the CPU; `None`: the CPU does, with `network`."""


def by_name(path: Path) -> Path:
    """A bundle that comes with the program may be given by its name alone; any other path is left as it is."""
    shipped = BUNDLES / path.name
    return shipped if path == Path(path.name) and not path.exists() and shipped.is_dir() else path


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def identity(details: dict[str, Any]) -> str:
    """Name and eight digits that change with any weight or setting."""
    judged = {k: details[k] for k in _JUDGING} | {k: details[k] for k in _JUDGING_TOO if k in details}
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
        unknown = details.keys() - {*_JUDGING, *_JUDGING_TOO, *_TOLD}
        if unknown:
            raise BundleRefused(
                f"{manifest} says what this version does not know: {', '.join(sorted(unknown))}"
            )
        return identity(details), details
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BundleRefused(f"{manifest} is damaged: {error}") from error


def load_bundle(path: Path | None = None, device: str = "auto", threads: int = 1) -> Bundle:
    """Load and check a bundle; `None`: the shipped one.

    Parameters
    ----------
    device : "cpu" (ONNX Runtime), "cuda" (torch, the whole chain), or "auto": cuda where there is one;
        "torch-cpu", for tests, is the device's chain on the CPU.
    threads : of the network on a CPU.

    Raises
    ------
    BundleRefused
        Damaged, foreign or of another format; or cuda was asked for where there is none.
    """
    folder = path or SHIPPED
    bundle_id, details = describe(folder)
    for file in (*FILES, *(details["sha256"].keys() & {INT8})):
        if not (folder / file).is_file():
            raise BundleRefused(f"{folder} lacks {file}")
        if file_hash(folder / file) != details["sha256"].get(file):
            raise BundleRefused(f"{folder / file} is damaged: its SHA-256 is not the one in bundle.json")
    unknown = set(details["features"]) - set(feature_names())
    if unknown:
        raise BundleRefused(
            f"{folder} asks for features that this version does not measure: {', '.join(sorted(unknown))}"
        )
    try:
        preprocessing = Preprocessing(**details["preprocessing"])
        segmentation = Segmentation(**details["segmentation"])
        calibration = Calibration(**details.get("calibration", {}))
        names = [str(name) for name in details["features"]]
        abstain_below = float(details["abstain_below"])
        sharpening = float(details["sharpening"])
        likeness = Likeness.read(details.get("likeness"))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleRefused(f"{folder / 'bundle.json'} is damaged: {error}") from error
    backend, network = load_network(folder, details, "cpu" if device == TORCH_CPU else device, threads)
    bundle = Bundle(
        id=bundle_id,
        path=folder,
        details=details,
        preprocessing=preprocessing,
        segmentation=segmentation,
        calibration=calibration,
        feature_names=names,
        abstain_below=abstain_below,
        backend=backend,
        network=calibrated(network, calibration),
        forest=onnx_forest(folder / "forest.onnx", len(names), sharpening),
        likeness=likeness,
    )
    if backend == "torch-cuda" or device == TORCH_CPU:
        return replace(bundle, device=device_chain(bundle, "cpu" if device == TORCH_CPU else "cuda"))
    return bundle


def load_network(folder: Path, details: dict[str, Any], device: str, threads: int) -> tuple[str, Network]:
    """The network on a device, not calibrated: ("onnxruntime-cpu", "onnx-int8" or "torch-cuda", callable).

    The form in whole numbers is taken on a CPU where the bundle says that it is to be preferred.
    """
    if on_cuda(device):
        return "torch-cuda", torch_network(folder, _architecture(folder, details), "cuda")
    if details.get("preferred_backend") == "onnx-int8":
        return "onnx-int8", onnx_network(folder / INT8, threads)
    return "onnxruntime-cpu", onnx_network(folder / "unet.onnx", threads)


def on_cuda(device: str) -> bool:
    """Whether "auto", "cpu" or "cuda" means a CUDA device here.

    Raises
    ------
    BundleRefused
        It is none of the three; or cuda was asked for, and the sentence says why there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise BundleRefused(f"no device {device}; there are auto, cpu and cuda")
    missing = None if device == "cpu" else why_no_cuda()
    if device == "cuda" and missing is not None:
        raise BundleRefused(missing)
    return device != "cpu" and missing is None


def device_chain(bundle: Bundle, device: str) -> Chain:
    """What runs a bundle's chain in torch, on "cuda", or on "cpu" where it is tested.

    Raises
    ------
    BundleRefused
        The weights can't be read, or are those of another network.
    """
    from models.device.chain import Chain
    from models.unet import read_unet

    net = read_unet(bundle.path / "unet.safetensors", _architecture(bundle.path, bundle.details))
    return Chain(net, bundle.preprocessing, bundle.calibration, device)


def _architecture(folder: Path, details: dict[str, Any]) -> Architecture:
    from models.unet import architecture_of

    try:
        return architecture_of(details["unet"])
    except (ModelError, KeyError, TypeError) as error:
        raise BundleRefused(f"{folder / 'bundle.json'} is damaged: {error}") from error


def onnx_network(path: Path, threads: int = 1) -> Network:
    """The network in ONNX Runtime on the CPU.

    Raises
    ------
    BundleRefused
        The file holds something else.
    """
    session = open_session(path, threads)
    if [(i.name, len(i.shape)) for i in session.get_inputs()] != [("image", 4)]:
        raise BundleRefused(f"{path} holds no network that takes an image")

    def run(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(session.run(None, {"image": image})[0], dtype=np.float32)

    return run


def torch_network(folder: Path, architecture: Architecture, device: str) -> Network:
    """The network in torch, from its safetensors.

    Raises
    ------
    BundleRefused
        The weights can't be read, or are those of another network.
    """
    import torch

    from models.unet import read_unet

    net = read_unet(folder / "unet.safetensors", architecture).to(device).eval()

    @torch.inference_mode()
    def run(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        result = net(torch.from_numpy(image).to(device, memory_format=torch.channels_last))
        return np.asarray(result.float().cpu().numpy())

    return run
