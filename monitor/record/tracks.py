"""Settled frames in the record: what tracking reads of them, and what it writes."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.results import CLASSES
from monitor.record.queries import from_json
from monitor.statistics.course import Counts
from monitor.tracking.signature import from_png
from monitor.tracking.stage import stage_nm
from monitor.tracking.tracker import Look, Place
from monitor.tracking.tracks import Sighting

Order = tuple[float, int]
"""A frame's place in the order of acquisition: time and id."""

_COLUMNS = "f.id, ifnull(f.acquired, f.arrived), f.source_id, f.metadata, r.height, r.width, r.pixel_size_nm, r.quality"

_PLACE = "frame_id, field, map, row_nm, col_nm, drift_nm, how, uncounted"
_TRACK = (
    "id, field, map, class, p_empty, p_null, p_no, p_yes, sure, seen, first_frame, last_frame, diameter_nm, "
    "whole, weight, row_nm, col_nm"
)


@dataclass(frozen=True)
class AnalysedFrame:
    """One analysed frame as statistics need it."""

    frame_id: int
    at: float
    source_id: int
    pixel_size_nm: float
    counts: Counts
    quality: dict[str, Any]
    look: Look

    @property
    def order(self) -> Order:
        """Its place in the order of acquisition."""
        return (self.at, self.frame_id)


@dataclass(frozen=True)
class TrackRow:
    """One track as the record keeps it."""

    id: int
    field: int
    map: int
    particle_class: str
    probabilities: tuple[float, float, float, float]
    sure: bool
    seen: int
    first_frame: int
    last_frame: int
    diameter_nm: float
    whole: bool
    weight: float
    row_nm: float
    col_nm: float


def analysed_after(db: sqlite3.Connection, after: Order | None, limit: int) -> list[AnalysedFrame]:
    """The next analysed frames behind a place in the order of acquisition, with their pictures' signatures."""
    rows = db.execute(
        f"SELECT {_COLUMNS}, r.signature FROM frames f JOIN results r ON r.frame_id = f.id "
        # The plus keeps SQLite from sorting all analysed frames each time: it is to follow the index of the order.
        "WHERE +f.state = 'analysed' AND ifnull(f.acquired, f.arrived) >= ?1 "
        "AND (ifnull(f.acquired, f.arrived) > ?1 OR f.id > ?2) "
        "ORDER BY ifnull(f.acquired, f.arrived), f.id LIMIT ?3",
        (-math.inf, 0, limit) if after is None else (*after, limit),
    ).fetchall()
    return [_analysed(db, row) for row in rows]


def placed_until(
    db: sqlite3.Connection, until: Order, maps: Iterable[int]
) -> Iterator[tuple[AnalysedFrame, Place]]:
    """The frames of some maps up to a place in the order of acquisition, with what was decided of them."""
    marks = list(maps)
    rows = db.execute(
        f"SELECT {_COLUMNS}, r.signature, p.field, p.map, p.row_nm, p.col_nm, p.drift_nm, p.how, p.uncounted "
        "FROM places p JOIN frames f ON f.id = p.frame_id JOIN results r ON r.frame_id = f.id "
        f"WHERE p.map IN ({', '.join('?' * len(marks))}) "
        "AND (ifnull(f.acquired, f.arrived) < ? OR (ifnull(f.acquired, f.arrived) = ? AND f.id <= ?)) "
        "ORDER BY ifnull(f.acquired, f.arrived), f.id",
        (*marks, until[0], until[0], until[1]),
    )
    for row in rows:
        yield (
            _analysed(db, row[:9], uncounted=row[15]),
            Place(row[0], row[9], row[10], row[11], row[12], row[13], row[14], {}),
        )


def open_maps(db: sqlite3.Connection, until: Order, count: int) -> list[int]:
    """The last maps of every source up to a place in the order of acquisition, `count` of each."""
    found: list[int] = []
    for (source,) in db.execute("SELECT id FROM sources"):
        maps: list[int] = []
        for (number,) in db.execute(
            "SELECT p.map FROM frames f JOIN places p ON p.frame_id = f.id WHERE f.source_id = ?1 "
            "AND p.how <> 'bridged' AND ifnull(f.acquired, f.arrived) <= ?2 "
            "AND (ifnull(f.acquired, f.arrived) < ?2 OR f.id <= ?3) "
            "ORDER BY ifnull(f.acquired, f.arrived) DESC, f.id DESC",
            (source, *until),
        ):
            if number not in maps:
                maps.append(number)
            if len(maps) == count:
                break
        found += maps
    return found


