"""NumPy files (.npy): a picture or a stack of pictures; pickled objects are never loaded."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import IO, Any

import numpy as np

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.formats.about import About
from monitor.read.signals import Signal, within

ABOUT = About(
    "NumPy array",
    versions="1.0, 2.0 and 3.0",
    cameras="what other programs wrote",
    types="every type of integer and float",
    pixel_size="none",
    time="none",
    more="Pickled objects are never loaded.",
)


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The array of the file as a stack over all axes but the last two; it has no pixel size."""
    with path.open("rb") as file:
        shape, fortran, dtype = array_header(file)
        offset = file.tell()
    if dtype.hasobject:
        raise UnreadableFrame("it holds pickled Python objects, which are never loaded")
    frame_shape, count, trailing = split_frames(shape)
    pixels, total = math.prod(frame_shape), math.prod(shape)
    within(offset, total * dtype.itemsize, path.stat().st_size)

    def load(index: int) -> np.ndarray[Any, Any]:
        if not fortran:
            start = offset + index * pixels * dtype.itemsize
            return np.fromfile(path, dtype=dtype, count=pixels, offset=start).reshape(frame_shape)
        whole = np.fromfile(path, dtype=dtype, count=total, offset=offset).reshape(shape, order="F")
        return whole.reshape(count, *frame_shape)[index] if not trailing else whole

    return [Signal(count, frame_shape, dtype, load)]


def array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran's order, and type of the array that begins in a file here.

    Raises
    ------
    IncompleteFile
        The file ends within the header.
    UnreadableFrame
        It is of a version that is not known.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version in ((2, 0), (3, 0)):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise UnreadableFrame(f"it is an npy file of version {version}, which is not known here")
    except ValueError as error:
        if file.read(1) == b"":
            raise IncompleteFile("the file is incomplete: it ends in its header") from error
        raise
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]  # one channel
    return shape, fortran, dtype


def split_frames(shape: tuple[int, ...]) -> tuple[tuple[int, ...], int, bool]:
    """Shape of one frame, number of frames, and whether the last axis is one of colour channels.

    A last axis of length 3 or 4, of three axes, is one of channels: no frame of a camera is that narrow.
    """
    if len(shape) == 3 and shape[-1] in (3, 4):
        return shape, 1, True
    if len(shape) < 3:
        return shape, 1, False
    return shape[-2:], math.prod(shape[:-2]), False
