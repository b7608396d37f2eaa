"""DigitalMicrograph files, versions 3 and 4 (.dm3, .dm4): their tags and their images without thumbnails.

Every length in the tags is checked against the file, so that a damaged file can neither stop the program nor fill
the memory. The tests compare the pixels and scales with those of RosettaSciIO.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.formats.about import About, types_of
from monitor.read.signals import Axis, Details, Signal, series_along, within
from monitor.read.times import from_filetime, parse_time
from monitor.read.values import branch

#: Codes of simple values in the tag tree, to struct characters.
_SIMPLE = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "B", 9: "b", 10: "b", 11: "q", 12: "Q"}
_STRUCT, _STRING, _ARRAY = 15, 18, 20
#: Codes of an image's DataType. 5, 27 and 28 are packed complex.
_PIXELS = {
    1: "i2", 2: "f4", 3: "c8", 5: "c8", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4",
    12: "f8", 13: "c16", 14: "u1", 27: "c8", 28: "c16", 39: "i8", 40: "u8",
}  # fmt: skip
_COLOURED = {8, 23}
#: Of a longer array only the place in the file and the type are kept.
_LONGEST = 4096
_DEEPEST = 64
_SCANNING = re.compile(r"\b(STEM|HAADF|MAADF|LAADF|ADF|DF\d?|BF-?STEM)\b", re.IGNORECASE)


ABOUT = About(
    "DigitalMicrograph",
    versions="3 and 4, of either byte order",
    cameras="every camera that DigitalMicrograph or Gatan Microscopy Suite reads; exported files of other programs",
    types=types_of(_PIXELS.values()),
    pixel_size="the image's calibration (`ImageData.Calibrations.Dimension`)",
    time="`DataBar.Acquisition Time (OS)`, else its date and time",
    more="Thumbnails and survey images are left out; a third axis in nm or degrees is a series.",
)


class _Lump(dict[str, Any]):
    """An array left in the file: its `offset`, `length`, `code` and `item` size."""


class _Tags:
    """Parser of the tag tree of a file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = file.seek(0, 2)
        file.seek(0)
        self.at = 0
        version = self._take(">i")
        if version not in (3, 4):
            raise UnreadableFrame(
                f"it is a DigitalMicrograph file of version {version}, only 3 and 4 are known"
            )
        self.long = ">q" if version == 4 else ">i"
        self.version = version
        self._take(self.long)  # the file's size, which some writers leave at 0
        self.order = "<" if self._take(">i") else ">"

    def parse(self) -> dict[str, Any]:
        """The whole tree as nested dicts; unnamed entries are called `TagGroup0`, `Data0` and so on."""
        return self._group(0, sized=False)

    def _read(self, length: int) -> bytes:
        raw = self.file.read(length)
        if len(raw) != length:
            raise IncompleteFile(f"the file is incomplete: its tags go on after its {self.size} bytes")
        self.at += length
        return raw

    def _take(self, fmt: str) -> Any:
        return struct.unpack(fmt, self._read(struct.calcsize(fmt)))[0]

    def _count(self, value: int, smallest: int, what: str) -> int:
        """The same number of things of at least `smallest` bytes, checked against the rest of the file."""
        if value < 0:
            raise UnreadableFrame(f"the tags are damaged: {value} {what}")
        if value * smallest > self.size - self.at:
            raise IncompleteFile(f"the file is incomplete: {value} {what} are announced at byte {self.at}")
        return int(value)

    def _group(self, depth: int, sized: bool) -> dict[str, Any]:
        if depth > _DEEPEST:
            raise UnreadableFrame(f"the tags are damaged: nested more than {_DEEPEST} deep")
        self._take(">H")  # sorted, open
        if sized and self.version == 4:
            self._take(">q")
        entries = self._count(self._take(self.long), 3, "tags")
        group: dict[str, Any] = {}
        unnamed_groups = unnamed_values = 0
        for _ in range(entries):
            kind = self._take(">B")
            length = self._count(self._take(">H"), 1, "characters")
            name = self._read(length).decode("latin-1")
            if kind == 20:
                if not name:
                    name, unnamed_groups = f"TagGroup{unnamed_groups}", unnamed_groups + 1
                group[name] = self._group(depth + 1, sized=True)
            elif kind == 21:
                if not name:
                    name, unnamed_values = f"Data{unnamed_values}", unnamed_values + 1
                group[name] = self._value(leave=name == "Data")
            else:
                raise UnreadableFrame(f"the tags are damaged: a tag of kind {kind} at byte {self.at}")
        return group

    def _value(self, leave: bool) -> Any:
        """A value; an array stays in the file where it is long, or where `leave` is set (pixels)."""
        if self.version == 4:
            self._take(">q")
        if self._take(">I") != 0x25252525:  # %%%%
            raise UnreadableFrame(f"the tags are damaged: no mark before the value at byte {self.at}")
        words = self._count(self._take(self.long), struct.calcsize(self.long), "words of a type")
        info = [self._take(self.long) for _ in range(words)]
        if not info:
            raise UnreadableFrame(f"the tags are damaged: a value without a type at byte {self.at}")
        if info[0] in _SIMPLE:
            return self._take(self.order + _SIMPLE[info[0]])
        if info[0] == _STRING and len(info) >= 2:
            length = self._count(info[1], 1, "characters")
            return self._read(length).decode("utf-8", errors="replace")
        if info[0] == _STRUCT:
            fields, _ = self._fields(info)
            return [self._take(self.order + field) for field in fields]
        if info[0] == _ARRAY and len(info) >= 3:
            return self._array(info[1:], leave)
        raise UnreadableFrame(f"the tags are damaged: a value of type {info[0]} at byte {self.at}")

    def _fields(self, info: list[int]) -> tuple[list[str], int]:
        """The struct characters of a struct's fields, and the number of words that describe them."""
        if len(info) < 3 or not 0 <= info[2] <= (len(info) - 3) // 2:
            raise UnreadableFrame("the tags are damaged: a struct without fields")
        codes = [info[4 + 2 * i] for i in range(info[2])]
        if any(code not in _SIMPLE for code in codes):
            raise UnreadableFrame("the tags are damaged: a struct of unknown fields")
        return [_SIMPLE[code] for code in codes], 3 + 2 * info[2]

    def _array(self, info: list[int], leave: bool) -> Any:
        """An array of simple values or of structs; a long one, and one of structs, stays in the file."""
        code = info[0]
        if code in _SIMPLE:
            item, length = struct.calcsize("<" + _SIMPLE[code]), info[1]
        elif code == _STRUCT:
            fields, taken = self._fields(info)
            item, length = struct.calcsize("<" + "".join(fields)), info[taken] if taken < len(info) else -1
        else:
            raise UnreadableFrame(f"the tags are damaged: an array of type {code} at byte {self.at}")
        if length < 0:
            raise UnreadableFrame(f"the tags are damaged: an array of {length} values at byte {self.at}")
        within(self.at, length * item, self.size, "an array")
        if code == _STRUCT or leave or length > _LONGEST:
            lump = _Lump(offset=self.at, length=length, code=code, item=item)
            self.at = self.file.seek(self.at + length * item)
            return lump
        raw = self._read(length * item)
        if code == 4:  # 16-bit characters: a text
            encoding = "utf-16-le" if self.order == "<" else "utf-16-be"
            return raw.decode(encoding, errors="replace").rstrip("\0")
        return list(struct.unpack(f"{self.order}{length}{_SIMPLE[code]}", raw))


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """Every image of the file except its thumbnails."""
    with path.open("rb") as file:
        parser = _Tags(file)
        root = parser.parse()
    images = _images(root)
    if not images:
        raise UnreadableFrame("there is no image in it")
    rest = {key: value for key, value in root.items() if key != "ImageList"}
    return [_signal(image, rest, path, parser.order, parser.size) for image in images]


