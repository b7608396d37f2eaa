"""FEI/Thermo Fisher TIA files: .ser holds the pixels, .emi beside it holds how they were taken.

Format: C. B. Boothroyd, "FEI (Emispec) .ser files"; RosettaSciIO's reader, with which the tests compare.
"""

from __future__ import annotations

import contextlib
import re
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.formats.about import About, types_of
from monitor.read.signals import LARGEST_COUNT, Axis, Details, Signal, within
from monitor.read.times import parse_time, plausible_time
from monitor.read.values import branch, positive

_TYPES = {1: "u1", 2: "<u2", 3: "<u4", 4: "i1", 5: "<i2", 6: "<i4", 7: "<f4", 8: "<f8", 9: "<c8", 10: "<c16"}
_LINES, _IMAGES = 0x4120, 0x4122
#: A larger calibration than this [m/px] is none of length: it is in 1/m, of a diffraction pattern.
_LARGEST_LENGTH_M = 1e-3
_ORIGIN = "the series' calibration"
#: A larger .emi than this is not searched for its XML [bytes].
_LARGEST_EMI = 256 * 2**20


ABOUT = About(
    "TIA (ser, emi)",
    versions="0x210 and 0x220, one picture or a series",
    cameras="every camera of an FEI microscope with TIA",
    types=types_of(_TYPES.values()),
    pixel_size="the series' calibration, in metres; exactly 1 is none",
    time="of each picture (s since 1970), else `AcquireDate` in the .emi beside it",
    more="An .emi stands for the .ser files beside it.",
)


@dataclass(frozen=True)
class _Element:
    """One image of a series: where its pixels lie and how they are scaled."""

    offset: int
    dtype: np.dtype[Any]
    width: int
    height: int
    column_scale: float
    row_scale: float
    time: int


@dataclass(frozen=True)
class _Header:
    """The first fields of a .ser file."""

    version: int
    kind: int
    """`_LINES` or `_IMAGES`."""
    total: int
    """Images that the series was meant to have."""
    valid: int
    """Images that were taken."""
    wide: bool
    """Places in the file have 8 bytes, not 4."""
    offsets_at: int
    """Place of the list of images."""
    dimensions: int


@dataclass(frozen=True)
class _Series:
    """A .ser file of images: where each of them lies."""

    path: Path
    size: int
    """Of the file [bytes]."""
    header: _Header
    extent: list[dict[str, Any]]
    """The dimensions along which the images were taken."""
    offsets: npt.NDArray[np.unsignedinteger[Any]]
    tags: npt.NDArray[np.unsignedinteger[Any]]
    """Place of each image's time."""

    def element(self, index: int) -> _Element:
        """The image with this index; raises `IncompleteFile` where it goes on after the file's end."""
        with self.path.open("rb") as file:
            return _element(file, int(self.offsets[index]), int(self.tags[index]), self.size)

    def parameters(self, element: _Element) -> dict[str, Any]:
        """The metadata of an image, by the names that RosettaSciIO gives them."""
        return {
            "SeriesVersion": self.header.version,
            "TotalNumberElements": self.header.total,
            "ValidNumberElements": self.header.valid,
            "Dimensions": self.extent,
            "CalibrationDeltaX": element.column_scale,
            "CalibrationDeltaY": element.row_scale,
            "Time": element.time,
        }


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The series of a .ser file; of an .emi file, those of all .ser files beside it."""
    with path.open("rb") as file:
        is_emi = file.read(2) != b"II"
    if not is_emi:
        return _series(path)
    series = sorted(
        (p for p in path.parent.glob(f"{_glob_escape(path.stem)}_*.ser") if re.search(r"_\d+\.ser$", p.name)),
        key=lambda p: int(p.stem.rpartition("_")[2]),
    )
    if not series:
        raise UnreadableFrame(f"its pixels are in {path.stem}_1.ser, which is not beside it")
    return [signal for file_path in series for signal in _series(file_path)]


def _series(path: Path) -> list[Signal]:
    """The images of one .ser file as one signal."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = _header(file, size)
        if header.kind == _LINES:
            return [_refused(f"it is a series of {header.valid} spectra or lines, not an image")]
        series = _list_images(file, header, path, size)
    first = series.element(0)
    if series.header.valid > 1:
        series.element(series.header.valid - 1)
    about = _emi(path)
    # The scale is always in metres or in 1/m. The modes in the .emi do not tell reliably which, so its size
    # does: a pixel of a diffraction pattern is some 10⁷ 1/m.
    unit: str | None = "1/m" if abs(first.column_scale) > _LARGEST_LENGTH_M else "m"
    if first.column_scale == first.row_scale == 1.0:
        unit = None  # of an uncalibrated image

    def load(index: int) -> np.ndarray[Any, Any]:
        element = series.element(index)
        if (element.height, element.width) != (first.height, first.width):
            raise UnreadableFrame("its images differ in size")
        pixels = np.fromfile(
            path, dtype=element.dtype, count=element.width * element.height, offset=element.offset
        )
        return pixels.reshape(element.height, element.width)[::-1]  # stored from the bottom up

    def details(index: int) -> Details:
        element = series.element(index)
        metadata = {"ser_header_parameters": series.parameters(element)}
        return _details({**metadata, **({"ObjectInfo": about} if about else {})}, element.time)

    return [
        Signal(
            series.header.valid,
            (first.height, first.width),
            first.dtype,
            load,
            rows=Axis(first.row_scale, unit, _ORIGIN),
            columns=Axis(first.column_scale, unit, _ORIGIN),
            title=path.stem,
            details=details,
        )
    ]


