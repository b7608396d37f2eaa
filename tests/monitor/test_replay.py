"""An archive of sessions is replayed as a whole, and goes on where it was interrupted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from monitor import replay
from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.record import DATABASE, RecordReader, RecordWriter
from monitor.replay import INTERRUPTED, replay_archive
from monitor.session import Session
from monitor.settings import WatchSettings
from monitor.sources.listed import ListSource

WriteFrame = Callable[..., Path]

pytestmark = pytest.mark.slow


class Here(Executor):
    """Runs a slot's tasks in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.fixture
def archive(tmp_path: Path, write_frame: WriteFrame) -> Path:
    """Two sessions of four frames each; none of the frames says its pixel size, which was given."""
    folder = tmp_path / "archive"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        frames = [write_frame(tmp_path / name / f"{i}.tif", i, pixel_size_nm=None) for i in range(4)]
        settings = WatchSettings(workers=1, pixel_size=0.04)
        with RecordWriter(folder / name) as record:
            record.set_meta(settings=settings.kept())
            Session(
                record, [ListSource([FrameRef(path, 0) for path in frames])], settings, clock=time.time,
                steady=time.monotonic, threads=1, executor=Here,
            ).run()  # fmt: skip
    return folder


def frames(session: Path) -> list[tuple[Any, ...]]:
    with RecordReader(session) as reader:
        query = "SELECT f.id, f.path, r.pixel_size_nm, r.committed FROM frames f JOIN results r ON r.frame_id = f.id"
        return [tuple(row) for row in reader.rows(query)]


def test_an_archive_is_replayed_and_goes_on_where_it_was_interrupted(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (archive / "damaged").mkdir()
    (archive / "damaged" / DATABASE).write_bytes(b"no record" * 100)
    settings = WatchSettings(workers=1, session=tmp_path / "new")
    tick, interrupted = replay.Progress.tick, []

    def interrupt(self: replay.Progress) -> None:
        tick(self)
        if self._done >= 2 and not interrupted:
            interrupted.append(self._done)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(replay.Progress, "tick", interrupt)
    assert replay_archive(archive, settings) == INTERRUPTED
    said = capsys.readouterr().out
    assert f"goes on with {tmp_path / 'new'}" in said
    first = frames(tmp_path / "new" / "a")
    assert 2 <= len(first) < 4
    assert not (tmp_path / "new" / "b").exists()

    assert replay_archive(archive, settings) == 1  # one of them is damaged
    said = capsys.readouterr().out
    assert "a        4 of 4  none             none" in said
    assert "b        4 of 4  none             none" in said
    assert f"damaged: {archive / 'damaged' / DATABASE} is damaged" in said
    for name in ("a", "b"):
        assert [row[:3] for row in frames(tmp_path / "new" / name)] == [
            row[:3] for row in frames(archive / name)
        ]
    assert frames(tmp_path / "new" / "a")[: len(first)] == first  # not analysed again

    whole = frames(tmp_path / "new" / "b")
    assert replay_archive(archive, settings) == 1
    assert frames(tmp_path / "new" / "b") == whole
    with pytest.raises(InputError, match="was replayed with another bundle"):
        replay_archive(archive, settings.model_copy(update={"bundle": tmp_path}))


def test_what_can_be_no_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be replayed into itself"):
        replay_archive(archive, WatchSettings(session=archive))
    with pytest.raises(InputError, match="holds no session, nor do the folders in it"):
        replay_archive(tmp_path / "a", WatchSettings())
