"""Arrays of an HDF5 file as signals: which axes are the picture, and guards against damaged headers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.scale import parse_unit
from monitor.read.signals import LARGEST_PIXELS, Axis, Details, Signal, series_along

#: A chunk larger than this [bytes] is a damaged header.
_LARGEST_CHUNK = 2 * 2**30
#: So many groups and arrays of a file are looked at.
_MOST_OBJECTS = 20_000


class Whole:
    """Loads a whole array, whatever its shape."""

    def __init__(self, data: h5py.Dataset) -> None:
        self.data = data

    def __call__(self, _: int) -> np.ndarray[Any, Any]:
        return np.asarray(self.data[()])


def stack_signal(
    data: h5py.Dataset,
    axes: list[tuple[str, Axis]],
    title: str,
    details: Callable[[int], Details],
    *,
    transposed: bool,
    refusal: str | None = None,
    pair: tuple[int, int] | None = None,
) -> Signal:
    """The signal of an array with named axes.

    The axes `pair` are the rows and columns of the picture; without it the names and units of the axes tell
    them. All other axes count frames. `transposed`: see `_picture_axes`.
    """
    rows, columns = pair or _picture_axes(axes, transposed)
    if refusal or rows < 0 or data.dtype.kind not in "iufb":
        column = axes[0][1] if axes else Axis()
        return Signal(1, data.shape, data.dtype, Whole(data), columns=column, title=title, refusal=refusal)
    others = [i for i in range(data.ndim) if i not in (rows, columns)]
    if any((axes[i][1].unit or "").strip("[] ").lower() in ("ev", "kev") for i in others):
        refusal = "it is a map of spectra (an axis in eV), not an image"
    lengths = [data.shape[i] for i in others]
    shape = (data.shape[rows], data.shape[columns])
    check_stored(data, math.prod(shape))

    def load(index: int) -> np.ndarray[Any, Any]:
        key: list[Any] = [slice(None)] * data.ndim
        for axis, at in zip(others, np.unravel_index(index, lengths) if others else (), strict=True):
            key[axis] = int(at)
        picture = np.asarray(data[tuple(key)])
        return picture if rows < columns else picture.T

    return Signal(
        math.prod(lengths),
        shape,
        data.dtype,
        load,
        rows=axes[rows][1],
        columns=axes[columns][1],
        title=title,
        details=details,
        refusal=refusal,
        series=series_along([axes[i] for i in others]),
    )


def _picture_axes(axes: list[tuple[str, Axis]], transposed: bool) -> tuple[int, int]:
    """Which axes are the picture's rows and columns.

    These are the axes named y and x. Else they are the two with a unit of length or its reciprocal, where
    exactly two have one. Else they are the last two, or, where `transposed`, the first two as x and y:
    programs that write Berkeley EMD files without names do so.
    """
    if len(axes) < 2:
        return -1, -1
    names = [re.sub(r"[^a-z]", "", name.lower()) for name, _ in axes]
    for row, column in (("y", "x"), ("row", "column"), ("rows", "columns"), ("height", "width")):
        if names.count(row) == names.count(column) == 1:
            return names.index(row), names.index(column)
    spatial = [i for i, (_, axis) in enumerate(axes) if parse_unit(axis.unit)[0] in ("length", "reciprocal")]
    reciprocal = [i for i in spatial if parse_unit(axes[i][1].unit)[0] == "reciprocal"]
    if len(reciprocal) == 2:
        return reciprocal[0], reciprocal[1]
    pair = spatial if len(spatial) == 2 else ([0, 1] if transposed else [len(axes) - 2, len(axes) - 1])
    return (pair[1], pair[0]) if transposed else (pair[0], pair[1])


def check_stored(data: h5py.Dataset, pixels: int) -> None:
    """Check that frames of so many pixels can be loaded from an array without trusting a damaged header.

    Raises
    ------
    UnreadableFrame
        A frame or a chunk of it is absurdly large.
    IncompleteFile
        Fewer bytes are stored than the shape of the array needs, or none.
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


def walk(file: h5py.File) -> Iterator[h5py.Group | h5py.Dataset]:
    """Every group and array of a file, each once; links out of the file are not followed."""
    waiting: list[h5py.Group] = [file]
    seen: set[int] = set()
    looked_at = 0
    while waiting:
        group = waiting.pop(0)
        for name in group:
            looked_at += 1
            if looked_at > _MOST_OBJECTS:
                return
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group[name]
            if not isinstance(item, h5py.Group | h5py.Dataset):
                continue
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            yield item
            if isinstance(item, h5py.Group):
                waiting.append(item)
