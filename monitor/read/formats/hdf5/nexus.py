"""NeXus files, and those of its electron microscopy (NXem): groups of the class NXdata, their signal and its axes.

Format: the NeXus manual, "Rules for storing data"; an axis is an array of positions with `@units`.
"""

from __future__ import annotations

from typing import Any

import h5py

from monitor.read.formats.hdf5.arrays import stack_signal, walk
from monitor.read.formats.hdf5.attributes import all_attributes, spacing, word
from monitor.read.signals import Axis, Signal


def signals(file: h5py.File) -> list[Signal]:
    """The signals of all NXdata groups, of the one that the file names its default alone; none where there is none."""
    groups = [
        item for item in walk(file) if isinstance(item, h5py.Group) and _class(item) in ("NXdata", "NXimage")
    ]
    chosen = _default(file)
    found = []
    for group in groups if chosen is None or chosen not in groups else [chosen]:
        data = _signal_of(group)
        if data is None or data.ndim < 2 or data.dtype.kind not in "iufbc":
            continue
        axes = [_axis(group, name, data.shape[i]) for i, name in enumerate(_axis_names(group, data))]
        title = word(_value(group.get("title"))) or group.name.rpartition("/")[2]
        found.append(stack_signal(data, axes, title, all_attributes(file), transposed=False))
    return found


def _class(item: h5py.Group) -> str:
    return word(item.attrs.get("NX_class")) or ""


def _default(file: h5py.File) -> h5py.Group | None:
    """The NXdata group to which the chain of `@default` leads, None where it leads to none."""
    at: Any = file
    for _ in range(4):
        name = word(at.attrs.get("default"))
        below = at.get(name) if name else None
        if not isinstance(below, h5py.Group):
            return None
        at = below
        if _class(at) in ("NXdata", "NXimage"):
            return at
    return None


def _signal_of(group: h5py.Group) -> h5py.Dataset | None:
    """The signal of a group: by its `@signal`, by the array's own `@signal` of older files, or by its name."""
    named = word(group.attrs.get("signal"))
    older = [name for name in group if _is_array(group, name) and "signal" in group[name].attrs]
    for name in (named, *older, "data", "intensity", "real", "magnitude"):
        if name is not None and name in group and _is_array(group, name):
            return group[name]
    return None


def _is_array(group: h5py.Group, name: str) -> bool:
    return isinstance(group.get(name, getlink=True), h5py.HardLink) and isinstance(group[name], h5py.Dataset)


def _axis_names(group: h5py.Group, data: h5py.Dataset) -> list[str]:
    """The names of the arrays of positions along each axis, empty where there is none."""
    told = group.attrs.get("axes", data.attrs.get("axes"))
    one = word(told)
    if one is not None:
        names = one.strip("[]").replace(",", ":").split(":")
    else:
        names = [word(name) or "" for name in told] if told is not None else []
    return [name.strip() for name in names[: data.ndim]] + [""] * (data.ndim - len(names))


def _axis(group: h5py.Group, name: str, length: int) -> tuple[str, Axis]:
    """Name, scale and unit of an axis, from its array of positions."""
    if not name or name == "." or name not in group or not _is_array(group, name):
        return "", Axis()
    vector = group[name]
    # NXem names axes i, j, k (axis_i is along the columns); the manual's names are x and y.
    plain = {"axis_i": "x", "axis_j": "y", "axis_k": "z"}.get(name, name.removeprefix("axis_"))
    return plain, Axis(spacing(vector, length), word(vector.attrs.get("units")), "the axes' @units")


def _value(item: Any) -> Any:
    return item[()] if isinstance(item, h5py.Dataset) and item.ndim == 0 else None
