"""The page's only way to the record: reads, never writes, costs next to nothing when nothing is new."""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dashboard import asked, looking_back, running, strips
from dashboard.asked import stamp_of
from dashboard.divided import Divider
from dashboard.force import InForce, read_in_force
from dashboard.goals import GoalReader
from dashboard.inspecting import Filed, Inspected, read_filed, read_inspected
from dashboard.reviewed import ReviewState, read_review
from dashboard.snapshot import (
    AuditState,
    Figures,
    Ledger,
    Place,
    ShownFrame,
    ShownParticle,
    Sighting,
    Snapshot,
)
from models.results import CLASSES
from monitor.errors import NoSession
from monitor.record.changes import last_of, read_changes
from monitor.record.database import DATABASE, open_for_reading
from monitor.record.notes import NoteRow, read_notes
from monitor.statistics.sequence import Goal

#: How long a query may wait for a lock [ms]: one loop serves every viewer, and the next tick tries again.
_BUSY_MS = 200
#: A browser draws this many outlines with this many corners smoothly; the rest is said, not drawn.
MAX_PARTICLES = 800
MAX_CORNERS = 160


def open_record(directory: Path) -> sqlite3.Connection:
    """Open a session's record for reading only.

    Raises
    ------
    NoSession
        There is none, or it can't be read.
    """
    db = open_for_reading(directory)
    db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    return db


