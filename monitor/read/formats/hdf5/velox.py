"""Velox EMD files: every image under `Data/Image`, its JSON metadata frame by frame."""

from __future__ import annotations

import json
import math
from typing import Any

import h5py
import numpy as np

from monitor.errors import UnreadableFrame
from monitor.read.signals import Axis, Details, Signal
from monitor.read.formats.hdf5.stored import check_stored
from monitor.read.times import plausible_time

#: A frame's metadata is a JSON text of some 60 kB in a column of bytes; no longer one is read [bytes].
_LARGEST_JSON = 16 * 2**20


def is_velox(file: h5py.File) -> bool:
    """Whether the file says that Velox, or a program after its manner, wrote it."""
    version = file.get("Version")
    if isinstance(version, h5py.Dataset) and version.size == 1:
        text = version[()] if version.ndim == 0 else version[0]
        return b"Velox" in bytes(text) or b"DevelopersKit" in bytes(text)
    return isinstance(file.get("Data/Image"), h5py.Group) and "Version" in file


def velox_signals(file: h5py.File) -> list[Signal]:
    """The images of the file; of one without images a refusal that tells what it has instead."""
    group = file.get("Data/Image")
    images = list(group.values()) if isinstance(group, h5py.Group) else []
    signals = [_signal(image, file) for image in images if isinstance(image, h5py.Group) and "Data" in image]
    if not signals:
        others = sorted(file["Data"]) if isinstance(file.get("Data"), h5py.Group) else []
        raise UnreadableFrame(
            f"there is no image in it, only {', '.join(others) or 'nothing'}: spectra, not images"
        )
    return signals


def _signal(image: h5py.Group, file: h5py.File) -> Signal:
    data = image["Data"]
    if not isinstance(data, h5py.Dataset) or data.ndim not in (2, 3):
        raise UnreadableFrame("the file is damaged: an image without pixels")
    height, width = data.shape[:2]
    count = data.shape[2] if data.ndim == 3 else 1
    metadata = image.get("Metadata")
    first = _metadata(metadata, 0)
    result = _branch(first, "BinaryResult")
    pixel, name = _branch(result, "PixelSize"), str(result.get("Detector") or "")
    dtype = data.dtype
    if dtype.names:  # two fields, real and imaginary: a Fourier transform or differential phase contrast
        dtype = np.dtype("c8")
    else:
        check_stored(data, height * width)
    unit = str(result.get("PixelUnitX") or "") or None
    detector = _detector(first)

    def load(index: int) -> np.ndarray[Any, Any]:
        return np.asarray(data[:, :, index] if data.ndim == 3 else data[()])

    def details(index: int) -> Details:
        tree = _metadata(metadata, index)
        acquisition = _branch(tree, "Acquisition")
        start = _number(_branch(acquisition, "AcquisitionStartDatetime").get("DateTime"))
        end = _number(_branch(acquisition, "AcquisitionDatetime").get("DateTime"))
        scanning = str(detector.get("DetectorType", "")) == "ScanningDetector" or "STEM" in str(
            _branch(tree, "Optics").get("TemOperatingSubMode", "")
        )
        return Details(
            acquired=plausible_time(start) or plausible_time(end),
            exposure_s=None if scanning else _number(_detector(tree).get("ExposureTime")),
            magnification=_number(_branch(tree, "Optics").get("NominalMagnification")),
            scanning=scanning,
            metadata=tree,
        )

    return Signal(
        count,
        (height, width),
        dtype,
        load,
        rows=Axis(_number(pixel.get("height")), str(result.get("PixelUnitY") or "") or unit),
        columns=Axis(_number(pixel.get("width")), unit),
        title=str(detector.get("DetectorName") or name) or None,
        details=details,
    )


def _metadata(dataset: Any, index: int) -> dict[str, Any]:
    """The metadata of one frame: a column of bytes that holds JSON, padded with zeros."""
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 2 or dataset.shape[0] > _LARGEST_JSON:
        return {}
    raw = np.asarray(dataset[:, min(index, dataset.shape[1] - 1)], dtype=np.uint8).tobytes()
    tree = json.loads(raw.split(b"\0", 1)[0].decode("utf-8", errors="replace") or "{}")
    return tree if isinstance(tree, dict) else {}


def _detector(tree: dict[str, Any]) -> dict[str, Any]:
    """The detector that took the picture."""
    index = _branch(tree, "BinaryResult").get("DetectorIndex")
    named = _branch(tree, "BinaryResult").get("Detector")
    detectors = _branch(tree, "Detectors")
    if isinstance(found := detectors.get(f"Detector-{index}"), dict):
        return found
    alike = [
        d for d in detectors.values() if isinstance(d, dict) and named and d.get("DetectorName") == named
    ]
    return alike[0] if alike else {}


def _branch(tree: Any, name: str) -> dict[str, Any]:
    branch = tree.get(name) if isinstance(tree, dict) else None
    return branch if isinstance(branch, dict) else {}


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
