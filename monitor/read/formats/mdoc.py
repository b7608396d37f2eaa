"""SerialEM's notes beside a picture: `name.mrc.mdoc`, `name.tif.mdoc`, `name.mdoc`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from monitor.read.times import parse_time
from monitor.read.values import finite

_SECTION = re.compile(r"^\[\s*(\w+)\s*=\s*(.*?)\s*\]\s*$")
_ENTRY = re.compile(r"^\s*([\w.]+)\s*=\s*(.*?)\s*$")
#: Longer notes are not read [bytes].
_LARGEST = 64 * 2**20


@dataclass(frozen=True)
class Notes:
    """The entries of an .mdoc file: for the whole file, and for each of its pictures."""

    common: Mapping[str, str]
    frames: Mapping[int, Mapping[str, str]]

    def of(self, index: int) -> dict[str, str]:
        """The entries of one picture, with those of the whole file."""
        return {**self.common, **self.frames.get(index, {})}

    def pixel_size_nm(self) -> float | None:
        """The first pixel spacing [nm/px] that is given; SerialEM writes it in Å."""
        for entries in (self.common, *(self.frames[i] for i in sorted(self.frames))):
            if (size := number(entries, "PixelSpacing")) is not None:
                return size / 10
        return None


def read_notes(path: Path) -> Notes | None:
    """The notes beside a picture, None where there are none or they cannot be read."""
    for beside in (path.with_name(f"{path.name}.mdoc"), path.with_suffix(".mdoc")):
        try:
            if beside.stat().st_size <= _LARGEST:
                return _parse(beside.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return None


def number(entries: Mapping[str, str], key: str) -> float | None:
    """The first word of an entry as a positive number, None where it is none."""
    try:
        value = float(entries.get(key, "").split()[0])
    except (ValueError, IndexError):
        return None
    return value if math.isfinite(value) and value > 0 else None


def signed(entries: Mapping[str, str], key: str) -> float | None:
    """The first word of an entry as a number of any sign, None where it is none."""
    return finite((entries.get(key, "").split() or [""])[0])


def defocus_nm(entries: Mapping[str, str]) -> float | None:
    """The defocus of a picture [nm]; SerialEM gives it in µm."""
    microns = signed(entries, "Defocus")
    return None if microns is None else microns * 1e3


def acquired(entries: Mapping[str, str]) -> float | None:
    """When the picture was taken [s since 1970 UTC]; None where the entries do not say."""
    return parse_time(entries.get("DateTime"))


def _parse(text: str) -> Notes:
    common: dict[str, str] = {}
    frames: dict[int, dict[str, str]] = {}
    titles: list[str] = []
    current = common
    for line in text.splitlines():
        if section := _SECTION.match(line):
            name, value = section.groups()
            if name == "T":
                titles.append(value)
            elif value.isdigit():
                current = frames.setdefault(int(value), {})
            elif name == "Image":  # one file a picture: they are numbered in the order of the notes
                current = frames.setdefault(len(frames), {"Image": value})
        elif entry := _ENTRY.match(line):
            current[entry.group(1)] = entry.group(2)
    if titles:
        common["T"] = "\n".join(titles)
    return Notes(common, frames)
