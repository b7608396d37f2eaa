"""A list of frames in memory as a source: for other programs and for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

from monitor.frames import FrameRef
from monitor.sources.base import SourceStatus


class ListSource:
    """Yields the frames it was given, one after the other, and ends."""

    kind = "list"
    renames = False

    def __init__(self, frames: Sequence[FrameRef], address: str = "list") -> None:
        self.address = address
        self.status = SourceStatus()
        self._frames = frames
        self._closed = threading.Event()

    def open(self, known: Iterable[FrameRef]) -> None:
        """Nothing has to be made ready, and what is known is known to the record."""
        self.status.ready = True

    def refs(self) -> Iterator[FrameRef]:
        """The frames in their order."""
        for ref in self._frames:
            if self._closed.is_set():
                return
            yield ref

    def close(self) -> None:
        """Yield no more."""
        self._closed.set()