def judged_sizes(db: sqlite3.Connection) -> tuple[float, float] | None:
    """The smallest and the largest diameter [nm] of the tracks called `no` or `yes`; None where there is none."""
    found = [
        db.execute(f"SELECT {end}(diameter_nm) FROM tracks WHERE class = ? AND seen > 0", (name,)).fetchone()[
            0
        ]
        for name in ("no", "yes")
        for end in ("min", "max")
    ]
    known = [size for size in found if size is not None]
    return (min(known), max(known)) if known else None


def truncate(db: sqlite3.Connection, position: int, maps: Iterable[int]) -> None:
    """Forget what was settled from a position on, and every track of maps that may change or come later."""
    frames = "SELECT frame_id FROM statistics WHERE position >= ?"
    db.execute(
        f"UPDATE particles SET track = NULL WHERE track IS NOT NULL AND frame_id IN ({frames})", (position,)
    )
    db.execute(f"DELETE FROM places WHERE frame_id IN ({frames})", (position,))
    db.execute("DELETE FROM statistics WHERE position >= ?", (position,))
    # A result that is gone took its row with it, and may have been the first of its map.
    db.execute("DELETE FROM places WHERE frame_id NOT IN (SELECT frame_id FROM statistics)")
    marks = list(maps)
    db.execute(
        f"DELETE FROM tracks WHERE map IN ({', '.join('?' * len(marks))}) OR map NOT IN (SELECT map FROM places)",
        marks,
    )


def write_place(db: sqlite3.Connection, place: Place, uncounted: str | None) -> None:
    """Where a frame lies, and which track each of its sightings is."""
    db.execute(
        f"INSERT INTO places ({_PLACE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) {_or_as_now(_PLACE)}",
        (
            place.frame, place.field, place.map, place.row_nm, place.col_nm, place.drift_nm, place.how, uncounted,
        ),
    )  # fmt: skip
    db.executemany(
        "UPDATE particles SET track = ? WHERE id = ?",
        [(track, particle) for particle, track in place.tracks.items()],
    )


def write_tracks(db: sqlite3.Connection, tracks: Iterable[TrackRow]) -> None:
    """Tracks as they are now."""
    db.executemany(
        f"INSERT INTO tracks ({_TRACK}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        f"{_or_as_now(_TRACK)}",
        (
            (
                t.id, t.field, t.map, t.particle_class, *t.probabilities, t.sure, t.seen, t.first_frame,
                t.last_frame, t.diameter_nm, t.whole, t.weight, t.row_nm, t.col_nm,
            )
            for t in tracks
        ),
    )  # fmt: skip


def _or_as_now(columns: str) -> str:
    """Where there is such a row, change it: REPLACE would fire no trigger for the row that it takes away."""
    key, *others = columns.split(", ")
    return f"ON CONFLICT ({key}) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in others)


def _analysed(db: sqlite3.Connection, row: tuple[Any, ...], *, uncounted: str | None = None) -> AnalysedFrame:
    frame_id, at, source_id, metadata, height, width, pixel, quality, png = row
    counts = [0, 0, 0, 0]
    sightings = []
    for number, name, *p, row0, col0, row1, col1, diameter, corners in db.execute(
        "SELECT id, class, p_empty, p_null, p_no, p_yes, row0, col0, row1, col1, diameter_nm, outline "
        "FROM particles WHERE frame_id = ? ORDER BY label",
        (frame_id,),
    ):
        counts[CLASSES.index(name)] += 1
        box = (row0 * pixel, col0 * pixel, row1 * pixel, col1 * pixel)
        cut = row0 <= 0 or col0 <= 0 or row1 >= height or col1 >= width
        outline = np.array(from_json(corners), np.float32).reshape(-1, 2) * np.float32(pixel)
        sightings.append(Sighting(number, box, diameter, (p[0], p[1], p[2], p[3]), cut, outline))
    figures = from_json(quality)
    look = Look(
        frame_id,
        height * pixel,
        width * pixel,
        tuple(sightings),
        None if png is None else from_png(png, max(height, width) * pixel),
        1.0 if uncounted is None else 0.0,
        bool(figures.get("repeated")),
        stage_nm(json.loads(metadata)) if metadata and "tage" in metadata else None,
    )
    return AnalysedFrame(
        frame_id, at, source_id, pixel, (counts[0], counts[1], counts[2], counts[3]), figures, look
    )
