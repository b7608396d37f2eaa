"""The course of what the frames themselves are like: drift, defocus, counts, information limit, delay, backlog."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

QUANTITIES: tuple[str, ...] = ("drift", "defocus", "counts", "limit", "delay", "backlog")
"""In nm, nm, counts a pixel, nm⁻¹, ms, frames."""
WORST_IS_LEAST = frozenset({"counts", "limit"})
"""Of these the smallest value of a bucket is the one to look at, of the others the largest."""
BUCKETS = 300
"""A chart of some 700 screen pixels needs no more; of a session with so many frames there are at least half as many."""
BUDGET_S = 0.03
"""So long one reading may take, for one loop serves every viewer; the next one goes on."""
EVENTS = 200
"""So many alarms are drawn, the last ones."""
CHUNK = 200
"""Frames read at a time."""

_ROWS = """
SELECT s.position, s.frame_id, s.at, p.drift_nm, json_extract(r.quality, '$.defocus_nm'),
       json_extract(r.quality, '$.mean_counts'), json_extract(r.quality, '$.information_limit_per_nm'),
       r.latency_ms, r.committed
FROM statistics s JOIN results r ON r.frame_id = s.frame_id LEFT JOIN places p ON p.frame_id = s.frame_id
WHERE s.position > ? ORDER BY s.position LIMIT ?"""
_FIRST_LATER = "SELECT id FROM frames WHERE id > ? AND arrived > ? ORDER BY id LIMIT 1"
_LAST = "SELECT position, frame_id, at, n_empty, n_null, n_no, n_yes FROM statistics"


@dataclass(frozen=True, eq=False)
class Strip:
    """One quantity over the buckets; NaN where no frame of a bucket tells it."""

    low: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    worst_frame: npt.NDArray[np.int64]
    """Number of the frame with the value to look at; 0 where there is none."""


@dataclass(frozen=True, eq=False)
class Strips:
    """All quantities, each bucket holding the same number of frames but the last."""

    position: npt.NDArray[np.float64]
    """Of the last frame of each bucket."""
    at: npt.NDArray[np.float64]
    """Its time of acquisition [s since 1970 UTC]."""
    began: float
    """When the first frame was acquired."""
    frames: int
    """In a bucket."""
    of: dict[str, Strip] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> Strips:
        nothing = np.empty(0)
        strip = Strip(nothing, nothing, nothing, np.empty(0, np.int64))
        return cls(nothing, nothing, 0.0, 1, dict.fromkeys(QUANTITIES, strip))


@dataclass(frozen=True)
class Event:
    """An alarm on the axis of the session."""

    kind: str
    severity: str
    cause: str
    since: tuple[float | None, float | None]
    """Position of its first frame, and when it began; None where that is not known."""
    until: tuple[float | None, float | None] | None
    """The same of its end; None: it lasts."""


def read_events(db: sqlite3.Connection) -> tuple[Event, ...]:
    """The last alarms, those that are over too, the newest first."""
    rows = db.execute(
        "SELECT a.kind, a.severity, a.cause, s.position, ifnull(s.at, a.since), u.position, ifnull(u.at, a.until),"
        " a.until IS NULL AND a.until_frame IS NULL FROM alarms a LEFT JOIN statistics s ON s.frame_id = a.since_frame"
        " LEFT JOIN statistics u ON u.frame_id = a.until_frame ORDER BY a.id DESC LIMIT ?",
        (EVENTS,),
    )
    return tuple(
        Event(kind, severity, cause, (position, at), None if lasts else (end, end_at))
        for kind, severity, cause, position, at, end, end_at, lasts in rows
    )


class _Bucket:
    """Frames in a row: for each quantity how many tell it, their sum, the least and the largest with their frames."""

    def __init__(self) -> None:
        self.position = 0
        self.at = 0.0
        self.frames = 0
        self.of: list[tuple[int, float, float, int, float, int] | None] = [None] * len(QUANTITIES)

    def add(self, position: int, frame_id: int, at: float, values: list[float | None]) -> None:
        self.position, self.at, self.frames = position, at, self.frames + 1
        self.of = [
            _joined(known, None if value is None else (1, value, value, frame_id, value, frame_id))
            for known, value in zip(self.of, values, strict=True)
        ]

    def join(self, later: _Bucket) -> None:
        self.position, self.at, self.frames = later.position, later.at, self.frames + later.frames
        self.of = [_joined(one, other) for one, other in zip(self.of, later.of, strict=True)]


class StripReader:
    """Follows a growing record: every frame is read once, and what is kept does not grow."""

    def __init__(self, buckets: int = BUCKETS, timer: Callable[[], float] = time.perf_counter) -> None:
        assert buckets % 2 == 0
        self._most = buckets
        self._timer = timer
        self._seen = 0
        self._last: tuple[Any, ...] | None = None
        self._size = 1
        """Frames in a bucket."""
        self._began = 0.0
        self._buckets: list[_Bucket] = []
        self._backlog = _Backlog()
        self._strips = Strips.empty()
        self.pending = False
        """A long record is being read, a piece at a time."""

    def read(self, db: sqlite3.Connection) -> Strips:
        """The course as far as it was read; the same object where nothing is new."""
        # A frame that was acquired earlier but finished later moves all that follow it: all is read again.
        if self._last is not None:
            known = db.execute(f"{_LAST} WHERE position = ?", self._last[:1]).fetchone()
            if known != self._last:
                self._forget()
        before = self._seen if self._last is not None else -1
        began = self._timer()
        while True:
            rows = db.execute(_ROWS, (self._seen, CHUNK)).fetchall()
            for row in rows:
                self._take(db, row)
            self.pending = len(rows) == CHUNK
            if not self.pending or self._timer() - began > BUDGET_S:
                break
        if self._seen != before:
            self._last = db.execute(f"{_LAST} WHERE position = ?", (self._seen,)).fetchone()
            self._strips = self._made()
        return self._strips

    def _forget(self) -> None:
        self._seen, self._last, self._size, self._buckets = 0, None, 1, []
        self._backlog = _Backlog()

    def _take(self, db: sqlite3.Connection, row: tuple[Any, ...]) -> None:
        position, frame_id, at, *told, committed = row
        values = [*map(_number, told), self._backlog.of(db, frame_id, committed)]
        if not self._buckets:
            self._began = at
        if not self._buckets or self._buckets[-1].frames >= self._size:
            if len(self._buckets) >= self._most:
                for one, other in zip(self._buckets[::2], self._buckets[1::2], strict=True):
                    one.join(other)
                self._buckets = self._buckets[::2]
                self._size *= 2
            self._buckets.append(_Bucket())
        self._buckets[-1].add(position, frame_id, at, values)
        self._seen = position

    def _made(self) -> Strips:
        strips = Strips(
            np.array([bucket.position for bucket in self._buckets], np.float64),
            np.array([bucket.at for bucket in self._buckets], np.float64),
            self._began,
            self._size,
        )
        for i, name in enumerate(QUANTITIES):
            known = [bucket.of[i] for bucket in self._buckets]
            worst = 3 if name in WORST_IS_LEAST else 5
            strips.of[name] = Strip(
                np.array([math.nan if one is None else one[2] for one in known]),
                np.array([math.nan if one is None else one[1] / one[0] for one in known]),
                np.array([math.nan if one is None else one[4] for one in known]),
                np.array([0 if one is None else one[worst] for one in known], np.int64),
            )
        return strips


_Known = tuple[int, float, float, int, float, int]


def _joined(one: _Known | None, other: _Known | None) -> _Known | None:
    if one is None or other is None:
        return one or other
    least = one if one[2] <= other[2] else other
    largest = one if one[4] >= other[4] else other
    return (one[0] + other[0], one[1] + other[1], *least[2:4], *largest[4:6])


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


class _Backlog:
    """Counts the frames that had arrived after a frame by the time its result was there; numbers rise with arrival."""

    def __init__(self) -> None:
        self._committed = -math.inf
        self._later = 0
        """The first frame that arrived after `_committed`: for a later time it is this one or one after it."""

    def of(self, db: sqlite3.Connection, frame_id: int, committed: float) -> float:
        begin = frame_id
        if committed >= self._committed:
            begin = max(frame_id, self._later - 1)
        row = db.execute(_FIRST_LATER, (begin, committed)).fetchone()
        if row is None:  # everything that arrived so far had arrived by then
            row = db.execute("SELECT max(id) + 1 FROM frames").fetchone()
        if committed >= self._committed:
            self._committed, self._later = committed, row[0]
        return float(max(0, row[0] - frame_id - 1))
