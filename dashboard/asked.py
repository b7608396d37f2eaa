"""Readers of what people and the session ask of each other: alarms, audits, answers to commands."""

from __future__ import annotations

import json
import os
import sqlite3

from dashboard.frame_files import read_movie
from dashboard.snapshot import AuditState, Place, Sighting
from monitor.record.changes import judged_since
from monitor.record.labels import observers_agree, to_label
from monitor.record.rows import ALARM_COLUMNS, AlarmRow

#: Of the alarms that are over, the last ones are shown.
CLEARED = 12
_ALARM = f"{ALARM_COLUMNS} FROM alarms"


def tables(db: sqlite3.Connection) -> set[str]:
    """The names of the record's tables: older versions lack some."""
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def read_alarms(db: sqlite3.Connection) -> tuple[AlarmRow, ...]:
    """The alarms that are on, the most severe and newest first, then those cleared lately, newest first."""
    rows = db.execute(
        f"SELECT {_ALARM} WHERE until IS NULL ORDER BY acknowledged IS NOT NULL,"
        " CASE severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, since DESC, id DESC"
    ).fetchall()
    rows += db.execute(
        f"SELECT {_ALARM} WHERE until IS NOT NULL ORDER BY until DESC, id DESC LIMIT {CLEARED}"
    ).fetchall()
    return tuple(AlarmRow(*row) for row in rows)


def read_drawn(db: sqlite3.Connection) -> int:
    """How many particles audits drew, since the present bundle judges."""
    query = "SELECT count(DISTINCT l.particle) FROM labels l JOIN particles p ON p.id = l.particle WHERE l.drawn >= ?"
    return int(db.execute(query, (judged_since(db),)).fetchone()[0])


def read_audit(db: sqlite3.Connection, observer: str) -> AuditState:
    """How far an observer is; one without a name has all of them to come."""
    drawn, waiting = read_drawn(db), tuple(asked.particle for asked in to_label(db, observer))
    return AuditState(drawn, drawn - len(waiting), waiting, observers_agree(db))


def read_sighting(db: sqlite3.Connection, particle: int) -> Sighting | None:
    """A particle in its frame; None where there is none by that number (any more)."""
    row = db.execute(
        "SELECT p.id, f.id, f.path, f.item, f.file_size, f.file_mtime_ns, r.height, r.width, r.pixel_size_nm,"
        " p.row0, p.col0, p.row1, p.col1, p.outline, r.committed FROM particles p"
        " JOIN results r ON r.frame_id = p.frame_id JOIN frames f ON f.id = p.frame_id WHERE p.id = ?",
        (particle,),
    ).fetchone()
    if row is None:
        return None
    outline = tuple((float(r), float(c)) for r, c in json.loads(row[13]))
    item, file_size, file_mtime_ns, height, width, pixel_size_nm = row[3:9]
    settings = db.execute("SELECT value FROM meta WHERE key = 'settings'").fetchone()
    return Sighting(
        row[0], row[1], os.fsdecode(row[2]), item, file_size, file_mtime_ns, height, width, pixel_size_nm,
        row[9:13], outline, stamp_of(row[14]), read_movie(None if settings is None else settings[0]),
    )  # fmt: skip


def read_place(db: sqlite3.Connection, frame_id: int) -> Place | None:
    """Where a frame lies; None while it is not settled."""
    row = db.execute(
        "SELECT field, drift_nm, uncounted FROM places WHERE frame_id = ?", (frame_id,)
    ).fetchone()
    return None if row is None else Place(*row)


def read_answer(db: sqlite3.Connection, command: int) -> tuple[bool, str] | None:
    """The session's answer to a command; None while it has not looked."""
    row = db.execute("SELECT accepted, answer FROM commands WHERE id = ?", (command,)).fetchone()
    return None if row is None or row[0] is None else (bool(row[0]), row[1] or "")


def stamp_of(committed: float) -> str:
    """What differs whenever a frame is analysed anew."""
    return f"{round(committed * 1000):x}"
