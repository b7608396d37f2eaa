"""PNG and JPEG pictures: grey, palette, colour, alpha. Their dots per inch are no pixel size."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.formats.about import About, types_of
from monitor.read.scale import print_doubt
from monitor.read.signals import LARGEST_PIXELS, Details, Signal, within
from monitor.read.times import parse_time
from monitor.read.values import finite

#: Most pixels that a byte of a file can hold, of a PNG (True) and of a JPEG (False). The deflate of PNG reaches
#: 1032 to 1 at eight pixels a byte; a block of 64 pixels of a JPEG needs about one bit.
_DENSEST = {True: 8 * 1100, False: 4096}


ABOUT = About(
    "PNG and JPEG",
    versions="of 1 to 16 bits, grey, or of colours that are nearly equal",
    cameras="exported pictures",
    types=types_of(["u1", "u2", "i4"]),
    pixel_size="none; dots per inch are none",
    time="EXIF's `DateTimeOriginal` or `DateTime`",
    more="Coloured pictures are refused.",
)


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The picture of the file; its size is checked before any pixel is decoded."""
    size = path.stat().st_size
    with path.open("rb") as file:
        is_png = file.read(8).startswith(b"\x89PNG")
        if is_png:
            _check_chunks(file, size)
        elif b"\xff\xd9" not in file.read():
            raise IncompleteFile("the file is incomplete: it has no end mark")
    # Pillow's own limit warns at 90 megapixels, below cameras of 10k x 10k; the one below takes its place.
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path, formats=("PNG", "JPEG", "MPO")) as picture:
        width, height, mode = picture.width, picture.height, picture.mode
        if width * height > min(LARGEST_PIXELS, _DENSEST[is_png] * size):
            raise UnreadableFrame(f"it announces {height} × {width} px in {size} bytes: a damaged header")
        details = _details(picture)  # this decodes a PNG, whose notes may follow its pixels
    channels = {"L": 0, "1": 0, "I": 0, "F": 0, "I;16": 0, "I;16B": 0, "I;16L": 0, "LA": 2, "RGB": 3}.get(
        mode, 4
    )
    shape = (height, width, channels) if channels else (height, width)
    dtype = np.dtype({"1": "?", "I": "i4", "F": "f4", "I;16": "u2"}.get(mode, "u1"))

    def load(_: int) -> np.ndarray[Any, Any]:
        with Image.open(path, formats=("PNG", "JPEG", "MPO")) as picture:
            try:
                picture.load()
            except OSError as error:
                if "truncated" in str(error):
                    raise IncompleteFile("the file is incomplete: it ends within the picture") from error
                raise
            if picture.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV", "PA", "RGBX"):
                return np.asarray(picture.convert("RGBA"))
            return np.asarray(picture)

    doubt = _dots_doubt(details.metadata.get("info", {}).get("dpi"))
    return [Signal(1, shape, dtype, load, details=lambda _: details, scale_doubt=doubt)]


def _dots_doubt(dpi: Any) -> str | None:
    """Why the dots per inch of a picture are no pixel size; None where it has none."""
    dots = finite(dpi[0]) if isinstance(dpi, tuple) and dpi else None
    return print_doubt(25.4e6 / dots) if dots and dots > 1 else None


def _check_chunks(file: BinaryIO, size: int) -> None:
    """Check that every chunk of a PNG is in the file.

    Raises
    ------
    IncompleteFile
        The file ends before the end of its last chunk.
    """
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise IncompleteFile("the file is incomplete: it has no end mark")
        length, name = struct.unpack(">I4s", head)
        within(file.tell(), length + 4, size, "a chunk")
        if name == b"IEND":
            return
        file.seek(length + 4, 1)


def _details(picture: Image.Image) -> Details:
    """The metadata of a picture without its colour profile, and when it was taken."""
    exif = picture.getexif()
    metadata: dict[str, Any] = {
        "format": picture.format,
        "mode": picture.mode,
        "info": {
            key: value
            for key, value in picture.info.items()
            if key not in ("icc_profile", "exif", "transparency")
        },
        "exif": {ExifTags.TAGS.get(tag, str(tag)): value for tag, value in exif.items()},
    }
    taken = exif.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
    return Details(acquired=parse_time(str(taken)) if taken else None, metadata=metadata)