def _images(root: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of the image list that are no thumbnails.

    The `Thumbnails` group lists the thumbnails. In a file without it, a coloured image beside grey or complex
    images is the thumbnail.
    """
    entries = {key: value for key, value in branch(root, "ImageList").items() if branch(value, "ImageData")}
    listed = {
        f"TagGroup{thumbnail['ImageIndex']}"
        for thumbnail in branch(root, "Thumbnails").values()
        if isinstance(thumbnail, dict) and "ImageIndex" in thumbnail
    }
    kept = [entry for key, entry in entries.items() if key not in listed] or list(entries.values())
    grey = [entry for entry in kept if entry["ImageData"].get("DataType") not in _COLOURED]
    return grey or kept


def _signal(image: dict[str, Any], rest: dict[str, Any], path: Path, order: str, size: int) -> Signal:
    data = image["ImageData"]
    code = data.get("DataType")
    lengths = [int(value) for value in branch(data, "Dimensions").values()]  # x, y, z ...
    if not lengths or min(lengths) < 1:
        raise UnreadableFrame(f"the header is damaged: an image of {lengths} pixels")
    tags = branch(image, "ImageTags")
    title = image.get("Name") if isinstance(image.get("Name"), str) else None
    calibrations = [_axis(entry) for entry in branch(branch(data, "Calibrations"), "Dimension").values()]
    calibrations += [Axis()] * (len(lengths) - len(calibrations))
    columns, rows = calibrations[0], calibrations[1] if len(lengths) > 1 else Axis()
    shape: tuple[int, ...] = tuple(lengths[:2][::-1])
    if code in _COLOURED:
        dtype = np.dtype("u1")
        shape = (*shape, 4)
    elif code in _PIXELS:
        dtype = np.dtype(_PIXELS[code]).newbyteorder("<" if order == "<" else ">")
    else:
        raise UnreadableFrame(f"its pixels are of the DigitalMicrograph type {code}, which is not known here")
    count, nbytes = math.prod(lengths[2:]), math.prod(shape) * dtype.itemsize
    lump = data.get("Data")
    if not isinstance(lump, _Lump):
        raise UnreadableFrame("the header is damaged: an image without pixels")
    offset = lump["offset"]
    refusal = _refusal(tags, len(lengths), calibrations)
    if dtype.kind != "c" and refusal is None:
        within(offset, count * nbytes, min(size, offset + lump["length"] * lump["item"]))

    def load(index: int) -> np.ndarray[Any, Any]:
        pixels = np.fromfile(path, dtype=dtype, count=math.prod(shape), offset=offset + index * nbytes)
        pixels = pixels.reshape(shape)
        return pixels[..., 2::-1] if code in _COLOURED else pixels  # stored as blue, green, red, alpha

    details = _details({**rest, "ImageList": {"TagGroup0": _without_pixels(image)}}, tags, title)
    series = series_along([("", axis) for axis in calibrations[2 : len(lengths)]])
    return Signal(count, shape, dtype, load, rows, columns, title, lambda _: details, refusal, series=series)


def _refusal(tags: Mapping[str, Any], dimensions: int, axes: list[Axis]) -> str | None:
    """Why the image is a spectrum, where its tags say so, else None."""
    meta = branch(tags, "Meta Data")
    kind, signal = str(meta.get("Format", "")), str(meta.get("Signal", ""))
    energy = any((axis.unit or "").strip().lower() in ("ev", "kev") for axis in axes)
    spectral = signal in ("EELS", "X-ray", "CL") and dimensions > 2
    if kind in ("Spectrum", "Spectrum image") or "spim" in tags or spectral or energy:
        return (
            f"it is a spectrum{' image' if dimensions > 2 else ''} ({signal or 'by its tags'}), not an image"
        )
    return None


def _axis(entry: Any) -> Axis:
    if not isinstance(entry, dict):
        return Axis()
    scale, unit = entry.get("Scale"), entry.get("Units")
    return Axis(
        float(scale) if isinstance(scale, int | float) else None,
        unit if isinstance(unit, str) else None,
        "the image's calibration",
    )


def _details(root: dict[str, Any], tags: Mapping[str, Any], title: str | None) -> Details:
    bar = branch(tags, "DataBar")
    microscope = branch(tags, "Microscope Info")
    acquired = from_filetime(_number(bar.get("Acquisition Time (OS)")))
    if acquired is None:
        acquired = parse_time(f"{bar.get('Acquisition Date', '')} {bar.get('Acquisition Time', '')}")
    parameters = branch(branch(branch(tags, "Acquisition"), "Parameters"), "Detector")
    exposure = _number(parameters.get("exposure (s)")) or _number(bar.get("Exposure Time (s)"))
    mode = f"{microscope.get('Illumination Mode', '')} {microscope.get('Operation Mode', '')}"
    return Details(
        acquired=acquired,
        exposure_s=exposure,
        magnification=_number(microscope.get("Indicated Magnification")),
        scanning="DigiScan" in tags or bool(_SCANNING.search(f"{mode} {title or ''}")),
        metadata=root,
    )


def _number(value: Any) -> float | None:
    """The value of a tag that is a finite number, else None."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _without_pixels(image: dict[str, Any]) -> dict[str, Any]:
    return {
        **image,
        "ImageData": {key: value for key, value in image["ImageData"].items() if key != "Data"},
    }
