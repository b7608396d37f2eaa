"""MRC files (.mrc, .mrcs, .st): a picture or a stack, with the additions of FEI and SerialEM.

Format: Cheng et al., J. Struct. Biol. 192 (2015) 146; the header's layout is `mrcfile`'s.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Literal

import mrcfile.dtypes
import numpy as np

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.formats import mdoc
from monitor.read.formats.about import About, types_of
from monitor.read.formats.mrc_extended import entries_of
from monitor.read.scale import plausible
from monitor.read.signals import LARGEST_COUNT, LARGEST_PIXELS, Axis, Details, Signal, within
from monitor.read.times import plausible_time
from monitor.read.values import finite

#: Mode to type. 101 (two pixels in a byte) is refused by name.
_MODES = {0: "i1", 1: "i2", 2: "f4", 3: "c4", 4: "c8", 6: "u2", 7: "i4", 12: "f2"}
_HEADER = 1024
#: A larger pixel in an extended header is none in metres, which programs that fill it otherwise leave there [m].
_LARGEST_M = 1e-6
#: From where a pixel size is.
_EXTENDED, _CELL, _NOTES = "the extended header", "the header's cell", "PixelSpacing in the .mdoc beside it"
#: Bytes of a frame by which the sign of mode 0 is judged.
_SAMPLE = 2**22
#: Where IMOD's stamp and flags lie in `extra2`: bytes 152 to 160 of the header (IMOD, "MRC Image2000 Format").
_IMOD = slice(40, 48)
_IMOD_STAMP = 1146047817


ABOUT = About(
    "MRC",
    versions="2000 and 2014, also without the mark, of either byte order; extended headers FEI1, FEI2, SERI, older FEI",
    cameras="every camera whose program writes MRC: SerialEM, EPU, Velox, Digital Micrograph, RELION, K2 to K3, Falcon",
    types=types_of(_MODES.values()),
    pixel_size="the extended header, else the header's cell over its intervals (over NX where they are 0), else "
    "`PixelSpacing` of the .mdoc beside it; exactly 1 Å is none",
    time="the extended header's timestamp, else `DateTime` of the .mdoc beside it",
    more="Bytes (mode 0) are signed as IMOD's flag, the header's minimum and maximum or the histogram tell.",
)


def open_signals(path: Path, stack: contextlib.ExitStack, beside: Path | None = None) -> list[Signal]:
    """The stack of the file; its pixel size is from FEI's extended header, else the header, else the .mdoc.

    Parameters
    ----------
    beside : the file beside which the .mdoc is looked for, where that is another one.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        raw = file.read(_HEADER)
        if len(raw) < _HEADER:
            raise IncompleteFile(
                f"the file is incomplete: it has {size} bytes, its header alone has {_HEADER}"
            )
        header, order = _header(raw)
        columns, rows, sections = (int(header[name]) for name in ("nx", "ny", "nz"))
        mode, extended = int(header["mode"]), int(header["nsymbt"])
        if mode == 101:
            raise UnreadableFrame("it holds pixels of 4 bits (mode 101), which are not read here")
        if mode not in _MODES:
            raise UnreadableFrame(f"the header is damaged: mode {mode}")
        if min(columns, rows, sections) < 1 or sections > LARGEST_COUNT or columns * rows > LARGEST_PIXELS:
            raise UnreadableFrame(f"the header is damaged: {sections} frames of {rows} × {columns} px")
        within(_HEADER, extended, size, "the extended header")
    dtype = np.dtype("c8" if mode == 3 else _MODES[mode]).newbyteorder(order)
    offset, nbytes = _HEADER + extended, columns * rows * dtype.itemsize
    if mode in (3, 4):
        return [Signal(sections, (rows, columns), dtype, _unloadable)]
    within(offset, sections * nbytes, size)
    read_as: tuple[str, ...] = ()
    if mode == 0:
        unsigned, why = _unsigned_bytes(header, np.fromfile(path, "u1", min(nbytes, _SAMPLE), offset=offset))
        dtype = np.dtype("u1" if unsigned else "i1")
        read_as = (f"its bytes (mode 0) are read as {'unsigned' if unsigned else 'signed'}: {why}",)
    notes = mdoc.read_notes(path if beside is None else beside)
    entries = entries_of(path, raw, header["exttyp"].tobytes(), order, _HEADER, extended)
    first = entries.of(0)
    rows_axis, columns_axis = _axes(header, first, notes)

    def load(index: int) -> np.ndarray[Any, Any]:
        start = offset + index * nbytes
        return np.fromfile(path, dtype=dtype, count=columns * rows, offset=start).reshape(rows, columns)

    def details(index: int) -> Details:
        return _details(header, entries.of(index) if index else first, notes.of(index) if notes else {})

    return [
        Signal(
            sections,
            (rows, columns),
            dtype,
            load,
            rows_axis,
            columns_axis,
            details=details,
            notes=read_as,
        )
    ]


def announced_size(raw: bytes) -> int:
    """How many bytes an MRC file with this header (1024 bytes) has.

    Raises
    ------
    IncompleteFile
        The header is shorter.
    UnreadableFrame
        It is no header of an MRC file, or damaged.
    """
    if len(raw) < _HEADER:
        raise IncompleteFile(f"the file is incomplete: its header has {len(raw)} of {_HEADER} bytes")
    header, _ = _header(raw)
    mode, extended = int(header["mode"]), int(header["nsymbt"])
    if mode not in _MODES or extended < 0:
        raise UnreadableFrame(f"the header is damaged: mode {mode}")
    columns, rows, sections = (max(0, int(header[name])) for name in ("nx", "ny", "nz"))
    return _HEADER + extended + columns * rows * sections * int(_MODES[mode][1:])


