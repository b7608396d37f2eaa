"""How the record's rows become plain records, and values become JSON."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from pathlib import Path
from typing import Any

from models.results import Particle
from monitor.record import totals
from monitor.record.rows import FrameRow, SourceRow
from monitor.statistics.course import StatisticsRow

FRAME_COLUMNS = (
    "id, source_id, path, item, revision, content, sender, sequence, acquired, arrived, file_size, "
    "file_mtime_ns, pixel_size_nm, metadata, state, reason"
)

PARTICLE_COLUMNS = (
    "label, class, p_empty, p_null, p_no, p_yes, abstained, row0, col0, row1, col1, centroid_row, "
    "centroid_col, diameter_nm, area_nm2, outline, features"
)


STATES = ("analysed", "queued", "rejected", "dropped")


def ledger(db: sqlite3.Connection) -> dict[str, int]:
    """`arrived` and what it is made of: `analysed` + `queued` + `rejected` + `dropped`."""
    counts = totals.of(db, "frames")
    parts = {state: counts.get(state, 0) for state in STATES}
    return {"arrived": sum(parts.values()), **parts}


def frame_row(row: tuple[Any, ...], folder: Path) -> FrameRow:
    """From `FRAME_COLUMNS`; relative paths lie in the session's folder."""
    return FrameRow(
        id=row[0],
        source_id=row[1],
        path=folder / _path(row[2]),
        index=row[3],
        revision=row[4],
        content=row[5],
        sender=row[6],
        sequence=row[7],
        acquired=row[8],
        arrived=row[9],
        file_size=row[10],
        file_mtime_ns=row[11],
        pixel_size_nm=row[12],
        metadata=from_json(row[13]) if row[13] else {},
        state=row[14],
        reason=row[15],
    )


def stored_path(path: Path, folder: Path) -> str | bytes:
    """How a path is kept: relative to the session inside it, so that its folder can be moved; else as it is.

    A name that is no text (bytes that some file systems allow) is kept as bytes.
    """
    text = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text)
    return text


def particle_row(row: tuple[Any, ...]) -> Particle:
    """From `PARTICLE_COLUMNS`."""
    return Particle(
        label=row[0],
        particle_class=row[1],
        probabilities=(row[2], row[3], row[4], row[5]),
        abstained=bool(row[6]),
        bbox=(row[7], row[8], row[9], row[10]),
        centroid=(row[11], row[12]),
        diameter_nm=row[13],
        area_nm2=row[14],
        outline=tuple((r, c) for r, c in from_json(row[15])),
        features=from_json(row[16]),
    )


def from_json(text: Any) -> Any:
    """What was kept as JSON. SQLite knows damage to its pages, not to what stands in a row."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"what stands in a row is damaged: {error}") from error


def _path(kept: Any) -> str:
    if not isinstance(kept, str | bytes):
        raise sqlite3.DatabaseError(f"what stands in a row is damaged: {kept!r} for a path")
    return os.fsdecode(kept)


def source_row(row: tuple[Any, ...]) -> SourceRow:
    """From all columns of `sources`."""
    return SourceRow(*row)


def statistics_row(row: tuple[Any, ...]) -> StatisticsRow:
    """From all columns of `statistics`."""
    tracks = None if len(row) < 15 or row[11] is None else (row[11], row[12], row[13], row[14])
    counts = (row[3], row[4], row[5], row[6])
    added = row[15:21] if len(row) > 20 else (None,) * 6
    return StatisticsRow(row[0], row[1], row[2], counts, row[7], row[8], row[9], row[10], tracks, *added)


def to_json(value: Any) -> str:
    """JSON that every reader understands: what is not a finite number becomes null."""
    try:
        return json.dumps(value, allow_nan=False)
    except (ValueError, TypeError):
        return json.dumps(_cleaned(value), allow_nan=False)


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def as_text(value: str | None) -> str | None:
    """The same text without what can't be stored (half characters from broken names)."""
    return None if value is None else value.encode("utf-8", "replace").decode()
