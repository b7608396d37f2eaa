"""Damage within a row, of which SQLite knows nothing: said as damage to the record."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from monitor.frames import FrameRef
from monitor.record import RecordReader, RecordWriter
from monitor.record.queries import frame_row


@pytest.mark.parametrize("change", ["metadata = '{\"a\" 1}'", "metadata = x'ff00'"])
def test_what_can_not_be_understood_is_damage(record: RecordWriter, change: str) -> None:
    record.take(1, FrameRef(Path("/data/a.tif"), 0, content="c", metadata={"a": 1}), at=1.0)
    record._db.execute("PRAGMA ignore_check_constraints = ON")
    record._db.execute(f"UPDATE frames SET {change}")
    with RecordReader(record.folder) as reader, pytest.raises(sqlite3.DatabaseError, match="damaged"):
        list(reader.frames())
    with pytest.raises(sqlite3.DatabaseError, match="damaged"):
        list(record.refs(1))


def test_a_path_that_is_none_is_damage(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.DatabaseError, match="damaged: 7 for a path"):
        frame_row((1, 1, 7, *[None] * 13), tmp_path)
