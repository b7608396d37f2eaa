"""FEI/Thermo Fisher TIA files: .ser holds the pixels, .emi beside it tells how they were taken.

Format: C. B. Boothroyd, "FEI (Emispec) .ser files"; RosettaSciIO's reader, with which the tests compare.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.signals import LARGEST_COUNT, Axis, Details, Signal, within
from monitor.read.times import parse_time, plausible_time

_TYPES = {1: "u1", 2: "<u2", 3: "<u4", 4: "i1", 5: "<i2", 6: "<i4", 7: "<f4", 8: "<f8", 9: "<c8", 10: "<c16"}
_LINES, _IMAGES = 0x4120, 0x4122
#: A calibration above this [m/px] can't be one of length: it is in 1/m, of a diffraction pattern.
_LARGEST_LENGTH_M = 1e-3
#: No .emi of one image is larger than this [bytes]; the XML is searched in what is read.
_LARGEST_EMI = 256 * 2**20


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
    size = path.stat().st_size
    with path.open("rb") as file:
        header = _take(file, "<HHHIIII", size)
        _, _, version, kind, _tag_kind, total, valid = header
        wide = version > 0x210
        (offsets_at,) = _take(file, "<Q" if wide else "<I", size)
        (dimensions,) = _take(file, "<I", size)
        if kind == _LINES:
            return [_refused(f"it is a series of {valid} spectra or lines, not an image")]
        if kind != _IMAGES:
            raise UnreadableFrame(f"the header is damaged: data of type {kind:#x}")
        if valid == 0:
            raise IncompleteFile(f"the file holds none of the {total} images that its header announces")
        if valid > min(total, LARGEST_COUNT):
            raise UnreadableFrame(f"the header is damaged: {valid} valid images of {total}")
        extent = [_dimension(file, size) for _ in range(min(dimensions, 8))]
        word = 8 if wide else 4
        within(offsets_at, 2 * total * word, size, "the list of images")
        file.seek(offsets_at)
        offsets = np.frombuffer(file.read(total * word), "<u8" if wide else "<u4")[:valid]
        tags = np.frombuffer(file.read(total * word), "<u8" if wide else "<u4")[:valid]
        first = _element(file, int(offsets[0]), int(tags[0]), size)
        if valid > 1:
            _element(file, int(offsets[-1]), int(tags[-1]), size)
    emi = _emi(path)
    # The unit is always that of the International System; its power is told by the magnitude alone (a pixel
    # of a diffraction pattern is some 10⁷ 1/m), which the operating modes in the .emi do not tell reliably.
    unit = "1/m" if abs(first.column_scale) > _LARGEST_LENGTH_M else "m"

    def load(index: int) -> np.ndarray[Any, Any]:
        with path.open("rb") as file:
            element = _element(file, int(offsets[index]), int(tags[index]), size)
        if (element.height, element.width) != (first.height, first.width):
            raise UnreadableFrame("its images differ in size")
        pixels = np.fromfile(
            path, dtype=element.dtype, count=element.width * element.height, offset=element.offset
        )
        return pixels.reshape(element.height, element.width)[::-1]  # stored from the bottom up

    def details(index: int) -> Details:
        with path.open("rb") as file:
            element = _element(file, int(offsets[index]), int(tags[index]), size)
        ser = {
            "SeriesVersion": version,
            "TotalNumberElements": total,
            "ValidNumberElements": valid,
            "Dimensions": extent,
            "CalibrationDeltaX": element.column_scale,
            "CalibrationDeltaY": element.row_scale,
            "Time": element.time,
        }
        return _details({"ser_header_parameters": ser, **({"ObjectInfo": emi} if emi else {})}, element.time)

    return [
        Signal(
            valid,
            (first.height, first.width),
            first.dtype,
            load,
            rows=Axis(first.row_scale, unit),
            columns=Axis(first.column_scale, unit),
            title=path.stem,
            details=details,
        )
    ]


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
    """The `ObjectInfo` of this .ser in the .emi beside it, empty where there is none to be understood."""
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
    emi = metadata.get("ObjectInfo", {})
    described = emi.get("ExperimentalDescription", {}) if isinstance(emi, dict) else {}
    acquire = emi.get("AcquireInfo", {}) if isinstance(emi, dict) else {}
    acquire = acquire if isinstance(acquire, dict) else {}
    scanning = "STEM" in str(described.get("Mode", "")) or "ScanMagnification" in acquire
    return Details(
        acquired=plausible_time(float(time)) or parse_time(str(emi.get("AcquireDate", ""))),
        exposure_s=None if scanning else _number(acquire.get("DwellTimePath")),
        magnification=_number(described.get("Magnification_x")),
        scanning=scanning,
        metadata=metadata,
    )


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _glob_escape(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)
