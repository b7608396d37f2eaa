"""Berkeley EMD files: groups marked `emd_group_type` with `data` and its axes `dim1`, `dim2` ...

Later versions number the axes from `dim0`.
"""

from __future__ import annotations

from typing import Any

import h5py

from monitor.read.formats.hdf5.arrays import stack_signal, walk
from monitor.read.formats.hdf5.attributes import all_attributes, spacing, word
from monitor.read.signals import Axis, Signal


def signals(file: h5py.File) -> list[Signal]:
    """The arrays of all groups that are marked `emd_group_type`; none where no group is."""
    found = []
    for group in walk(file):
        if not isinstance(group, h5py.Group) or "emd_group_type" not in group.attrs:
            continue
        first = 0 if "dim0" in group else 1
        for name, data in group.items():
            if not isinstance(data, h5py.Dataset) or data.ndim < 1 or name.startswith("dim"):
                continue
            axes = [_dimension(group.get(f"dim{i + first}")) for i in range(data.ndim)]
            if all(axis is None for axis in axes) and data.ndim < 2:
                continue  # a list of times or positions beside the picture
            known = [axis or ("", Axis()) for axis in axes]
            title = group.name.rpartition("/")[2]
            cube = "it is a data cube of diffraction patterns, not an image" if "datacube" in name else None
            found.append(
                stack_signal(data, known, title, all_attributes(file), transposed=first == 1, refusal=cube)
            )
    return found


def _dimension(vector: Any) -> tuple[str, Axis] | None:
    """Name, scale and unit of an axis, from its vector of positions (or from its first and last one)."""
    if not isinstance(vector, h5py.Dataset):
        return None
    name, unit = word(vector.attrs.get("name")) or "", word(vector.attrs.get("units"))
    if unit is not None and not unit.strip("[]_ "):
        unit = None
    return name, Axis(spacing(vector), unit, "the vectors dim1, dim2 ...")
