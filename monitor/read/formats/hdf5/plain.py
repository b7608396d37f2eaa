"""HDF5 files of no known layout: every array that can be a picture or a stack of pictures."""

from __future__ import annotations

import h5py

from monitor.read.formats.hdf5.arrays import Whole, stack_signal, walk
from monitor.read.formats.hdf5.attributes import all_attributes, number, word
from monitor.read.signals import Axis, Signal

#: Attributes that are taken for a pixel size, in this order.
_PIXEL_KEYS = ("pixel_size_nm", "pixelsize_nm", "pixel_size", "pixelSize", "PixelSize")


def signals(file: h5py.File) -> list[Signal]:
    """Any array of numbers of two or more dimensions; its pixel size where an attribute is named so."""
    found = []
    for data in walk(file):
        if isinstance(data, h5py.Dataset) and data.ndim >= 2 and data.dtype.kind in "iufbc":
            axis = _pixel_attribute(data)
            if data.ndim == 3 and data.shape[-1] in (3, 4):
                title = data.name.rpartition("/")[2]
                found.append(
                    Signal(1, data.shape, data.dtype, Whole(data), axis, axis, title, all_attributes(file))
                )
            else:
                axes = [("", Axis())] * (data.ndim - 2) + [("", axis)] * 2
                found.append(
                    stack_signal(
                        data, axes, data.name.rpartition("/")[2], all_attributes(file), transposed=False
                    )
                )
    return found


def _pixel_attribute(data: h5py.Dataset) -> Axis:
    """The pixel size in an attribute of the array, of its group or of the file."""
    for key in _PIXEL_KEYS:
        for holder in (data, data.parent, data.file):
            size = number(holder.attrs.get(key))
            if size is not None:
                unit = word(holder.attrs.get(f"{key}_unit", holder.attrs.get("pixel_unit")))
                return Axis(size, "nm" if key.endswith("_nm") else unit, f"the attribute {key}")
    return Axis()
