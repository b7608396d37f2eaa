"""Folds the record's write-ahead log into its file beside the writer, so that commits do not wait for the disk."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

from monitor.record.database import DATABASE, explained


class Checkpoints:
    """A thread with a connection of its own, by which what was committed is folded in every so many commits.

    SQLite would do it in whichever commit fills the log, which then takes several times as long, the more so the longer
    the record. What is safe when is the same: log and file are synchronised in the same order.
    """

    #: Commits from one time to the next: with ten particles a frame about 700 pages of the log.
    EVERY = 32

    #: Pages in the log at which the writer does it itself, because readers or the load kept the thread from it.
    LIMIT_PAGES = 8000

    def __init__(self, folder: Path, writer: sqlite3.Connection) -> None:
        """
        Parameters
        ----------
        folder : the session's.
        writer : its record, which was opened just now; closed where this fails.

        Raises
        ------
        InputError
            The record can't be opened once more.
        """
        path = folder / DATABASE
        try:
            self._db = self._opened(path, writer)
        except BaseException as error:
            writer.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise explained(error, path) from error
            raise
        self._commits = 0
        self._due = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def committed(self) -> None:
        """The writer has committed."""
        self._commits += 1
        if self._commits % self.EVERY == 0:
            self._due.set()

    def close(self) -> None:
        """Finish what is under way, and let go of the file. The writer, closed after it, folds in the rest."""
        self._ended = True
        self._due.set()
        self._thread.join()
        self._db.close()

    def _opened(self, path: Path, writer: sqlite3.Connection) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0, check_same_thread=False
        )
        try:
            # So that file and log are open from now on: others may take their names later.
            db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            writer.execute(f"PRAGMA wal_autocheckpoint = {self.LIMIT_PAGES}")
        except BaseException:
            db.close()
            raise
        return db

    def _run(self) -> None:
        while not self._ended:
            self._due.wait()
            self._due.clear()
            if not self._ended:
                # What is wrong with the disk is said where the writer meets with it.
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
