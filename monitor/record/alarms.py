"""Alarms in the record: those that frames raised, and those of the session itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from monitor.statistics.alarm_kinds import Alarm


def write_alarms(db: sqlite3.Connection, alarms: Iterable[Alarm], position: int | None) -> None:
    """Enter alarms that were raised, lasted or were cleared.

    Parameters
    ----------
    position : in the running statistics, of the frame after which they are so; None: they are of the session itself.
    """
    for alarm in alarms:
        changed = db.execute(
            "UPDATE alarms SET cause = ?, last_frame = ?, frames = ?, until_frame = ?, until = ? "
            "WHERE kind = ? AND since IS ? AND since_frame IS ? AND (position IS NULL) = ? AND until IS NULL",
            (
                alarm.cause, alarm.last_frame, alarm.frames, alarm.until_frame, alarm.until_time,
                alarm.kind, alarm.since_time, alarm.since_frame, position is None,
            ),
        ).rowcount  # fmt: skip
        if not changed:
            db.execute(
                "INSERT INTO alarms (kind, severity, cause, action, since_frame, since, last_frame, frames, "
                "until_frame, until, position) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    alarm.kind, alarm.severity, alarm.cause, alarm.action, alarm.since_frame, alarm.since_time,
                    alarm.last_frame, alarm.frames, alarm.until_frame, alarm.until_time, position,
                ),
            )  # fmt: skip


def forget_alarms(db: sqlite3.Connection, position: int) -> dict[tuple[str, int | None], float]:
    """Take back what frames from a position on raised and cleared.

    Returns when people acknowledged alarms that are gone, by their kind and first frame: they are raised again.
    """
    seen = {
        (kind, frame): float(at)
        for kind, frame, at in db.execute(
            "SELECT kind, since_frame, acknowledged FROM alarms WHERE position >= ? AND acknowledged IS NOT NULL",
            (position,),
        )
    }
    db.execute("DELETE FROM alarms WHERE position >= ?", (position,))
    db.execute(
        "UPDATE alarms SET until_frame = NULL, until = NULL WHERE position IS NOT NULL AND until IS NOT NULL "
        "AND until_frame NOT IN (SELECT frame_id FROM statistics)"
    )
    return seen


def acknowledge_again(db: sqlite3.Connection, seen: dict[tuple[str, int | None], float]) -> None:
    """Acknowledge alarms that were raised again as they were before."""
    for (kind, frame), at in seen.items():
        db.execute(
            "UPDATE alarms SET acknowledged = ? WHERE kind = ? AND since_frame IS ? AND acknowledged IS NULL",
            (at, kind, frame),
        )


def close_conditions(db: sqlite3.Connection, at: float) -> None:
    """Clear alarms of the session itself that an earlier run of it left: whether they still hold shows at once."""
    db.execute("UPDATE alarms SET until = ? WHERE position IS NULL AND until IS NULL", (at,))
