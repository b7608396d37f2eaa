"""TIFF files: one page or many, any type and byte order, pixel sizes as half a dozen programs write them.

The resolution tags count dots per inch for almost every program, so they are believed only where they
can't be meant for paper.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.formats import mdoc
from monitor.read.scale import parse_unit, plausible
from monitor.read.signals import LARGEST_PIXELS, Axis, Details, Signal, within
from monitor.read.times import parse_time

#: A picture that would unpack to more than this many times the file is a damaged header.
_LARGEST_RATIO = 3000
#: Resolution tags that make a pixel larger than this [nm] are meant for paper (100 nm are 254,000 dpi).
_LARGEST_BY_TAGS_NM = 100.0
_UNIT_NM = {2: 25.4e6, 3: 10e6}  # ResolutionUnit: inch, centimetre
_REDUCED = 1
#: Bytes in a value of each type of tag.
_VALUE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip
_PALETTE = 3


@dataclass(frozen=True)
class _Scale:
    rows: Axis
    columns: Axis


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The pages that are no reduced copies; pages alike in shape and type make one signal."""
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
    lock = threading.Lock()
    notes = mdoc.read_notes(path)
    contiguous = _imagej_stack(tif, size)
    if contiguous is not None:
        return [_hidden_pages(path, tif, *contiguous, notes)]
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for page in pages:
        frame = page.aspage() if isinstance(page, tifffile.TiffFrame) else page
        if int(frame.subfiletype) & _REDUCED and len(pages) > 1:
            continue
        _check(frame, size)
        groups.setdefault((frame.shape, frame.dtype), []).append(frame)
    return [_signal(tif, frames, lock, notes) for frames in groups.values()]


def _check_chain(path: Path, size: int) -> None:
    """Nothing, where every page's directory and values are in the file; tifffile passes over what is not.

    Raises
    ------
    IncompleteFile
        One of them lies beyond the file's end.
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
    """Nothing, where a page's pieces lie in the file and unpack to something reasonable."""
    if page.dtype is None or not page.shape:
        raise UnreadableFrame("it holds pixels of a type that is not known")
    sides = (*page.shape, page.imagewidth, page.imagelength, page.tilewidth, page.tilelength)
    # A damaged tag may hold several numbers where one is meant; multiplied, a tuple becomes a very long one.
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
    page = pages[0]
    scale = _scale(tif, page, notes)
    shape = _page_shape(page)
    cube = page.ndim - (2 if len(shape) == 2 else 3)  # separate depths of one page, seldom seen
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
        len(pages), shape, page.dtype, load, scale.rows, scale.columns, _title(page), details, refusal
    )


def _page_shape(page: Any) -> tuple[int, ...]:
    """(H, W) or (H, W, channels) of a page, also of one that keeps its channels apart."""
    if page.axes.startswith("S") and page.ndim == 3:
        return (*page.shape[1:], page.shape[0])
    if page.photometric == _PALETTE:
        return (*page.shape[:2], 3)
    return tuple(page.shape)


def _imagej_stack(tif: Any, size: int) -> tuple[int, int, int] | None:
    """Offset, count and bytes of a frame in a stack for which ImageJ wrote one page; None: it is none."""
    if not tif.is_imagej or len(tif.pages) != 1:
        return None
    page, count = tif.pages[0], (tif.imagej_metadata or {}).get("images", 1)
    if not isinstance(count, int) or count < 2 or page.ndim != 2 or page.compression != 1:
        return None
    offset, nbytes = int(page.dataoffsets[0]), math.prod(page.shape) * page.dtype.itemsize
    within(offset, count * nbytes, size)
    return offset, count, nbytes


def _hidden_pages(
    path: Path, tif: Any, offset: int, count: int, nbytes: int, notes: mdoc.Notes | None
) -> Signal:
    page = tif.pages[0]
    dtype = np.dtype(page.dtype).newbyteorder(tif.byteorder)
    scale, metadata = _scale(tif, page, notes), _metadata(tif, page)

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
    )


def _scale(tif: Any, page: Any, notes: mdoc.Notes | None) -> _Scale:
    """The pixel size by whoever wrote the file; the first that knows it is believed."""
    for told in (_gatan, _fei, _tvips, _olympus, _ome, _described, _imagej, _resolution):
        scale = told(tif, page)
        if scale is not None:
            return scale
    size = notes.pixel_size_nm() if notes else None
    return _both(size, "nm")


def _both(size: float | None, unit: str | None) -> _Scale:
    return _Scale(Axis(size, unit), Axis(size, unit))


def _gatan(tif: Any, page: Any) -> _Scale | None:
    """DigitalMicrograph's private tags: 65003 and 65004 units, 65009 and 65010 scales, of x and y."""
    values = [_tag(page, code) for code in (65003, 65004, 65009, 65010)]
    units = [value if isinstance(value, str) else None for value in values[:2]]
    scales = [_number(value) for value in values[2:]]
    if scales[0] is None and scales[1] is None:
        return None
    column, row = scales[0] or scales[1], scales[1] or scales[0]
    return _Scale(Axis(row, units[1] or units[0]), Axis(column, units[0] or units[1]))


def _fei(tif: Any, page: Any) -> _Scale | None:
    """FEI's, as text (`Scan`, in metres) or XML (`pixelWidth`)."""
    tree = tif.fei_metadata if tif.is_fei else None
    if not isinstance(tree, Mapping):
        text = _tag(page, 34682) or _tag(page, 34680)
        found = (
            re.findall(r"<[pP]ixel(?:Size)?(Width|Height)[^>]*?>([-+.\deE]+)<", text)
            if isinstance(text, str)
            else []
        )
        sizes = {side: _number(value) for side, value in found}
        return _Scale(Axis(sizes.get("Height"), "m"), Axis(sizes.get("Width"), "m")) if sizes else None
    for group in tree.values():
        if isinstance(group, Mapping) and plausible(_number(group.get("PixelWidth"))):
            return _Scale(
                Axis(_number(group.get("PixelHeight")), "m"), Axis(_number(group.get("PixelWidth")), "m")
            )
    return None


