"""File events of the operating system, used as hints only: network shares give none."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

log = logging.getLogger("faultwatch.directory")


class Hints(FileSystemEventHandler):
    """Collects which files were touched since it was last asked, and which of them were closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._touched: dict[str, bool] = {}
        self._news = threading.Event()
        self._observer: object | None = None

    def watch(self, root: Path) -> None:
        """Listen to `root` and all below it, and to nothing else any more."""
        self.stop()
        observer = Observer()
        try:
            observer.schedule(self, os.fspath(root), recursive=True)
            observer.start()
        except OSError as error:
            # For example the limit of inotify watches: the periodic scan does without.
            log.warning("event=no-hints directory=%s reason=%r", root, str(error))
            return
        self._observer = observer

    def stop(self) -> None:
        """Listen no longer."""
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()  # type: ignore[attr-defined]
            observer.join(timeout=5)  # type: ignore[attr-defined]

    def wake(self) -> None:
        """Let `take` return at once."""
        self._news.set()

    def take(self, timeout: float) -> dict[str, bool]:
        """Files touched since the last call, and whether each was then closed (or moved in)."""
        self._news.wait(timeout)
        with self._lock:
            self._news.clear()
            touched, self._touched = self._touched, {}
        return touched

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by the observer's thread for everything that happens."""
        match event.event_type:
            case "closed":
                self._note(event.src_path, closed=True)
            case "moved":
                self._note(event.dest_path, closed=True)
            case "created" | "modified":
                self._note(event.src_path, closed=False)

    def _note(self, path: bytes | str, *, closed: bool) -> None:
        with self._lock:
            self._touched[os.fsdecode(path)] = closed
        self._news.set()
