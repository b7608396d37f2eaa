"""Writing to the record, and what is done while it can't be written, or is not there any more."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import TypeVar

from monitor.record import RecordWriter

T = TypeVar("T")

log = logging.getLogger("faultwatch.session")

#: Between two tries to do what was refused [s].
_RETRY_S = 1.0

#: Whether the record is still where it was is looked at this often [s].
_LOOK_S = 1.0

#: What a disk or a lock may say and take back later; anything else is a fault.
_PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
)


class Holding:
    """Holds the session while its record can't be written, and puts a record back that somebody takes away."""

    def __init__(
        self,
        record: RecordWriter,
        stop: threading.Event,
        hurry: threading.Event,
        steady: Callable[[], float],
    ) -> None:
        """
        Parameters
        ----------
        stop, hurry
            Set when the session is to end, and when it is not to wait for anything any more.
        steady
            Never goes back [s].
        """
        self._record = record
        self._stop = stop
        self._hurry = hurry
        self._steady = steady
        self._next_look = 0.0

    def write(self, transaction: Callable[[], T]) -> T | None:
        """Do one transaction; while the disk refuses, hold everything and try again. None: told to end instead."""
        said = False
        while True:
            try:
                result = transaction()
            except (sqlite3.OperationalError, OSError) as error:
                # The extended codes keep the plain one in their last byte.
                if isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF not in _PASSING:
                    raise
                if not said:
                    log.error(
                        "event=record-refused reason=%r message=%r", str(error), "the session waits for it"
                    )
                    said = True
                if self._hurry.wait(_RETRY_S) or self._stop.is_set():
                    return None
            else:
                if said:
                    log.warning("event=record-works-again")
                return result

    def look(self, *, now: bool = False) -> None:
        """Notice where the record is deleted, replaced or moved while it is written. Once a second, or now.

        Deleted or replaced it is put back, whole: this program still has it open. Moved with its folder it is
        whole there; nothing is done until the folder is back, because its frames would be taken for deleted ones.
        """
        if not now and self._steady() < self._next_look:
            return
        self._next_look = self._steady() + _LOOK_S
        problem = self._record.problem()
        if problem is None:
            return
        if self._record.is_away():
            folder = self._record.folder
            log.error(
                "event=record-away message=%r", f"{folder} is not there any more; the session waits for it"
            )
            while self._record.is_away():
                if self._hurry.wait(_RETRY_S) or self._stop.is_set():
                    return
            log.warning("event=record-back folder=%s", folder)
            problem = self._record.problem()
        if problem is not None:
            foreign = self.write(self._record.put_back)
            if foreign is None:
                log.error("event=record-not-put-back message=%r", f"{problem}, and could not be put back")
            else:
                kept = (
                    f"; kept of what took its place: {', '.join(path.name for path in foreign)}"
                    if foreign
                    else ""
                )
                log.error("event=record-put-back message=%r", f"{problem}; it was put back, whole{kept}")