class RecordView:
    """One session's record as the page sees it, shared by all viewers of that session in this process.

    The record may not exist yet, may be in the middle of being made, and may be replaced by another one: each
    is a state that `poll` tells, not an error.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._data_version: int | None = None
        self._snapshot = Snapshot(version=0, epoch=0, directory=directory)
        self._frames: OrderedDict[int, ShownFrame] = OrderedDict()
        self._tables: set[str] = set()
        self._goals = GoalReader()
        self._strips = strips.StripReader()
        self.divider = Divider(directory)
        self._failures = 0

    def close(self) -> None:
        """Let go of the file; the next `poll` opens it again."""
        if self._db is not None:
            self._db.close()
        self._db = self._identity = self._data_version = None
        self._frames.clear()

    def poll(self) -> Snapshot:
        """The session as it stands: the same object as last time where nothing has changed."""
        try:
            identity = self._look()
            if identity is None:
                if self._snapshot.exists:  # it was there and is gone
                    self.close()
                    self._snapshot = Snapshot(
                        self._snapshot.version + 1, self._snapshot.epoch + 1, self.directory
                    )
                return self._snapshot
            if identity != self._identity:
                self._open(identity)
            assert self._db is not None
            (data_version,) = self._db.execute("PRAGMA data_version").fetchone()
            if data_version == self._data_version and not self._pending:
                return self._snapshot
            self._snapshot = self._read(self._db)
            self._data_version = data_version
            self._failures = 0
        except (sqlite3.Error, NoSession) as error:
            self.close()
            self._failures += 1
            if not self._snapshot.exists and self._failures == 1:
                return self._snapshot  # caught in the middle of being made; the next tick will tell
            problem = f"The record can't be read just now: {error}."
            if problem != self._snapshot.problem:
                self._snapshot = replace(
                    self._snapshot, version=self._snapshot.version + 1, problem=problem, exists=True
                )
        return self._snapshot

    def frame_since(self, seen: Snapshot | None) -> bool:
        """Whether a frame was analysed that a snapshot does not show: asked often, so it reads nothing else."""
        if seen is None or self._db is None or self._snapshot.newest != seen.newest:
            return self._snapshot is not seen
        try:
            (data_version,) = self._db.execute("PRAGMA data_version").fetchone()
            if data_version == self._data_version:
                return False
            (newest,) = self._db.execute("SELECT max(frame_id) FROM results").fetchone()
        except sqlite3.Error:
            return False  # `poll` tells what is wrong
        return bool(newest != seen.newest)

    def frame(self, frame_id: int) -> ShownFrame | None:
        """One analysed frame with its particles; None where there is none by that number.

        Raises
        ------
        sqlite3.Error
            The record can't be read.
        """
        if frame_id not in self._frames:
            with self._reading() as db:
                frame = None if db is None else _read_frame(db, frame_id)
            if frame is None:
                return None
            self._frames[frame_id] = frame
            while len(self._frames) > 8:
                self._frames.popitem(last=False)
        self._frames.move_to_end(frame_id)
        return self._frames[frame_id]

    def neighbour(self, number: int, *, after: bool = False) -> int | None:
        """The analysed frame at `number` or the next one before (after) it; else the nearest one there is."""
        down = "SELECT max(frame_id) FROM results WHERE frame_id <= ?"
        up = "SELECT min(frame_id) FROM results WHERE frame_id >= ?"
        with self._reading() as db:
            for query in (up, down) if after else (down, up):
                found: int | None = db.execute(query, (number,)).fetchone()[0] if db is not None else None
                if found is not None:
                    return found
        return None

    def stamp(self, frame_id: int) -> str | None:
        """Differs from before if the frame was analysed anew; None where it is not analysed (any more)."""
        with self._reading() as db:
            query = "SELECT committed FROM results WHERE frame_id = ?"
            row = None if db is None else db.execute(query, (frame_id,)).fetchone()
        return None if row is None else stamp_of(row[0])

    def preview(self, frame_id: int) -> tuple[bytes, str] | None:
        """The JPEG of one frame and its stamp; None where there is none.

        Raises
        ------
        sqlite3.Error
            The record can't be read.
        """
        with self._reading() as db:
            row = (
                db.execute(
                    "SELECT preview, committed FROM results WHERE frame_id = ?", (frame_id,)
                ).fetchone()
                if db is not None
                else None
            )
        return None if row is None or row[0] is None else (row[0], stamp_of(row[1]))

    def place(self, frame_id: int) -> Place | None:
        """Where a frame lies on the specimen; None while it is not settled, and in older records."""
        with self._reading() as db:
            known = db is not None and "places" in self._tables
            return asked.read_place(db, frame_id) if db is not None and known else None

    def audit(self, observer: str) -> AuditState:
        """How far an observer is with what audits drew."""
        with self._reading() as db:
            known = db is not None and "labels" in self._tables
            return asked.read_audit(db, observer) if db is not None and known else AuditState()

    def review(self, observer: str, most: int, keep: frozenset[int] = frozenset()) -> ReviewState:
        """What there is to review, for one observer; nothing in older records."""
        with self._reading() as db:
            known = db is not None and {"labels", "commands"} <= self._tables
            return read_review(db, observer, most, keep) if db is not None and known else ReviewState()

    def in_force(self) -> InForce | None:
        """The settings in force, and what was changed; None where no session has begun."""
        with self._reading() as db:
            return None if db is None else read_in_force(db)

    def sighting(self, particle: int) -> Sighting | None:
        """A particle in its frame; None where there is none by that number."""
        with self._reading() as db:
            return None if db is None else asked.read_sighting(db, particle)

    def inspected(self, frame_id: int, label: int) -> Inspected | None:
        """One particle of one frame with its track; None where there is none by that number."""
        with self._reading() as db:
            known = None if db is None else self._spacings.material
            return None if db is None else read_inspected(db, self._tables, frame_id, label, known)

    def filed(self, frame_id: int) -> Filed | None:
        """Where the pixels of a frame lie; None where it is not analysed (any more)."""
        with self._reading() as db:
            return None if db is None else read_filed(db, frame_id)

    def notes(self, most: int) -> list[NoteRow]:
        """The last notes of the session, the oldest first."""
        with self._reading() as db:
            return read_notes(db, most) if db is not None and "commands" in self._tables else []

    def answer(self, command: int) -> tuple[bool, str] | None:
        """The session's answer to a command; None while it has not looked."""
        with self._reading() as db:
            return None if db is None else asked.read_answer(db, command)

    def goal(self, half_width: float) -> Goal | None:
        """How far the fraction is from a goal, at most some seconds old; None where particles were not followed."""
        with self._reading() as db:
            known = db is not None and "tracks" in self._tables and self._snapshot.figures is not None
            return self._goals.read(db, half_width) if db is not None and known else None

    def strips(self) -> tuple[strips.Strips, tuple[strips.Event, ...]]:
        """The course of the frames' own figures as far as it was read, and the alarms."""
        with self._reading() as db:
            if db is None or "places" not in self._tables:
                return strips.Strips.empty(), ()
            return self._strips.read(db), strips.read_events(db)

    @property
    def strips_pending(self) -> bool:
        """A long record is being read for `strips`, a piece at a time."""
        return self._strips.pending

    def moment(self, frame_id: int) -> looking_back.Moment | None:
        """The figures as they stood after a frame; None while it is not settled."""
        with self._reading() as db:
            return None if db is None else looking_back.read_moment(db, frame_id)

    def next_in_time(self, frame_id: int | None) -> tuple[int, float] | None:
        """The frame acquired after another one (None: the first) and when; None after the last that is settled."""
        with self._reading() as db:
            return None if db is None else looking_back.read_next(db, frame_id)

    def acquired(self, frame_id: int) -> float | None:
        """When a settled frame was acquired."""
        with self._reading() as db:
            return None if db is None else looking_back.read_acquired(db, frame_id)

    def frame_at(self, position: int) -> int | None:
        """The frame at a place in the order of acquisition, or the last before it."""
        with self._reading() as db:
            return None if db is None else looking_back.read_frame_at(db, position)

    def _look(self) -> tuple[int, int] | None:
        try:
            status = (self.directory / DATABASE).stat()
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if status.st_size else None

    def _open(self, identity: tuple[int, int]) -> None:
        self.close()
        self._db = open_record(self.directory)
        self._identity = identity
        self._series = running.SeriesReader()
        self._sizes = running.SizesReader()
        self._ledger = running.LedgerReader()
        self._spacings = running.SpacingsReader()
        self._goals = GoalReader()
        self._strips = strips.StripReader()
        self.divider = Divider(self.directory)
        self._pending = False
        self._snapshot = Snapshot(self._snapshot.version + 1, self._snapshot.epoch + 1, self.directory)

    def _read(self, db: sqlite3.Connection) -> Snapshot:
        version = self._snapshot.version + 1
        with _moment(db):
            meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
            self._tables = asked.tables(db)
            series, figures = self._series.read(db)
            ledger, refusals = self._ledger.read(db)
            sizes = self._sizes.read(db, _settled_particles(ledger, figures))
            (newest,) = db.execute("SELECT max(frame_id) FROM results").fetchone()
            self._pending = self._ledger.pending or self._sizes.pending
            self._frames.clear()  # rows may have been replaced
            return Snapshot(
                version=version,
                epoch=self._snapshot.epoch,
                directory=self.directory,
                exists=True,
                material=meta.get("material") or None,
                goal=last_of(read_changes(db), "goal"),
                sources=running.read_sources(db),
                ledger=ledger,
                refusals=refusals,
                figures=figures,
                series=series,
                sizes=sizes,
                pace=running.read_pace(db),
                bundle=running.read_bundle(db, meta.get("bundle")),
                newest=newest,
                alarms=asked.read_alarms(db) if "alarms" in self._tables else (),
                drawn=asked.read_drawn(db) if "labels" in self._tables else 0,
                spacings=self._spacings.read(db, meta.get("material") or None),
            )

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """The open record for single look-ups; None while there is no record with tables in it."""
        self.poll()
        yield self._db if self._snapshot.exists and self._snapshot.problem is None else None


