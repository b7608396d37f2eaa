"""TIFF files: one page or many, of any type and byte order; `tiff_scale` finds their pixel size."""

from __future__ import annotations

import contextlib
import math
import re
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.formats import mdoc
from monitor.read.formats.about import About
from monitor.read.formats.tiff_scale import ORIGINS, number, scale_of, tag
from monitor.read.scale import plausible
from monitor.read.signals import LARGEST_PIXELS, Details, Signal, within
from monitor.read.times import parse_time

#: A picture that would unpack to more than this many times the file is a damaged header.
_LARGEST_RATIO = 3000
#: Bit of the tag NewSubfileType: the page is a reduced copy of another one.
_REDUCED = 1
#: Bytes in a value of each type of tag.
_VALUE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip
#: Compressions of EER, which keeps the place of every electron.
_EVENTS = {65000, 65001, 65002}
_EXPORT = (
    "it holds the places of single electrons (EER), not pictures; export the summed image as MRC or TIFF from Velox or "
    "EPU, or convert it with relion_convert_to_tiff or IMOD's clip"
)
#: PhotometricInterpretation: the pixels are indices in a table of colours.
_PALETTE = 3


ABOUT = About(
    "TIFF",
    versions="TIFF and BigTIFF, OME-TIFF, ImageJ, one page or many, strips or tiles; EER is refused",
    cameras="every camera whose program exports TIFF; DigitalMicrograph, FEI, TVIPS and Olympus SIS with their tags",
    types="every type of integer and float that tifffile and imagecodecs read",
    pixel_size=", else ".join(ORIGINS)
    + ", else `PixelSpacing` of the .mdoc beside it; dots per inch are none",
    time="`DateTime` of the .mdoc beside it, else the tag DateTime",
    more="Reduced pages, pyramids and thumbnails are left out.",
)


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The pages of the file; pages of one shape and type make one signal. Reduced copies are left out."""
    size = path.stat().st_size
    _check_chain(path, size)
    try:
        tif = stack.enter_context(tifffile.TiffFile(path))
        pages = [page for page in tif.pages if page is not None]
    except (tifffile.TiffFileError, IndexError, EOFError) as error:
        raise IncompleteFile(
            f"the file is incomplete or damaged: its directory is not there ({error})"
        ) from error
    if not pages:
        raise IncompleteFile("the file is incomplete: it has no page")
    if any(int(getattr(page, "compression", 1)) in _EVENTS for page in pages[:1]):
        raise UnreadableFrame(_EXPORT)
    lock = threading.Lock()
    notes = mdoc.read_notes(path)
    stacked = _imagej_stack(tif, size)
    if stacked is not None:
        return [_imagej_signal(path, tif, *stacked, notes)]
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for page in pages:
        frame = page.aspage() if isinstance(page, tifffile.TiffFrame) else page
        if int(frame.subfiletype) & _REDUCED and len(pages) > 1:
            continue
        _check(frame, size)
        groups.setdefault((frame.shape, frame.dtype), []).append(frame)
    return [_signal(tif, frames, lock, notes) for frames in groups.values()]


def _check_chain(path: Path, size: int) -> None:
    """Check that every page's directory and values are in the file; tifffile skips those that are not.

    Raises
    ------
    IncompleteFile
        A directory or a value lies beyond the file's end.
    UnreadableFrame
        The chain of directories returns to an earlier one.
    """
    with path.open("rb") as file:
        order = "<" if file.read(2) == b"II" else ">"
        big = b"+" in file.read(2)
        number, entry, word = ("Q", 20, "Q") if big else ("H", 12, "I")
        layout = f"{order}HH{word}{struct.calcsize(word)}s"  # tag, type, count, the value or its place
        file.seek(8 if big else 4)
        seen: set[int] = set()
        raw = file.read(struct.calcsize(word))
        while len(raw) == struct.calcsize(word):
            offset = struct.unpack(order + word, raw)[0]
            if offset == 0:
                return
            if offset in seen:
                raise UnreadableFrame("the file is damaged: its pages follow each other in a circle")
            seen.add(offset)
            within(offset, struct.calcsize(number), size, "the directory of a page")
            file.seek(offset)
            (entries,) = struct.unpack(order + number, file.read(struct.calcsize(number)))
            within(file.tell(), entries * entry, size, "the directory of a page")
            for code, kind, count, inline in struct.iter_unpack(layout, file.read(entries * entry)):
                length = _VALUE_BYTES.get(kind, 0) * count
                if length > len(inline):
                    at = struct.unpack(order + word, inline)[0]
                    within(at, length, size, f"the value of tag {code}")
            raw = file.read(struct.calcsize(word))
    raise IncompleteFile("the file is incomplete: it ends within the directory of a page")


def _check(page: Any, size: int) -> None:
    """Check that a page's strips or tiles lie in the file, and that its size is plausible.

    Raises
    ------
    IncompleteFile
        A strip lies beyond the file's end, or the strips hold fewer bytes than the size of the page needs.
    UnreadableFrame
        The header announces an absurd size, or a size that is no number.
    """
    if page.dtype is None or not page.shape:
        raise UnreadableFrame("it holds pixels of a type that is not known")
    sides = (*page.shape, page.imagewidth, page.imagelength, page.tilewidth, page.tilelength)
    # A damaged tag may hold several numbers instead of one. Multiplied by a length, such a tuple would fill
    # the memory.
    if not all(isinstance(side, int) for side in sides):
        raise UnreadableFrame("the header is damaged: the size of the picture is no number")
    pixels = math.prod(page.shape)
    if page.imagewidth * page.imagelength > LARGEST_PIXELS:
        raise UnreadableFrame(f"it announces {page.imagelength} × {page.imagewidth} px: a damaged header")
    nbytes = pixels * page.dtype.itemsize
    if nbytes > _LARGEST_RATIO * size:
        raise UnreadableFrame(f"it announces {nbytes} bytes of pixels in a file of {size}: a damaged header")
    if page.tilewidth * page.tilelength > 4 * LARGEST_PIXELS:
        raise UnreadableFrame("it announces absurdly large tiles: a damaged header")
    if len(page.dataoffsets) != len(page.databytecounts) or not page.dataoffsets:
        raise UnreadableFrame("the header is damaged: its list of strips is not whole")
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        within(int(offset), int(length), size, "a strip of pixels")
    stored = sum(int(length) for length in page.databytecounts)
    if page.compression == 1 and stored * 8 < pixels * page.bitspersample:
        raise IncompleteFile(f"the file is incomplete: {stored} bytes of pixels where {nbytes} are announced")


def _signal(tif: Any, pages: list[Any], lock: threading.Lock, notes: mdoc.Notes | None) -> Signal:
    """The signal of pages of one shape and type; `lock` is held while tifffile reads."""
    page = pages[0]
    scale = scale_of(tif, page, notes)
    shape = _page_shape(page)
    cube = page.ndim - (2 if len(shape) == 2 else 3)  # above 0: the page has a depth too
    planar = page.axes.startswith("S") and page.ndim == 3

    def load(index: int) -> np.ndarray[Any, Any]:
        with lock:
            pixels = np.asarray(pages[index].asarray(maxworkers=1))
        if page.photometric == _PALETTE and page.colormap is not None:
            colours: np.ndarray[Any, Any] = np.moveaxis(np.asarray(page.colormap), 0, -1)[pixels]
            return colours
        if page.photometric == 0 and pixels.dtype.kind in "ub":  # white is 0
            pixels = ~pixels
        moved: np.ndarray[Any, Any] = np.moveaxis(pixels, 0, -1) if planar else pixels
        return moved

    metadata = _metadata(tif, page)

    def details(index: int) -> Details:
        return _details(pages[index], metadata, notes.of(index) if notes else {})

    refusal = f"its pages are volumes of {page.shape}, not images" if cube > 0 else None
    return Signal(
        len(pages),
        shape,
        page.dtype,
        load,
        scale.rows,
        scale.columns,
        _title(page),
        details,
        refusal,
        scale.doubt,
    )


def _page_shape(page: Any) -> tuple[int, ...]:
    """(H, W) or (H, W, channels) of a page, also of one that keeps its channels apart."""
    if page.axes.startswith("S") and page.ndim == 3:
        return (*page.shape[1:], page.shape[0])
    if page.photometric == _PALETTE:
        return (*page.shape[:2], 3)
    return tuple(page.shape)


def _imagej_stack(tif: Any, size: int) -> tuple[int, int, int] | None:
    """Offset of the pixels, number of frames and bytes of a frame, where ImageJ wrote one page for a stack."""
    if not tif.is_imagej or len(tif.pages) != 1:
        return None
    page, count = tif.pages[0], (tif.imagej_metadata or {}).get("images", 1)
    if not isinstance(count, int) or count < 2 or page.ndim != 2 or page.compression != 1:
        return None
    offset, nbytes = int(page.dataoffsets[0]), math.prod(page.shape) * page.dtype.itemsize
    within(offset, count * nbytes, size)
    return offset, count, nbytes


def _imagej_signal(
    path: Path, tif: Any, offset: int, count: int, nbytes: int, notes: mdoc.Notes | None
) -> Signal:
    """The signal of ImageJ's stack: its frames follow each other after the pixels of its only page."""
    page = tif.pages[0]
    dtype = np.dtype(page.dtype).newbyteorder(tif.byteorder)
    scale, metadata = scale_of(tif, page, notes), _metadata(tif, page)

    def load(index: int) -> np.ndarray[Any, Any]:
        start = offset + index * nbytes
        return np.fromfile(path, dtype=dtype, count=math.prod(page.shape), offset=start).reshape(page.shape)

    return Signal(
        count,
        tuple(page.shape),
        dtype,
        load,
        scale.rows,
        scale.columns,
        _title(page),
        lambda index: _details(page, metadata, notes.of(index) if notes else {}),
        scale_doubt=scale.doubt,
    )


