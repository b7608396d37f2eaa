"""Reads the pixels of a file alone: of a picture, or of any format of a microscope."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from models.errors import ModelError
from models.examples.real_frames import PICTURES, read_picture
from monitor.errors import UnreadableFrame
from monitor.read import open_frames


def read_frame(path: Path) -> npt.NDArray[Any]:
    """The pixels of a file: of its first frame, or of a picture with its colours.

    Raises
    ------
    ModelError
        The file cannot be read.
    """
    if path.suffix.lower() in PICTURES:
        return read_picture(path)
    try:
        with open_frames(path) as file:
            return file.frame(0).pixels
    except UnreadableFrame as error:
        raise ModelError(f"{path} can't be read: {error.reason}") from error
