"""The record's files are deleted, replaced or moved while it is open: noticed, and put back whole."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.errors import InputError, SessionLocked
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import DATABASE, RecordReader, RecordWriter, SessionLock
from monitor.record.holding import Holding

Finished = Callable[..., FinishedFrame]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows lets nobody take a file that is open")


def take(record: RecordWriter, number: int) -> None:
    record.take(1, FrameRef(Path(f"/{number}.tif"), 0, content=str(number)), at=float(number))


def arrived(folder: Path) -> int:
    with RecordReader(folder) as reader:
        return reader.ledger()["arrived"]


def delete_all(folder: Path) -> None:
    for path in folder.glob(f"{DATABASE}*"):
        path.unlink()


def delete_log(folder: Path) -> None:
    (folder / f"{DATABASE}-wal").unlink()


def delete_shared(folder: Path) -> None:
    (folder / f"{DATABASE}-shm").unlink()


def replace(folder: Path) -> None:
    (folder / "other").write_bytes(b"somebody's")
    (folder / "other").replace(folder / DATABASE)


def replace_by_a_killed_session(folder: Path) -> None:
    """A record with a write-ahead log of its own, which holds what is not in its file."""
    with RecordWriter(folder.parent / "other") as other:
        other.add_source("directory", "elsewhere", 0.0)
        take(other, 77)
        shutil.copytree(other.folder, folder.parent / "killed")
    for path in (folder.parent / "killed").glob(f"{DATABASE}*"):
        path.replace(folder / path.name)


@pytest.mark.parametrize(
    "harm", [delete_all, delete_log, delete_shared, replace, replace_by_a_killed_session, shutil.rmtree]
)
def test_what_is_taken_away_is_noticed_and_put_back_whole(
    record: RecordWriter, finished: Finished, harm: Callable[[Path], object]
) -> None:
    take(record, 1)
    record.finish(1, 0, finished("yes"), lambda: 1.0)
    take(record, 2)
    assert record.problem() is None
    harm(record.folder)
    assert "while the session writes" in str(record.problem())
    take(record, 3)  # what comes before it is noticed
    foreign = record.put_back()
    assert record.problem() is None
    take(record, 4)
    assert arrived(record.folder) == record.ledger()["arrived"] == 4
    assert record._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert record._db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    with pytest.raises(SessionLocked):
        RecordWriter(record.folder)
    assert bool(foreign) == (harm in (replace, replace_by_a_killed_session))
    record.close()
    db = sqlite3.connect(record.folder / DATABASE)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("SELECT arrived, analysed FROM ledger").fetchone() == (4, 1)
    db.close()
    if harm is replace:
        assert foreign[0].read_bytes() == b"somebody's"
    if harm is replace_by_a_killed_session:  # with what was in its log alone
        db = sqlite3.connect(foreign[0])
        assert db.execute("SELECT path FROM frames").fetchall() == [("/77.tif",)]
        db.close()


@pytest.mark.parametrize("where", ["open_for_writing", "Place.fill"])
def test_what_fails_half_way_is_tried_again_from_the_start(
    record: RecordWriter, finished: Finished, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    take(record, 1)
    record.finish(1, 0, finished("yes"), lambda: 1.0)
    delete_all(record.folder)
    for number in (2, 3):
        with monkeypatch.context() as patch:
            patch.setattr(f"monitor.record.writer.{where}", refused)
            with pytest.raises(sqlite3.OperationalError):
                record.put_back()
        take(record, number)  # whoever is told to end meanwhile still writes
    assert record.put_back() == []
    assert sorted(path.name for path in record.folder.glob(f"{DATABASE}*")) == [
        DATABASE, f"{DATABASE}-shm", f"{DATABASE}-wal",
    ]  # fmt: skip
    assert record.problem() is None
    assert arrived(record.folder) == 3


def refused(*_: object) -> None:
    try:
        sqlite3.connect("/nowhere/at/all").execute("SELECT 1")
    except sqlite3.OperationalError as error:
        raise InputError("no room") from error


def test_what_took_the_place_of_the_log_alone_is_kept_each_time(record: RecordWriter) -> None:
    for number in (1, 2):
        take(record, number)
        (record.folder / "other").write_bytes(bytes([number]))
        (record.folder / "other").replace(record.folder / f"{DATABASE}-wal")
        (kept,) = record.put_back()
        assert kept.name == f"{DATABASE}.replaced-{number}-wal"
        assert kept.read_bytes() == bytes([number])
    assert arrived(record.folder) == 2


def test_a_reader_that_stays_open_keeps_nothing_from_being_put_back(record: RecordWriter) -> None:
    take(record, 1)
    with RecordReader(record.folder) as reader, reader.glance():
        assert reader.ledger()["arrived"] == 1
        delete_log(record.folder)
        assert record.put_back() == []
        take(record, 2)
        assert reader.ledger()["arrived"] == 1  # its own moment; who looks at the file anew sees the new one
    assert record.problem() is None
    assert arrived(record.folder) == 2
    record.close()
    assert arrived(record.folder) == 2


def test_a_place_that_another_program_writes_by_now_is_left_to_it(record: RecordWriter) -> None:
    take(record, 1)
    shutil.rmtree(record.folder)
    record.folder.mkdir()
    with SessionLock(record.folder), pytest.raises(SessionLocked, match=r"kept in session\.sqlite\.saved-1"):
        record.put_back()
    db = sqlite3.connect(record.folder / f"{DATABASE}.saved-1")
    assert db.execute("SELECT arrived FROM ledger").fetchone() == (1,)
    db.close()


def test_without_room_for_it_the_session_holds_until_there_is_some(
    record: RecordWriter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("monitor.record.holding._RETRY_S", 0.01)
    take(record, 1)
    shutil.rmtree(record.folder)
    record.folder.write_bytes(b"a file where the folder was")
    tries = 0

    class Waited(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal tries
            tries += 1
            if tries == 3:
                record.folder.unlink()
            return False

    Holding(record, threading.Event(), Waited(), lambda: 1.0).look()
    assert tries == 3
    assert "record-refused" in caplog.text
    assert "it was put back, whole" in caplog.text
    assert arrived(record.folder) == 1


def test_a_folder_that_was_moved_is_waited_for_and_left_alone(
    record: RecordWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("monitor.record.holding._RETRY_S", 0.01)
    take(record, 1)
    stop, hurry = threading.Event(), threading.Event()
    record.folder.rename(tmp_path / "away")
    back = threading.Timer(0.2, lambda: (tmp_path / "away").rename(record.folder))
    back.start()
    Holding(record, stop, hurry, lambda: 1.0).look()
    back.join()
    assert record.problem() is None
    assert "the session waits for it" in caplog.text
    assert "put-back" not in caplog.text
    record.folder.rename(tmp_path / "away")
    stop.set()  # the session ends meanwhile: all is in the folder, wherever that is
    Holding(record, stop, hurry, lambda: 1.0).look(now=True)
    assert not record.folder.exists()
    record.close()
    assert arrived(tmp_path / "away") == 1


def test_it_is_looked_at_once_a_second_and_not_with_every_frame(
    record: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    now = 10.0
    holding = Holding(record, threading.Event(), threading.Event(), lambda: now)
    monkeypatch.setattr(record, "problem", lambda: looks.append(now))
    for i in range(100):
        now = 10.0 + i / 50
        holding.look()
    assert len(looks) == 2
