"""The record: its ledger, its identities, its one writer and its many readers."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import InputError, NoSession, SessionLocked
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import DATABASE, SCHEMA_VERSION, RecordReader, RecordWriter

Finished = Callable[..., FinishedFrame]


def ref(path: str | Path, index: int | None = 0, content: str | None = None, **more: object) -> FrameRef:
    return FrameRef(Path(path), index, content=content or str(path), **more)  # type: ignore[arg-type]


def ledger(record: RecordWriter) -> dict[str, int]:
    with RecordReader(record.folder) as reader:
        return reader.ledger()


def finish(record: RecordWriter, frame_id: int, done: FinishedFrame) -> tuple[float, int] | None:
    return record.finish(frame_id, record.frame(frame_id).revision, done, lambda: 10.0)


def test_the_ledger_is_what_the_frames_are(record: RecordWriter, finished: Finished) -> None:
    for i in range(5):
        record.take(1, ref(f"/{i}"), at=float(i))
    record.take(1, ref("/bad", None, rejected="no picture"), at=5.0)
    finish(record, 1, finished("yes", "no"))
    record.reject(2, 0, "no pixel size")
    record.drop(3, "the disk is full")
    assert ledger(record) == {"arrived": 6, "analysed": 1, "queued": 2, "rejected": 2, "dropped": 1}
    with RecordReader(record.folder) as reader:
        assert reader.reasons() == {"no picture": 1, "no pixel size": 1, "the disk is full": 1}
        assert reader.sightings() == {"empty": 0, "null": 0, "no": 1, "yes": 1}
    assert record.queued() == [4, 5]


def test_a_result_is_counted_once(record: RecordWriter, finished: Finished) -> None:
    record.take(1, ref("/a"), at=0.0)
    assert finish(record, 1, finished("yes")) == (0.0, 1)
    assert finish(record, 1, finished("yes")) is None
    assert not record.reject(1, 0, "too late")
    assert ledger(record)["analysed"] == 1


def test_the_same_place_with_the_same_content_is_no_news(record: RecordWriter) -> None:
    record.take(1, ref("/a", content="x"), at=0.0)
    assert record.take(1, ref("/a", content="x", file_mtime_ns=7), at=1.0).what == "known"
    assert ledger(record)["arrived"] == 1
    assert record.frame(1).file_mtime_ns == 7


def test_other_frames_with_the_same_pixels_are_new(record: RecordWriter, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.touch()
    record.take(1, ref(here, content="x"), at=0.0, renames=True)
    assert record.take(1, ref("/b", content="x"), at=1.0, renames=True).what == "new"
    assert record.take(1, ref(here, 1, content="x"), at=1.0, renames=True).what == "new"


def test_a_path_written_again_is_a_revision_counted_once(record: RecordWriter, finished: Finished) -> None:
    record.take(1, ref("/a", content="x"), at=0.0)
    finish(record, 1, finished("yes", "yes"))
    taken = record.take(1, ref("/a", content="y"), at=1.0)
    assert (taken.what, taken.frame_id, taken.queued, taken.replaced) == ("revision", 1, True, (0.0, 1))
    assert ledger(record) == {"arrived": 1, "analysed": 0, "queued": 1, "rejected": 0, "dropped": 0}
    # The worker that still reads the older one comes too late.
    assert record.finish(1, 0, finished("no"), lambda: 1.0) is None
    assert record.finish(1, 1, finished("no"), lambda: 1.0) is not None
    with RecordReader(record.folder) as reader:
        assert reader.sightings() == {"empty": 0, "null": 0, "no": 1, "yes": 0}


def test_a_renamed_file_is_the_same_frame(record: RecordWriter, finished: Finished, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch()
    record.take(1, ref(old, content="x"), at=0.0, renames=True)
    finish(record, 1, finished())
    old.rename(new)
    taken = record.take(1, ref(new, content="x"), at=1.0, renames=True)
    assert (taken.what, taken.queued) == ("renamed", False)
    assert record.frame(1).path == new
    assert ledger(record)["arrived"] == 1


def test_a_file_renamed_before_it_was_read_is_read_under_its_new_name(
    record: RecordWriter, tmp_path: Path
) -> None:
    record.take(1, ref(tmp_path / "old", content="x"), at=0.0)
    record.reject(1, 0, "it was deleted before it was read")
    taken = record.take(1, ref(tmp_path / "new", content="x"), at=1.0, renames=True)
    assert (taken.what, taken.frame_id, taken.queued) == ("renamed", 1, True)
    assert ledger(record) == {"arrived": 1, "analysed": 0, "queued": 1, "rejected": 0, "dropped": 0}


def test_an_unreadable_file_that_becomes_readable_is_still_one_frame(record: RecordWriter) -> None:
    record.take(1, ref("/a", None, content="half", rejected="incomplete"), at=0.0)
    assert record.take(1, ref("/a", 0, content="whole"), at=1.0).what == "revision"
    assert ledger(record) == {"arrived": 1, "analysed": 0, "queued": 1, "rejected": 0, "dropped": 0}
    assert record.take(1, ref("/a", 1, content="more"), at=1.0).what == "new"
    assert record.take(1, ref("/a", None, content="broken", rejected="damaged"), at=2.0).what == "revision"
    assert ledger(record) == {"arrived": 2, "analysed": 0, "queued": 1, "rejected": 1, "dropped": 0}


def test_rights_given_later_make_the_same_bytes_readable(record: RecordWriter) -> None:
    record.take(1, ref("/a", None, content="x", rejected="no permission"), at=0.0)
    assert record.take(1, ref("/a", 0, content="x"), at=1.0).queued


def test_lost_frames_are_counted_with_the_frame_that_shows_it(record: RecordWriter) -> None:
    for number in (0, 1, 5):
        record.take(1, ref(f"/{number}", sender="cam", sequence=number), at=0.0)
    record.take(1, ref("/other", sender="cam2", sequence=9), at=0.0)
    with RecordReader(record.folder) as reader:
        assert reader.sources()[0].lost == 3
        assert reader.arrived_by_source() == {1: 4}


def test_a_new_monitor_learns_of_the_lost_tail_from_the_next_number(tmp_path: Path) -> None:
    with RecordWriter(tmp_path) as record:
        record.add_source("pull", "tcp://x", 0.0)
        record.take(1, ref("/0", sender="cam/r", sequence=0, metadata={"run": "r"}), at=0.0)
    with RecordWriter(tmp_path) as record:
        assert record.add_source("pull", "tcp://x", 5.0).id == 1
        taken = record.take(1, ref("/9", sender="cam/r", sequence=9, metadata={"run": "r"}), at=6.0)
        assert taken.lost == 8


def test_a_second_writer_is_refused_with_a_sentence(record: RecordWriter) -> None:
    with pytest.raises(SessionLocked, match=rf"being written by process {os.getpid()} on .*; end that one"):
        RecordWriter(record.folder)
    code = (
        "from pathlib import Path; from monitor.record import RecordWriter\n"
        f"RecordWriter(Path({str(record.folder)!r}))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert other.returncode == 1
    assert "SessionLocked" in other.stderr


def test_a_closed_session_can_be_written_again(record: RecordWriter) -> None:
    record.take(1, ref("/a"), at=0.0)
    record.close()
    with RecordWriter(record.folder) as again:
        assert [known.path for known in again.refs(1)] == [Path("/a")]
        assert again.add_source("directory", "somewhere", 3.0).since == 0.0


def test_readers_read_while_it_is_written_and_can_not_write(record: RecordWriter) -> None:
    with RecordReader(record.folder) as reader:
        assert reader.ledger()["arrived"] == 0
        record.take(1, ref("/a"), at=0.0)
        assert reader.ledger()["arrived"] == 1
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._db.execute("DELETE FROM frames")


def test_no_session_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoSession, match=r"holds no session \(no session.sqlite in it\)"):
        RecordReader(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"no database at all, but long enough to be looked at", bytes(4096)]
)
def test_a_file_that_is_no_record_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(NoSession):
        RecordReader(tmp_path)


def test_another_version_is_refused_by_readers_and_writers(record: RecordWriter) -> None:
    record._db.execute("PRAGMA user_version = 99")
    record.close()
    for opened in (RecordReader, RecordWriter):
        with pytest.raises(NoSession, match=f"schema 99, this one knows {SCHEMA_VERSION}"):
            opened(record.folder)


def test_an_empty_file_in_its_place_is_no_obstacle(tmp_path: Path) -> None:
    """Whoever asks with plain sqlite3 before the session begins leaves one."""
    plain = sqlite3.connect(tmp_path / DATABASE)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        plain.execute("SELECT * FROM frames")
    plain.close()
    assert (tmp_path / DATABASE).stat().st_size == 0
    with RecordWriter(tmp_path) as record:
        assert record.ledger()["arrived"] == 0
    (tmp_path / DATABASE).write_bytes(b"")
    (tmp_path / f"{DATABASE}-wal").write_bytes(b"something was committed")
    with pytest.raises(NoSession):  # that is another matter
        RecordWriter(tmp_path)


def test_a_folder_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((InputError, FileExistsError, NotADirectoryError)):
        RecordWriter(tmp_path / "file")


def test_a_session_can_be_moved_with_its_spool(record: RecordWriter, tmp_path: Path) -> None:
    record.take(1, ref(record.folder / "spool" / "a" / "1.tif"), at=0.0)
    record.take(1, ref("/elsewhere/2.tif"), at=0.0)
    record.close()
    moved = record.folder.rename(tmp_path / "moved")
    with RecordReader(moved) as reader:
        assert [frame.path for frame in reader.frames()] == [
            moved / "spool" / "a" / "1.tif",
            Path("/elsewhere/2.tif"),
        ]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text(min_size=1).filter(lambda s: "\0" not in s), max_size=5, unique=True))
def test_names_in_any_script_come_back(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    paths = [Path("/data") / name.replace("/", "_") for name in names]
    with RecordWriter(tmp_path_factory.mktemp("s")) as record:
        record.add_source("directory", "x", 0.0)
        for path in dict.fromkeys(paths):
            record.take(1, ref(path, content="c", sender=str(path), rejected=f"{path} is bad"), at=0.0)
        assert [known.path for known in record.refs(1)] == list(dict.fromkeys(paths))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no names that are no text")
def test_a_name_that_is_no_text_comes_back(record: RecordWriter) -> None:
    path = Path(os.fsdecode(b"/data/\xff\xfe.tif"))
    record.take(1, ref(path, content="c"), at=0.0)
    assert record.frame(1).path == path
    assert record.take(1, ref(path, content="c"), at=1.0).what == "known"


def test_figures_that_are_no_numbers_are_kept_as_null(record: RecordWriter, finished: Finished) -> None:
    record.take(1, ref("/a", metadata={"gain": float("nan")}), at=0.0)
    done = finished("yes")
    done.analysis.quality["sharpness"] = float("inf")
    finish(record, 1, done)
    assert record.frame(1).metadata == {"gain": None}
    quality = record._db.execute("SELECT json_extract(quality, '$.sharpness') FROM results").fetchone()
    assert quality == (None,)


def test_the_delay_counts_from_the_last_write_of_a_file_that_came_just_now(
    record: RecordWriter, finished: Finished
) -> None:
    record.take(1, ref("/new", file_mtime_ns=int(97e9)), at=98.0)
    record.take(1, ref("/old", file_mtime_ns=int(1e9)), at=98.0)
    record.take(1, ref("/from-a-clock-ahead", file_mtime_ns=int(200e9)), at=98.0)
    for i in (1, 2, 3):
        record.finish(i, 0, finished(), lambda: 100.0)
    with RecordReader(record.folder) as reader:
        assert [reader.latency_ms(q) for q in (1, 50, 99)] == [2000.0, 2000.0, 3000.0]


def test_a_transaction_that_fails_leaves_nothing(record: RecordWriter, finished: Finished) -> None:
    record.take(1, ref("/a"), at=0.0)
    twice = finished("yes", "no")
    object.__setattr__(twice.analysis, "particles", twice.analysis.particles[:1] * 2)
    with pytest.raises(sqlite3.IntegrityError):
        finish(record, 1, twice)
    assert ledger(record)["queued"] == 1
    assert finish(record, 1, finished("yes")) is not None
