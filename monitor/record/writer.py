"""The one writer of a session's record: arrivals, results, and the running statistics."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from monitor.errors import InputError, SessionLocked
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import course
from monitor.record.alarms import close_conditions, write_alarms
from monitor.record.checkpoints import Checkpoints
from monitor.record.database import open_for_writing
from monitor.record.following import Following, Settled
from monitor.record.identity import Taken, renamed, same_place, take_again, take_instead, take_renamed
from monitor.record.judging import Bench
from monitor.record.lock import SessionLock
from monitor.record.numbers import Numbers
from monitor.record.place import Place
from monitor.record.queries import FRAME_COLUMNS, as_text, frame_row, ledger, source_row, stored_path, to_json
from monitor.record.rows import FrameRow, SourceRow
from monitor.record.values import knowledge, particle_values, waits, whole_since
from monitor.statistics.alarm_kinds import Alarm


class RecordWriter:
    """Writes one session's record; a second writer is refused. Each change is one transaction."""

    def __init__(self, folder: Path) -> None:
        """Open the session in `folder`, or begin one there.

        Raises
        ------
        SessionLocked
            Another program writes it.
        InputError
            It can't be written here, or is no session of this version.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{folder} can't be made a session's folder: {error.strerror or error}", path=folder
            ) from error
        self.folder = folder.resolve()
        self._lock = SessionLock(self.folder)
        try:
            self._db = open_for_writing(self.folder)
            self._checkpoints = Checkpoints(self.folder, self._db)
        except BaseException:
            self._lock.release()
            raise
        self._place = Place(self.folder)
        self._numbers: dict[tuple[int, str], Numbers] = {}

    def close(self) -> None:
        """Fold the write-ahead log into the file and let the next writer in."""
        self._checkpoints.close()
        self._db.close()
        self._lock.release()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the record's files --------------------------------------------------------------------------------

    def problem(self) -> str | None:
        """What happened to the record's files behind its back, as half a sentence; None: nothing."""
        if self._lock.state != "here":
            return f"{self.folder / 'lock'} was {self._lock.state} while the session writes"
        return self._place.problem()

    def is_away(self) -> bool:
        """The whole folder went somewhere else, with all that is in it, and may come back."""
        return self._lock.state == "moved" and not os.path.exists(self.folder)

    def put_back(self) -> list[Path]:
        """Write the record again, as a whole, where its files were deleted or replaced.

        What was put in its place is kept, under the names that are returned. Where it fails, all is as it was
        and it may be tried again: the files that are open are let go last.

        Raises
        ------
        SessionLocked
            Another program writes there by now.
        sqlite3.OperationalError, OSError
            It can't be written there now.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        copy = self._place.copy(self._db)
        try:
            if self._lock.state != "here":
                lock = SessionLock(self.folder)
                self._lock.release()
                self._lock = lock
            foreign = self._place.fill(copy)
            opened = open_for_writing(self.folder)
            checkpoints = Checkpoints(self.folder, opened)
        except SessionLocked as error:
            raise SessionLocked(
                f"{error.reason}; what this session had is kept in {copy.name}", path=self.folder
            ) from error
        except InputError as error:
            copy.unlink(missing_ok=True)
            # What the disk said can pass; a sentence for a session that begins is none for one that runs.
            raise (error.__cause__ or error) from None
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        place = Place(self.folder)
        # SQLite sees that its file is not the one of this name any more, and leaves the log of that one alone.
        self._checkpoints.close()
        self._db.close()
        self._db, self._checkpoints, self._place = opened, checkpoints, place
        return foreign

    # -- what the session is ---------------------------------------------------------------------------------

    def set_meta(self, **values: Any) -> None:
        """Keep facts about the session itself; anything but a string as JSON."""
        rows = [(key, value if isinstance(value, str) else to_json(value)) for key, value in values.items()]
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", rows)

    def meta(self, key: str) -> str | None:
        """One fact about the session, None where it is not known."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def add_bundle(self, bundle: str, path: Path, details: dict[str, Any]) -> None:
        """Keep which model judges from here on."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO bundles (id, path, details) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET path = excluded.path, details = excluded.details",
                (bundle, str(path), to_json(details)),
            )

    def begin(self, bench: Bench, bundle: str, path: Path, details: dict[str, Any], at: float) -> None:
        """Have `bench` begin with the workers' bundle; see `Bench.begin`."""
        self.add_bundle(bundle, path, details)
        with self._transaction() as db:
            bench.begin(db, bundle, path, details, at)

    # -- sources ---------------------------------------------------------------------------------------------

    def add_source(self, kind: str, address: str, at: float) -> SourceRow:
        """The row of a source, a new one where this session did not know it."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO sources (kind, address, state, since) VALUES (?, ?, 'watching', ?)",
                (kind, address, at),
            )
            row = db.execute("SELECT * FROM sources WHERE address = ?", (address,)).fetchone()
        source = source_row(row)
        for sender, number, zero in self._db.execute(
            "SELECT sender, sequence, json_extract(metadata, '$.run') IS NOT NULL FROM frames "
            "WHERE source_id = ? AND sequence IS NOT NULL ORDER BY id",
            (source.id,),
        ):
            key = (source.id, str(sender))
            self._numbers[key] = self._numbers.get(key, Numbers()).after(number, starts_at_zero=bool(zero))[0]
        return source

    def set_source(
        self, source_id: int, *, state: str, message: str | None, duplicates: int, ignored: int, at: float
    ) -> None:
        """Keep how a source does; `since` moves when its state changes."""
        with self._transaction() as db:
            db.execute(
                "UPDATE sources SET since = CASE WHEN state = ? THEN since ELSE ? END, "
                "state = ?, message = ?, duplicates = ?, ignored = ? WHERE id = ?",
                (state, at, state, message, duplicates, ignored, source_id),
            )

    def refs(self, source_id: int) -> Iterator[FrameRef]:
        """What is recorded of one source, in order of arrival, for the source to know what is no news."""
        rows = self._db.execute(
            f"SELECT {FRAME_COLUMNS} FROM frames WHERE source_id = ? ORDER BY arrived, id", (source_id,)
        )
        for row in rows:
            yield frame_row(row, self.folder).ref

    # -- arrivals --------------------------------------------------------------------------------------------

    def take(self, source_id: int, ref: FrameRef, at: float, *, renames: bool = False) -> Taken:
        """Enter a frame that a source announced: a new one, a new revision, a renamed file, or no news.

        A frame is its source, its place and its content together. The same place with the same content is no
        news; with other content it is the frame's next revision, which is analysed anew in the place of the
        older one, so that the ledger and the statistics count it once.

        Parameters
        ----------
        renames
            Files can be renamed at this source: the same content under a new name, the old name gone, is the
            same frame.
        """
        with self._transaction() as db:
            if (found := same_place(db, self.folder, source_id, ref)) is not None:
                return take_again(db, found, ref, at)
            if (taken := take_instead(db, self.folder, source_id, ref, at)) is not None:
                return taken
            if renames and (moved := renamed(db, self.folder, source_id, ref)) is not None:
                return take_renamed(db, self.folder, moved, ref)
            cursor = db.execute(
                "INSERT INTO frames (source_id, path, item, content, file_size, file_mtime_ns, sender, "
                "sequence, acquired, arrived, pixel_size_nm, metadata, state, reason) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (source_id, stored_path(ref.path, self.folder), ref.index, *knowledge(ref, at)),
            )
            numbers, lost = self._after(source_id, ref)
            if lost:
                db.execute("UPDATE sources SET lost = lost + ? WHERE id = ?", (lost, source_id))
            frame_id = int(cursor.lastrowid or 0)
        if numbers is not None:
            self._numbers[source_id, str(ref.sender)] = numbers
        return Taken("new", frame_id, queued=waits(ref), lost=lost)

    def frame(self, frame_id: int) -> FrameRow:
        """One frame of the ledger."""
        row = self._db.execute(f"SELECT {FRAME_COLUMNS} FROM frames WHERE id = ?", (frame_id,)).fetchone()
        return frame_row(row, self.folder)

    def ledger(self) -> dict[str, int]:
        """`arrived` and what it is made of: `analysed` + `queued` + `rejected` + `dropped`."""
        return ledger(self._db)

    def queued(self) -> list[int]:
        """The frames that wait to be analysed, in order of arrival."""
        return [
            row[0] for row in self._db.execute("SELECT id FROM frames WHERE state = 'queued' ORDER BY id")
        ]

    def concluded(self) -> Iterator[tuple[Path, bool]]:
        """Files of the frames that are through, in order of arrival, and whether each was analysed."""
        for path, state in self._db.execute(
            "SELECT path, state FROM frames WHERE state IN ('analysed', 'rejected') ORDER BY id"
        ):
            yield self.folder / os.fsdecode(path), state == "analysed"

    # -- results ---------------------------------------------------------------------------------------------

    def finish(
        self, frame_id: int, revision: int, done: FinishedFrame, clock: Callable[[], float]
    ) -> tuple[float, int] | None:
        """Commit what a worker found, and tell the frame's place in the order of acquisition.

        None where the frame no longer waits for this revision's result, which is then not kept. Where another
        frame has the very same pixels, `repeated` in the quality is true: the camera is frozen.
        """
        analysis = done.analysis
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE frames SET acquired = ifnull(acquired, ?), "
                "metadata = CASE WHEN metadata = '{}' THEN ? ELSE metadata END "
                "WHERE id = ? AND revision = ? AND state = 'queued'",
                (done.acquired, to_json(done.metadata), frame_id, revision),
            ).rowcount
            if not changed:
                return None
            arrived, mtime_ns, at = db.execute(
                "SELECT arrived, file_mtime_ns, ifnull(acquired, arrived) FROM frames WHERE id = ?",
                (frame_id,),
            ).fetchone()
            quality = {**analysis.quality, "repeated": _has(db, done.pixels)}
            committed = clock()
            since = whole_since(arrived, mtime_ns)
            # With its result it becomes `analysed`, see ledger.sql.
            db.execute(
                "INSERT INTO results (frame_id, bundle, backend, height, width, pixel_size_nm, quality, "
                "timings_ms, finished, committed, latency_ms, preview, pixels, signature) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    frame_id, analysis.bundle, analysis.backend, *analysis.shape, analysis.pixel_size_nm,
                    to_json(quality), to_json(analysis.timings_ms), done.finished, committed,
                    max(0.0, (committed - since) * 1000), done.preview, done.pixels, done.signature,
                ),
            )  # fmt: skip
            db.executemany(
                "INSERT INTO particles (frame_id, label, class, p_empty, p_null, p_no, p_yes, abstained, "
                "row0, col0, row1, col1, centroid_row, centroid_col, diameter_nm, area_nm2, outline, "
                "features) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [particle_values(frame_id, particle) for particle in analysis.particles],
            )
        return (at, frame_id)

    def reject(self, frame_id: int, revision: int, reason: str) -> bool:
        """Commit that a frame can't be analysed, and why; False where that is no longer asked."""
        with self._transaction() as db:
            return bool(
                db.execute(
                    "UPDATE frames SET state = 'rejected', reason = ? "
                    "WHERE id = ? AND revision = ? AND state = 'queued'",
                    (as_text(reason), frame_id, revision),
                ).rowcount
            )

    def drop(self, frame_id: int, reason: str) -> None:
        """Commit that a frame will never be analysed although it could have been, and why."""
        with self._transaction() as db:
            db.execute(
                "UPDATE frames SET state = 'dropped', reason = ? WHERE id = ? AND state = 'queued'",
                (as_text(reason), frame_id),
            )

    # -- statistics, in order of acquisition -----------------------------------------------------------------

    def has_unsettled(self) -> bool:
        """Whether analysed frames lack their row of statistics."""
        return course.has_unsettled(self._db)

    def has_hole(self) -> bool:
        """Whether rows lack what came before them."""
        return course.has_hole(self._db)

    def restore(self, following: Following, stale: tuple[float, int] | None) -> None:
        """Bring `following` to the last row, or to the last before `stale`; what is behind is forgotten."""
        with self._transaction() as db:
            course.restore(db, following, stale)

    def settle(
        self, following: Following, before: tuple[float, int] | None, limit: int
    ) -> tuple[list[Settled], bool]:
        """Settle the next frames, at most `limit`, that come before a place; and whether there may be more."""
        with self._transaction() as db:
            return course.settle(db, following, before, limit)

    def lost(self) -> int:
        """Frames that never came, by gaps in the senders' numbers."""
        return int(self._db.execute("SELECT ifnull(sum(lost), 0) FROM sources").fetchone()[0])

    def write_alarms(self, alarms: Iterable[Alarm]) -> None:
        """Enter alarms of the session itself that were raised, lasted or were cleared."""
        with self._transaction() as db:
            write_alarms(db, alarms, None)

    def close_conditions(self, at: float) -> bool:
        """Clear alarms of the session itself that an earlier run of it left."""
        with self._transaction() as db:
            close_conditions(db, at)
        return True

    def carry_out(self, following: Following | None, at: float, *, running: bool = True) -> list[str]:
        """Answer the commands that wait; returns the names of those that were carried out."""
        (waiting,) = self._db.execute(
            "SELECT EXISTS (SELECT 1 FROM commands WHERE accepted IS NULL)"
        ).fetchone()
        if not waiting:
            return []
        with self._transaction() as db:
            return course.carry_out(db, following, at, running=running)

    def follow(self, bench: Bench) -> None:
        """Have `bench` follow what was changed."""
        bench.follow(self._db)

    # -- inside ----------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
            self._checkpoints.committed()
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _after(self, source_id: int, ref: FrameRef) -> tuple[Numbers | None, int]:
        if ref.sequence is None:
            return None, 0
        before = self._numbers.get((source_id, str(ref.sender)), Numbers())
        return before.after(ref.sequence, starts_at_zero=ref.metadata.get("run") is not None)


def _has(db: sqlite3.Connection, pixels: str | None) -> bool:
    """Whether an analysed frame has these pixels."""
    return bool(db.execute("SELECT EXISTS (SELECT 1 FROM results WHERE pixels = ?)", (pixels,)).fetchone()[0])
