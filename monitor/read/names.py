"""The formats that are read, and which files are frames: by name, by first bytes, and which are sidecars."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: So many bytes at the beginning of a file are looked at [bytes].
HEAD = 512

_UNFINISHED = re.compile(
    r"(\.(part|partial|tmp|temp|crdownload|filepart|download|swp|swx|lock|lck|bak|old|!sync|aria2)$)"
    r"|~$|^~|^\.|^Thumbs\.db$|^desktop\.ini$",
    re.IGNORECASE,
)
_SIDECARS = {".emi", ".gtg", ".json", ".mdoc", ".txt", ".xml", ".log", ".csv", ".hdr", ".ini", ".md", ".nav"}


@dataclass(frozen=True)
class Format:
    """One file format: how its files are recognised, and the module that reads them."""

    module: str
    """In `monitor.read.formats`; it has `open_signals`."""
    suffixes: tuple[str, ...]
    """In lower case, with the dot."""
    begins: Callable[[bytes], bool]
    """Whether the first 512 bytes of a file are those of this format."""
    always: bool = True
    """Every file of the format begins so: a file with its suffix that begins otherwise is damaged."""


def _starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def _is_dm(head: bytes) -> bool:
    """Whether a DigitalMicrograph header follows: version 3 or 4, a byte-order flag of 0 or 1."""
    if head[:4] not in (b"\0\0\0\3", b"\0\0\0\4"):
        return False
    order = head[8:12] if head[3] == 3 else head[12:16]
    return order in (b"\0\0\0\0", b"\0\0\0\1")


def _is_mrc(head: bytes) -> bool:
    return len(head) >= 212 and head[208:211] == b"MAP"


def _is_npz(head: bytes) -> bool:
    """Whether a zip archive begins whose first member is an array."""
    if not head.startswith(b"PK\3\4") or len(head) < 30:
        return False
    length = int.from_bytes(head[26:28], "little")
    return head[30 : 30 + length].endswith(b".npy")


def _is_packed_mrc(head: bytes) -> bool:
    """Whether gzip begins that unpacks to the header of an MRC file."""
    if not head.startswith(b"\x1f\x8b"):
        return False
    try:
        return _is_mrc(zlib.decompressobj(31).decompress(head, HEAD))
    except zlib.error:
        return False


def _is_tvips(head: bytes) -> bool:
    return len(head) >= 256 and b"TVIPS" in head[52:256]


#: One line a format; the first whose `begins` is true is the format of a file.
FORMATS = (
    Format("hdf5", (".emd", ".h5", ".hdf5", ".hdf", ".hspy", ".nxs"), _starts(b"\x89HDF\r\n\x1a\n")),
    Format(
        "tiff", (".tif", ".tiff", ".tf8", ".btf", ".eer"), _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    ),
    Format("raster", (".png",), _starts(b"\x89PNG\r\n\x1a\n")),
    Format("raster", (".jpg", ".jpeg"), _starts(b"\xff\xd8\xff")),
    Format("npy", (".npy",), _starts(b"\x93NUMPY")),
    Format("npz", (".npz",), _is_npz),
    Format("gz", (".mrc.gz", ".mrcs.gz", ".st.gz", ".map.gz"), _is_packed_mrc),
    Format("dm", (".dm3", ".dm4"), _is_dm),
    Format("tia", (".ser",), _starts(b"II\x97\x01")),
    Format("tia", (".emi",), _starts(b"JK\0\2"), always=False),
    Format("mrc", (".mrc", ".mrcs", ".st", ".map"), _is_mrc, always=False),
    Format("tvips", (".tvips",), _is_tvips, always=False),
)


def by_name(path: Path) -> Format | None:
    """The format that a file's suffix tells, None where it tells none."""
    name = path.name.lower()
    return next((one for one in FORMATS if name.endswith(one.suffixes)), None)


def by_content(head: bytes) -> Format | None:
    """The format that the first 512 bytes of a file tell, None where they tell none."""
    return next((one for one in FORMATS if one.begins(head)), None)


def is_sidecar(path: Path) -> bool:
    """Whether a directory source ignores this file silently.

    Sidecars are dotfiles and temporary files (`rsync` writes `.name.XXXXXX` and renames it), and files that
    other programs write beside their frames: `.emi` beside `.ser`, `.gtg`, `.json`, `.mdoc`, notes. An `.emi`
    that is given by name is still opened: it stands for the `.ser` files beside it.
    """
    return bool(_UNFINISHED.search(path.name)) or path.suffix.lower() in _SIDECARS


def looks_like_frame_file(path: Path) -> bool:
    """Whether a file is taken for a file of frames: by its suffix, else by its first bytes; never a sidecar.

    A file that looks like frames and cannot be read is rejected with a reason. Any other file is ignored.
    """
    if is_sidecar(path):
        return False
    if by_name(path) is not None:
        return True
    try:
        return path.is_file() and by_content(read_head(path)) is not None  # a pipe would never end
    except OSError:
        return False


def read_head(path: Path) -> bytes:
    """The first 512 bytes of a file, or all of a shorter one.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file:
        return file.read(HEAD)
