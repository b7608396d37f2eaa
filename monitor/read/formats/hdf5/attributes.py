"""Attributes of HDF5 groups and arrays, and the details of a frame that can be found among them."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from monitor.read.formats.hdf5.arrays import walk
from monitor.read.signals import Details
from monitor.read.times import parse_time, plausible_time

#: A longer attribute is named, not read [bytes].
_LARGEST_ATTRIBUTE = 2**20


def attributes(item: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """All attributes of a group or an array; one of more than 1 MiB is named, not read."""
    values: dict[str, Any] = {}
    for name in item.attrs:
        stored = item.attrs.get_id(name).get_storage_size()
        values[name] = item.attrs[name] if stored <= _LARGEST_ATTRIBUTE else f"{stored} bytes, left out"
    return values


def all_attributes(file: h5py.File) -> Callable[[int], Details]:
    """The details of every frame of a file: all its attributes and single values, by their paths."""

    @functools.cache
    def collect() -> Details:
        metadata: dict[str, Any] = {}
        words: list[str] = []
        singles: dict[str, Any] = {}
        for item in [file, *walk(file)]:
            values = {name: _value(value) for name, value in attributes(item).items()}
            if isinstance(item, h5py.Dataset) and item.ndim == 0 and item.dtype.kind in "iufbSO":
                values["value"] = _value(item[()])
            if values:
                metadata[item.name] = values
                if "value" in values:  # NeXus: start_time and others are arrays of one value
                    singles[item.name.rpartition("/")[2]] = values["value"]
            words += [name.lower() for name in values]
        named = {**metadata, "": singles}
        return Details(
            acquired=_first(named, r"(timestamp|date_?time|acquisition time|start_time)", _time),
            exposure_s=_first(named, r"(exposure(_s|_time)?|exposure \(s\)|count_time)", number),
            dose_e_per_A2=_first(metadata, r"dose_e_per_A2", number),
            magnification=_first(metadata, r"magnification", number),
            scanning=any(re.fullmatch(r"dwell[ _]?time.*", word) for word in words),
            metadata=metadata,
        )

    return lambda _: collect()


def _first(metadata: dict[str, Any], name: str, parse: Callable[[Any], float | None]) -> float | None:
    """The first value that `parse` understands among those whose name matches the expression `name`."""
    for values in metadata.values():
        for key, value in values.items():
            if re.fullmatch(name, key, re.IGNORECASE) and (number := parse(value)):
                return number
    return None


def _time(value: Any) -> float | None:
    return parse_time(value) if isinstance(value, str) else plausible_time(number(value))


def _value(value: Any) -> Any:
    """Bytes as text; any other value as it is."""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value


def spacing(vector: Any, length: int | None = None) -> float | None:
    """The step of an array of positions along an axis (or of its first and last one), None where it has none."""
    if not isinstance(vector, h5py.Dataset) or vector.ndim != 1 or vector.dtype.kind not in "iuf":
        return None
    if vector.shape[0] < 2 or (length is not None and vector.shape[0] not in (2, length, length + 1)):
        return None
    ends = float(vector[0]), float(vector[vector.shape[0] - 1])
    return (ends[1] - ends[0]) / (
        (length - 1) if length and vector.shape[0] == 2 and length > 1 else vector.shape[0] - 1
    )


def word(value: Any) -> str | None:
    """An attribute as text, None where it is none."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.flat[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else None


def number(value: Any) -> float | None:
    """An attribute as a finite number, None where it is none."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.flat[0]
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    return float(value) if math.isfinite(value) else None
