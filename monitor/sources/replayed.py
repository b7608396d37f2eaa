"""A recorded session as a source: its frames in their order, at the pace of then or quicker."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from monitor.frames import FrameRef
from monitor.record import FrameRow, RecordReader
from monitor.sources.base import SourceStatus
from monitor.sources.spool import is_rejected_message

#: A pause in the recorded session is shortened to this [s].
LONGEST_PAUSE_S = 60.0


class ReplaySource:
    """Yields every frame of a recorded session again; what was rejected is tried again.

    The files are the recorded ones, nothing is copied.
    """

    kind = "replay"
    renames = False

    def __init__(
        self, session: Path, *, speed: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Parameters
        ----------
        speed
            How much quicker than it was recorded; infinite: as quick as can be.
        clock
            Steady [s].
        """
        self.session = session
        self.address = str(session.resolve())
        self.status = SourceStatus()
        self._speed = speed
        self._clock = clock
        self._known = 0
        self._reader: RecordReader | None = None
        self._closed = threading.Event()

    def open(self, known: Iterable[FrameRef]) -> None:
        """Open the recorded session.

        Raises
        ------
        NoSession
            There is none.
        """
        self._reader = RecordReader(self.session)
        self._known = sum(1 for _ in known)
        self.status.duplicates = sum(source.duplicates for source in self._reader.sources())
        self.status.ignored = sum(source.ignored for source in self._reader.sources())
        self.status.ready = True

    def refs(self) -> Iterator[FrameRef]:
        """The frames in order of arrival; goes on where an interrupted replay stopped."""
        assert self._reader is not None, "open comes first"
        before: FrameRow | None = None
        due = self._clock()
        try:
            for number, row in enumerate(self._reader.frames()):
                if number < self._known:
                    continue
                if before is not None and math.isfinite(self._speed):
                    due += min(LONGEST_PAUSE_S, max(0.0, row.arrived - before.arrived)) / self._speed
                    if self._closed.wait(max(0.0, due - self._clock())):
                        return
                before = row
                if self._closed.is_set():
                    return
                yield _again(row)
        finally:
            self._reader.close()

    def close(self) -> None:
        """Yield no more."""
        self._closed.set()


def _again(row: FrameRow) -> FrameRef:
    """The frame as it was announced then; what was rejected is tried again, unless it never was a frame."""
    rejected = row.reason if is_rejected_message(row.path) else None
    # Not when its file was written: the delay of a replayed frame counts from its being replayed.
    return dataclasses.replace(row.ref, file_mtime_ns=None, rejected=rejected)
