"""What is a new frame and what is not: a directory as it is looked through, and the record that is told."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import RecordReader, RecordWriter
from monitor.settings import WatchSettings
from monitor.sources.directory import DirectorySource

WriteFrame = Callable[..., Path]
Finished = Callable[..., FinishedFrame]
WaitFor = Callable[..., None]
Scan = Callable[[], list[str]]

SETTINGS = WatchSettings(reconcile_s=0.1, quiet_s=0.1, patience_s=0.3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def scan(root: Path, record: RecordWriter, wait_for: WaitFor, finished: Finished) -> Scan:
    """A monitor that begins, enters what is news to it, has it analysed, and ends; tells what was new."""

    def once() -> list[str]:
        source = DirectorySource(root, SETTINGS)
        source.open(record.refs(1))
        refs: list[FrameRef] = []
        thread = threading.Thread(target=lambda: refs.extend(source.refs()))
        thread.start()
        wait_for(lambda: source.status.ready and not source.status.busy)
        source.close()
        thread.join(20)
        taken = [record.take(1, ref, at=1.0, renames=source.renames) for ref in refs]
        for number in record.queued():
            assert record.finish(number, record.frame(number).revision, finished("yes"), lambda: 2.0)
        return [one.what for one in taken if one.what != "known"]

    return once


def frames(record: RecordWriter) -> list[tuple[int, str, int | None, int]]:
    with RecordReader(record.folder) as reader:
        ledger = reader.ledger()
        assert ledger["arrived"] == ledger["analysed"] == reader.sightings()["yes"]
        return [(frame.id, frame.path.name, frame.index, frame.revision) for frame in reader.frames()]


def write_stack(path: Path, seeds: list[int]) -> None:
    pages = np.stack([np.random.default_rng(seed).poisson(100, (64, 64)) for seed in seeds]).astype(np.uint16)
    tifffile.imwrite(
        path, pages, description='{"pixel_size_nm": 0.05}', metadata=None, photometric="minisblack"
    )


def test_nothing_is_news_twice(root: Path, scan: Scan, record: RecordWriter, write_frame: WriteFrame) -> None:
    write_frame(root / "a.tif", 1)
    assert scan() == ["new"]
    assert scan() == []
    os.utime(root / "a.tif")  # touched
    assert scan() == []
    assert frames(record) == [(1, "a.tif", 0, 0)]


def test_a_renamed_or_moved_file_is_no_new_frame(
    root: Path, scan: Scan, record: RecordWriter, write_frame: WriteFrame
) -> None:
    path = write_frame(root / "a.tif", 1)
    scan()
    path = path.rename(root / "b.tif")
    assert scan() == ["renamed"]
    (root / "below").mkdir()
    path.rename(root / "below" / "c.tif")
    assert scan() == ["renamed"]
    assert frames(record) == [(1, "c.tif", 0, 0)]


def test_two_copies_are_two_frames_and_stay_two_when_both_are_renamed(
    root: Path, scan: Scan, record: RecordWriter, write_frame: WriteFrame
) -> None:
    write_frame(root / "a.tif", 1)
    shutil.copyfile(root / "a.tif", root / "b.tif")
    assert scan() == ["new", "new"]
    (root / "a.tif").rename(root / "c.tif")
    (root / "b.tif").rename(root / "d.tif")
    assert scan() == ["renamed", "renamed"]
    assert sorted(name for _, name, _, _ in frames(record)) == ["c.tif", "d.tif"]
    shutil.copyfile(root / "c.tif", root / "e.tif")
    assert scan() == ["new"]
    assert len(frames(record)) == 3


def test_a_path_written_again_is_a_revision_and_counted_once(
    root: Path, scan: Scan, record: RecordWriter, write_frame: WriteFrame
) -> None:
    write_frame(root / "a.tif", 1)
    scan()
    for revision in (1, 2):
        write_frame(root / "a.tif", revision + 1)
        assert scan() == ["revision"]
        assert frames(record) == [(1, "a.tif", 0, revision)]


def test_names_that_are_exchanged_are_two_revisions(
    root: Path, scan: Scan, record: RecordWriter, write_frame: WriteFrame
) -> None:
    a, b = write_frame(root / "a.tif", 1), write_frame(root / "b.tif", 2)
    scan()
    a.rename(root / "c.tif")
    b.rename(a)
    (root / "c.tif").rename(b)
    os.utime(a)
    os.utime(b)
    assert scan() == ["revision", "revision"]
    assert len(frames(record)) == 2


def test_a_file_that_is_gone_and_another_under_its_name_are_one_place(
    root: Path, scan: Scan, record: RecordWriter, write_frame: WriteFrame
) -> None:
    """The camera's counter begins anew: its first file moved away, another one under the old name."""
    write_frame(root / "a.tif", 1)
    scan()
    (root / "a.tif").rename(root / "kept.tif")
    write_frame(root / "a.tif", 2)
    assert sorted(scan()) == ["new", "revision"]
    assert len(frames(record)) == 2


