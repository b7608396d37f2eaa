"""The identity of frames: which row of the ledger an announced frame belongs to.

A frame is its source, its place (path and index) and its content together. The same place with the same content is no
news; with other content it is the frame's next revision; the same content under a new name, the old name being gone, is
the same frame.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from monitor.frames import FrameRef
from monitor.record.queries import FRAME_COLUMNS, frame_row, stored_path
from monitor.record.rows import FrameRow
from monitor.record.values import knowledge, waits


@dataclass(frozen=True)
class Taken:
    """What became of a frame ref that a source announced."""

    what: Literal["new", "revision", "renamed", "known"]
    frame_id: int
    queued: bool
    """It has to be analysed (again)."""
    lost: int = 0
    """By how much the count of lost frames changed."""
    replaced: tuple[float, int] | None = None
    """Where the older revision, whose result is gone with it, stood in the order of acquisition."""


def same_place(db: sqlite3.Connection, folder: Path, source_id: int, ref: FrameRef) -> FrameRow | None:
    """The frame at the same path and index. A file that could not be read stands for its frame 0."""
    row = db.execute(
        f"SELECT {FRAME_COLUMNS} FROM frames WHERE source_id = ?1 AND path = ?2 AND "
        "(ifnull(item, -1) = ?3 OR (?3 = -1 AND item = 0) OR (?3 = 0 AND item IS NULL)) "
        "ORDER BY ifnull(item, -1) = ?3 DESC LIMIT 1",
        (source_id, stored_path(ref.path, folder), -1 if ref.index is None else ref.index),
    ).fetchone()
    return None if row is None else frame_row(row, folder)


def renamed(db: sqlite3.Connection, folder: Path, source_id: int, ref: FrameRef) -> FrameRow | None:
    """The frame with the same content whose file is gone; `None` where there is none."""
    if ref.content is None:
        return None
    for row in db.execute(
        f"SELECT {FRAME_COLUMNS} FROM frames WHERE content = ? AND source_id = ? AND ifnull(item, -1) = ?",
        (ref.content, source_id, -1 if ref.index is None else ref.index),
    ):
        frame = frame_row(row, folder)
        if not os.path.exists(frame.path):
            return frame
    return None


def take_again(db: sqlite3.Connection, found: FrameRow, ref: FrameRef, at: float) -> Taken:
    """Enter what a source announced at the place of a known frame: no news, or its next revision."""
    if ref.content is not None and found.content is not None:
        same = ref.content == found.content
    else:
        same = (ref.file_size, ref.file_mtime_ns) == (found.file_size, found.file_mtime_ns)
    # What could not be read for its rights or its share, or not be kept, may be the same bytes, and here now.
    missed = found.state == "dropped" or (found.state == "rejected" and found.index is None)
    if same and not (missed and waits(ref)):
        db.execute(
            "UPDATE frames SET file_size = ?, file_mtime_ns = ? WHERE id = ?",
            (ref.file_size, ref.file_mtime_ns, found.id),
        )
        return Taken("known", found.id, queued=False)
    db.execute("DELETE FROM results WHERE frame_id = ?", (found.id,))
    db.execute(
        "UPDATE frames SET item = ?, revision = revision + 1, content = ?, file_size = ?, "
        "file_mtime_ns = ?, sender = ?, sequence = ?, acquired = ?, arrived = ?, pixel_size_nm = ?, "
        "metadata = ?, state = ?, reason = ? WHERE id = ?",
        (found.index if ref.index is None else ref.index, *knowledge(ref, at), found.id),
    )
    replaced = found.order if found.state == "analysed" else None
    return Taken("revision", found.id, queued=waits(ref), replaced=replaced)


def take_instead(
    db: sqlite3.Connection, folder: Path, source_id: int, ref: FrameRef, at: float
) -> Taken | None:
    """Enter a better file of an exposure that is known by another one; None where that one is not known."""
    if ref.instead_of is None:
        return None
    found = same_place(db, folder, source_id, replace(ref, path=ref.instead_of))
    if found is None:
        return None
    db.execute("UPDATE frames SET path = ? WHERE id = ?", (stored_path(ref.path, folder), found.id))
    return take_again(db, found, ref, at)


def take_renamed(db: sqlite3.Connection, folder: Path, moved: FrameRow, ref: FrameRef) -> Taken:
    """Enter the new name of a known frame."""
    state = "queued" if ref.rejected is None and moved.state == "rejected" else moved.state
    db.execute(
        "UPDATE frames SET path = ?, file_size = ?, file_mtime_ns = ?, state = ?, "
        "reason = CASE WHEN ? = 'queued' THEN NULL ELSE reason END WHERE id = ?",
        (
            stored_path(ref.path, folder),
            ref.file_size,
            ref.file_mtime_ns,
            state,
            state,
            moved.id,
        ),
    )
    # A frame that still waits under the old name is in the queue already.
    return Taken("renamed", moved.id, queued=state == "queued" and moved.state != "queued")