def _header(file: BinaryIO, size: int) -> _Header:
    _, _, version, kind, _, total, valid = _take(file, "<HHHIIII", size)
    wide = version > 0x210
    (offsets_at,) = _take(file, "<Q" if wide else "<I", size)
    (dimensions,) = _take(file, "<I", size)
    return _Header(version, kind, total, valid, wide, offsets_at, dimensions)


def _list_images(file: BinaryIO, header: _Header, path: Path, size: int) -> _Series:
    """The dimensions and the list of images, which follow the header.

    Raises
    ------
    IncompleteFile
        No image is valid yet, or the list goes on after the file's end.
    UnreadableFrame
        The header is damaged.
    """
    if header.kind != _IMAGES:
        raise UnreadableFrame(f"the header is damaged: data of type {header.kind:#x}")
    if header.valid == 0:
        raise IncompleteFile(f"the file holds none of the {header.total} images that its header announces")
    if header.valid > min(header.total, LARGEST_COUNT):
        raise UnreadableFrame(f"the header is damaged: {header.valid} valid images of {header.total}")
    extent = [_dimension(file, size) for _ in range(min(header.dimensions, 8))]
    place = np.dtype("<u8" if header.wide else "<u4")
    length = header.total * place.itemsize
    within(header.offsets_at, 2 * length, size, "the list of images")
    file.seek(header.offsets_at)
    offsets = np.frombuffer(file.read(length), place)[: header.valid]
    tags = np.frombuffer(file.read(length), place)[: header.valid]
    return _Series(path, size, header, extent, offsets, tags)


def _take(file: BinaryIO, fmt: str, size: int) -> tuple[Any, ...]:
    length = struct.calcsize(fmt)
    raw = file.read(length)
    if len(raw) != length:
        raise IncompleteFile(f"the file is incomplete: its header goes on after its {size} bytes")
    return struct.unpack(fmt, raw)


def _text(file: BinaryIO, size: int) -> str:
    (length,) = _take(file, "<I", size)
    within(file.tell(), length, size, "a text")
    if length > 65536:
        raise UnreadableFrame(f"the header is damaged: a text of {length} characters")
    return file.read(length).decode("utf-8", errors="replace")


def _dimension(file: BinaryIO, size: int) -> dict[str, Any]:
    length, offset, delta, element = _take(file, "<IddI", size)
    name, unit = _text(file, size), _text(file, size)
    return {
        "size": length,
        "offset": offset,
        "delta": delta,
        "element": element,
        "description": name,
        "unit": unit,
    }


def _element(file: BinaryIO, offset: int, tag: int, size: int) -> _Element:
    within(offset, 50, size, "an image")
    file.seek(offset)
    _, column_scale, _, _, row_scale, _, code, width, height = _take(file, "<ddIddIHII", size)
    if code not in _TYPES:
        raise UnreadableFrame(f"the header is damaged: pixels of type {code}")
    dtype = np.dtype(_TYPES[code])
    within(offset + 50, width * height * dtype.itemsize, size)
    time = 0
    if 0 < tag <= size - 8:
        file.seek(tag)
        _, _, time = _take(file, "<HHI", size)
    return _Element(offset + 50, dtype, width, height, column_scale, row_scale, time)


def _refused(reason: str) -> Signal:
    def load(_: int) -> np.ndarray[Any, Any]:
        raise UnreadableFrame(reason)

    return Signal(1, (1,), np.dtype("f4"), load, refusal=reason)


def _emi(path: Path) -> dict[str, Any]:
    """The `ObjectInfo` of a .ser file in the .emi beside it; empty where there is none, or it is no XML."""
    base, _, number = path.stem.rpartition("_")
    emi = path.with_name(f"{base}.emi")
    if not number.isdigit() or not emi.is_file() or emi.stat().st_size > _LARGEST_EMI:
        return {}
    found = re.findall(rb"<ObjectInfo>.*?</ObjectInfo>", emi.read_bytes(), re.DOTALL)
    index = int(number) - 1
    if not 0 <= index < len(found) or b"<!DOCTYPE" in found[index] or b"<!ENTITY" in found[index]:
        return {}
    try:
        root = ElementTree.fromstring(found[index].decode("utf-8", errors="replace"))
    except ElementTree.ParseError:
        return {}
    tree = _tree(root)
    return tree if isinstance(tree, dict) else {}


def _tree(node: ElementTree.Element) -> Any:
    """XML as nested dicts; the lists of labelled data become one dict."""
    if node.tag == "ExperimentalDescription":
        labelled = {}
        for data in node.iter("Data"):
            label, unit = data.findtext("Label") or "", data.findtext("Unit") or ""
            labelled[f"{label}_{unit}" if unit else label] = data.findtext("Value") or ""
        return labelled
    if len(node) == 0:
        return (node.text or "").strip()
    return {child.tag: _tree(child) for child in node}


def _details(metadata: dict[str, Any], time: int) -> Details:
    about = branch(metadata, "ObjectInfo")
    described, acquire = branch(about, "ExperimentalDescription"), branch(about, "AcquireInfo")
    scanning = "STEM" in str(described.get("Mode", "")) or "ScanMagnification" in acquire
    return Details(
        acquired=plausible_time(float(time)) or parse_time(str(about.get("AcquireDate", ""))),
        exposure_s=None if scanning else positive(acquire.get("DwellTimePath")),
        magnification=positive(described.get("Magnification_x")),
        scanning=scanning,
        metadata=metadata,
    )


def _glob_escape(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)