def _details(page: Any, metadata: dict[str, Any], notes: dict[str, str]) -> Details:
    entries = {**metadata, **({"mdoc": notes} if notes else {})}
    text = str(metadata)
    taken = tag(page, 306)
    exposure = re.search(r"['\"]?exposure(?:_s|time)?['\"]?\s*[:=]\s*['\"]?([\d.]+)", text, re.IGNORECASE)
    return Details(
        acquired=mdoc.acquired(notes) or parse_time(taken if isinstance(taken, str) else None),
        exposure_s=mdoc.number(notes, "ExposureTime")
        or (plausible(number(exposure.group(1))) if exposure else None),
        dose_e_per_A2=mdoc.number(notes, "ExposureDose"),
        magnification=mdoc.number(notes, "Magnification"),
        tilt_deg=mdoc.signed(notes, "TiltAngle"),
        defocus_nm=mdoc.defocus_nm(notes),
        scanning=bool(re.search(r"\b(STEM|HAADF|ETD|TLD)\b|DwellTime|Dwell Time", text)),
        metadata=entries,
    )


def _metadata(tif: Any, page: Any) -> dict[str, Any]:
    """All tags of the page except the places of its pixels, and ImageJ's metadata."""
    left_out = {"StripOffsets", "StripByteCounts", "TileOffsets", "TileByteCounts", "ColorMap", "JPEGTables"}
    tags: dict[str, Any] = {}
    for entry in page.tags.values():
        if entry.name not in left_out:  # a tag may be there twice: a description, and tifffile's own
            tags[f"{entry.name} 2" if entry.name in tags else entry.name] = entry.value
    return {"tags": tags, **({"imagej": tif.imagej_metadata} if tif.is_imagej else {})}


def _title(page: Any) -> str | None:
    name = tag(page, 285) or tag(page, 269)
    return name if isinstance(name, str) else None
