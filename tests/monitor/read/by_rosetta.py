"""RosettaSciIO behind the interface of a format's module, for the comparison in `compare_readers`.

This is the code that would be left of the readers if RosettaSciIO read the files in the process apart.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monitor.errors import UnreadableFrame
from monitor.read.names import by_content, by_name, read_head
from monitor.read.signals import Axis, Details, Signal
from monitor.read.times import parse_time

#: A format's module to RosettaSciIO's plugin. HDF5 is divided by its suffix.
_PLUGINS = {
    "dm": "digitalmicrograph",
    "tia": "tia",
    "mrc": "mrc",
    "tiff": "tiff",
    "npy": "numpy",
    "tvips": "tvips",
    "raster": "image",
}
_HDF5_PLUGINS = {".emd": "emd", ".hspy": "hspy"}


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The signals of a file as RosettaSciIO gives them, loaded at once or (ROSETTA_LAZY=1) frame by frame."""
    kind = by_content(read_head(path)) or by_name(path)
    module = kind.module if kind is not None else ""
    plugin = _HDF5_PLUGINS.get(path.suffix.lower()) if module == "hdf5" else _PLUGINS.get(module)
    if plugin is None:
        raise UnreadableFrame(f"RosettaSciIO has no reader for {path.suffix}")
    read = importlib.import_module(f"rsciio.{plugin}").file_reader
    lazy = os.environ.get("ROSETTA_LAZY") == "1"
    return [_signal(entry, path) for entry in read(str(path), lazy=lazy)]


def _signal(entry: dict[str, Any], path: Path) -> Signal:
    data, axes = entry["data"], entry["axes"]
    if isinstance(data, list):
        raise UnreadableFrame("its pictures differ in size")
    title = entry["metadata"].get("General", {}).get("title") or None
    details = _details(entry)
    in_signal = [i for i, axis in enumerate(axes) if not axis.get("navigate", i < data.ndim - 2)]
    if len(in_signal) != 2:
        refusal = "it is a spectrum or a map of spectra, not an image" if len(in_signal) < 2 else None
        shape = data.shape[-3:] if data.ndim == 3 and data.shape[-1] in (3, 4) else data.shape
        if data.dtype.names:  # RosettaSciIO gives colours as fields
            return _colours(data, title, details)
        return Signal(1, shape, data.dtype, lambda _: np.asarray(data), title=title, refusal=refusal)
    if data.dtype.names:
        return _colours(data, title, details)
    rows, columns = (Axis(_number(axes[i].get("scale")), _unit(axes[i].get("units"))) for i in in_signal)
    frames = data.reshape(-1, *data.shape[-2:])

    def load(index: int) -> np.ndarray[Any, Any]:
        return np.asarray(frames[index])

    return Signal(
        math.prod(data.shape[:-2]), data.shape[-2:], data.dtype, load, rows, columns, title, lambda _: details
    )


def _colours(data: Any, title: str | None, details: Details) -> Signal:
    names = data.dtype.names

    def load(_: int) -> np.ndarray[Any, Any]:
        array = np.asarray(data)
        return np.stack([array[name] for name in names], axis=-1)

    return Signal(1, (*data.shape, len(names)), data.dtype[0], load, title=title, details=lambda _: details)


def _details(entry: dict[str, Any]) -> Details:
    known = _mapped(entry)
    date, clock = known.get("General.date"), known.get("General.time")
    zone = "+00:00" if known.get("General.time_zone") == "UTC" else ""
    tem = "Acquisition_instrument.TEM"
    exposures = [known.get(f"{tem}.{camera}.exposure") for camera in ("Camera", "Detector.Camera")]
    return Details(
        acquired=parse_time(f"{date}T{clock}{zone}") if date else None,
        exposure_s=_number(exposures[0]) or _number(exposures[1]),
        magnification=_number(known.get(f"{tem}.magnification")),
        scanning="STEM" in str(known.get(f"{tem}.acquisition_mode", "")).upper(),
        metadata=entry["original_metadata"],
    )


def _mapped(entry: dict[str, Any]) -> dict[str, Any]:
    """The metadata by their full names, with those that a plugin's `mapping` takes from the original ones."""
    known = dict(_flat(entry["metadata"]))
    original = dict(_flat(entry["original_metadata"]))
    for name, (target, change) in (entry.get("mapping") or {}).items():
        if name in original:
            known[target] = change(original[name]) if change is not None else original[name]
    return known


def _flat(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _unit(value: Any) -> str | None:
    return value if isinstance(value, str) else None