def test_of_a_stack_that_grows_only_the_new_frames_are_new(
    root: Path, scan: Scan, record: RecordWriter
) -> None:
    write_stack(root / "s.tif", [1, 2])
    assert scan() == ["new", "new"]
    write_stack(root / "s.tif", [1, 2, 3])
    assert scan() == ["new"]
    write_stack(root / "s.tif", [1, 2, 9])  # the last of them written again
    assert scan() == ["revision"]
    assert frames(record) == [(1, "s.tif", 0, 0), (2, "s.tif", 1, 0), (3, "s.tif", 2, 1)]


def test_a_renamed_stack_is_the_same_frames_in_the_same_order(
    root: Path, scan: Scan, record: RecordWriter
) -> None:
    write_stack(root / "s.tif", [1, 1, 2])  # two with the same pixels are two
    scan()
    (root / "s.tif").rename(root / "t.tif")
    assert scan() == ["renamed"] * 3
    assert frames(record) == [(1, "t.tif", 0, 0), (2, "t.tif", 1, 0), (3, "t.tif", 2, 0)]


def test_the_same_path_of_another_source_is_another_frame(record: RecordWriter) -> None:
    other = record.add_source("replay", "elsewhere", 0.0).id
    ref = FrameRef(Path("/a.tif"), 0, content="x")
    assert record.take(1, ref, at=0.0).what == record.take(other, ref, at=0.0, renames=True).what == "new"


def test_a_spooled_frame_announced_again_after_a_kill_is_known(record: RecordWriter) -> None:
    """It may be in the record already, or only in the spool; a number that was entered is counted once."""
    ref = FrameRef(Path("/spool/1.tif"), 0, sender="cam/r", sequence=4, content="x", metadata={"run": "r"})
    assert record.take(1, ref, at=0.0).lost == 4
    again = record.take(1, ref, at=1.0)
    assert (again.what, again.lost, again.queued) == ("known", 0, False)
    with RecordReader(record.folder) as reader:
        assert (reader.ledger()["arrived"], reader.sources()[0].lost) == (1, 4)


def test_a_number_of_another_sender_or_with_other_pixels_is_a_new_frame(record: RecordWriter) -> None:
    for number, (sender, content) in enumerate((("cam", "x"), ("other", "x"), ("cam", "y"))):
        ref = FrameRef(Path(f"/spool/{number}.tif"), 0, sender=sender, sequence=4, content=content)
        assert record.take(1, ref, at=0.0).what == "new"


def test_a_frame_that_was_dropped_and_is_there_now_is_analysed(record: RecordWriter) -> None:
    record.take(1, FrameRef(Path("/a.tif"), 0, content="x", dropped="the disk is full"), at=0.0)
    taken = record.take(1, FrameRef(Path("/a.tif"), 0, content="x"), at=1.0)
    assert taken.queued
    with RecordReader(record.folder) as reader:
        assert reader.ledger() == {"arrived": 1, "analysed": 0, "queued": 1, "rejected": 0, "dropped": 0}
