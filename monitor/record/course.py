"""Rows of the running statistics, in order of acquisition."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from monitor.record.queries import statistics_row
from monitor.statistics.course import StatisticsRow

Order = tuple[float, int]
"""A frame's place in the order of acquisition: time and id."""


def last_row(db: sqlite3.Connection, before: Order | None = None) -> StatisticsRow | None:
    """The last row of the running statistics, or the last before a place in the order of acquisition."""
    rows = db.execute(
        "SELECT * FROM statistics WHERE ?1 IS NULL OR at < ?1 OR (at = ?1 AND frame_id < ?2) "
        "ORDER BY position DESC LIMIT 1",
        before or (None, None),
    )
    row = rows.fetchone()
    return None if row is None else statistics_row(row)


def unsettled(
    db: sqlite3.Connection, after: Order | None
) -> Iterator[tuple[int, float, tuple[int, int, int, int]]]:
    """Analysed frames behind a place in the order of acquisition: id, time, and particles by class."""
    rows = db.execute(
        "SELECT f.id, ifnull(f.acquired, f.arrived) AS at, "
        "sum(p.class = 'empty'), sum(p.class = 'null'), sum(p.class = 'no'), sum(p.class = 'yes') "
        "FROM frames f LEFT JOIN particles p ON p.frame_id = f.id "
        "WHERE f.state = 'analysed' AND (?1 IS NULL OR ifnull(f.acquired, f.arrived) >= ?1) "
        "GROUP BY f.id ORDER BY at, f.id",
        (None if after is None else after[0],),
    )
    for frame_id, at, empty, null, no, yes in rows:
        if after is None or (at, frame_id) > after:
            yield frame_id, at, (empty or 0, null or 0, no or 0, yes or 0)


def has_unsettled(db: sqlite3.Connection) -> bool:
    """Whether analysed frames lack their row of statistics, or rows lack what came before them."""
    analysed, rows, last = db.execute(
        "SELECT (SELECT count(*) FROM results), count(*), ifnull(max(position), 0) FROM statistics"
    ).fetchone()
    # A hole is left where a frame was taken again and this program ended before it was closed.
    return not analysed == rows == last


def insert_rows(db: sqlite3.Connection, rows: Iterable[StatisticsRow], from_position: int | None) -> None:
    """Append rows; with `from_position` they replace everything from there on."""
    if from_position is not None:
        db.execute("DELETE FROM statistics WHERE position >= ?", (from_position,))
    db.executemany(
        "INSERT INTO statistics (frame_id, position, at, n_empty, n_null, n_no, n_yes, counted, "
        "corrected, low, high) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((r.frame_id, r.position, r.at, *r.counts, r.counted, r.corrected, r.low, r.high) for r in rows),
    )
