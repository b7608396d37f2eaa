"""A directory as a source: finished files only, each once, whatever events say."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.settings import WatchSettings
from monitor.sources.directory import DirectorySource
from monitor.sources.events import Hints

WriteFrame = Callable[..., Path]
WaitFor = Callable[..., None]
Watch = Callable[..., "Watched"]

QUICK: dict[str, Any] = {"reconcile_s": 0.1, "quiet_s": 0.15, "patience_s": 0.3}


class Watched:
    """A source with the thread that asks it, and what it has announced."""

    def __init__(self, source: DirectorySource, known: list[FrameRef]) -> None:
        self.source = source
        self.refs: list[FrameRef] = []
        source.open(known)
        self.thread = threading.Thread(target=lambda: self.refs.extend(self._counted()))
        self.thread.start()

    def _counted(self) -> Iterator[FrameRef]:
        for ref in self.source.refs():
            self.refs.append(ref)
        return iter(())

    def names(self) -> list[str]:
        return [ref.path.name for ref in self.refs]

    def idle(self) -> bool:
        return self.source.status.ready and not self.source.status.busy

    def close(self) -> None:
        self.source.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture(params=["events", "no events"])
def watch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Watches a directory, once with and once without what the operating system says (as on a share)."""
    if request.param == "no events":
        monkeypatch.setattr(Hints, "watch", lambda self, root: None)
    watched: list[Watched] = []

    def start(root: Path, known: list[FrameRef] | None = None, **more: Any) -> Watched:
        source = DirectorySource(root, WatchSettings(**QUICK), **more)
        watched.append(Watched(source, known or []))
        return watched[-1]

    yield start
    for one in watched:
        one.close()


