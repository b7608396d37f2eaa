"""Reads what the page tells of one particle, and where the pixels of one frame lie."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from dashboard.asked import stamp_of
from dashboard.frame_files import read_movie
from monitor.frames import MovieMode
from monitor.record.corrections import CORRECT
from monitor.workers.explained import ToExplain

#: Of a track, so many sightings are shown; of a longer one those around the particle that is looked at.
SIGHTINGS = 60


@dataclass(frozen=True)
class Filed:
    """One analysed frame: its file, and how it was judged."""

    frame_id: int
    path: str
    item: int | None
    file_size: int | None
    file_mtime_ns: int | None
    """Of the file that was analysed; None: not kept."""
    height: int
    width: int
    pixel_size_nm: float
    stamp: str
    bundle: str
    bundle_path: str
    material: str | None
    movie: MovieMode


@dataclass(frozen=True)
class TrackSighting:
    """One sighting of a track."""

    particle: int
    """`particles.id`"""
    frame_id: int
    label: int
    particle_class: str
    abstained: bool
    diameter_nm: float
    stamp: str


@dataclass(frozen=True)
class Said:
    """What a person said of a particle."""

    particle_class: str
    observer: str | None
    """None: it was not kept."""
    at: float
    """[s since 1970 UTC]"""
    correction: bool
    """It corrects this sighting; else an audit asked for the track's label."""


@dataclass(frozen=True)
class Inspected:
    """One particle of one frame, as the page tells of it."""

    particle: int
    """`particles.id`"""
    label: int
    particle_class: str
    probabilities: tuple[float, float, float, float]
    abstained: bool
    bbox: tuple[int, int, int, int]
    diameter_nm: float
    area_nm2: float
    outline: tuple[tuple[float, float], ...]
    """(row, column) [px]"""
    frame: Filed
    track: int | None
    """None: not settled, or only a part of a particle."""
    track_class: str | None
    """Of the track as a whole; None: not known."""
    sightings: tuple[TrackSighting, ...]
    """Of its track, in the order of acquisition; none where it has no track."""
    seen: int
    """How many sightings the track has in all."""
    said: tuple[Said, ...]
    """By people, the newest first; one entry a person."""
    indexed_for: str | None
    """The material whose indices the spots are given: the operator's, else the one that the session's spacings tell."""

    @property
    def height(self) -> int:
        """Of its frame [px]."""
        return self.frame.height

    @property
    def width(self) -> int:
        """Of its frame [px]."""
        return self.frame.width

    @property
    def pixel_size_nm(self) -> float:
        """Of its frame [nm/px]."""
        return self.frame.pixel_size_nm

    def to_explain(self, session: Path) -> ToExplain:
        """What explaining it needs, for a session in this folder."""
        frame = self.frame
        return ToExplain(
            session / frame.path, frame.item, frame.file_size, frame.file_mtime_ns, frame.movie, frame.height,
            frame.width, frame.pixel_size_nm, frame.material, frame.bundle, Path(frame.bundle_path),
            self.label, self.bbox, self.indexed_for,
        )  # fmt: skip


def read_filed(db: sqlite3.Connection, frame_id: int) -> Filed | None:
    """Where the pixels of an analysed frame lie; None where there is none by that number."""
    row = db.execute(
        "SELECT f.id, f.path, f.item, f.file_size, f.file_mtime_ns, r.height, r.width, r.pixel_size_nm, r.committed,"
        " r.bundle, b.path FROM results r JOIN frames f ON f.id = r.frame_id JOIN bundles b ON b.id = r.bundle"
        " WHERE f.id = ?",
        (frame_id,),
    ).fetchone()
    if row is None:
        return None
    meta = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('settings', 'material')").fetchall())
    number, path, item, size, written, height, width, pixel_size_nm, committed, bundle, bundle_path = row
    return Filed(
        number, os.fsdecode(path), item, size, written, height, width, pixel_size_nm, stamp_of(committed),
        bundle, os.fsdecode(bundle_path), meta.get("material") or None, read_movie(meta.get("settings")),
    )  # fmt: skip


