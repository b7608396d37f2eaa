"""NumPy archives (.npz) with one picture or stack; a single value named `pixel_size_nm` is its pixel size."""

from __future__ import annotations

import contextlib
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.formats.about import About
from monitor.read.formats.npy import array_header, split_frames
from monitor.read.signals import Axis, Details, Signal
from monitor.read.values import positive

#: An archive of more arrays than this is no file of frames.
_MOST_ARRAYS = 1000
#: So many bytes of an array are unpacked at a time, on the way to a frame.
_PIECE = 2**22
#: What deflate can make of a byte at most.
_DENSEST = 1100


ABOUT = About(
    "NumPy archive",
    versions="with one array of two axes or more, packed or not",
    cameras="what other programs wrote",
    types="every type of integer and float",
    pixel_size="a single value `pixel_size_nm` in the archive",
    time="none",
    more="Pickled objects are never loaded.",
)


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The only array of the archive that has two axes or more; its single values are metadata.

    Raises
    ------
    IncompleteFile
        The archive has no list of its contents: it was cut off.
    UnreadableFrame
        No array in it is a picture, or several may be.
    """
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except zipfile.BadZipFile as error:
        raise IncompleteFile(f"the file is incomplete or damaged: {str(error).lower()}") from error
    members = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
    if not members:
        raise UnreadableFrame("there is no array in it")
    if len(members) > _MOST_ARRAYS:
        raise UnreadableFrame(f"it holds {len(members)} arrays, not a picture")
    pictures: list[tuple[zipfile.ZipInfo, tuple[int, ...], bool, np.dtype[Any], int]] = []
    values: dict[str, Any] = {}
    for entry in members:
        with archive.open(entry) as file:
            shape, fortran, dtype = array_header(file)
            offset = file.tell()
            name = entry.filename.removesuffix(".npy")
            if dtype.hasobject:
                values[name] = "pickled Python objects, which are never loaded"
            elif len(shape) >= 2:
                pictures.append((entry, shape, fortran, dtype, offset))
            elif math.prod(shape) == 1 and dtype.itemsize <= 4096:
                values[name] = np.frombuffer(file.read(dtype.itemsize), dtype, 1)[0].item()
    if not pictures:
        raise UnreadableFrame("there is no picture in it, only " + ", ".join(m.filename for m in members[:5]))
    if len(pictures) > 1:
        names = ", ".join(picture[0].filename for picture in pictures[:5])
        raise UnreadableFrame(
            f"it holds {len(pictures)} arrays ({names}); write the picture alone into a file"
        )
    return [_signal(archive, *pictures[0], values)]


def _signal(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    shape: tuple[int, ...],
    fortran: bool,
    dtype: np.dtype[Any],
    offset: int,
    values: dict[str, Any],
) -> Signal:
    frame_shape, count, trailing = split_frames(shape)
    nbytes = math.prod(frame_shape) * dtype.itemsize
    total = math.prod(shape) * dtype.itemsize
    if offset + total > entry.file_size or total > _DENSEST * max(entry.compress_size, 1):
        raise IncompleteFile(
            f"the array {entry.filename} should have {total} bytes, the archive has {entry.file_size - offset}"
        )

    def load(index: int) -> np.ndarray[Any, Any]:
        with archive.open(entry) as file:
            if not fortran:
                left = offset + index * nbytes
                while left > 0:
                    left -= len(file.read(min(left, _PIECE))) or left
                raw = file.read(nbytes)
                if len(raw) < nbytes:
                    raise IncompleteFile(f"the array {entry.filename} ends within frame {index}")
                return np.frombuffer(raw, dtype).reshape(frame_shape)
            file.read(offset)
            whole = np.frombuffer(file.read(total), dtype).reshape(shape, order="F")
            return whole if trailing else whole.reshape(count, *frame_shape)[index]

    axis = Axis(positive(values.get("pixel_size_nm")), "nm", "pixel_size_nm in the archive")
    details = Details(metadata={"array": entry.filename, "values": values})
    return Signal(count, frame_shape, dtype, load, axis, axis, details=lambda _: details)
