"""Extended headers of MRC files: one entry a frame, by FEI (FEI1, FEI2), SerialEM (SERI) or older FEI programs.

Formats: FEI's and SerialEM's as IMOD's "MRC Image2000 Format" describes them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mrcfile.dtypes
import numpy as np

#: SerialEM's values of a frame, in this order where the bit is set: bit, size [bytes], names, scale.
_SERIALEM: tuple[tuple[int, int, tuple[str, ...], float], ...] = (
    (1, 2, ("tilt_deg",), 0.01),
    (2, 6, ("piece_x", "piece_y", "piece_z"), 1.0),
    (4, 4, ("stage_x_um", "stage_y_um"), 0.04),
    (8, 2, ("magnification",), 100.0),
    (16, 2, ("intensity",), 1 / 25000),
    (32, 4, ("dose_e_per_A2",), 1.0),
)
#: The entry that FEI's programs wrote before FEI1: 32 numbers, these first.
_OLD_FEI = (
    "a_tilt", "b_tilt", "x_stage", "y_stage", "z_stage", "x_shift", "y_shift", "defocus", "exp_time", "mean_int",
    "tilt_axis", "pixel_size", "magnification", "ht", "binning", "applied_defocus",
)  # fmt: skip
#: Where the kind of the extended header's values stands in the header [bytes].
_NINT, _NREAL = slice(128, 130), slice(130, 132)


@dataclass(frozen=True)
class Entries:
    """The entries of a file: where they lie, and how they are read."""

    path: Path
    kind: str
    """`FEI`, `SERI`, `old FEI`, or empty."""
    start: int
    """Place of the first entry [bytes]."""
    size: int
    """Of each entry [bytes]."""
    count: int
    order: str
    flags: int = 0
    """Of SerialEM: which values there are."""
    dtype: Any = field(default=None, compare=False)

    def of(self, index: int) -> dict[str, Any]:
        """The values of one frame, by the names of FEI or SerialEM; empty where there are none."""
        if not self.kind or not 0 <= index < self.count:
            return {}
        with self.path.open("rb") as file:
            file.seek(self.start + index * self.size)
            raw = file.read(self.size)
        if len(raw) < self.size:
            return {}
        if self.kind == "FEI":
            entry = np.frombuffer(raw, self.dtype, count=1)[0]
            return {name: entry[name].item() for name in entry.dtype.names}
        if self.kind == "old FEI":
            return dict(zip(_OLD_FEI, struct.unpack(f"{self.order}16f", raw[:64]), strict=True))
        return _serialem(raw, self.order, self.flags)


def entries_of(path: Path, raw: bytes, kind: bytes, order: str, start: int, length: int) -> Entries:
    """The entries of a file with this header (1024 bytes) and this kind of extended header.

    Parameters
    ----------
    start, length : place and length of the extended header [bytes].
    """
    none = Entries(path, "", start, 0, 0, order)
    (nint,) = struct.unpack(f"{order}h", raw[_NINT])
    (nreal,) = struct.unpack(f"{order}h", raw[_NREAL])
    if kind in (b"FEI1", b"FEI2"):
        dtype = mrcfile.dtypes.get_ext_header_dtype(kind, order)
        with path.open("rb") as file:
            file.seek(start)
            first = file.read(min(length, dtype.itemsize))
        if len(first) < dtype.itemsize:
            return none
        size = int(np.frombuffer(first, dtype, count=1)[0]["Metadata size"])
        if not dtype.itemsize <= size <= 2**20:
            return none
        return Entries(path, "FEI", start, size, length // size, order, dtype=dtype)
    expected = sum(size for bit, size, _, _ in _SERIALEM if nreal & bit)
    if 0 < nint == expected and 0 < nreal < 64 and length >= nint:
        return Entries(path, "SERI", start, nint, length // nint, order, flags=nreal)
    if not kind.strip(b"\0 ") and nint == 0 and nreal == 32 and length >= 128 and length % 128 == 0:
        return Entries(path, "old FEI", start, 128, length // 128, order)
    return none


def _serialem(raw: bytes, order: str, flags: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    at = 0
    for bit, size, names, scale in _SERIALEM:
        if not flags & bit:
            continue
        numbers = struct.unpack_from(f"{order}{size // 2}h", raw, at)
        at += size
        if bit == 32:
            values[names[0]] = _real(*numbers)
        else:
            values |= {name: number * scale for name, number in zip(names, numbers, strict=True)}
    return values


def _real(first: int, second: int) -> float:
    """A number in two: ±(|first| · 256 + |second| mod 256) · 2^±(|second| / 256), the signs being theirs."""
    power = abs(second) // 256 * (1 if second >= 0 else -1)
    return (1 if first >= 0 else -1) * (abs(first) * 256 + abs(second) % 256) * 2.0**power
