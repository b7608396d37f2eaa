"""What the record does when the disk is full, read-only, held by another program, or damaged."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.errors import InputError, NoSession
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import DATABASE, RecordReader, RecordWriter, database

Finished = Callable[..., FinishedFrame]
Disk = Callable[..., None]


def ref(number: int) -> FrameRef:
    return FrameRef(Path(f"/{number}.tif"), 0, content=str(number), metadata={"filler": "x" * 4000})


def begin(folder: Path) -> RecordWriter:
    record = RecordWriter(folder)
    record.add_bundle("test-bundle", folder, {})
    record.add_source("directory", "somewhere", 0.0)
    return record


def arrived(folder: Path) -> int:
    with RecordReader(folder) as reader:
        return reader.ledger()["arrived"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount")
    if not mounted or mount("-t", "tmpfs", "-o", "size=2m", "none", str(place)) != 0:
        pytest.skip("only root can mount a small file system, and not everywhere")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def mount(*arguments: str) -> int:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode


def fill(record: RecordWriter, taken: int = 0) -> int:
    """Take frames until the disk refuses; returns how many were committed."""
    try:
        while taken < 5000:
            record.take(1, ref(taken), at=float(taken))
            taken += 1
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        return taken
    raise AssertionError("it never refused")


def test_a_full_disk_loses_nothing_that_was_committed(disk: Path, finished: Finished) -> None:
    folder = disk / "s"
    with begin(folder) as record:
        record.take(1, ref(0), at=0.0)
        record.take(1, ref(1), at=1.0)
        filler = disk / "filler"
        filler.write_bytes(bytes(800_000))
        taken = fill(record, 2)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            record.reject(2, 0, "x" * 1_000_000)
        assert record.frame(2).state == "queued"
        assert arrived(folder) == taken
        filler.unlink()  # the cause is gone: it goes on
        record.take(1, ref(taken), at=1.0)
        record.finish(1, 0, finished("yes"), lambda: 1.0)
        fill(record, taken + 1)
        total = arrived(folder)
    assert arrived(folder) == total > taken
    db = sqlite3.connect(folder / DATABASE)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_a_session_on_a_full_disk_is_refused_with_a_sentence(disk: Path) -> None:
    folder = disk / "s"
    folder.mkdir()
    with pytest.raises(OSError, match="No space"):
        (disk / "filler").write_bytes(bytes(4_000_000))
    with pytest.raises(InputError, match="can't hold a session: the disk is full"):
        RecordWriter(folder)
    assert [path.name for path in folder.iterdir()] == ["lock"]
    (disk / "filler").unlink()
    begin(folder).close()


def test_a_session_is_gone_on_with_only_where_there_is_room_and_keeps_what_it_has(disk: Path) -> None:
    folder = disk / "s"
    with begin(folder) as record:
        record.take(1, ref(0), at=0.0)
    with pytest.raises(OSError, match="No space"):
        (disk / "filler").write_bytes(bytes(4_000_000))
    with pytest.raises(InputError, match="the disk is full"):
        RecordWriter(folder)
    assert arrived(folder) == 1  # it can be read
    (disk / "filler").unlink()
    with RecordWriter(folder) as record:
        assert record.queued() == [1]


def test_a_read_only_place_is_refused_for_writing_and_can_be_read(disk: Path) -> None:
    folder = disk / "s"
    with begin(folder) as record:
        record.take(1, ref(0), at=0.0)
    killed = disk / "killed"
    with begin(folder) as record:
        record.take(1, ref(1), at=0.0)
        shutil.copytree(folder, killed)  # with the write-ahead log that a killed program leaves
    (killed / f"{DATABASE}-shm").unlink()
    assert (killed / f"{DATABASE}-wal").stat().st_size
    assert mount("-o", "remount,ro", str(disk)) == 0
    with pytest.raises(InputError, match="Read-only file system"):
        RecordWriter(folder)
    with pytest.raises(InputError, match="Read-only file system"):
        RecordWriter(disk / "new")
    assert arrived(folder) == 2
    with pytest.raises(NoSession, match="copy the whole folder to where it can"):
        RecordReader(killed)
    copy = disk.parent / "copy"
    shutil.copytree(killed, copy)
    assert arrived(copy) == 2


def test_where_no_more_fits_nothing_committed_is_lost(record: RecordWriter, finished: Finished) -> None:
    """As a full disk, by SQLite's own limit: no rights are needed for it."""
    record.take(1, ref(0), at=0.0)
    pages = record._db.execute("PRAGMA page_count").fetchone()[0]
    record._db.execute(f"PRAGMA max_page_count = {pages + 20}")
    taken = fill(record, 1)
    before = record.frame(1)
    big = finished(*["yes"] * 600)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        record.finish(1, 0, big, lambda: 1.0)
    assert record.frame(1) == before
    assert arrived(record.folder) == taken
    record._db.execute("PRAGMA max_page_count = 1000000")
    assert record.finish(1, 0, big, lambda: 1.0) is not None
    assert record._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_lost_number_is_counted_once_though_the_disk_refused_it_first(record: RecordWriter) -> None:
    def numbered(number: int) -> FrameRef:
        return FrameRef(
            Path(f"/{number}"),
            0,
            content=str(number),
            sender="cam",
            sequence=number,
            metadata={"f": "x" * 9000},
        )

    record.take(1, numbered(0), at=0.0)
    pages = record._db.execute("PRAGMA page_count").fetchone()[0]
    record._db.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            record.take(1, numbered(5), at=1.0)
    record._db.execute("PRAGMA max_page_count = 1000000")
    assert record.take(1, numbered(5), at=1.0).lost == 4
    with RecordReader(record.folder) as reader:
        assert reader.sources()[0].lost == 4


