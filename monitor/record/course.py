"""Rows of the running statistics, in order of acquisition."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from monitor.record import commands, totals
from monitor.record.alarms import acknowledge_again, forget_alarms, write_alarms
from monitor.record.changes import read_changes
from monitor.record.following import Following, Settled
from monitor.record.judging import PROMOTE, TAKE_BACK
from monitor.record.labels import labelled
from monitor.record.queries import statistics_row
from monitor.record.tracks import (
    Order,
    analysed_after,
    open_maps,
    placed_until,
    truncate,
    write_place,
    write_tracks,
)
from monitor.statistics.course import StatisticsRow
from monitor.tracking.tracker import MAPS_KEPT

STATES_KEPT = 64
"""Of rows further back than twice this, every so many keep the state from which the next one follows."""


def last_row(db: sqlite3.Connection, before: Order | None = None) -> StatisticsRow | None:
    """The last row from which others can follow, or the last such before a place in the order of acquisition."""
    rows = db.execute(
        "SELECT * FROM statistics WHERE state IS NOT NULL "
        "AND (?1 IS NULL OR at < ?1 OR (at = ?1 AND frame_id < ?2)) ORDER BY position DESC LIMIT 1",
        before or (None, None),
    )
    row = rows.fetchone()
    return None if row is None else statistics_row(row)


def has_unsettled(db: sqlite3.Connection) -> bool:
    """Whether analysed frames lack their row of statistics."""
    analysed, rows = db.execute(
        "SELECT (SELECT count(*) FROM results), (SELECT count(*) FROM statistics)"
    ).fetchone()
    return bool(analysed != rows)


def has_hole(db: sqlite3.Connection) -> bool:
    """Whether rows lack what came before them."""
    rows, last, unplaced = db.execute(
        "SELECT count(*), ifnull(max(position), 0), "
        "(SELECT count(*) FROM statistics s WHERE NOT EXISTS (SELECT 1 FROM places WHERE frame_id = s.frame_id)) "
        "FROM statistics"
    ).fetchone()
    # A hole is left where a frame was taken again and this program ended before it was closed.
    if rows != last or unplaced:
        return True
    # And a result may have come that belongs before rows which are there.
    last_order = last_row(db)
    if last_order is None:
        return False
    (until,) = db.execute(
        "SELECT count(*) FROM frames WHERE state = 'analysed' AND ifnull(acquired, arrived) <= ?1 "
        "AND (ifnull(acquired, arrived) < ?1 OR id <= ?2)",
        last_order.order,
    ).fetchone()
    return bool(until != rows)


def restore(db: sqlite3.Connection, following: Following, stale: Order | None) -> None:
    """Bring `following` to the last row, or to the last before `stale`; what is behind is forgotten."""
    last = last_row(db, stale)
    following.changes = read_changes(db)
    following.acknowledged |= forget_alarms(db, 1 if last is None else last.position + 1)
    maps = [] if last is None else open_maps(db, last.order, MAPS_KEPT + 1)
    placed = [] if last is None else list(placed_until(db, last.order, maps))
    truncate(db, 1 if last is None else last.position + 1, maps)
    # What is left are the tracks that can't change any more.
    write_tracks(db, following.restore(last, totals.tally(db), placed))
    following.relabel(labelled(db))
    following.labels_due = stale is not None


def relabel(db: sqlite3.Connection, following: Following) -> None:
    """Bring the last row to the labels as they are now."""
    row = following.relabel(labelled(db))
    if row is not None:
        db.execute("DELETE FROM statistics WHERE position = ?", (row.position,))
        insert_rows(db, [row])


def carry_out(db: sqlite3.Connection, following: Following | None, at: float, *, running: bool) -> list[str]:
    """Answer the commands that wait, and bring the last row to the labels; returns which were carried out."""
    done = commands.carry_out(db, at, running=running)
    if following is not None:
        following.changes = read_changes(db)
        if "label" in done and not {PROMOTE, TAKE_BACK}.intersection(done):
            relabel(db, following)
    return done


def settle(
    db: sqlite3.Connection, following: Following, before: Order | None, limit: int
) -> tuple[list[Settled], bool]:
    """Settle the next frames, at most `limit`, that come before a place; and whether there may be more."""
    after = None if following.last is None else following.last.order
    frames = analysed_after(db, after, limit)
    due = [frame for frame in frames if before is None or frame.order < before]
    # The estimate takes some 10 ms: of frames that are settled together only the last one has it.
    settled = [following.step(frame, full=frame is due[-1]) for frame in due]
    for each in settled:
        write_place(db, each.place, each.uncounted)
        write_alarms(db, each.alarms, each.row.position)
    if following.acknowledged:
        acknowledge_again(db, following.acknowledged)
    # A track that changed several times is written once, as it is in the end.
    write_tracks(db, {track.id: track for each in settled for track in each.tracks}.values())
    insert_rows(db, (each.row for each in settled))
    if settled and following.labels_due:
        # Labelled tracks may be among those that were settled again.
        relabel(db, following)
        following.labels_due = len(due) == limit
    if settled:
        far = settled[-1].row.position - 2 * STATES_KEPT
        db.execute(
            "UPDATE statistics SET state = NULL WHERE position BETWEEN ? AND ? AND position % ? <> 0",
            (far - 2 * limit, far, STATES_KEPT),
        )
    return settled, len(frames) == limit or len(due) < len(frames)


def insert_rows(db: sqlite3.Connection, rows: Iterable[StatisticsRow]) -> None:
    """Append rows."""
    db.executemany(
        "INSERT INTO statistics (frame_id, position, at, n_empty, n_null, n_no, n_yes, counted, corrected, low, "
        "high, t_empty, t_null, t_no, t_yes, effective, always_low, always_high, labels, reason, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                r.frame_id, r.position, r.at, *r.counts, r.counted, r.corrected, r.low, r.high,
                *(r.tracks or (None,) * 4), r.effective, r.always_low, r.always_high, r.labels, r.reason, r.state,
            )
            for r in rows
        ),
    )  # fmt: skip