def _tvips(tif: Any, page: Any) -> _Scale | None:
    tree = tif.tvips_metadata if tif.is_tvips else None
    if not isinstance(tree, Mapping) or not plausible(_number(tree.get("PixelSizeX"))):
        return None
    return _Scale(Axis(_number(tree.get("PixelSizeY")), "nm"), Axis(_number(tree.get("PixelSizeX")), "nm"))


def _olympus(tif: Any, page: Any) -> _Scale | None:
    tree = tif.sis_metadata if tif.is_sis else None
    if not isinstance(tree, Mapping) or not plausible(_number(tree.get("pixelsizex"))):
        return None
    return _Scale(Axis(_number(tree.get("pixelsizey")), "m"), Axis(_number(tree.get("pixelsizex")), "m"))


def _ome(tif: Any, page: Any) -> _Scale | None:
    """OME-XML: `PhysicalSizeX`, in µm where no unit is given."""
    text = tif.ome_metadata if tif.is_ome else None
    if not text:
        return None
    axes = {}
    for axis in "XY":
        size = re.search(rf'PhysicalSize{axis}="([^"]+)"', text)
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text)
        axes[axis] = Axis(_number(size.group(1)) if size else None, unit.group(1) if unit else "µm")
    return _Scale(axes["Y"], axes["X"]) if axes["X"].scale or axes["Y"].scale else None


def _described(tif: Any, page: Any) -> _Scale | None:
    """A pixel size with its unit in its name, in a description that is JSON or lines of `name=value`."""
    found = re.search(
        r"[\"']?pixel[_ ]?size[_ ]?\(?(nm|um|µm|pm|angstrom|A|Å)\)?[\"']?\s*[:=]\s*([-+.\deE]+)",
        str(page.description or ""),
        re.IGNORECASE,
    )
    return _both(float(found.group(2)), found.group(1)) if found and _number(found.group(2)) else None


def _imagej(tif: Any, page: Any) -> _Scale | None:
    """ImageJ's: its unit in the description, pixels in one of it in the resolution tags."""
    entries = tif.imagej_metadata if tif.is_imagej else None
    unit = str((entries or {}).get("unit", ""))
    if parse_unit(unit)[0] not in ("length", "reciprocal") or unit.lower() in ("cm", "m", "mm"):
        return None
    per_unit = [_ratio(_tag(page, code)) for code in (283, 282)]
    if None in per_unit:
        return None
    row, column = (1 / value if value else None for value in per_unit)
    return _Scale(Axis(row, unit), Axis(column, unit))


def _resolution(tif: Any, page: Any) -> _Scale | None:
    """The resolution tags, where they can't be dots per inch of a print."""
    unit_nm = _UNIT_NM.get(int(_number(_tag(page, 296)) or 0))
    per_unit = [_ratio(_tag(page, code)) for code in (283, 282)]
    if unit_nm is None or not all(per_unit):
        return None
    sizes = [unit_nm / value for value in per_unit if value]
    if max(sizes) > _LARGEST_BY_TAGS_NM:
        return None
    return _Scale(Axis(sizes[0], "nm"), Axis(sizes[1], "nm"))


def _details(page: Any, metadata: dict[str, Any], notes: dict[str, str]) -> Details:
    entries = {**metadata, **({"mdoc": notes} if notes else {})}
    text = str(metadata)
    taken = _tag(page, 306)
    exposure = re.search(r"['\"]?exposure(?:_s|time)?['\"]?\s*[:=]\s*['\"]?([\d.]+)", text, re.IGNORECASE)
    return Details(
        acquired=mdoc.acquired(notes) or parse_time(taken if isinstance(taken, str) else None),
        exposure_s=mdoc.number(notes, "ExposureTime")
        or (plausible(_number(exposure.group(1))) if exposure else None),
        dose_e_per_A2=mdoc.number(notes, "ExposureDose"),
        magnification=mdoc.number(notes, "Magnification"),
        scanning=bool(re.search(r"\b(STEM|HAADF|ETD|TLD)\b|DwellTime|Dwell Time", text)),
        metadata=entries,
    )


def _metadata(tif: Any, page: Any) -> dict[str, Any]:
    """All tags of the page but the places of its pixels, and what tifffile understands of them."""
    left_out = {"StripOffsets", "StripByteCounts", "TileOffsets", "TileByteCounts", "ColorMap", "JPEGTables"}
    tags: dict[str, Any] = {}
    for tag in page.tags.values():
        if tag.name not in left_out:  # a tag may be there twice: a description, and tifffile's own
            tags[f"{tag.name} 2" if tag.name in tags else tag.name] = tag.value
    return {"tags": tags, **({"imagej": tif.imagej_metadata} if tif.is_imagej else {})}


def _title(page: Any) -> str | None:
    name = _tag(page, 285) or _tag(page, 269)
    return name if isinstance(name, str) else None


def _tag(page: Any, code: int) -> Any:
    tag = page.tags.get(code)
    return None if tag is None else tag.value


def _ratio(value: Any) -> float | None:
    if isinstance(value, tuple) and len(value) == 2 and value[1]:
        return plausible(float(value[0]) / float(value[1]))
    return plausible(_number(value))


def _number(value: Any) -> float | None:
    if isinstance(value, tuple) and value:
        value = value[0]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
