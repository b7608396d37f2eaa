"""The frame files of folders, for those who read them once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from monitor.errors import InputError, NoPixelSize, UnreadableFrame
from monitor.read.files import open_frames
from monitor.read.names import looks_like_frame_file
from monitor.read.scale import resolve_pixel_size


def find_files(given: Sequence[str]) -> list[str]:
    """The files to read: those named, whatever they are, and the frame files in folders, in order of name.

    Raises
    ------
    InputError
        There is none.
    """
    found: list[str] = []
    for name in given:
        if not os.path.isdir(name):
            found.append(name)
            continue
        for folder, below, files in os.walk(name):
            below[:] = sorted(folder_name for folder_name in below if not folder_name.startswith("."))
            found += [
                os.path.join(folder, file)
                for file in sorted(files)
                if looks_like_frame_file(Path(folder, file))
            ]
    if not found:
        raise InputError(f"there are no frames in {', '.join(given)}")
    return found


def readable_frames(
    folder: Path, pixel_size_nm: float | None, passed_over: Callable[[Exception], None]
) -> Iterator[tuple[npt.NDArray[Any], float]]:
    """Every frame (H, W) of the files in a folder and below, with its pixel size [nm].

    Parameters
    ----------
    pixel_size_nm : of frames that do not say theirs [nm].
    passed_over : told of each file that can't be read or has no pixel size.

    Raises
    ------
    InputError
        The folder holds no frame file.
    """
    for path in find_files([str(folder)]):
        try:
            with open_frames(Path(path)) as file:
                for frame in map(file.frame, range(file.count)):
                    yield frame.pixels, resolve_pixel_size(frame, pixel_size_nm, None)
        except (UnreadableFrame, NoPixelSize) as error:
            passed_over(error)
