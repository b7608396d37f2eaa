"""Reading a session's record, while it is written or when it is finished."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from models.results import CLASSES
from monitor.record import totals
from monitor.record.changes import material_at
from monitor.record.database import open_for_reading
from monitor.record.labels import Labelled, labelled_tracks, observers_agree
from monitor.record.migrations import version_of
from monitor.record.queries import (
    FRAME_COLUMNS,
    PARTICLE_COLUMNS,
    frame_row,
    from_json,
    ledger,
    particle_row,
    source_row,
    statistics_row,
)
from monitor.record.rows import ALARM_COLUMNS, AlarmRow, FrameRow, Recorded, SourceRow
from monitor.record.spacings import pixel_size_check
from monitor.record.totals import Calls
from monitor.record.tracks import judged_sizes
from monitor.statistics.audit import Agreement
from monitor.statistics.calibration import Spacings
from monitor.statistics.course import StatisticsRow
from monitor.statistics.tally import Sums


class RecordReader:
    """Read-only view of one session; each method is one consistent glance."""

    def __init__(self, folder: Path) -> None:
        """
        Raises
        ------
        NoSession
            There is no record in `folder`, or it is damaged or of another version.
        """
        self.folder = folder.resolve()
        self._db = open_for_reading(self.folder)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def glance(self) -> Iterator[None]:
        """Within it everything that is read stands for one moment. The writer is not kept waiting."""
        if self._db.in_transaction:  # inside another glance
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """What a query of one's own finds; tables and columns are those of docs/record.md."""
        cursor = self._db.cursor()
        cursor.row_factory = sqlite3.Row
        return cursor.execute(query, values).fetchall()

    def ledger(self) -> dict[str, int]:
        """`arrived` and what it is made of: `analysed` + `queued` + `rejected` + `dropped`."""
        return ledger(self._db)

    def reasons(self) -> dict[str, int]:
        """Why frames were rejected or dropped, the most frequent first."""
        return totals.of(self._db, "rejected", "dropped")

    def sightings(self) -> dict[str, int]:
        """Particles by class, every class named."""
        counts = totals.of(self._db, "sightings")
        return {name: counts.get(name, 0) for name in CLASSES}

    def tracks(self, columns: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        """Columns of every track `t` with its first frame `f`, that one's result `r` and source `s`, in their order.

        None before version 4.
        """
        if not self.has_tracks:
            return
        yield from self._db.execute(
            f"SELECT {', '.join(columns)} FROM tracks t JOIN frames f ON f.id = t.first_frame "
            "JOIN results r ON r.frame_id = f.id JOIN sources s ON s.id = f.source_id ORDER BY t.id"
        )

    def sums(self) -> Sums:
        """The sums over all tracks that count; of nothing before version 4."""
        return totals.sums(self._db) if self.has_tracks else Sums()

    def calls_by_size(self) -> list[Calls]:
        """Tracks that count, by range of sizes and call; none before version 4."""
        return totals.calls_by_size(self._db) if self.has_tracks else []

    def calls_of_fields(self, fields: Sequence[int]) -> list[Calls]:
        """Tracks that count of some fields, by field and call."""
        return totals.calls_of_fields(self._db, fields) if self.has_tracks else []

    def largest_fields(self, most: int) -> tuple[list[int], int]:
        """The fields with the most judged tracks, and how many fields hold a track that counts."""
        return totals.largest_fields(self._db, most) if self.has_tracks else ([], 0)

    def labelled_tracks(self) -> dict[int, Labelled]:
        """Every labelled track that counts, by its number; none before version 4."""
        return labelled_tracks(self._db) if self.has_tracks else {}

    def labels_waiting(self) -> int:
        """Tracks that an audit drew and nobody labelled yet."""
        if not self.has_tracks:
            return 0
        query = "SELECT count(DISTINCT particle) FROM labels WHERE class IS NULL"
        return int(self._db.execute(query).fetchone()[0])

    def observers_agree(self) -> Agreement | None:
        """How two observers agree on the tracks that both labelled; None where there are no such tracks."""
        return observers_agree(self._db) if self.has_tracks else None

    def alarms(self) -> list[AlarmRow]:
        """Every alarm in the order in which they began; none before version 4."""
        if not self.has_tracks:
            return []
        rows = self._db.execute(f"SELECT {ALARM_COLUMNS} FROM alarms ORDER BY ifnull(since, 0), id")
        return [AlarmRow(*row) for row in rows]

    def unlike_training(self) -> bool:
        """Whether the last frames are unlike those that the model was trained on."""
        if not self.has_tracks:
            return False
        lasting = "SELECT EXISTS (SELECT 1 FROM alarms WHERE kind = ? AND until IS NULL)"
        return bool(self._db.execute(lasting, ("model unlike these frames",)).fetchone()[0])

    def bundle_details(self) -> dict[str, Any]:
        """The manifest of the model that judged last, empty before any was loaded."""
        row = self._db.execute("SELECT details FROM bundles WHERE id = ?", (self.bundle(),)).fetchone()
        details = None if row is None else from_json(row[0])
        return details if isinstance(details, dict) else {}

    def judged_sizes(self) -> tuple[float, float] | None:
        """The smallest and the largest diameter [nm] of the tracks behind the fraction; None where there is none."""
        return judged_sizes(self._db) if self.has_tracks else None

    @property
    def has_tracks(self) -> bool:
        """Whether particles were followed from frame to frame; versions before 4 did not."""
        return version_of(self._db) >= 4

    def places(self) -> dict[str, Any]:
        """How many fields and settled frames there are, and why frames were not counted."""
        if not self.has_tracks:
            return {"fields": None, "frames": 0, "uncounted": {}}
        (fields,) = self._db.execute(f"SELECT fields FROM {totals.table(self._db, 'totals_sums')}").fetchone()
        frames = totals.of(self._db, "places").get("", 0)
        return {"fields": fields, "frames": frames, "uncounted": totals.of(self._db, "uncounted")}

    def pixel_size_check(self) -> tuple[Spacings, float] | None:
        """What the lattice spacings say of the pixel size, and that size [nm]; None: nothing certain."""
        return pixel_size_check(self._db, self.meta().get("material") or None)

    def sources(self) -> list[SourceRow]:
        """Where frames came from."""
        return [source_row(row) for row in self._db.execute("SELECT * FROM sources ORDER BY id")]

    def arrived_by_source(self) -> dict[int, int]:
        """How many numbered frames are recorded of each source whose senders number them."""
        return {int(source): n for source, n in totals.of(self._db, "numbered").items()}

    def meta(self) -> dict[str, str]:
        """Facts about the session itself."""
        return dict(self._db.execute("SELECT key, value FROM meta"))

    def bundle(self) -> str | None:
        """The model that judged last, None before any was loaded."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'bundle'").fetchone()
        return None if row is None else str(row[0])

    def latency_ms(self, q: float) -> float | None:
        """From a frame being whole to its result being here: what q percent do not exceed (nearest rank)."""
        analysed = self.ledger()["analysed"]
        place = max(0, math.ceil(q / 100 * analysed) - 1)
        row = self._db.execute(
            "SELECT latency_ms FROM results ORDER BY latency_ms LIMIT 1 OFFSET ?", (place,)
        ).fetchone()
        return None if row is None else float(row[0])

    def last_statistics(self) -> StatisticsRow | None:
        """The running figures as they stand, None before the first frame was analysed."""
        row = self._db.execute("SELECT * FROM statistics ORDER BY position DESC LIMIT 1").fetchone()
        return None if row is None else statistics_row(row)

    def frames(self) -> Iterator[FrameRow]:
        """Every frame in order of arrival."""
        for row in self._db.execute(f"SELECT {FRAME_COLUMNS} FROM frames ORDER BY id"):
            yield frame_row(row, self.folder)

    def analysed(self) -> list[int]:
        """The numbers of the analysed frames, in order of arrival."""
        return [row[0] for row in self._db.execute("SELECT frame_id FROM results ORDER BY frame_id")]

    def recorded(self, frame_id: int) -> Recorded | None:
        """What was found in one frame, None where it is not analysed (any more)."""
        with self.glance():
            result = self._db.execute(
                "SELECT bundle, backend, height, width, pixel_size_nm, committed FROM results WHERE frame_id = ?",
                (frame_id,),
            ).fetchone()
            if result is None:
                return None
            frame = self._db.execute(
                f"SELECT {FRAME_COLUMNS} FROM frames WHERE id = ?", (frame_id,)
            ).fetchone()
            particles = self._db.execute(
                f"SELECT {PARTICLE_COLUMNS} FROM particles WHERE frame_id = ? ORDER BY label", (frame_id,)
            ).fetchall()
            material = material_at(self._db, result[-1])
        bundle, backend, height, width, pixel_size_nm, _ = result
        return Recorded(
            frame_row(frame, self.folder),
            bundle,
            backend,
            (height, width),
            pixel_size_nm,
            tuple(particle_row(row) for row in particles),
            material,
        )

    def bundle_path(self, bundle: str) -> Path | None:
        """Where a model lay when it judged, None for one that this session does not know."""
        row = self._db.execute("SELECT path FROM bundles WHERE id = ?", (bundle,)).fetchone()
        return None if row is None else Path(row[0])

    def particles(self, columns: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        """Columns of every sighting `p` with its frame `f`, result `r` and source `s`, in order of arrival."""
        yield from self._db.execute(
            f"SELECT {', '.join(columns)} FROM particles p JOIN frames f ON f.id = p.frame_id "
            "JOIN results r ON r.frame_id = p.frame_id JOIN sources s ON s.id = f.source_id "
            "ORDER BY p.frame_id, p.label"
        )
