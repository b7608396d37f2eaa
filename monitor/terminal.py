"""The status line and the log file of a session."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from monitor.record import RecordWriter

#: Between two status lines [s]: on a terminal the line is written over, elsewhere each is a new one.
_LINE_S = 1.0
_LOG_LINE_S = 10.0


class Status(Protocol):
    """What is shown while a session runs."""

    def tick(self) -> None:
        """Called several times a second."""

    def close(self) -> None:
        """Called once, at the session's end."""


class StatusLine:
    """One line with the session's status, rewritten in place on a terminal."""

    def __init__(self, record: RecordWriter) -> None:
        self._record = record
        self._terminal = sys.stdout.isatty()
        self._next = 0.0
        self._last = ""
        self._before: tuple[float, int] | None = None

    def tick(self) -> None:
        """Write the line where it is due."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_LINE_S if self._terminal else _LOG_LINE_S)
        ledger = self._record.ledger()
        rate = 0.0
        if self._before is not None:
            rate = (ledger["analysed"] - self._before[1]) / (now - self._before[0])
        self._before = (now, ledger["analysed"])
        text = (
            "{arrived} arrived = {analysed} analysed + {queued} queued + {rejected} rejected "
            "+ {dropped} dropped"
        ).format(**ledger)
        if self._terminal:
            print(f"\r{text}, {rate:.2f} frames/s\x1b[K", end="", flush=True)
        elif text != self._last:
            print(f"{text}, {rate:.2f} frames/s", flush=True)
        self._last = text

    def close(self) -> None:
        """Write it a last time."""
        self._next = 0.0
        with contextlib.suppress(sqlite3.Error):
            self.tick()
        if self._terminal:
            print()


class _LogFile(logging.handlers.WatchedFileHandler):
    """Begins anew where it was deleted or moved; what can't be written (a full disk) stands on stderr alone."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Logging of a session: messages from INFO on to stderr, all of them to the session's log file."""
    root = logging.getLogger("faultwatch")
    line = logging.Formatter("%(asctime)s level=%(levelname)s room=%(name)s %(message)s")
    file, console = _LogFile(path, encoding="utf-8", errors="replace"), logging.StreamHandler()
    console.setLevel(logging.WARNING)
    root.setLevel(logging.INFO)
    for handler in (file, console):
        handler.setFormatter(line)
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in (file, console):
            root.removeHandler(handler)
            handler.close()
