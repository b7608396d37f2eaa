"""How much of the spool stays once its frames are analysed. Files elsewhere are never touched."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path
from typing import Literal

log = logging.getLogger("faultwatch.spool")


class Retention:
    """Deletes spooled files that were analysed: never (`all`), at once (`none`), or beyond so many GB."""

    def __init__(self, spool: Path, keep: Literal["all", "none"] | float) -> None:
        self._spool = spool
        self._limit = {"all": None, "none": 0.0}.get(keep) if isinstance(keep, str) else keep * 1e9
        self._done: deque[tuple[Path, int]] = deque()
        self._bytes = 0

    @property
    def limited(self) -> bool:
        """Whether anything is ever deleted."""
        return self._limit is not None

    def done(self, path: Path, *, analysed: bool) -> None:
        """A frame is through; its file may go, the oldest first. With `none`, what was rejected stays."""
        if self._limit is None or not path.is_relative_to(self._spool) or not (analysed or self._limit):
            return
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        self._done.append((path, size))
        self._bytes += size
        while self._done and self._bytes > self._limit:
            oldest, size = self._done.popleft()
            self._bytes -= size
            try:
                oldest.unlink(missing_ok=True)
            except OSError as error:
                log.warning("event=not-deleted path=%s reason=%r", oldest, str(error))
