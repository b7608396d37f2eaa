"""Guards on arrays in HDF5 files, whose headers may promise anything."""

from __future__ import annotations

import math
from typing import Any

import h5py

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.signals import LARGEST_PIXELS

#: A chunk larger than this [bytes] is a damaged header.
_LARGEST_CHUNK = 2 * 2**30
_LARGEST_ATTRIBUTE = 2**20


def check_stored(data: h5py.Dataset, pixels: int) -> None:
    """Nothing, where an array's frames can be loaded without trusting a damaged header.

    Raises
    ------
    UnreadableFrame
        A frame, or a chunk of it, is absurdly large, or nothing was ever stored.
    """
    if pixels > LARGEST_PIXELS:
        raise UnreadableFrame(f"it announces frames of {pixels} px: a damaged header")
    if data.chunks and math.prod(data.chunks) * data.dtype.itemsize > _LARGEST_CHUNK:
        raise UnreadableFrame(f"it announces chunks of {data.chunks} values: a damaged header")
    stored = data.id.get_storage_size()
    if data.chunks is None and stored < data.size * data.dtype.itemsize:
        raise IncompleteFile(
            f"the array {data.name} holds {stored} bytes, fewer than its shape {data.shape} announces"
        )
    if data.size and stored == 0:
        raise IncompleteFile(f"the array {data.name} was announced but never written")


def attributes(item: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """All attributes of a group or an array; one of more than 1 MiB is named, not read."""
    values: dict[str, Any] = {}
    for name in item.attrs:
        stored = item.attrs.get_id(name).get_storage_size()
        values[name] = item.attrs[name] if stored <= _LARGEST_ATTRIBUTE else f"{stored} bytes, left out"
    return values
