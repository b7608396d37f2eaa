"""HDF5 files (.emd, .hspy, .h5): `layouts` reads them in a process apart, a module for each layout."""

from __future__ import annotations

import contextlib
from pathlib import Path

from monitor.read.apart import signals_apart
from monitor.read.signals import Signal


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The images of the file, by the first layout that it follows."""
    return signals_apart("monitor.read.formats.hdf5.layouts", path, stack)
