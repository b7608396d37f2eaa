"""The sources of a running session: each is asked in a thread of its own, and what it announces waits in one inbox."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from monitor.frames import FrameRef
from monitor.record import RecordWriter, SourceRow
from monitor.record.holding import Holding
from monitor.sources.base import Source

log = logging.getLogger("faultwatch.session")

_ROOM = 64
"""Announced frames that wait to be entered, for each source; a source that is quicker has to wait itself."""
_COPIES = 1000
"""The record names so many files that are copies of others; it counts all of them."""
_RETRY_S = 1.0
"""A source that waits for room looks so often whether the session ends [s]."""


@dataclass
class Feed:
    """A source, its row in the record, and the thread that asks it."""

    source: Source
    row: SourceRow
    room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_ROOM))
    thread: threading.Thread | None = None
    ended: bool = False
    copies: int = 0
    """Of its files that are copies, how many the record knows."""
    written: tuple[Any, ...] = ()
    """Its status as it stands in the record."""


class Feeds:
    """All sources of a session."""

    def __init__(
        self, record: RecordWriter, holding: Holding, hurry: threading.Event, clock: Callable[[], float]
    ) -> None:
        """
        Parameters
        ----------
        hurry
            Set when the session is not to wait for anything any more.
        clock
            [s since 1970 UTC]
        """
        self._record = record
        self._holding = holding
        self._hurry = hurry
        self._clock = clock
        self._feeds: list[Feed] = []
        self._inbox: queue.SimpleQueue[tuple[Feed, FrameRef | BaseException | None] | None] = (
            queue.SimpleQueue()
        )

    @property
    def ready(self) -> bool:
        """Every source is open."""
        return all(feed.source.status.ready for feed in self._feeds)

    @property
    def growing(self) -> bool:
        """A source is busy, or not yet open."""
        return any(feed.source.status.busy or not feed.source.status.ready for feed in self._feeds)

    @property
    def ended(self) -> bool:
        """No source will announce anything more."""
        return all(feed.ended for feed in self._feeds)

    @property
    def empty(self) -> bool:
        """Nothing waits in the inbox."""
        return self._inbox.empty()

    def is_lost(self, source_id: int) -> bool:
        """Whether a source can't be reached at the moment."""
        return any(feed.row.id == source_id and feed.source.status.state == "lost" for feed in self._feeds)

    def lost_addresses(self) -> list[str]:
        """The sources that can't be reached at the moment."""
        return [feed.source.address for feed in self._feeds if feed.source.status.state == "lost"]

    def wake(self) -> None:
        """Let `announced` return at once, because something else than a frame is to be looked at."""
        self._inbox.put(None)

    def open(self, source: Source) -> None:
        """Open a source and begin to ask it.

        Raises
        ------
        InputError
            It can't be opened.
        """
        row = self._record.add_source(source.kind, source.address, self._clock())
        source.status.duplicates, source.status.ignored = row.duplicates, row.ignored
        source.open(self._record.refs(row.id))
        feed = Feed(source, row)
        feed.thread = threading.Thread(target=self._ask, args=(feed,), name=source.address, daemon=True)
        self._feeds.append(feed)
        feed.thread.start()

    def announced(self, most: int, timeout_s: float) -> Iterator[tuple[Feed, FrameRef]]:
        """Frames that were announced, `most` at the most; waits for the first of them."""
        for i in range(most):
            try:
                item = self._inbox.get(timeout=0 if i else timeout_s)
            except queue.Empty:
                return
            if item is None:
                if i == 0:
                    return  # something else than a frame: look at it now
                continue
            feed, news = item
            if isinstance(news, FrameRef):
                yield feed, news
                feed.room.release()
            else:
                self._end(feed, news)

    def write_status(self) -> None:
        """Keep in the record how each source does, where that has changed."""
        for feed in self._feeds:
            status = feed.source.status
            if len(status.copies) != feed.copies:
                feed.copies = len(status.copies)
                copies = {path: of for one in self._feeds for path, of in one.source.status.copies.items()}
                self._holding.write(
                    partial(self._record.set_meta, copies=dict(list(copies.items())[-_COPIES:]))
                )
            now = (status.state, status.message, status.duplicates, status.ignored)
            if now != feed.written:
                state, message, duplicates, ignored = now
                write = partial(
                    self._record.set_source,
                    feed.row.id,
                    state=state,
                    message=message,
                    duplicates=duplicates,
                    ignored=ignored,
                    at=self._clock(),
                )
                self._holding.write(write)
                feed.written = now

    def close(self) -> None:
        """Ask every source to end; what it has announced stays in the inbox."""
        for feed in self._feeds:
            feed.source.close()

    def join(self, timeout_s: float) -> None:
        """Wait for the threads of the sources."""
        for feed in self._feeds:
            if feed.thread is not None:
                feed.thread.join(timeout=timeout_s)

    def _ask(self, feed: Feed) -> None:
        """Runs in the source's thread: passes on what it announces."""
        error: BaseException | None = None
        try:
            for ref in feed.source.refs():
                while not feed.room.acquire(timeout=_RETRY_S):
                    if self._hurry.is_set():
                        return
                self._inbox.put((feed, ref))
        except Exception as caught:
            error = caught
        self._inbox.put((feed, error))

    def _end(self, feed: Feed, error: BaseException | None) -> None:
        feed.ended = True
        status = feed.source.status
        status.busy = False
        if error is None:
            status.state, status.message = "closed", None
        else:  # one source that fails must not take the others with it
            status.state = "lost"
            status.message = f"{feed.source.address} failed ({type(error).__name__}: {error})"
            log.error("event=source-failed message=%r", status.message, exc_info=error)
