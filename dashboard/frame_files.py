"""The pixels of recorded frames, from their own files where these are still there as they were analysed."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from monitor.errors import InputError
from monitor.frames import MovieMode
from monitor.read.files import open_frames

#: The last frames are kept, so many of them and so many bytes at most; the last one always.
KEPT = 3
KEPT_BYTES = 256 * 2**20

Pixels = npt.NDArray[Any]


class Recorded(Protocol):
    """What the record knows of a frame's file."""

    @property
    def path(self) -> str: ...
    @property
    def item(self) -> int | None: ...
    @property
    def file_size(self) -> int | None: ...
    @property
    def file_mtime_ns(self) -> int | None: ...
    @property
    def movie(self) -> MovieMode: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...


class Unavailable(Exception):
    """A frame's own pixels can't be had; the message is a sentence that says why."""


def found_file(session: Path, frame: Recorded) -> tuple[Path, int]:
    """The frame's file and when it was written [ns], if it is the one that was analysed.

    Raises
    ------
    Unavailable
        It is gone, or was written again since.
    """
    path = session / frame.path
    try:
        status = path.stat()
    except OSError:
        raise Unavailable(f"The frame's file {path.name} is no longer there.") from None
    known = frame.file_size, frame.file_mtime_ns
    if None not in known and known != (status.st_size, status.st_mtime_ns):
        raise Unavailable(f"The frame's file {path.name} was changed after it was analysed.")
    return path, status.st_mtime_ns


class FrameFiles:
    """Reads frames; may be called from any thread, one at a time reads."""

    def __init__(self) -> None:
        self._frames: OrderedDict[tuple[str, int, int | None], Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def pixels(self, session: Path, frame: Recorded) -> Pixels:
        """(H, W) the counts of a frame, not to be written to.

        Raises
        ------
        Unavailable
            Its file is gone, was changed, or can't be read.
        """
        with self._lock:  # readers of some formats have one process, which answers one at a time
            path, written = found_file(session, frame)
            key = (str(path), written, frame.item)
            if key not in self._frames:
                self._frames[key] = _read(path, frame)
                self._forget()
            self._frames.move_to_end(key)
            return self._frames[key]

    def _forget(self) -> None:
        while len(self._frames) > 1 and (
            len(self._frames) > KEPT or sum(each.nbytes for each in self._frames.values()) > KEPT_BYTES
        ):
            self._frames.popitem(last=False)


def _read(path: Path, frame: Recorded) -> Pixels:
    try:
        with open_frames(path, frame.movie) as file:
            pixels = file.frame(frame.item or 0).pixels
    except (OSError, InputError, ValueError) as error:
        raise Unavailable(f"The frame's file {path.name} can't be read: {error}.") from error
    if pixels.shape != (frame.height, frame.width):
        raise Unavailable(f"The frame's file {path.name} holds another picture than was analysed.")
    return pixels


def read_movie(settings: str | None) -> MovieMode:
    """What became of movies in a session, from its settings; older ones had no choice."""
    told = json.loads(settings or "{}")
    mode: MovieMode = (told["movie"] or "sum") if "movie" in told else "frames"
    return mode
