"""Which files are frames: by name, by their first bytes, and which are sidecars to be passed over quietly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

Format = Literal["dm", "ser", "emi", "mrc", "tiff", "hdf5", "npy", "tvips", "png", "jpeg"]

#: Suffix (lower case) to format.
SUFFIXES: dict[str, Format] = {
    ".dm3": "dm",
    ".dm4": "dm",
    ".emd": "hdf5",
    ".ser": "ser",
    ".emi": "emi",
    ".mrc": "mrc",
    ".mrcs": "mrc",
    ".st": "mrc",
    ".map": "mrc",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".tf8": "tiff",
    ".btf": "tiff",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hdf": "hdf5",
    ".hspy": "hdf5",
    ".npy": "npy",
    ".tvips": "tvips",
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
}

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_UNFINISHED = re.compile(
    r"(\.(part|partial|tmp|temp|crdownload|filepart|download|swp|swx|lock|lck|bak|old|!sync|aria2)$)"
    r"|~$|^~|^\.|^Thumbs\.db$|^desktop\.ini$",
    re.IGNORECASE,
)
_SIDECARS = {".emi", ".gtg", ".json", ".mdoc", ".txt", ".xml", ".log", ".csv", ".hdr", ".ini", ".md", ".nav"}


def is_sidecar(path: Path) -> bool:
    """Whether a directory source passes over this file without a word.

    Such are dotfiles and temporaries (`rsync` writes `.name.XXXXXX` and renames), and what other programs lay
    beside their frames: `.emi` beside `.ser`, `.gtg`, `.json`, `.mdoc`, notes. An `.emi` given by name is
    still opened: it stands for the `.ser` files beside it.
    """
    return bool(_UNFINISHED.search(path.name)) or path.suffix.lower() in _SIDECARS


def looks_like_frame_file(path: Path) -> bool:
    """Whether a file is to be taken in as frames: by its suffix, else by its first bytes; never a sidecar.

    What looks like frames and can't be read is rejected with a reason, anything else is ignored.
    """
    if is_sidecar(path):
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        return path.is_file() and sniff(path) is not None  # a pipe would never end
    except OSError:
        return False


def sniff(path: Path) -> Format | None:
    """The format that the first bytes tell, None where they tell none.

    Raises
    ------
    OSError
        The file can't be read.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(_HDF5_SIGNATURE):
        return "hdf5"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head[:4] in (b"\0\0\0\3", b"\0\0\0\4") and _is_dm(head):
        return "dm"
    if head[:4] == b"II\x97\x01":
        return "ser"
    if head[:4] == b"JK\0\2":
        return "emi"
    if len(head) >= 212 and head[208:211] == b"MAP":
        return "mrc"
    if len(head) >= 256 and b"TVIPS" in head[52:256]:
        return "tvips"
    return None


def _is_dm(head: bytes) -> bool:
    """Whether a DigitalMicrograph header follows: version 3 or 4, a byte-order flag of 0 or 1."""
    order = head[8:12] if head[3] == 3 else head[12:16]
    return order in (b"\0\0\0\0", b"\0\0\0\1")
