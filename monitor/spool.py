"""The spool: every frame that came over a socket is a file here before anybody is told that it arrived."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from monitor.errors import InputError
from monitor.frames import FrameRef, pixels_hash

#: In the description of every spooled file: what it is, and everything that came with the frame.
_MARK = "faultwatch_spool"

_REJECTED = ".rejected.json"


class Spool:
    """One source's folder of received frames.

    A frame is a TIFF file whose description holds, as JSON, the sender's header whole; a message that
    announced a frame but was none is a small JSON file in its place. Both appear under their names only
    when they are whole and on the disk.
    """

    def __init__(self, folder: Path, *, reserve: int, clock: Callable[[], float]) -> None:
        """
        Parameters
        ----------
        reserve
            Bytes of the disk that are not to be filled, so that the record can go on.
        clock
            [s since 1970 UTC]

        Raises
        ------
        InputError
            The folder can't be written.
        """
        self.folder = folder
        self._reserve = reserve
        self._clock = clock
        self._stamp = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left_over in folder.glob("*.part"):
                left_over.unlink()
        except OSError as error:
            raise InputError(f"{folder} can't be written: {error.strerror or error}", path=folder) from error

    def add(
        self,
        pixels: npt.NDArray[Any],
        header: dict[str, Any],
        *,
        pixel_size_nm: float | None,
        acquired: float | None,
        sender: str,
        sequence: int | None,
        content: str,
    ) -> FrameRef:
        """Keep a frame; once this returns, it survives whatever happens to this program.

        Raises
        ------
        OSError
            It could not be written; nothing of it is left then.
        """
        note = _note(header, pixel_size_nm, acquired, sender, sequence, content)

        def write(file: Any) -> None:
            tifffile.imwrite(
                file,
                pixels,
                description=json.dumps(note),
                metadata=None,
                photometric="minisblack",
                software=False,
            )

        return _ref(self._write(sequence, ".tif", pixels.nbytes, write), note)

    def add_rejected(
        self, header: dict[str, Any], reason: str, *, sender: str, sequence: int | None, content: str
    ) -> FrameRef:
        """Keep that a message announced a frame and was none.

        Raises
        ------
        OSError
            As for `add`.
        """
        note = {**_note(header, None, None, sender, sequence, content), "rejected": reason}
        path = self._write(sequence, _REJECTED, 0, lambda file: file.write(json.dumps(note).encode()))
        return _ref(path, note)

    def refs(self) -> Iterator[FrameRef]:
        """What lies here, in order of arrival."""
        for path in sorted(self.folder.iterdir()):
            note = _read_note(path)
            if note is not None:
                self._stamp = max(self._stamp, int(path.name.split("-")[0]))
                yield _ref(path, note)

    def _write(self, sequence: int | None, suffix: str, nbytes: int, write: Callable[[Any], object]) -> Path:
        if shutil.disk_usage(self.folder).free < self._reserve + nbytes:
            raise OSError(28, f"less than {self._reserve // 2**20} MiB would be free on the disk")
        # The order of the names is the order of arrival, whatever happens to the clock.
        self._stamp = max(int(self._clock() * 1e6), self._stamp + 1)
        name = f"{self._stamp:017d}-{'x' if sequence is None else sequence}{suffix}"
        part = self.folder / f"{name}.part"
        try:
            with part.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            path = part.replace(self.folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        _sync_folder(self.folder)
        return path


def is_rejected_message(path: Path) -> bool:
    """Whether this spooled file stands for a message that was no frame."""
    return path.name.endswith(_REJECTED)


def message_content(pixels: npt.NDArray[Any]) -> str:
    """What tells a frame that was sent again from another one with the same number."""
    return pixels_hash(np.asarray(pixels))


def _note(
    header: dict[str, Any],
    pixel_size_nm: float | None,
    acquired: float | None,
    sender: str,
    sequence: int | None,
    content: str,
) -> dict[str, Any]:
    note = {
        _MARK: 1,
        "sender": sender,
        "sequence": sequence,
        "acquired": acquired,
        "content": content,
        "header": header,
    }
    # Only where it is known: every reader of TIFF looks for this name.
    return note if pixel_size_nm is None else {"pixel_size_nm": pixel_size_nm, **note}


def _read_note(path: Path) -> dict[str, Any] | None:
    """What a spooled file says of itself, None for a file that is none."""
    if not re.match(r"\d{17}-", path.name):
        return None
    try:
        if is_rejected_message(path):
            text = path.read_text(encoding="utf-8")
        elif path.suffix == ".tif":
            with tifffile.TiffFile(path) as tif:
                text = tif.pages.first.description
        else:
            return None
        note = json.loads(text)
    except (OSError, ValueError, LookupError, struct.error, tifffile.TiffFileError):
        return None
    return note if isinstance(note, dict) and _MARK in note else None


def _ref(path: Path, note: dict[str, Any]) -> FrameRef:
    figures = path.stat()
    return FrameRef(
        path=path,
        index=None if is_rejected_message(path) else 0,
        pixel_size_nm=note.get("pixel_size_nm"),
        acquired=note["acquired"],
        sender=note["sender"],
        sequence=note["sequence"],
        metadata=note["header"],
        file_size=figures.st_size,
        file_mtime_ns=figures.st_mtime_ns,
        content=note["content"],
        rejected=note.get("rejected"),
    )


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut; Windows does so of itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