@contextmanager
def _moment(db: sqlite3.Connection) -> Iterator[None]:
    """Everything read inside belongs to one moment of the record."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def _read_frame(db: sqlite3.Connection, frame_id: int) -> ShownFrame | None:
    with _moment(db):
        row = db.execute(
            "SELECT path, item, height, width, r.pixel_size_nm, acquired, arrived, latency_ms, committed,"
            " preview IS NOT NULL, quality FROM results r JOIN frames f ON f.id = r.frame_id WHERE f.id = ?",
            (frame_id,),
        ).fetchone()
        if row is None:
            return None
        (count,) = db.execute("SELECT count(*) FROM particles WHERE frame_id = ?", (frame_id,)).fetchone()
        particles = db.execute(
            "SELECT label, class, p_empty, p_null, p_no, p_yes, abstained, row0, col0, row1, col1,"
            " diameter_nm, outline FROM particles WHERE frame_id = ? ORDER BY area_nm2 DESC LIMIT ?",
            (frame_id, MAX_PARTICLES),
        ).fetchall()
    return ShownFrame(
        id=frame_id,
        name=running.frame_name(row[0], row[1]),
        height=row[2],
        width=row[3],
        pixel_size_nm=row[4],
        acquired=row[5],
        arrived=row[6],
        latency_ms=row[7],
        stamp=stamp_of(row[8]),
        has_preview=bool(row[9]),
        quality=json.loads(row[10]),
        particles=tuple(_particle(particle) for particle in particles),
        hidden=count - len(particles),
    )


def _particle(row: tuple[Any, ...]) -> ShownParticle:
    corners = np.array(json.loads(row[12]), dtype=np.float64).reshape(-1, 2)
    corners = corners[:: max(1, -(-len(corners) // MAX_CORNERS))]
    assert row[1] in CLASSES
    return ShownParticle(
        label=row[0],
        particle_class=row[1],
        probabilities=row[2:6],
        abstained=bool(row[6]),
        bbox=row[7:11],
        diameter_nm=row[11],
        rows=corners[:, 0],
        cols=corners[:, 1],
    )


def _settled_particles(ledger: Ledger, figures: Figures | None) -> int | None:
    """How many particles there are, where the running figures have caught up with the results."""
    settled = figures is not None and figures.position == ledger.analysed
    return sum(figures.counts) if figures is not None and settled else None
