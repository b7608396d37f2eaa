"""The session as it stood after an earlier frame, read from the record's course."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

import numpy as np

from dashboard.running import SIZE_BIN_NM, SIZE_BINS, figure_columns, figures_of
from dashboard.snapshot import Figures, Sizes
from models.results import CLASSES

MOST_COUNTED = 20_000
"""Up to so many particles the sizes as they stood are counted anew for a frame that is looked at."""


@dataclass(frozen=True, eq=False)
class Moment:
    """What stood in the record after one frame, in the order of acquisition."""

    frame_id: int
    figures: Figures
    sizes: Sizes | None
    """None where there are too many particles to count them anew."""


def read_moment(db: sqlite3.Connection, frame_id: int) -> Moment | None:
    """The figures after a frame; None while it is not settled."""
    columns = figure_columns(db)
    row = db.execute(f"SELECT {columns} FROM statistics WHERE frame_id = ?", (frame_id,)).fetchone()
    if row is None:
        return None
    figures = figures_of(_estimated(db, columns, row), None)
    return Moment(frame_id, figures, _sizes(db, figures))


def read_next(db: sqlite3.Connection, frame_id: int | None) -> tuple[int, float] | None:
    """The settled frame acquired after another one (None: the first) and when; None after the last."""
    after = "SELECT frame_id, at FROM statistics WHERE position > ? ORDER BY position LIMIT 1"
    position = 0
    if frame_id is not None:
        found = db.execute("SELECT position FROM statistics WHERE frame_id = ?", (frame_id,)).fetchone()
        if found is None:
            return None
        (position,) = found
    row = db.execute(after, (position,)).fetchone()
    return None if row is None else (int(row[0]), float(row[1]))


def read_acquired(db: sqlite3.Connection, frame_id: int) -> float | None:
    """When a settled frame was acquired."""
    row = db.execute("SELECT at FROM statistics WHERE frame_id = ?", (frame_id,)).fetchone()
    return None if row is None else float(row[0])


def read_frame_at(db: sqlite3.Connection, position: int) -> int | None:
    """The frame at a place in the order of acquisition, or the last before it; None where there is none."""
    row = db.execute(
        "SELECT frame_id FROM statistics WHERE position <= ? ORDER BY position DESC LIMIT 1",
        (max(1, position),),
    ).fetchone()
    return None if row is None else int(row[0])


def _estimated(db: sqlite3.Connection, columns: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row, with the estimate of an earlier one where several frames were settled together and it has none."""
    if row[8] is not None or row[19] is not None or row[11] is None:
        return row
    before = db.execute(
        f"SELECT {columns} FROM statistics WHERE position < ? AND (corrected IS NOT NULL OR reason IS NOT NULL)"
        " ORDER BY position DESC LIMIT 1",
        (row[1],),
    ).fetchone()
    return (
        row if before is None else (*row[:8], *before[8:11], *row[11:16], *before[16:18], row[18], before[19])
    )


def _sizes(db: sqlite3.Connection, figures: Figures) -> Sizes | None:
    if sum(figures.counts) > MOST_COUNTED:
        return None
    counts = np.zeros((len(CLASSES), SIZE_BINS), np.int64)
    rows = db.execute(
        "SELECT class, max(0, min(?, CAST(diameter_nm / ? AS INTEGER))) AS bin, count(*) FROM particles"
        " WHERE frame_id IN (SELECT frame_id FROM statistics WHERE position <= ?) GROUP BY class, bin",
        (SIZE_BINS - 1, SIZE_BIN_NM, figures.position),
    )
    for name, index, count in rows:
        counts[CLASSES.index(name), index] = count
    return Sizes(counts, SIZE_BIN_NM)