def read_inspected(
    db: sqlite3.Connection, tables: set[str], frame_id: int, label: int, known: str | None = None
) -> Inspected | None:
    """One particle of one frame; None where there is none by that number (any more).

    Parameters
    ----------
    tables : names of those that the record has: older versions lack some.
    known : the material that the session's spacings tell.
    """
    row = db.execute(
        "SELECT id, class, p_empty, p_null, p_no, p_yes, abstained, row0, col0, row1, col1, diameter_nm, area_nm2,"
        f" outline, {'track' if 'tracks' in tables else 'NULL'} FROM particles WHERE frame_id = ? AND label = ?",
        (frame_id, label),
    ).fetchone()
    frame = read_filed(db, frame_id)
    if row is None or frame is None:
        return None
    track = row[14]
    sightings, seen, track_class = _track(db, track, row[0]) if track is not None else ((), 0, None)
    return Inspected(
        particle=row[0],
        label=label,
        particle_class=row[1],
        probabilities=row[2:6],
        abstained=bool(row[6]),
        bbox=row[7:11],
        diameter_nm=row[11],
        area_nm2=row[12],
        outline=tuple((float(r), float(c)) for r, c in json.loads(row[13])),
        frame=frame,
        track=track,
        track_class=track_class,
        sightings=sightings,
        seen=seen,
        indexed_for=frame.material or known,
        said=_said(db, tables, frame_id, label, row[0], track),
    )


def _track(
    db: sqlite3.Connection, track: int, particle: int
) -> tuple[tuple[TrackSighting, ...], int, str | None]:
    rows = db.execute(
        "SELECT p.id, p.frame_id, p.label, p.class, p.abstained, p.diameter_nm, r.committed FROM particles p"
        " JOIN results r ON r.frame_id = p.frame_id JOIN frames f ON f.id = p.frame_id"
        " WHERE p.track = ? ORDER BY ifnull(f.acquired, f.arrived), f.id",
        (track,),
    ).fetchall()
    here = next((n for n, each in enumerate(rows) if each[0] == particle), 0)
    first = max(0, min(here - SIGHTINGS // 2, len(rows) - SIGHTINGS))
    found = tuple(
        TrackSighting(number, frame, label, name, bool(doubt), diameter, stamp_of(committed))
        for number, frame, label, name, doubt, diameter, committed in rows[first : first + SIGHTINGS]
    )
    called = db.execute("SELECT class FROM tracks WHERE id = ?", (track,)).fetchone()
    return found, len(rows), None if called is None else called[0]


def _said(
    db: sqlite3.Connection, tables: set[str], frame_id: int, label: int, particle: int, track: int | None
) -> tuple[Said, ...]:
    """What people said of a particle or of its track, the last word of each."""
    found: list[Said] = []
    if "labels" in tables:
        found += [
            Said(name, observer, at, False)
            for name, observer, at in db.execute(
                "SELECT l.class, l.observer, l.at FROM labels l JOIN particles p ON p.id = l.particle"
                " WHERE l.class IS NOT NULL AND (p.id = ? OR p.track = ?)",
                (particle, track),
            )
        ]
    if "commands" in tables:
        found += _corrections(db, frame_id, label)
    return tuple(sorted(found, key=lambda each: -each.at))


def _corrections(db: sqlite3.Connection, frame_id: int, label: int) -> list[Said]:
    last: dict[str | None, Said | None] = {}
    for at, text in db.execute(
        "SELECT at, arguments FROM commands WHERE name = ? AND accepted IS NOT 0 AND json_valid(arguments) ORDER BY id",
        (CORRECT,),
    ):
        told = json.loads(text)
        if not isinstance(told, dict) or (told.get("frame"), told.get("label")) != (frame_id, label):
            continue
        observer, name = told.get("observer"), told.get("class")
        last[observer] = None if name is None else Said(str(name), observer, at, True)
    return [each for each in last.values() if each is not None]
