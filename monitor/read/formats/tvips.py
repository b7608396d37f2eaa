"""TVIPS streams (.tvips): films in parts, of which only the first (`_000`) has a header.

Each part is read as a file of frames, so that a film can be analysed while it is being written.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.formats.about import About, types_of
from monitor.read.signals import LARGEST_PIXELS, Axis, Details, Signal, within
from monitor.read.times import plausible_time

_HEADER = np.dtype(
    [(name, "<u4") for name in (
        "size", "version", "dimx", "dimy", "bitsperpixel", "offsetx", "offsety", "binx", "biny", "pixelsize",
        "ht", "magtotal", "frameheaderbytes",
    )]
)  # fmt: skip
_FRAME = np.dtype(
    [("num", "<u4"), ("timestamp", "<u4"), ("ms", "<u4"), ("LUTidx", "<u4"), ("fcurrent", "<f4"),
     ("mag", "<u4"), ("mode", "<u4"), ("stagex", "<f4"), ("stagey", "<f4"), ("stagez", "<f4"),
     ("stagea", "<f4"), ("stageb", "<f4"), ("rotidx", "<u4"), ("temperature", "<f4"), ("objective", "<f4")]
)  # fmt: skip
_DIFFRACTION = 2
#: Frame headers of version 1 end after the milliseconds.
_SHORT = 12


ABOUT = About(
    "TVIPS film",
    versions="1 and 2, in parts",
    cameras="TVIPS (TemCam, XF, F) with EM-MENU",
    types=types_of(["<u1", "<u2", "<u4"]),
    pixel_size="the camera's pixel over the magnification, where the frame is not binned",
    time="the frame's own header (s since 1970, ms)",
    more="The header of all parts is in part `_000` beside them.",
)


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The frames of this part of the film; the header is in part `_000` beside it."""
    part = re.search(r"_(\d{3})$", path.stem)
    first = path if part is None or int(part[1]) == 0 else path.with_name(f"{path.stem[:-3]}000{path.suffix}")
    if not first.is_file():
        raise UnreadableFrame(f"its header is in {first.name}, which is not beside it")
    raw = first.read_bytes() if first.stat().st_size < _HEADER.itemsize else _read(first, 0, _HEADER.itemsize)
    if len(raw) < _HEADER.itemsize:
        raise IncompleteFile(f"the file is incomplete: it has {len(raw)} bytes, less than its header")
    header = np.frombuffer(raw, _HEADER)[0]
    version, bits = int(header["version"]), int(header["bitsperpixel"])
    width, height = int(header["dimx"]), int(header["dimy"])
    if version not in (1, 2) or bits not in (8, 16, 32):
        raise UnreadableFrame(
            f"the header is damaged, or of an unknown version ({version}, {bits} bits a pixel)"
        )
    if not 0 < width * height <= LARGEST_PIXELS:
        raise UnreadableFrame(f"the header is damaged: frames of {height} × {width} px")
    own = _SHORT if version == 1 else int(header["frameheaderbytes"])
    if own < _SHORT or own > 2**20:
        raise UnreadableFrame(f"the header is damaged: {own} bytes before each frame")
    dtype = np.dtype(f"<u{bits // 8}")
    start = int(header["size"]) if first == path else 0
    record, size = own + width * height * dtype.itemsize, path.stat().st_size
    within(start, record, size, "the first frame")
    count, left = divmod(size - start, record)
    if left:
        raise IncompleteFile(f"the file is incomplete: {left} bytes follow the last of {count} whole frames")
    head = _frame_header(path, start, own)
    unit, scale = _scale(header, head)

    def load(index: int) -> np.ndarray[Any, Any]:
        offset = start + index * record + own
        return np.fromfile(path, dtype=dtype, count=width * height, offset=offset).reshape(height, width)

    def details(index: int) -> Details:
        entry = _frame_header(path, start + index * record, own)
        return Details(
            acquired=plausible_time(float(entry["timestamp"]) + float(entry["ms"]) / 1000),
            magnification=float(header["magtotal"]) or None,
            tilt_deg=float(entry["stagea"]) if own > _SHORT else None,
            metadata={"tvips_header": _dict(header), "frame_header": entry},
        )

    axis = Axis(scale, unit, "the camera's pixel over the magnification")
    return [Signal(count, (height, width), dtype, load, axis, axis, path.stem, details)]


def _scale(header: Any, frame: dict[str, Any]) -> tuple[str | None, float | None]:
    """Unit and size of a pixel, None where they are not known.

    The header has the size of the camera's pixel [nm]; divided by the magnification it is that of the specimen.
    The size of a binned frame is not taken: no description of the format says whether it is meant before or
    after binning.
    """
    if frame.get("mode") == _DIFFRACTION:
        return "1/nm", float(header["pixelsize"])
    if header["magtotal"] and header["pixelsize"] and header["binx"] <= 1 and header["biny"] <= 1:
        return "nm", float(header["pixelsize"]) / float(header["magtotal"])
    return None, None


def _frame_header(path: Path, offset: int, length: int) -> dict[str, Any]:
    raw = _read(path, offset, min(length, _FRAME.itemsize))
    return _dict(np.frombuffer(raw.ljust(_FRAME.itemsize, b"\0"), _FRAME)[0])


def _dict(record: Any) -> dict[str, Any]:
    return {name: record[name].item() for name in record.dtype.names}


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
