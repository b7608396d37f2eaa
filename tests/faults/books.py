"""Looks at a session's record with plain `sqlite3`, while it is written and after its writer was killed."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: What the record promises at every moment, as questions whose answer is 0.
_PROMISES = {
    "frames are in no state of the ledger": """
        SELECT count(*) FROM frames WHERE state NOT IN ('analysed', 'queued', 'rejected', 'dropped')""",
    "analysed frames have no result": """
        SELECT count(*) FROM frames WHERE state = 'analysed' AND id NOT IN (SELECT frame_id FROM results)""",
    "results belong to frames that are not analysed": """
        SELECT count(*) FROM results JOIN frames ON id = frame_id WHERE state <> 'analysed'""",
    "results belong to no frame": """
        SELECT count(*) FROM results WHERE frame_id NOT IN (SELECT id FROM frames)""",
    "particles belong to no result": """
        SELECT count(*) FROM particles WHERE frame_id NOT IN (SELECT frame_id FROM results)""",
    "entries of statistics belong to no result": """
        SELECT count(*) FROM statistics WHERE frame_id NOT IN (SELECT frame_id FROM results)""",
    "positions are missing in the statistics": """
        SELECT count(*) - ifnull(max(position), 0) FROM statistics""",
    "the last figures are not those of the particles before them": """
        SELECT count(*) FROM (SELECT * FROM statistics ORDER BY position DESC LIMIT 1) AS last
        WHERE n_empty + n_null + n_no + n_yes <>
              (SELECT count(*) FROM particles WHERE frame_id IN (SELECT frame_id FROM statistics))""",
}


@dataclass(frozen=True)
class Books:
    """The record at one moment."""

    ledger: dict[str, int] = field(default_factory=Counter)
    """arrived, analysed, queued, rejected, dropped"""
    analysed: frozenset[int] = frozenset()
    """Frames by their number in the record."""
    doubled: int = 0
    """Rows more than there are pictures; every picture that the suite makes is different."""
    lost: int = 0
    """Gaps in the senders' numbers."""
    broken: tuple[str, ...] = ()
    """Promises that do not hold."""


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """The record of a session, for reading: one moment of it, for as long as this lasts; not made where it is not."""
    address = f"{(folder / 'session.sqlite').absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(address, uri=True, timeout=60, isolation_level=None)
    try:
        db.execute("PRAGMA query_only = 1")
        db.execute("BEGIN")
        yield db
    finally:
        db.close()


def count(folder: Path, state: str = "analysed") -> int:
    """Frames in this state; 0 where there is no record yet."""
    try:
        with opened(folder) as db:
            return int(db.execute("SELECT count(*) FROM frames WHERE state = ?", (state,)).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def look(folder: Path, before: Books | None = None) -> Books:
    """What the record says now, and whether it agrees with itself and with what it said before."""
    if not (folder / "session.sqlite").exists():
        return Books(
            broken=("the record is gone",) if before is not None and before.ledger["arrived"] else ()
        )
    with opened(folder) as db:
        if db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'frames'").fetchone() == (0,):
            return Books()  # killed while it was laid out
        states = dict(db.execute("SELECT state, count(*) FROM frames GROUP BY state"))
        arrived, pictures = db.execute(
            "SELECT count(*), count(DISTINCT ifnull(content, id)) FROM frames"
        ).fetchone()
        analysed = frozenset(row[0] for row in db.execute("SELECT id FROM frames WHERE state = 'analysed'"))
        lost = db.execute("SELECT ifnull(sum(lost), 0) FROM sources").fetchone()[0]
        broken = [
            f"{n} {what}" for what, query in _PROMISES.items() if (n := db.execute(query).fetchone()[0])
        ]
    ledger = {name: states.get(name, 0) for name in ("analysed", "queued", "rejected", "dropped")}
    if arrived != sum(ledger.values()):
        broken.append(f"{arrived} arrived, and the ledger is {ledger}")
    if before is not None:
        if forgotten := len(before.analysed - analysed):
            broken.append(f"{forgotten} results that had been committed are gone")
        if arrived < before.ledger["arrived"]:
            broken.append(f"{before.ledger['arrived']} frames had arrived, and now {arrived}")
    return Books(Counter(arrived=arrived, **ledger), analysed, arrived - pictures, lost, tuple(broken))


def sound(folder: Path) -> list[str]:
    """What SQLite itself has to say against the file."""
    with opened(folder) as db:
        complaints = [row[0] for row in db.execute("PRAGMA integrity_check") if row != ("ok",)]
        return complaints + [f"foreign key: {row}" for row in db.execute("PRAGMA foreign_key_check")]
