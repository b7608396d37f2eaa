"""Opens an HDF5 file and finds its images by the first layout that it follows; runs in the process apart."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import h5py

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.formats.hdf5 import berkeley, hyperspy, nexus, plain, velox
from monitor.read.signals import Signal

#: In the order in which they are tried; each gives no signals for a file that does not follow it.
_LAYOUTS: tuple[Callable[[h5py.File], list[Signal]], ...] = (
    velox.signals,
    berkeley.signals,
    hyperspy.signals,
    nexus.signals,
    plain.signals,
)


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The images of the file, by the first layout that it follows.

    Raises
    ------
    IncompleteFile
        The file ends before its announced end, or another program has it open for writing.
    UnreadableFrame
        There is no image in it.
    """
    try:
        # A program that still writes the file holds a lock. Where locks do not work (network shares) they are
        # not used.
        file = stack.enter_context(h5py.File(path, "r", locking="best-effort"))
    except OSError as error:
        if "truncated" in str(error) or path.stat().st_size < 512:
            raise IncompleteFile(
                "the file is incomplete: it ends before the end that its header tells"
            ) from error
        if "lock" in str(error):
            raise IncompleteFile("another program has the file open for writing") from error
        raise
    for layout in _LAYOUTS:
        if found := layout(file):
            return found
    raise UnreadableFrame("there is no image in it (no array of two or more dimensions)")
