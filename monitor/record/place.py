"""Where the record's files lie: whether they still are the ones that were opened, and the way back."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from monitor.record.database import DATABASE

#: The file, its write-ahead log, and what its connections share.
_ENDINGS = ("", "-wal", "-shm")

_Identity = tuple[int, int] | None


class Place:
    """The files of an open record, as they were when it was opened."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / DATABASE
        self._opened = {ending: _identity(self._file(ending)) for ending in _ENDINGS}
        self._copies: set[_Identity] = set()

    def problem(self) -> str | None:
        """What happened to them, as half a sentence; None: they are there. Costs three calls of `stat`."""
        for ending, opened in self._opened.items():
            if opened is None:
                continue  # it was not there then either
            now = _identity(self._file(ending))
            if now != opened:
                what = "deleted" if now is None else "replaced by another file"
                return f"{self._file(ending)} was {what} while the session writes it"
        return None

    def copy(self, db: sqlite3.Connection) -> Path:
        """Everything that is in an open record, in a new file beside its place.

        Raises
        ------
        sqlite3.OperationalError
            There is no room for it; nothing of it is left then.
        """
        saved = self._free("saved")
        try:
            with contextlib.closing(sqlite3.connect(saved)) as target:
                db.backup(target)
        except BaseException:
            with contextlib.suppress(OSError):
                saved.unlink()
            raise
        return saved

    def fill(self, copy: Path) -> list[Path]:
        """Put the copy in the place; what is foreign there keeps its bytes under another name, told here.

        Raises
        ------
        OSError
            It can't be put there now.
        """
        foreign = self._clear()
        self._copies.add(_identity(copy))
        copy.replace(self.path)
        return foreign

    def _clear(self) -> list[Path]:
        """Make the place free, but for the record's own file, or an earlier copy, which is to be replaced."""
        aside = self._free("replaced")
        foreign = []
        for ending, opened in self._opened.items():
            file = self._file(ending)
            now = _identity(file)
            if now is None:
                continue
            if now == opened:
                # What is in the log is in the copy, and would be taken for the log of the next file of this name.
                if ending:
                    file.unlink()
            elif now not in self._copies:
                file.rename(f"{aside}{ending}")
                foreign.append(Path(f"{aside}{ending}"))
        return foreign

    def _file(self, ending: str) -> Path:
        return self.path.with_name(f"{DATABASE}{ending}")

    def _free(self, word: str) -> Path:
        number, path = 1, self.path.with_name(f"{DATABASE}.{word}-1")
        while any(Path(f"{path}{ending}").exists() for ending in _ENDINGS):
            number += 1
            path = self.path.with_name(f"{DATABASE}.{word}-{number}")
        return path


def _identity(path: Path) -> _Identity:
    """What tells a file from another one of its name; None: it is not there."""
    try:
        figures = os.stat(path)
    except OSError:
        return None
    return figures.st_dev, figures.st_ino