def _unloadable(_: int) -> np.ndarray[Any, Any]:
    raise UnreadableFrame("it holds complex numbers, not an image")


def _header(raw: bytes) -> tuple[Any, Literal["<", ">"]]:
    """The header, and its byte order: that of its mark, else that in which its numbers are plausible."""
    orders: tuple[Literal["<", ">"], ...] = (">", "<") if raw[212:214] == b"\x11\x11" else ("<", ">")
    for order in orders:
        header = np.frombuffer(raw, mrcfile.dtypes.HEADER_DTYPE.newbyteorder(order), count=1)[0]
        if (
            0 <= int(header["mode"]) <= 1024
            and 0 < int(header["nx"]) < 2**24
            and 0 < int(header["ny"]) < 2**24
        ):
            return header, order
    raise UnreadableFrame("it does not begin as an MRC file does")


def _unsigned_bytes(header: Any, sample: np.ndarray[Any, Any]) -> tuple[bool, str]:
    """Whether mode 0 means unsigned bytes, and by what that is known.

    IMOD's flag says it (bit 0: signed), where its stamp is there. Else the header's minimum and maximum may. Else it is
    the reading whose histogram is not torn: unsigned bytes end between 255 and 0, signed ones between 127 and 128, and
    the right end lies where there are fewer pixels.

    Parameters
    ----------
    sample : (N,) bytes of the first frame.
    """
    stamp, flags = np.frombuffer(header["extra2"].tobytes()[_IMOD], header["nx"].dtype)
    if int(stamp) == _IMOD_STAMP:
        return not int(flags) & 1, "IMOD's flag in the header says so"
    low, high = float(header["dmin"]), float(header["dmax"])
    if low < high and -128 <= low < 0 and high <= 127:
        return False, "the header's minimum is below 0"
    if 0 <= low < high and 127 < high <= 255:
        return True, "the header's maximum is above 127"
    counts = np.bincount(sample, minlength=256)
    if not counts[128:].any():
        return True, "no pixel is above 127, where both readings are the same"
    ends = [min(counts[252:].sum(), counts[:4].sum()), min(counts[124:128].sum(), counts[128:132].sum())]
    return bool(ends[0] <= ends[1]), "its histogram is torn if read the other way"


def _axes(header: Any, fei: dict[str, Any], notes: mdoc.Notes | None) -> tuple[Axis, Axis]:
    """The scales along rows and columns: FEI's, else the header's, else, where that is exactly 1 Å, the notes'."""
    metres = [plausible(fei.get(f"Pixel size {axis}") or fei.get("pixel_size")) for axis in "YX"]
    if all(side is not None and side < _LARGEST_M for side in metres):
        return Axis(metres[0], "m", _EXTENDED), Axis(metres[1], "m", _EXTENDED)
    angstroms: list[float | None] = []
    for axis, sampling, pixels in (("y", "my", "ny"), ("x", "mx", "nx")):
        # Some writers leave the intervals at 0 and give the cell: it is that of the whole picture then.
        steps = int(header[sampling]) or int(header[pixels])
        angstroms.append(plausible(float(header["cella"][axis]) / steps) if steps > 0 else None)
    told = notes.pixel_size_nm() if notes else None
    if told is not None and (None in angstroms or angstroms == [1.0, 1.0]):
        return Axis(told, "nm", _NOTES), Axis(told, "nm", _NOTES)
    return Axis(angstroms[0], "Å", _CELL), Axis(angstroms[1], "Å", _CELL)


def _details(header: Any, fei: dict[str, Any], notes: dict[str, str]) -> Details:
    labels = [bytes(label).decode("latin-1").strip("\0 ") for label in header["label"]]
    metadata: dict[str, Any] = {
        "header": {
            name: header[name].tolist()
            for name in header.dtype.names
            if name not in ("extra1", "extra2", "label", "map", "machst")
        }
    }
    metadata["header"]["label"] = [label for label in labels if label]
    if fei:
        metadata["extended_header"] = fei
    if notes:
        metadata["mdoc"] = notes
    # FEI's timestamp counts days since 30 December 1899, as spreadsheets do.
    days = fei.get("Timestamp")
    acquired = plausible_time((days - 25569) * 86400) if isinstance(days, float) else None
    dose = plausible(fei.get("Dose"))
    told = plausible(fei.get("dose_e_per_A2"))
    tilt = next((fei[name] for name in ("Alpha tilt", "tilt_deg", "a_tilt") if name in fei), None)
    focus = next((fei[name] for name in ("Applied defocus", "applied_defocus") if name in fei), None)
    return Details(
        acquired=acquired or mdoc.acquired(notes),
        exposure_s=plausible(fei.get("Integration time") or fei.get("exp_time"))
        or mdoc.number(notes, "ExposureTime"),
        dose_e_per_A2=dose * 1e-20 if dose else told or mdoc.number(notes, "ExposureDose"),
        magnification=plausible(fei.get("Magnification") or fei.get("magnification"))
        or mdoc.number(notes, "Magnification"),
        tilt_deg=finite(tilt) if tilt is not None else mdoc.signed(notes, "TiltAngle"),
        defocus_nm=mdoc.defocus_nm(notes) if focus is None else (finite(focus) or 0.0) * 1e9,
        scanning=_scanning(fei, labels, notes),
        metadata=metadata,
    )


def _scanning(fei: dict[str, Any], labels: list[str], notes: dict[str, str]) -> bool:
    told = " ".join([*labels, notes.get("T", "")]).upper()
    return fei.get("Instrument mode") == 2 or "STEM" in told.split() or "HAADF" in told