def test_a_record_held_by_another_program_is_waited_for(
    record: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    record.take(1, ref(0), at=0.0)
    record._db.execute("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(record.folder / DATABASE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        record.take(1, ref(1), at=1.0)
    assert arrived(record.folder) == 1  # reading goes on
    other.execute("ROLLBACK")
    assert record.take(1, ref(1), at=1.0).frame_id == 2
    record.close()
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(database, "_BUSY_MS", 20)
    with pytest.raises(InputError, match=r"held by another program .*; close that one, nothing was changed"):
        RecordWriter(record.folder)
    other.close()
    with RecordWriter(record.folder) as again:
        assert again.queued() == [1, 2]


def big_record(folder: Path) -> Path:
    with begin(folder) as record:
        for i in range(60):
            record.take(1, ref(i), at=float(i))
    return folder / DATABASE


def spoilt_page(path: Path) -> None:
    """Rubbish over the page at the root of the ledger's table."""
    db = sqlite3.connect(path)
    (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'frames'").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * 200)


def spoilt_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xa5" * 200)


def cut_off(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 3)


def spoilt_schema(path: Path) -> None:
    """Letters that are none in UTF-8 in the rules and their names, which SQLite quotes."""
    raw = path.read_bytes()
    for words in (b"TRIGGER ", b"ledger_"):
        raw = raw.replace(words, words[:-1] + b"\xc5")
    path.write_bytes(raw)


@pytest.mark.parametrize("spoil", [spoilt_page, spoilt_head, spoilt_schema, cut_off])
def test_a_damaged_record_is_refused_in_a_sentence_and_left_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = big_record(tmp_path / "s")
    spoil(path)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(NoSession) as caught:
            RecordWriter(path.parent)
        assert path.read_bytes() == before
    text = str(caught.value)
    assert text.startswith(f"{path} is damaged or no record of a session (")
    assert "it is left as it is" in text
    assert "sqlite3 session.sqlite .recover | sqlite3 recovered.sqlite" in text
    assert "a new --session" in text
    assert "\n" not in text
    if spoil is not spoilt_page:  # of which a reader may not need that page
        with pytest.raises(NoSession):
            RecordReader(path.parent)


def test_a_damaged_record_keeps_its_write_ahead_log_too(tmp_path: Path) -> None:
    path = big_record(tmp_path / "s")
    with RecordWriter(path.parent) as record:
        record.take(1, ref(99), at=1.0)
        killed = Path(shutil.copytree(path.parent, tmp_path / "killed")) / DATABASE
    with killed.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (killed.stat().st_size - 4096))
    kept = {name: (killed.parent / name).read_bytes() for name in (DATABASE, f"{DATABASE}-wal")}
    with pytest.raises(NoSession, match="damaged"):
        RecordWriter(killed.parent)
    assert kept == {name: (killed.parent / name).read_bytes() for name in kept}


def test_what_is_left_of_a_damaged_record_is_saved_as_the_sentence_says(tmp_path: Path) -> None:
    if not recovers(tmp_path / "probe.sqlite"):
        pytest.skip("there is no sqlite3 here that knows .recover")
    path = big_record(tmp_path / "s")
    cut_off(path)
    recovered = recover(path)
    assert recovered.execute("SELECT count(*) FROM frames").fetchone()[0] > 10
    recovered.close()


def recovers(probe: Path) -> bool:
    if shutil.which("sqlite3") is None:
        return False
    db = sqlite3.connect(probe)
    db.executescript("CREATE TABLE a (b); INSERT INTO a VALUES (1);")
    db.close()
    recovered = recover(probe)
    tables = recovered.execute("SELECT name FROM sqlite_master").fetchall()
    recovered.close()
    return ("a",) in tables


def recover(path: Path) -> sqlite3.Connection:
    command = f"sqlite3 {path.name} .recover | sqlite3 recovered.sqlite"
    subprocess.run(command, shell=True, cwd=path.parent, capture_output=True, timeout=60)
    return sqlite3.connect(path.parent / "recovered.sqlite")


def test_a_dump_of_a_record_can_be_read_in_again(record: RecordWriter, finished: Finished) -> None:
    """The rules of the ledger stand in the way of no backup."""
    for i in range(3):
        record.take(1, ref(i), at=float(i))
    record.finish(2, 0, finished("yes"), lambda: 1.0)
    db = sqlite3.connect(":memory:")
    db.executescript("".join(record._db.iterdump()))
    assert db.execute("SELECT * FROM ledger").fetchone() == (3, 1, 2, 0, 0)
    with pytest.raises(sqlite3.IntegrityError, match="stays in the ledger"):
        db.execute("DELETE FROM frames")
    db.close()


def test_a_reader_in_the_middle_of_a_glance_keeps_no_commit_waiting(record: RecordWriter) -> None:
    record.take(1, ref(0), at=0.0)
    record._db.execute("PRAGMA busy_timeout = 0")  # the slightest wait would be refused
    with RecordReader(record.folder) as reader, reader.glance():
        assert reader.ledger()["arrived"] == 1
        for i in range(1, 50):
            record.take(1, ref(i), at=float(i))
        assert reader.ledger()["arrived"] == 1  # the moment at which the glance began
        assert arrived(record.folder) == 50
    with RecordReader(record.folder) as reader:
        assert reader.ledger()["arrived"] == 50


def test_many_readers_that_never_stop_keep_no_commit_waiting(
    record: RecordWriter, finished: Finished
) -> None:
    record._db.execute("PRAGMA busy_timeout = 0")
    done, looks, wrong = threading.Event(), [0, 0, 0, 0], []

    def look(number: int) -> None:
        with RecordReader(record.folder) as reader:
            while not done.is_set() or not looks[number]:
                with reader.glance():
                    ledger, sightings = reader.ledger(), reader.sightings()
                if ledger["analysed"] != sightings["yes"] or ledger["arrived"] != sum(
                    list(ledger.values())[1:]
                ):
                    wrong.append((ledger, sightings))
                looks[number] += 1

    readers = [threading.Thread(target=look, args=(number,)) for number in range(len(looks))]
    for thread in readers:
        thread.start()
    try:
        for i in range(100):
            number = record.take(1, ref(i), at=float(i)).frame_id
            assert record.finish(number, 0, finished("yes"), lambda: 1.0) is not None
    finally:
        done.set()
        for thread in readers:
            thread.join(30)
    assert not wrong
    assert all(looks)
    assert arrived(record.folder) == 100
