"""The frame ref (where one frame's pixels lie) and the frame (the pixels and what is known of them)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

#: What becomes of a movie of one field: its exposures are summed, or each is a frame, or the first alone is judged.
MovieMode = Literal["sum", "frames", "first"]

#: Files up to this size [bytes] are hashed whole, larger ones at `_SAMPLES` evenly spaced places.
_HASHED_WHOLE = 64 * 2**20
_SAMPLE = 2**20
_SAMPLES = 32


@dataclass(frozen=True)
class FrameRef:
    """Where one frame's pixels lie, and what its source knew of it. Small, and it can be pickled."""

    path: Path
    """The file, in the source's directory or in the session's spool."""
    index: int | None = None
    """Which frame of the file, from 0; None is the whole file (it can't be read, its frames are unknown)."""
    pixel_size_nm: float | None = None
    """As the source was told, in a message's header; None: the file may know [nm/px]."""
    acquired: float | None = None
    """When the camera took it, as far as the source was told [s since 1970 UTC]."""
    sender: str | None = None
    """Who sent it, for a socket source."""
    sequence: int | None = None
    """The sender's own number for it."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What else came with it, JSON-able; the file's own metadata is in the file and not repeated here."""
    file_size: int | None = None
    """Of the file when it was announced [bytes]."""
    file_mtime_ns: int | None = None
    """Of the file when it was announced."""
    content: str | None = None
    """Hash of the file's bytes when it was announced, see `content_hash`."""
    instead_of: Path | None = None
    """The file of the same exposure that was announced before, in whose place this one is analysed."""
    rejected: str | None = None
    """The sentence that tells why, where the source already knows that it can't be analysed."""
    dropped: str | None = None
    """The sentence that tells why, where it came but there was no room to keep it."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture in native counts, its scale, and the whole original metadata."""

    pixels: npt.NDArray[Any]
    """(H, W), integers or floats in the machine's byte order, always finite."""
    pixel_size_nm: float | None
    """[nm/px]; None where the file does not say, or says nonsense (0, not a number, dots per inch)."""
    scale_problem: str | None = None
    """Why the file's own pixel size can't be used (pixels that are not square), as a sentence."""
    scale_doubt: str | None = None
    """Why the file's own pixel size is not believed (nobody set it), as a sentence; one that is given counts."""
    scale_from: str | None = None
    """From where in the file its pixel size is, in words."""
    acquired: float | None = None
    """When the camera took it [s since 1970 UTC]."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """The original metadata whole, JSON-able."""
    scanning: bool = False
    """It was made with a scanned probe (HAADF, ADF, BF-STEM): analysed, and flagged as not HRTEM."""
    title: str | None = None
    """What the file calls this picture."""
    exposure_s: float | None = None
    dose_e_per_A2: float | None = None
    """[e⁻/Å²]"""
    magnification: float | None = None
    notes: tuple[str, ...] = ()
    """Sentences about what was done to it in reading (colours averaged, exposures summed)."""
    exposures: int = 1
    """Of how many exposures of one field it is the sum."""


def content_hash(path: Path) -> str:
    """Hash of a file's bytes: of all of them up to 64 MiB, beyond that of its size and 32 pieces of 1 MiB.

    Raises
    ------
    OSError
        The file can't be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        digest.update(size.to_bytes(8, "little"))
        if size <= _HASHED_WHOLE:
            file.seek(0)
            while block := file.read(_SAMPLE):
                digest.update(block)
        else:
            for i in range(_SAMPLES):
                file.seek(i * (size - _SAMPLE) // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def pixels_hash(pixels: npt.NDArray[Any]) -> str:
    """Hash of a picture's pixels, shape and type: two frames that share it come from a frozen camera."""
    digest = hashlib.blake2b(f"{pixels.dtype.str}{pixels.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).view(np.uint8).data)
    return digest.hexdigest()
