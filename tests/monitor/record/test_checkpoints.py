"""The write-ahead log is folded in beside the writer, into the files that it opened and no others."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.record import DATABASE, RecordWriter
from monitor.record.checkpoints import Checkpoints


def take(record: RecordWriter, number: int) -> None:
    record.take(1, FrameRef(Path(f"/{number}.tif"), 0, content=str(number)), at=float(number))


def in_the_file_itself(folder: Path, copy: Path) -> int:
    """Frames that are there without the log."""
    shutil.copy(folder / DATABASE, copy)
    db = sqlite3.connect(f"{copy.as_uri()}?immutable=1", uri=True)
    try:
        return int(db.execute("SELECT count(*) FROM frames").fetchone()[0])
    except sqlite3.DatabaseError:  # copied while it was written
        return -1
    finally:
        db.close()


def begun(folder: Path) -> RecordWriter:
    record = RecordWriter(folder)
    record.add_source("directory", "somewhere", 0.0)
    return record


def test_what_was_committed_reaches_the_file_though_the_writer_does_nothing_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "EVERY", 5)
    with begun(tmp_path / "s") as record:  # one commit
        assert record._db.execute("PRAGMA wal_autocheckpoint").fetchone() == (Checkpoints.LIMIT_PAGES,)
        for number in range(4):
            take(record, number)
        until = time.monotonic() + 60
        while in_the_file_itself(record.folder, tmp_path / "copy") != 4 and time.monotonic() < until:
            threading.Event().wait(0.01)
        assert in_the_file_itself(record.folder, tmp_path / "copy") == 4
        take(record, 4)
    assert in_the_file_itself(record.folder, tmp_path / "copy") == 5
    assert not list(record.folder.glob(f"{DATABASE}-*"))


@pytest.mark.skipif(os.name == "nt", reason="Windows lets nobody take a file that is open")
def test_what_takes_the_names_of_its_files_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "EVERY", 1)
    with begun(tmp_path / "other") as other:
        take(other, 77)
        shutil.copytree(other.folder, tmp_path / "killed")
    foreign = {path.name: path.read_bytes() for path in (tmp_path / "killed").glob(f"{DATABASE}*")}
    with begun(tmp_path / "s") as record:
        for path in (tmp_path / "killed").glob(f"{DATABASE}*"):
            path.replace(record.folder / path.name)
        for number in range(20):
            take(record, number)
        record._checkpoints.close()
        assert {name: (record.folder / name).read_bytes() for name in foreign} == foreign


def test_a_record_that_can_not_be_opened_once_more_is_told_in_a_sentence(tmp_path: Path) -> None:
    begun(tmp_path / "s").close()
    writer = sqlite3.connect(tmp_path / "s" / DATABASE)
    with pytest.raises(InputError):
        Checkpoints(tmp_path / "nowhere", writer)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        writer.execute("SELECT 1")
