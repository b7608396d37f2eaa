"""Readers that follow a growing record: each looks only at what is new, and costs little at frame 100,000."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import numpy as np

from dashboard.snapshot import BundleState, Figures, Ledger, Pace, Refusal, Series, Sizes, SourceState
from models.results import CLASSES
from monitor.record import totals
from monitor.record.spacings import pixel_size_check
from monitor.record.tracks import judged_sizes
from monitor.statistics.fraction import rates_of

#: A chart of some 700 screen pixels needs no more points than this.
SERIES_POINTS = 600
REASONS = 8
REFUSALS = 30
#: Delay and rate are taken over this many frames, and the rate over at most this time [s].
PACE_FRAMES = 100
PACE_SECONDS = 60.0
SIZE_BIN_NM = 0.25
SIZE_BINS = 400
#: Particles counted into the histogram in one go, so that opening a long record never holds up the page.
SIZE_CHUNK = 50_000

_FIGURES = "frame_id, position, at, n_empty, n_null, n_no, n_yes, counted, corrected, low, high"
#: What version 4 of the record added.
_TRACKS = "t_empty, t_null, t_no, t_yes, effective, always_low, always_high, labels, reason"


class SeriesReader:
    """The running fraction, thinned by keeping every 2^k-th frame, and its last figures."""

    def __init__(self, points: int = SERIES_POINTS) -> None:
        self._points = points
        self._last: tuple[Any, ...] | None = None
        self._kept: list[tuple[Any, ...]] = []
        self._series = Series.empty()
        self._figures: Figures | None = None

    def read(self, db: sqlite3.Connection) -> tuple[Series, Figures | None]:
        columns = figure_columns(db)
        last = db.execute(f"SELECT {columns} FROM statistics ORDER BY position DESC LIMIT 1").fetchone()
        if last == self._last:
            return self._series, self._figures
        if last is None:
            self._last, self._kept = None, []
            self._series, self._figures = Series.empty(), None
            return self._series, None
        seen = 0
        if self._last is not None:
            # A frame that was acquired earlier but finished later moves all that follow it: read again.
            now = db.execute(f"SELECT {columns} FROM statistics WHERE position = ?", self._last[1:2])
            if now.fetchone() == self._last:
                seen = self._last[1]
            else:
                self._kept = []
        step = 2 ** max(0, math.ceil(math.log2(last[1] / self._points)))
        self._kept = [row for row in self._kept if row[1] % step == 0]
        self._kept += db.execute(
            f"SELECT {columns} FROM statistics WHERE position > ? AND position % ? = 0 ORDER BY position",
            (seen, step),
        )
        rows = self._kept if self._kept and self._kept[-1] == last else [*self._kept, last]
        self._series = _series(rows)
        self._figures = figures_of(last, None if last[11] is None else judged_sizes(db))
        self._last = last
        return self._series, self._figures


def figures_of(row: tuple[Any, ...], sizes_nm: tuple[float, float] | None) -> Figures:
    """The figures of a row of `figure_columns`."""
    tracks = None if row[11] is None else row[11:15]
    _, position, at = row[:3]
    counted, corrected, low, high = row[7:11]
    effective, always_low, always_high, labels, reason = row[15:20]
    return Figures(
        position, at, row[3:7], counted, corrected, low, high, tracks, effective, always_low, always_high,
        labels or 0, reason, sizes_nm,
    )  # fmt: skip


def figure_columns(db: sqlite3.Connection) -> str:
    """The columns of `statistics` that the page shows, in any version of the record."""
    names = {row[1] for row in db.execute("PRAGMA table_info(statistics)")}
    added = ", ".join(name if name in names else f"NULL AS {name}" for name in _TRACKS.split(", "))
    return f"{_FIGURES}, {added}"


def _series(rows: list[tuple[Any, ...]]) -> Series:
    """The course; of frames that were settled together only the last has an estimate, so the one before goes on."""
    # NULL becomes NaN
    table = np.array([(row[1], row[2], *row[7:11], *row[16:18]) for row in rows], dtype=np.float64)
    together = np.array([row[8] is None and row[19] is None and row[11] is not None for row in rows])
    before = np.maximum.accumulate(np.where(together, 0, np.arange(len(rows))))
    table[:, 3:] = table[before, 3:]
    return Series(*np.ascontiguousarray(table.T))


class SizesReader:
    """The histogram of diameters; each particle is counted once, when it is new."""

    def __init__(self, chunk: int = SIZE_CHUNK) -> None:
        self._chunk = chunk
        self._seen = 0
        self._counts = np.zeros((len(CLASSES), SIZE_BINS), np.int64)
        self._sizes: Sizes | None = None
        self._excess = 0
        self.pending = False
        """A long record is being counted, a piece at a time."""

    def read(self, db: sqlite3.Connection, settled: int | None = None) -> Sizes | None:
        """Count what is new; `settled` is how many particles there are, where that is known.

        A frame whose file is written again loses its particles, which nothing here tells: only that more were
        counted than there are. Then all are counted anew, and the old histogram stays until that is done.
        """
        (top,) = db.execute("SELECT ifnull(max(id), 0) FROM particles").fetchone()
        excess = 0 if settled is None or self.pending else int(self._counts.sum()) - settled
        if top < self._seen or (excess > 0 and excess != self._excess):
            self._seen = 0
            self._counts[:] = 0
        elif top == self._seen and self._sizes is not None:
            return self._sizes
        self._excess = max(excess, 0)
        until = min(top, self._seen + self._chunk)
        rows = db.execute(
            "SELECT class, max(0, min(?, CAST(diameter_nm / ? AS INTEGER))) AS bin, count(*) FROM particles"
            " WHERE id > ? AND id <= ? GROUP BY class, bin",
            (SIZE_BINS - 1, SIZE_BIN_NM, self._seen, until),
        )
        for name, index, count in rows:
            self._counts[CLASSES.index(name), index] += count
        self._seen = until
        self.pending = until < top
        if self._sizes is None or not self.pending or self._counts.sum() >= self._sizes.particles:
            self._sizes = Sizes(self._counts.copy(), SIZE_BIN_NM)
        return self._sizes


class SpacingsReader:
    """What the lattice spacings say of the pixel size; looked at again when enough particles are new."""

    #: So many new particles can change what is said.
    NEWS = 40

    def __init__(self) -> None:
        self._seen = -self.NEWS
        self._said: tuple[bool, str] | None = None
        self.material: str | None = None
        """With whose spacings they agree."""

    def read(self, db: sqlite3.Connection, material: str | None) -> tuple[bool, str] | None:
        """Whether they agree, and the sentence; None where they are too few to tell."""
        (top,) = db.execute("SELECT ifnull(max(id), 0) FROM particles").fetchone()
        if abs(top - self._seen) >= self.NEWS:
            self._seen = top
            found = pixel_size_check(db, material)
            self._said = None if found is None else (found[0].agrees, found[0].sentence(found[1]))
            self.material = found[0].material if found is not None and found[0].agrees else None
        return self._said


class LedgerReader:
    """The ledger with its reasons, and the last refusals."""

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self._timer = timer
        self._ledger = Ledger()
        self._refused: tuple[int, int] = (0, 0)
        self._reasons: tuple[tuple[str, str, int], ...] = ()
        self._refusals: tuple[Refusal, ...] = ()
        self._not_before = -math.inf
        self.pending = False
        """Reasons are out of date, because counting them again just now would cost too much."""

    def read(self, db: sqlite3.Connection) -> tuple[Ledger, tuple[Refusal, ...]]:
        states = totals.of(db, "frames")
        refused = states.get("rejected", 0), states.get("dropped", 0)
        if refused != self._refused:
            began = self._timer()
            self.pending = began < self._not_before
            if not self.pending:
                self._refused = refused
                self._reasons = self._count_reasons(db)
                self._refusals = self._last_refusals(db)
                # With very many refusals this is the dearest query; it may take a twentieth of the time.
                self._not_before = self._timer() + 19 * (self._timer() - began)
        beside = db.execute("SELECT total(ignored), total(lost), total(duplicates) FROM sources").fetchone()
        ledger = Ledger(
            states.get("analysed", 0), states.get("queued", 0), refused[0], refused[1],
            int(beside[0]), int(beside[1]), int(beside[2]), self._reasons,
        )  # fmt: skip
        if ledger != self._ledger:
            self._ledger = ledger
        return self._ledger, self._refusals

    @staticmethod
    def _count_reasons(db: sqlite3.Connection) -> tuple[tuple[str, str, int], ...]:
        return tuple(
            db.execute(
                "SELECT state, reason, count(*) AS n FROM frames WHERE state IN ('rejected', 'dropped')"
                " GROUP BY state, reason ORDER BY n DESC, reason LIMIT ?",
                (REASONS,),
            )
        )

    @staticmethod
    def _last_refusals(db: sqlite3.Connection) -> tuple[Refusal, ...]:
        one = (
            "SELECT * FROM (SELECT id, path, item, state, reason, arrived FROM frames"
            " WHERE state = '{}' ORDER BY id DESC LIMIT {})"
        )
        rows = db.execute(
            f"{one.format('rejected', REFUSALS)} UNION ALL {one.format('dropped', REFUSALS)}"
            f" ORDER BY id DESC LIMIT {REFUSALS}"
        )
        return tuple(
            Refusal(id_, frame_name(path, item), state, reason, arrived)
            for id_, path, item, state, reason, arrived in rows
        )


def read_pace(db: sqlite3.Connection) -> Pace:
    """Delay, rates and the last times, over the last `PACE_FRAMES` frames."""
    results = np.array(
        db.execute(
            "SELECT committed, latency_ms FROM results ORDER BY frame_id DESC LIMIT ?", (PACE_FRAMES,)
        ).fetchall(),
        dtype=np.float64,
    ).reshape(-1, 2)
    arrivals = np.array(
        db.execute("SELECT arrived FROM frames ORDER BY id DESC LIMIT ?", (PACE_FRAMES,)).fetchall(),
        dtype=np.float64,
    ).ravel()
    p50, p95 = np.percentile(results[:, 1], (50, 95)) if len(results) else (None, None)
    return Pace(
        last_arrived=float(arrivals.max()) if len(arrivals) else None,
        last_committed=float(results[:, 0].max()) if len(results) else None,
        arrived_per_s=_rate(arrivals),
        analysed_per_s=_rate(results[:, 0]),
        latency_p50_ms=None if p50 is None else float(p50),
        latency_p95_ms=None if p95 is None else float(p95),
        frames=len(results),
    )


def _rate(times: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    """Events a second over the last minute of `times` [s]; None where there are fewer than two."""
    recent = times[times >= times.max() - PACE_SECONDS] if len(times) else times
    if len(recent) < 2 or recent.max() <= recent.min():
        return None
    return float((len(recent) - 1) / (recent.max() - recent.min()))


def read_sources(db: sqlite3.Connection) -> tuple[SourceState, ...]:
    rows = db.execute("SELECT kind, address, state, since, message FROM sources ORDER BY id")
    return tuple(SourceState(*row) for row in rows)


def read_bundle(db: sqlite3.Connection, judging: str | None) -> BundleState | None:
    """The bundle that judges, `judging`, else the one that judged last; None before there is any."""
    row = db.execute(
        "SELECT id, details, (SELECT count(*) FROM bundles) - 1 FROM bundles"
        " WHERE id = ifnull(?, (SELECT bundle FROM results ORDER BY frame_id DESC LIMIT 1))",
        (judging,),
    ).fetchone()
    if row is None:
        return None
    return BundleState(row[0], rates_of(json.loads(row[1])), row[2])


def frame_name(path: str | bytes, item: int | None) -> str:
    """How a frame is called on the page: its file's name, and its index in a file with several."""
    # A name that is no text is kept as bytes; on a page every name is text.
    text = os.fsdecode(path).encode("utf-8", "replace").decode()
    name = PurePath(text.replace("\\", "/")).name
    return name if not item else f"{name} [{item}]"