def test_what_is_there_comes_in_the_order_of_writing(
    watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    for i, name in enumerate(["b.tif", "c.tif", "a.tif"]):
        os.utime(write_frame(tmp_path / name, i), (1e9 + i, 1e9 + i))
    watched = watch(tmp_path)
    wait_for(lambda: len(watched.refs) == 3)
    assert watched.names() == ["b.tif", "c.tif", "a.tif"]
    assert [ref.index for ref in watched.refs] == [0, 0, 0]
    assert len({ref.content for ref in watched.refs}) == 3


def test_new_files_are_found_in_new_sub_directories(
    watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    watched = watch(tmp_path)
    wait_for(watched.idle)
    (tmp_path / "day" / "grid").mkdir(parents=True)
    write_frame(tmp_path / "day" / "grid" / "új кадр 帧.tif")
    wait_for(lambda: watched.names() == ["új кадр 帧.tif"])


def test_a_file_that_grows_is_taken_when_it_is_whole(
    watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    whole = write_frame(tmp_path / "elsewhere.dat").read_bytes()
    (tmp_path / "elsewhere.dat").unlink()
    watched = watch(tmp_path)
    wait_for(watched.idle)
    with (tmp_path / "slow.tif").open("wb") as file:
        for start in range(0, len(whole), len(whole) // 4 + 1):
            file.write(whole[start : start + len(whole) // 4 + 1])
            file.flush()
            seen = threading.Event()
            seen.wait(0.1)
            assert watched.refs == []
    wait_for(lambda: watched.names() == ["slow.tif"])
    assert watched.refs[0].rejected is None


def test_a_copy_that_stalls_for_long_is_said_and_taken_when_it_is_whole(
    watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    whole = write_frame(tmp_path / "elsewhere.dat").read_bytes()
    (tmp_path / "elsewhere.dat").unlink()
    watched = watch(tmp_path)
    path = tmp_path / "stalled.tif"
    path.write_bytes(whole[: len(whole) // 2])
    wait_for(lambda: watched.refs)
    assert watched.refs[0].index is None
    assert "incomplete" in str(watched.refs[0].rejected)
    path.write_bytes(whole)
    wait_for(lambda: len(watched.refs) == 2)
    assert (watched.refs[1].index, watched.refs[1].rejected) == (0, None)


def test_files_renamed_into_place_and_temporaries(
    watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    watched = watch(tmp_path)
    wait_for(watched.idle)
    temporary = write_frame(tmp_path / ".frame.tif.Xa8f2k")
    wait_for(lambda: watched.source.status.ignored == 1)
    temporary.rename(tmp_path / "frame.tif")
    wait_for(lambda: watched.names() == ["frame.tif"])


def test_sidecars_and_other_files_are_counted_as_ignored(
    watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    for name in ("notes.txt", "frame.json", "a.gtg", "Thumbs.db", ".hidden.tif", "program"):
        (tmp_path / name).write_text("x")
    write_frame(tmp_path / "a.tif")
    watched = watch(tmp_path)
    wait_for(lambda: watched.names() == ["a.tif"])
    assert watched.source.status.ignored == 6


def test_a_file_that_is_no_frame_is_rejected_with_a_reason(
    watch: Watch, wait_for: WaitFor, tmp_path: Path
) -> None:
    (tmp_path / "bad.tif").write_bytes(b"this is no picture at all, but it is long enough")
    watched = watch(tmp_path)
    wait_for(lambda: watched.refs)
    (ref,) = watched.refs
    assert ref.index is None
    assert ref.rejected
    assert ref.content


def test_a_rewritten_file_is_announced_again_a_touched_one_with_the_same_content(
    watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    path = write_frame(tmp_path / "a.tif", 1)
    watched = watch(tmp_path)
    wait_for(lambda: len(watched.refs) == 1)
    os.utime(path, (2e9, 2e9))
    wait_for(lambda: len(watched.refs) == 2)
    assert watched.refs[0].content == watched.refs[1].content
    write_frame(path, 2)
    wait_for(lambda: len(watched.refs) == 3)
    assert watched.refs[2].content != watched.refs[1].content


def test_only_what_was_appended_to_a_stack_is_new(watch: Watch, wait_for: WaitFor, tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    images = np.random.default_rng(0).poisson(50, (5, 32, 32)).astype(np.uint16)
    tifffile.imwrite(path, images[:2], photometric="minisblack", metadata=None)
    watched = watch(tmp_path)
    wait_for(lambda: len(watched.refs) == 2)
    tifffile.imwrite(path, images[2:], photometric="minisblack", metadata=None, append=True)
    wait_for(lambda: len(watched.refs) >= 5)
    assert [ref.index for ref in watched.refs] == [0, 1, 2, 3, 4]
    assert len({ref.content for ref in watched.refs}) == 5


def test_a_killed_session_may_have_recorded_only_the_first_frames_of_a_stack(
    watch: Watch, wait_for: WaitFor, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).poisson(50, (4, 32, 32)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", images, photometric="minisblack", metadata=None)
    first = watch(tmp_path)
    wait_for(lambda: len(first.refs) == 4)
    first.close()
    again = watch(tmp_path, first.refs[:2])
    wait_for(lambda: len(again.refs) == 2)
    assert [ref.index for ref in again.refs] == [2, 3]


def test_what_is_known_is_not_looked_into_again(
    watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    for i in range(3):
        os.utime(write_frame(tmp_path / f"{i}.tif", i), (1e9 + i, 1e9 + i))
    first = watch(tmp_path)
    wait_for(lambda: len(first.refs) == 3)
    first.close()
    again = watch(tmp_path, first.refs)
    wait_for(again.idle)
    # The last one is announced again, because a kill may have cut it short; the record knows better.
    assert set(again.names()) <= {"2.tif"}


def test_new_only_passes_over_what_is_there(
    watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    write_frame(tmp_path / "old.tif", 1)
    watched = watch(tmp_path, skip_before=float("inf"))
    wait_for(watched.idle)
    write_frame(tmp_path / "new.tif", 2)
    wait_for(lambda: watched.names() == ["new.tif"])


def test_it_is_ready_after_its_first_scan_however_late_the_next_one_is(
    write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hints, "watch", lambda self, root: None)
    os.utime(write_frame(tmp_path / "old.tif"), (1e9, 1e9))
    settings = WatchSettings(**{**QUICK, "reconcile_s": 1000.0})
    watched = Watched(DirectorySource(tmp_path, settings, skip_before=float("inf")), [])
    try:
        wait_for(watched.idle)
    finally:
        watched.close()


def test_the_directory_is_gone_and_back(
    watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    root = tmp_path / "share"
    root.mkdir()
    write_frame(root / "a.tif", 1)
    watched = watch(root)
    wait_for(lambda: len(watched.refs) == 1)
    root.rename(tmp_path / "away")
    wait_for(lambda: watched.source.status.state == "lost")
    assert "can't be reached" in str(watched.source.status.message)
    (tmp_path / "away").rename(root)
    write_frame(root / "b.tif", 2)
    wait_for(lambda: "b.tif" in watched.names())
    wait_for(lambda: watched.source.status.state == "watching")
    assert watched.source.status.message is None


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
def test_links_and_loops(watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "sub").mkdir(parents=True)
    other.mkdir()
    write_frame(root / "sub" / "a.tif", 1)
    write_frame(other / "b.tif", 2)
    (root / "loop").symlink_to(root)
    (root / "again").symlink_to(root / "sub")
    (root / "copy.tif").symlink_to(root / "sub" / "a.tif")
    (root / "nothing.tif").symlink_to(root / "missing")
    (root / "out").symlink_to(other)
    watched = watch(root)
    wait_for(lambda: len(watched.refs) == 2)
    wait_for(watched.idle)
    assert sorted(watched.names()) == ["a.tif", "b.tif"]


def test_a_session_inside_the_directory_is_passed_over(
    watch: Watch, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    spool = tmp_path / "sessions" / "today" / "spool"
    spool.mkdir(parents=True)
    (spool.parent / "session.sqlite").touch()
    write_frame(spool / "spooled.tif", 1)
    write_frame(tmp_path / "a.tif", 2)
    watched = watch(tmp_path)
    wait_for(lambda: watched.names() == ["a.tif"])
    write_frame(spool / "more.tif", 3)
    write_frame(tmp_path / "b.tif", 4)
    wait_for(lambda: watched.names() == ["a.tif", "b.tif"])


@pytest.mark.parametrize("name", ["missing", "file.tif"])
def test_what_is_no_directory_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.tif").touch()
    with pytest.raises(InputError, match=name):
        DirectorySource(tmp_path / name, WatchSettings()).open([])


@pytest.mark.parametrize(("movie", "count"), [(None, 1), ("sum", 1), ("first", 1), ("frames", 3)])
def test_a_movie_of_one_field_is_one_frame(
    movie: str | None, count: int, wait_for: WaitFor, tmp_path: Path
) -> None:
    coarse = np.random.default_rng(3).normal(100, 25, (64, 64)).clip(10)
    rng = np.random.default_rng(4)
    exposures = rng.poisson(np.kron(coarse, np.ones((4, 4))), (3, 256, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", exposures, photometric="minisblack")
    fields = rng.poisson(100, (2, 256, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", fields, photometric="minisblack")
    watched = Watched(DirectorySource(tmp_path, WatchSettings(movie=movie, **QUICK)), [])
    try:
        wait_for(lambda: len(watched.refs) == count + 2)
        wait_for(watched.idle)
    finally:
        watched.close()
    assert sorted((ref.path.name, ref.index) for ref in watched.refs) == [
        *(("movie.tif", index) for index in range(count)),
        ("stack.tif", 0),
        ("stack.tif", 1),
    ]
