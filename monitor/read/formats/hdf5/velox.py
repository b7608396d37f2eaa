"""Velox EMD files: every image under `Data/Image`, with JSON metadata for each frame."""

from __future__ import annotations

import json
import math
from typing import Any

import h5py
import numpy as np

from monitor.errors import UnreadableFrame
from monitor.read.formats.hdf5.arrays import check_stored
from monitor.read.signals import Axis, Details, Signal
from monitor.read.times import plausible_time
from monitor.read.values import branch, finite, positive

_ORIGIN = "BinaryResult.PixelSize"
#: The metadata of a frame are a JSON text of some 60 kB; a longer one than this is not read [bytes].
_LARGEST_JSON = 16 * 2**20


def signals(file: h5py.File) -> list[Signal]:
    """The images of the file; none where Velox did not write it.

    Raises
    ------
    UnreadableFrame
        Velox wrote it and there is no image in it; the sentence tells what it has instead.
    """
    if not _is_velox(file):
        return []
    group = file.get("Data/Image")
    images = list(group.values()) if isinstance(group, h5py.Group) else []
    found = [_signal(image, file) for image in images if isinstance(image, h5py.Group) and "Data" in image]
    if not found:
        others = sorted(file["Data"]) if isinstance(file.get("Data"), h5py.Group) else []
        raise UnreadableFrame(
            f"there is no image in it, only {', '.join(others) or 'nothing'}: spectra, not images"
        )
    return found


def _is_velox(file: h5py.File) -> bool:
    """Whether the file says that Velox, or a program that writes like it, wrote it."""
    version = file.get("Version")
    if isinstance(version, h5py.Dataset) and version.size == 1:
        text = version[()] if version.ndim == 0 else version[0]
        return b"Velox" in bytes(text) or b"DevelopersKit" in bytes(text)
    return isinstance(file.get("Data/Image"), h5py.Group) and "Version" in file


def _signal(image: h5py.Group, file: h5py.File) -> Signal:
    data = image["Data"]
    if not isinstance(data, h5py.Dataset) or data.ndim not in (2, 3):
        raise UnreadableFrame("the file is damaged: an image without pixels")
    height, width = data.shape[:2]
    count = data.shape[2] if data.ndim == 3 else 1
    metadata = image.get("Metadata")
    first = _metadata(metadata, 0)
    result = branch(first, "BinaryResult")
    pixel, name = branch(result, "PixelSize"), str(result.get("Detector") or "")
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
        acquisition = branch(tree, "Acquisition")
        start = positive(branch(acquisition, "AcquisitionStartDatetime").get("DateTime"))
        end = positive(branch(acquisition, "AcquisitionDatetime").get("DateTime"))
        scanning = str(detector.get("DetectorType", "")) == "ScanningDetector" or "STEM" in str(
            branch(tree, "Optics").get("TemOperatingSubMode", "")
        )
        tilt = finite(branch(tree, "Stage").get("AlphaTilt"))
        focus = finite(branch(tree, "Optics").get("Defocus"))
        return Details(
            acquired=plausible_time(start) or plausible_time(end),
            exposure_s=None if scanning else positive(_detector(tree).get("ExposureTime")),
            magnification=positive(branch(tree, "Optics").get("NominalMagnification")),
            tilt_deg=None if tilt is None else math.degrees(tilt),
            defocus_nm=None if focus is None else focus * 1e9,
            scanning=scanning,
            metadata=tree,
        )

    return Signal(
        count,
        (height, width),
        dtype,
        load,
        rows=Axis(positive(pixel.get("height")), str(result.get("PixelUnitY") or "") or unit, _ORIGIN),
        columns=Axis(positive(pixel.get("width")), unit, _ORIGIN),
        title=str(detector.get("DetectorName") or name) or None,
        details=details,
    )


def _metadata(dataset: Any, index: int) -> dict[str, Any]:
    """The metadata of one frame: JSON in a column of bytes, padded with zeros."""
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 2 or dataset.shape[0] > _LARGEST_JSON:
        return {}
    raw = np.asarray(dataset[:, min(index, dataset.shape[1] - 1)], dtype=np.uint8).tobytes()
    tree = json.loads(raw.split(b"\0", 1)[0].decode("utf-8", errors="replace") or "{}")
    return tree if isinstance(tree, dict) else {}


def _detector(tree: dict[str, Any]) -> dict[str, Any]:
    """What a metadata tree says of the detector that took the picture, empty where it says nothing."""
    index = branch(tree, "BinaryResult").get("DetectorIndex")
    named = branch(tree, "BinaryResult").get("Detector")
    detectors = branch(tree, "Detectors")
    if isinstance(found := detectors.get(f"Detector-{index}"), dict):
        return found
    alike = [
        d for d in detectors.values() if isinstance(d, dict) and named and d.get("DetectorName") == named
    ]
    return alike[0] if alike else {}
