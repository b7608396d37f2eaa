"""The spool: every frame that came over a socket is a file here before anybody is told that it arrived."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import struct
import time
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
_DROPPED = ".dropped"

#: A spool that is full is looked through this often, to see whether there is room again [s].
_COUNT_AGAIN_S = 0.5


class Spool:
    """One source's folder of received frames.

    A frame is a TIFF file whose description holds, as JSON, the sender's header whole; a message that
    announced a frame but was none is a small JSON file in its place. Both appear under their names only
    when they are whole and on the disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        reserve: int,
        limit: int | None = None,
        clock: Callable[[], float],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Parameters
        ----------
        reserve
            Bytes of the disk that are not to be filled, so that the record can go on.
        limit
            Bytes that the spools of the whole session, which lie side by side, may take; None: no limit.
        clock
            [s since 1970 UTC]
        steady
            Never goes back [s].

        Raises
        ------
        InputError
            The folder can't be written.
        """
        self.folder = folder
        self._reserve = reserve
        self._limit = limit
        self._clock = clock
        self._steady = steady
        self._stamp = 0
        self._counted = 0
        self._since_counted = 0
        self._count_after = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left_over in folder.glob("*.part"):
                left_over.unlink()
        except OSError as error:
            raise InputError(f"{folder} can't be written: {error.strerror or error}", path=folder) from error
        if limit is not None:
            self._count()

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
                # By `"shape":` in it tifffile would take the file for its own, and the sender's words for those
                # of tifffile.
                description=json.dumps(note, separators=(", ", " : ")),
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

    def dropped(
        self,
        header: dict[str, Any],
        reason: str,
        *,
        sender: str,
        sequence: int | None,
        content: str,
        acquired: float | None = None,
    ) -> FrameRef:
        """What the ledger gets of a frame that could not be kept. No file: there is no room for one."""
        path = self.folder / self._name(sequence, _DROPPED)
        return FrameRef(
            path=path,
            index=0,
            acquired=acquired,
            sender=sender,
            sequence=sequence,
            metadata=header,
            content=content,
            dropped=reason,
        )

    def refs(self) -> Iterator[FrameRef]:
        """What lies here, in order of arrival."""
        for path in sorted(self.folder.iterdir()):
            note = _read_note(path)
            if note is not None:
                self._stamp = max(self._stamp, int(path.name.split("-")[0]))
                yield _ref(path, note)

    def _write(self, sequence: int | None, suffix: str, nbytes: int, write: Callable[[Any], object]) -> Path:
        if not self.folder.exists():
            # Deleted meanwhile. Where the whole session is gone it is not for the spool to make it anew.
            self.folder.parent.mkdir(exist_ok=True)
            self.folder.mkdir(exist_ok=True)
        self._look_for_room(nbytes)
        name = self._name(sequence, suffix)
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
        self._since_counted += nbytes
        return path

    def _name(self, sequence: int | None, suffix: str) -> str:
        # The order of the names is the order of arrival, whatever happens to the clock.
        self._stamp = max(int(self._clock() * 1e6), self._stamp + 1)
        return f"{self._stamp:017d}-{'x' if sequence is None else sequence}{suffix}"

    def _look_for_room(self, nbytes: int) -> None:
        if shutil.disk_usage(self.folder).free < self._reserve + nbytes:
            raise OSError(errno.ENOSPC, f"less than {self._reserve // 2**20} MiB would be free on the disk")
        if self._limit is not None and self._used(self._limit, nbytes) + nbytes > self._limit:
            raise OSError(errno.ENOSPC, f"the spool has reached its limit of {self._limit / 1e9:g} GB")

    def _used(self, limit: int, nbytes: int) -> int:
        """Bytes that the session's spools take.

        Other sources write beside this one, and what was analysed may be deleted, so it is counted anew
        whenever a twentieth of the limit was written and, now and then, while it is reached.
        """
        full = self._counted + self._since_counted + nbytes > limit
        if self._since_counted >= limit / 20 or (full and self._steady() >= self._count_after):
            self._count()
        return self._counted + self._since_counted

    def _count(self) -> None:
        began = self._steady()
        self._counted, self._since_counted = _bytes_in(self.folder.parent), 0
        now = self._steady()
        # Of 100,000 files it takes half a second.
        self._count_after = now + max(_COUNT_AGAIN_S, 20 * (now - began))


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


def _bytes_in(folder: Path) -> int:
    """What all files below a folder take [bytes]; they may come and go meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut; Windows does so of itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
