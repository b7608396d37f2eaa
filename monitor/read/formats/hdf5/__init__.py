"""HDF5 files (.emd, .hspy, .h5): `layouts` reads them in a process apart, a module for each layout."""

from __future__ import annotations

import contextlib
from pathlib import Path

from monitor.read.apart import signals_apart
from monitor.read.formats.about import About
from monitor.read.signals import Signal

ABOUT = (
    About(
        "Velox EMD (HDF5)",
        versions="of Velox 1 to 3, pictures and stacks; spectra are refused",
        cameras="Ceta, Falcon and every other camera or detector of Velox",
        types="every type of integer and float",
        pixel_size="`BinaryResult.PixelSize` with its unit",
        time="`Acquisition.AcquisitionStartDatetime`, of each frame",
    ),
    About(
        "Berkeley EMD (HDF5)",
        versions="0.1 and 0.2, and 1.0 of py4DSTEM (data cubes are refused)",
        cameras="what openNCEM, RosettaSciIO, Prismatic and others wrote",
        types="every type of integer and float",
        pixel_size="the vectors `dim1`, `dim2` ... (`dim0` ...) with `@units`",
        time="an attribute named for it",
    ),
    About(
        "HyperSpy (HDF5)",
        versions="1.2 to 3.3 (.hspy, .hdf5)",
        cameras="what HyperSpy wrote",
        types="every type of integer and float",
        pixel_size="`scale` and `units` of the axes",
        time="an attribute named for it",
    ),
    About(
        "NeXus, NXem (HDF5)",
        versions="`@signal` and `@axes` of the group, or of the array as in older files; the default picture",
        cameras="what pynxtools and others wrote",
        types="every type of integer and float",
        pixel_size="the axes with `@units`",
        time="`start_time`",
    ),
    About(
        "Any other HDF5",
        versions="arrays of two axes or more",
        cameras="what other programs wrote",
        types="every type of integer and float",
        pixel_size="an attribute `pixel_size_nm`, `pixel_size` or alike, of the array, its group or the file",
        time="an attribute named for it",
    ),
)


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The images of the file, by the first layout that it follows."""
    return signals_apart("monitor.read.formats.hdf5.layouts", path, stack)
