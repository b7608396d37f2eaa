"""The lock that lets one program at a time write a session; a program that is killed leaves none behind."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from monitor.errors import InputError, SessionLocked

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        # Far behind the text, because Windows also refuses to read what is locked.
        file.seek(1_000_000)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


class SessionLock:
    """Held until it is released, or until the program ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """
        Raises
        ------
        SessionLocked
            Another program holds it; the sentence says which.
        InputError
            The folder can't be written.
        """
        path = self._path = folder / "lock"
        try:
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{folder} can't be written: {error.strerror or error}", path=folder) from error
        try:
            _lock(self._file)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "another program"
            self._file.close()
            raise SessionLocked(
                f"{folder} is being written by {holder}; end that one, or give another --session", path=folder
            ) from error
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        holder = f"process {os.getpid()} on {socket.gethostname()} since {since}"
        # Who holds it is told where there is room for it; a full disk takes nothing from the lock itself.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file.fileno(), 0)
            os.write(self._file.fileno(), holder.encode())

    @property
    def state(self) -> Literal["here", "moved", "deleted"]:
        """Whether the lock is where it was laid: without it the folder is open to another writer."""
        if sys.platform == "win32":
            return "here"  # Windows lets nobody take a file that is open
        try:
            if os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno())):
                return "here"
        except OSError:
            pass
        return "moved" if os.fstat(self._file.fileno()).st_nlink else "deleted"

    def release(self) -> None:
        """Let the next one write."""
        self._file.close()

    def __enter__(self) -> SessionLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
