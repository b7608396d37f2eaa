"""A directory with its sub-directories as a source: finished files only, and all of them."""

from __future__ import annotations

import dataclasses
import heapq
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from monitor.errors import IncompleteFile, InputError, UnreadableFrame
from monitor.frames import FrameRef, content_hash
from monitor.read import looks_like_frame_file, open_frames
from monitor.read.names import by_name
from monitor.record import DATABASE
from monitor.settings import WatchSettings
from monitor.sources.base import SourceStatus
from monitor.sources.events import Hints
from monitor.sources.scan import Alias, walk
from monitor.sources.stacks import Stack, stack_of
from monitor.sources.twins import Twins

log = logging.getLogger("faultwatch.directory")

#: Files examined between two looks at the hints, so that a new frame need not wait behind a full directory.
_BATCH = 20

#: A scan takes this share of the time at most.
_SCAN_SHARE = 0.1


@dataclass
class _Candidate:
    """A file that is not known as it is now."""

    size: int
    mtime_ns: int
    changed: float
    """When it was last seen to change [s, steady clock]."""
    due: float = 0.0
    """When to look into it."""


class DirectorySource:
    """Announces every frame of every finished file below a directory.

    Events of the operating system are hints that make it quick; a scan every few seconds is the truth. A
    file is finished when it was closed, or has not changed for a time that grows with its size, and its
    content is whole. A file that changes later is announced again.
    """

    kind = "directory"
    renames = True

    def __init__(
        self,
        root: Path,
        settings: WatchSettings,
        *,
        skip_before: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Parameters
        ----------
        skip_before
            Files that are there at the beginning and were written before this [s since 1970 UTC] are passed
            over.
        clock
            Steady [s].
        """
        self.root = root.resolve()
        self.address = str(self.root)
        self.status = SourceStatus()
        self._settings = settings
        self._skip_before = -math.inf if skip_before is None else skip_before
        self._clock = clock
        self._wall_clock = wall_clock
        self._hints = Hints()
        self._closed = threading.Event()
        self._place: tuple[int, int] | None = None
        self._next_scan = -math.inf
        # path -> (size, mtime_ns, ctime_ns), as it was announced; ctime only where it was rejected, because a
        # change of rights shows in nothing else.
        self._settled: dict[str, tuple[int, int, int]] = {}
        self._stacks: dict[str, Stack] = {}
        self._candidates: dict[str, _Candidate] = {}
        self._queue: list[tuple[float, int, str]] = []
        self._ignored: dict[str, tuple[int, int]] = {}
        self._twins = Twins(settings, self.status)

    def open(self, known: Iterable[FrameRef]) -> None:
        """Look whether the directory is there, and begin to listen.

        Raises
        ------
        InputError
            There is no such directory.
        """
        if not self.root.is_dir():
            what = "is a file, not a directory" if self.root.exists() else "is no directory"
            raise InputError(f"{self.root} {what}", path=self.root)
        if (self.root / DATABASE).exists():
            raise InputError(
                f"{self.root} is a session, not a directory of frames; replay it", path=self.root
            )
        path = ""
        for ref in known:
            path = str(ref.path)
            if not ref.index:
                self._twins.announced(path, ref.content)
            figures = (ref.file_size or -1, ref.file_mtime_ns or -1, -1 if ref.rejected else 0)
            if self._settled.setdefault(path, figures) != figures:
                self._settled[path] = (-1, -1, 0)
            if ref.index:
                stack = self._stacks.setdefault(path, Stack(0, None, None))
                stack.count, stack.last = max(stack.count, ref.index + 1), ref.content
            elif ref.index == 0:
                self._stacks[path] = Stack(1, ref.content, ref.content)
        if path:
            # Whoever was killed may have written only the first of this file's frames. Files whose frames
            # were recorded at different times (see above) are looked into again as well.
            self._settled[path] = (-1, -1, 0)
        self._stacks = {path: stack for path, stack in self._stacks.items() if stack.count > 1}
        self._hints.watch(self.root)

    def refs(self) -> Iterator[FrameRef]:
        """Frames of finished files, the earliest written first."""
        try:
            while not self._closed.is_set():
                if self._clock() >= self._next_scan:
                    self._scan(first=not self.status.ready)
                    # Said before the wait: the next scan of a large directory is far away.
                    self.status.busy = bool(self._candidates)
                    self.status.ready = self.status.ready or self._place is not None
                for path, closed in self._hints.take(self._wait()).items():
                    self._touched(path, closed)
                for _ in range(_BATCH):
                    finished = self._due()
                    if finished is None or self._closed.is_set():
                        break
                    yield from self._examine(finished)
                self.status.busy = bool(self._candidates)
        finally:
            self._hints.stop()

    def close(self) -> None:
        """Stop listening and looking."""
        self._closed.set()
        self._hints.wake()

    # -- finding ---------------------------------------------------------------------------------------------

    def _wait(self) -> float:
        """How long nothing has to be done [s]."""
        now = self._clock()
        upcoming = self._queue[0][0] if self._queue else math.inf
        return max(0.0, min(self._next_scan, upcoming) - now)

    def _scan(self, *, first: bool) -> None:
        began = self._clock()
        seen: set[str] = set()
        whole = True
        try:
            self._notice_place()
            for found in walk(self.root):
                if self._closed.is_set():
                    return
                if isinstance(found, Alias):
                    if looks_like_frame_file(Path(found.path)):
                        self._twins.copy(found.path, found.target)
                    seen.add(found.path)
                    continue
                if isinstance(found, OSError):
                    whole = False
                    log.warning("event=unreadable-directory reason=%r", str(found))
                    continue
                path, figures = found
                seen.add(path)
                self._look(path, figures, first=first)
        except OSError as error:
            self._lost(f"{self.root} can't be reached ({error.strerror or error}); it is looked for again")
        else:
            if self.status.state == "lost":
                log.warning("event=source-back directory=%s", self.root)
            self.status.state, self.status.message = "watching", None
            if whole:
                self._forget_but(seen)
        took = self._clock() - began
        self._next_scan = self._clock() + max(self._settings.reconcile_s, took / _SCAN_SHARE)

    def _notice_place(self) -> None:
        """Listen anew where another directory has taken the name (a share is back, a folder made again)."""
        figures = self.root.stat()
        place = (figures.st_dev, figures.st_ino)
        if self._place is not None and place != self._place:
            if place[0] != self._place[0] and not any(os.scandir(self.root)):
                # What is left of a share that was unmounted is the empty directory under it.
                raise OSError(0, "the share is no longer mounted")
            self._hints.watch(self.root)
        self._place = place

    def _lost(self, message: str) -> None:
        if self.status.state != "lost":
            log.warning("event=source-lost message=%r", message)
        self.status.state, self.status.message = "lost", message

    def _touched(self, path: str, closed: bool) -> None:
        """The operating system says that something happened to a file."""
        try:
            figures = os.stat(path)
        except OSError:
            return  # gone again, or the share is: the scan will tell
        if os.path.islink(path):
            return  # the scan knows what is reached twice
        if not os.path.isfile(path):
            # Files may have been made in a new directory before anybody listened to it.
            self._next_scan = min(self._next_scan, self._clock() + self._settings.quiet_s)
            return
        inside = Path(path).parent
        while inside != self.root and inside != inside.parent:
            if inside.name.startswith(".") or (inside / DATABASE).exists():
                return
            inside = inside.parent
        self._look(path, figures, closed=closed)

    def _look(self, path: str, figures: os.stat_result, *, first: bool = False, closed: bool = False) -> None:
        """Compare a file's figures with what is known of it."""
        size, mtime_ns = figures.st_size, figures.st_mtime_ns
        if path not in self._ignored and by_name(Path(path)) is not None:
            self._twins.saw(path, figures)
        if (settled := self._settled.get(path)) is not None:
            before, ctime_ns = settled[:2], settled[2]
            if before == (size, mtime_ns) and ctime_ns in (0, figures.st_ctime_ns):
                return
        if self._ignored.get(path) == (size, mtime_ns):
            return
        now = self._clock()
        candidate = self._candidates.get(path)
        if candidate is None:
            if not looks_like_frame_file(Path(path)):
                self._ignored[path] = (size, mtime_ns)
                # After a restart they are found again, so this is no sum.
                self.status.ignored = max(self.status.ignored, len(self._ignored))
                return
            self._ignored.pop(path, None)
            if first and settled is None and mtime_ns / 1e9 < self._skip_before:
                self._settled[path] = (size, mtime_ns, 0)
                return
            # How long ago it was written says something only of files that nobody is just copying here.
            age = self._wall_clock() - mtime_ns / 1e9 if first else 0.0
            candidate = self._candidates[path] = _Candidate(size, mtime_ns, now - max(0.0, age))
        elif (candidate.size, candidate.mtime_ns) != (size, mtime_ns):
            candidate.size, candidate.mtime_ns, candidate.changed = size, mtime_ns, now
        elif not closed:
            return
        due = now if closed else candidate.changed + self._settings.quiet_time(size)
        self._schedule(path, candidate, due)

    def _schedule(self, path: str, candidate: _Candidate, due: float) -> None:
        candidate.due = due
        heapq.heappush(self._queue, (due, candidate.mtime_ns, path))

    def _due(self) -> str | None:
        """A file that is to be looked into now."""
        while self._queue and self._queue[0][0] <= self._clock():
            due, _, path = heapq.heappop(self._queue)
            candidate = self._candidates.get(path)
            if candidate is not None and candidate.due == due:
                return path
        return None

    def _forget_but(self, seen: set[str]) -> None:
        """Deleted files need no memory; should one come back, the record knows it."""
        self._settled = {path: figures for path, figures in self._settled.items() if path in seen}
        self._stacks = {path: stack for path, stack in self._stacks.items() if path in seen}
        for path in self._twins.forget_but(seen):
            self._settled.pop(path, None)
            self._next_scan = self._clock()
        for path in [path for path in self._candidates if path not in seen and not os.path.exists(path)]:
            del self._candidates[path]

    # -- looking into ----------------------------------------------------------------------------------------

    def _examine(self, path: str) -> Iterator[FrameRef]:
        """The frames of a file that may be finished; nothing where it turns out not to be."""
        candidate = self._candidates[path]
        try:
            before = os.stat(path)
        except OSError:
            del self._candidates[path]
            return
        if (before.st_size, before.st_mtime_ns) != (candidate.size, candidate.mtime_ns):
            self._look(path, before)
            return
        file = Path(path)
        refs: list[FrameRef]
        rejected = False
        stack: Stack | None = None
        try:
            with open_frames(file, self._settings.movie_mode()) as frames:
                frames.check(frames.count - 1)
                if frames.count == 1:
                    refs = [self._ref(file, before, 0, content_hash(file))]
                else:
                    start, contents, stack = stack_of(self._stacks.get(path), frames)
                    refs = [self._ref(file, before, start + i, content) for i, content in enumerate(contents)]
        except IncompleteFile as error:
            give_up = (
                candidate.changed + self._settings.quiet_time(candidate.size) + self._settings.patience_s
            )
            if self._clock() < give_up:
                self._schedule(path, candidate, give_up)
                return
            refs, rejected = [self._refused(file, before, error.reason)], True
        except UnreadableFrame as error:
            refs, rejected = [self._refused(file, before, error.reason)], True
        except OSError as error:  # while its content was hashed: gone, or the share is
            log.warning("event=read-failed path=%s reason=%r", path, str(error))
            self._schedule(path, candidate, self._clock() + self._settings.reconcile_s)
            return
        try:
            after = os.stat(path)
        except OSError:
            del self._candidates[path]
            return
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            self._look(path, after)
            return
        del self._candidates[path]
        self._settled[path] = (before.st_size, before.st_mtime_ns, before.st_ctime_ns if rejected else 0)
        if not rejected and refs:
            refs = self._without_twin(path, before, refs)
        if stack is None:
            self._stacks.pop(path, None)
        else:
            self._stacks[path] = stack
        yield from refs

    def _without_twin(self, path: str, figures: os.stat_result, refs: list[FrameRef]) -> list[FrameRef]:
        """The frames of a file, none where another file shows them; the better one of two takes the other's place."""
        first = refs[0].content if refs[0].index == 0 else None
        twin = self._twins.find(path, figures, first, self._settled)
        if twin is not None and twin.better:
            self._twins.copy(path, str(twin.path))
            return []
        self._twins.announced(path, first)
        if twin is None:
            return refs
        self._twins.copy(str(twin.path), path)
        return [dataclasses.replace(ref, instead_of=twin.path) for ref in refs]

    @staticmethod
    def _ref(file: Path, figures: os.stat_result, index: int, content: str | None) -> FrameRef:
        return FrameRef(
            path=file,
            index=index,
            file_size=figures.st_size,
            file_mtime_ns=figures.st_mtime_ns,
            content=content,
        )

    @staticmethod
    def _refused(file: Path, figures: os.stat_result, reason: str) -> FrameRef:
        try:
            content = content_hash(file)
        except OSError:
            content = None
        return FrameRef(
            path=file,
            file_size=figures.st_size,
            file_mtime_ns=figures.st_mtime_ns,
            content=content,
            rejected=reason,
        )
