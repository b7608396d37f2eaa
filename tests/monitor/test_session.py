"""A session: every frame once, in whatever way it is interrupted. The analysis runs in this process."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
import zmq

from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.publishing import Publisher
from monitor.record import RecordReader, RecordWriter, summary
from monitor.session import Session
from monitor.settings import WatchSettings
from monitor.sources.base import Source, SourceStatus
from monitor.sources.listed import ListSource
from monitor.sources.replayed import ReplaySource
from monitor.workers.worker import Task

WriteFrame = Callable[..., Path]


class Here(Executor):
    """Runs a slot's tasks in this process, at once. Dies over the frames it is told to."""

    def __init__(self, deadly: Iterable[str] = (), log: list[str] | None = None) -> None:
        self.deadly = deadly
        self.log = [] if log is None else log

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if args and isinstance(args[0], Task):
            self.log.append(args[0].ref.path.name)
            if args[0].ref.path.name in self.deadly:
                future.set_exception(BrokenProcessPool("died"))
                return future
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def run(
    folder: Path,
    *sources: Source,
    executor: Callable[[], Executor] = Here,
    tick: Callable[[Session], None] = lambda session: None,
    publisher: Publisher | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Run a session to its end; returns its summary."""
    with RecordWriter(folder) as record:
        session = Session(
            record,
            sources,
            WatchSettings(workers=1, **settings),
            clock=time.time,
            steady=time.monotonic,
            threads=1,
            executor=executor,
            on_tick=lambda: tick(session),
            publisher=publisher,
        )
        session.run()
    return summary.summarise(folder)


@pytest.fixture
def frames(tmp_path: Path, write_frame: WriteFrame) -> list[FrameRef]:
    """Five frames that are alike in nothing but their size."""
    (tmp_path / "in").mkdir()
    return [
        FrameRef(write_frame(tmp_path / "in" / f"{i}.tif", i), 0, content=f"content {i}") for i in range(5)
    ]


def test_every_frame_is_analysed_and_the_summary_says_so(tmp_path: Path, frames: list[FrameRef]) -> None:
    said = run(tmp_path / "s", ListSource(frames))
    assert said["ledger"] == {"arrived": 5, "analysed": 5, "queued": 0, "rejected": 0, "dropped": 0}
    assert list(said["sightings"]) == ["empty", "null", "no", "yes"]
    assert said["tracks"] == said["sightings"]
    assert said["latency_ms"]["p50"] > 0
    assert said["bundle"]
    with RecordReader(tmp_path / "s") as reader:
        last = reader.last_statistics()
        assert last is not None
        assert last.position == 5
        ((timings, quality, preview),) = reader._db.execute(
            "SELECT timings_ms, quality, preview FROM results WHERE frame_id = 1"
        )
        assert all(
            f'"{stage}"' in timings for stage in ("read", "preprocess", "segment", "measure", "classify")
        )
        assert '"repeated": false' in quality
        assert preview.startswith(b"\xff\xd8\xff")
        assert next(reader.frames()).metadata  # the file's own, whole


def test_what_can_not_be_analysed_is_rejected_with_its_reason(
    tmp_path: Path, frames: list[FrameRef], write_frame: WriteFrame
) -> None:
    unknown = FrameRef(write_frame(tmp_path / "unknown.tif", 9, pixel_size_nm=None), 0)
    gone = FrameRef(tmp_path / "gone.tif", 0)
    refused = FrameRef(tmp_path / "refused.tif", None, rejected="the source said so")
    said = run(tmp_path / "s", ListSource([unknown, gone, refused, frames[0]]), reconcile_s=0.1)
    assert said["ledger"] == {"arrived": 4, "analysed": 1, "queued": 0, "rejected": 3, "dropped": 0}
    assert said["reasons"] == {
        "it was deleted before it was read": 1,
        "no pixel size in the file; give --pixel-size": 1,
        "the source said so": 1,
    }
    assert run(tmp_path / "s2", ListSource([unknown]), pixel_size=0.05)["ledger"]["analysed"] == 1


def test_a_session_goes_on_where_it_stopped(tmp_path: Path, frames: list[FrameRef]) -> None:
    def stop_after_two(session: Session) -> None:
        with RecordReader(tmp_path / "s") as reader:
            if reader.ledger()["analysed"] >= 2:
                session.stop()

    log: list[str] = []
    first = run(tmp_path / "s", ListSource(frames), tick=stop_after_two, executor=lambda: Here(log=log))
    assert first["ledger"]["analysed"] < 5
    said = run(tmp_path / "s", ListSource(frames), executor=lambda: Here(log=log))
    assert said["ledger"] == {"arrived": 5, "analysed": 5, "queued": 0, "rejected": 0, "dropped": 0}
    assert sorted(log) == [f"{i}.tif" for i in range(5)]


def test_a_replay_has_the_same_counts(tmp_path: Path, frames: list[FrameRef]) -> None:
    numbered = [
        FrameRef(frame.path, 0, sender="cam", sequence=n, content=str(n), acquired=1e9 - n)
        for n, frame in zip([0, 1, 4, 5, 9], frames, strict=True)
    ]
    bad = FrameRef(tmp_path / "bad.tif", None, content="b")
    bad.path.write_bytes(b"no picture, and long enough to be looked at")
    first = run(tmp_path / "s", ListSource([*numbered, bad]))
    again = run(tmp_path / "again", ReplaySource(tmp_path / "s"))
    assert first["lost"] == again["lost"] == 5
    for same in ("ledger", "reasons", "sightings", "tracks", "fraction", "duplicates", "ignored", "bundle"):
        assert again[same] == first[same], same
    twice = run(tmp_path / "again", ReplaySource(tmp_path / "s"))
    assert twice["ledger"] == first["ledger"]


def test_a_frame_that_ends_its_worker_twice_is_rejected_and_the_session_goes_on(
    tmp_path: Path, frames: list[FrameRef]
) -> None:
    log: list[str] = []
    said = run(tmp_path / "s", ListSource(frames), executor=lambda: Here({"1.tif"}, log))
    assert said["ledger"] == {"arrived": 5, "analysed": 4, "queued": 0, "rejected": 1, "dropped": 0}
    assert said["reasons"] == {"its analysis ended its worker process, twice": 1}
    assert log.count("1.tif") == 2


def test_the_latest_comes_first_if_asked(tmp_path: Path, frames: list[FrameRef]) -> None:
    with RecordWriter(tmp_path / "s") as record:  # a backlog
        source = record.add_source("list", "list", 0.0)
        for i, ref in enumerate(frames):
            record.take(source.id, ref, at=float(i))
    log: list[str] = []
    said = run(tmp_path / "s", ListSource([]), executor=lambda: Here(log=log), latest_first=True)
    assert log == ["4.tif", "3.tif", "2.tif", "1.tif", "0.tif"]
    assert said["ledger"]["analysed"] == 5
    with RecordReader(tmp_path / "s") as reader:
        order = reader._db.execute("SELECT frame_id FROM statistics ORDER BY position").fetchall()
    assert order == [(1,), (2,), (3,), (4,), (5,)]


def test_a_frozen_camera_is_flagged_and_its_frames_are_counted(
    tmp_path: Path, write_frame: WriteFrame
) -> None:
    frozen = [FrameRef(write_frame(tmp_path / f"{i}.tif", 7), 0, content=f"c{i}") for i in range(3)]
    other = FrameRef(write_frame(tmp_path / "other.tif", 8), 0, content="other")
    run(tmp_path / "s", ListSource(frozen[:2]))
    said = run(tmp_path / "s", ListSource([*frozen, other]))  # the session is gone on with
    assert said["ledger"]["analysed"] == 4
    with RecordReader(tmp_path / "s") as reader:
        flags = reader._db.execute("SELECT json_extract(quality, '$.repeated') FROM results").fetchall()
    assert flags == [(0,), (1,), (1,), (0,)]


def test_a_frame_that_is_analysed_again_does_not_repeat_itself(
    tmp_path: Path, write_frame: WriteFrame
) -> None:
    path = write_frame(tmp_path / "a.tif", 7)
    run(tmp_path / "s", ListSource([FrameRef(path, 0, content="a")]))
    run(tmp_path / "s", ListSource([FrameRef(path, 0, content="b")]))  # other bytes, the same pixels
    with RecordReader(tmp_path / "s") as reader:
        rows = reader._db.execute("SELECT revision, json_extract(quality, '$.repeated') FROM frames, results")
        assert rows.fetchall() == [(1, 0)]


@pytest.mark.parametrize(("keep", "left"), [("all", 3), ("none", 0), (0.00005, 1)])
def test_analysed_frames_leave_the_spool_as_far_as_is_asked(
    tmp_path: Path, write_frame: WriteFrame, keep: object, left: int
) -> None:
    spool = tmp_path / "s" / "spool" / "tcp"
    spool.mkdir(parents=True)
    spooled = [FrameRef(write_frame(spool / f"{i}.tif", i), 0, content=f"c{i}") for i in range(3)]
    outside = FrameRef(write_frame(tmp_path / "mine.tif", 9), 0, content="mine")
    assert run(tmp_path / "s", ListSource([*spooled, outside]), keep=keep)["ledger"]["analysed"] == 4
    assert len(list(spool.iterdir())) == left
    assert outside.path.exists()


def test_it_ends_when_nothing_has_come_for_long_enough(tmp_path: Path, frames: list[FrameRef]) -> None:
    class Endless(ListSource):
        def refs(self) -> Iterator[FrameRef]:
            yield from super().refs()
            self._closed.wait()

    began = time.monotonic()
    assert run(tmp_path / "s", Endless(frames), until_idle=0.5)["ledger"]["analysed"] == 5
    assert time.monotonic() - began >= 0.5


def test_frames_of_a_share_that_is_gone_wait_until_it_is_back(
    tmp_path: Path, write_frame: WriteFrame
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    ref = FrameRef(write_frame(share / "a.tif"), 0, content="c")
    away = share.rename(tmp_path / "away")

    class Share(ListSource):
        def refs(self) -> Iterator[FrameRef]:
            self.status.state = "lost"
            yield from super().refs()
            self._closed.wait()

    source = Share([ref])

    def bring_back(session: Session) -> None:
        if len(session._held) == 1:
            away.rename(share)
            source.status.state = "watching"

    said = run(tmp_path / "s", source, tick=bring_back, until_idle=0.3)
    assert said["ledger"]["analysed"] == 1


def test_a_source_that_fails_does_not_end_the_others(tmp_path: Path, frames: list[FrameRef]) -> None:
    class Broken(ListSource):
        def refs(self) -> Iterator[FrameRef]:
            raise RuntimeError("cable")
            yield

    said = run(tmp_path / "s", Broken([], "broken"), ListSource(frames))
    assert said["ledger"]["analysed"] == 5
    assert [source["state"] for source in said["sources"]] == ["lost", "closed"]
    assert "cable" in said["sources"][0]["message"]


def test_a_full_disk_holds_the_session_and_loses_nothing(
    tmp_path: Path, frames: list[FrameRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = 0

    class Waiting(threading.Event):
        """Stands for the second that the session waits; in it somebody makes room."""

        def wait(self, timeout: float | None = None) -> bool:
            nonlocal refusals
            refusals += 1
            record._db.execute("PRAGMA max_page_count = 1000000")
            return False

    with RecordWriter(tmp_path / "s") as record:
        session = Session(
            record,
            [ListSource(frames)],
            WatchSettings(workers=1),
            clock=time.time,
            steady=time.monotonic,
            threads=1,
            executor=Here,
        )
        monkeypatch.setattr(session._holding, "_hurry", Waiting())
        (pages,) = record._db.execute("PRAGMA page_count").fetchone()
        record._db.execute(f"PRAGMA max_page_count = {pages}")
        session.run()
    assert refusals > 0
    assert summary.summarise(tmp_path / "s")["ledger"]["analysed"] == 5


def test_a_fault_of_the_record_is_not_waited_for(tmp_path: Path, frames: list[FrameRef]) -> None:
    with RecordWriter(tmp_path / "s") as record:
        session = Session(
            record,
            [ListSource(frames)],
            WatchSettings(workers=1),
            clock=time.time,
            steady=time.monotonic,
            threads=1,
            executor=Here,
        )
        record._db.execute("DROP TABLE statistics")
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            session.run()


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"bundle": Path("nowhere")}, "nowhere is no bundle"), ({"material": "cheese"}, "no material cheese")],
)
def test_what_no_worker_can_begin_with_is_said(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(tmp_path / "s", ListSource([]), **settings)


def test_a_source_has_nothing_but_what_the_protocol_asks() -> None:
    source: Source = ListSource([])
    assert isinstance(source.status, SourceStatus)


def test_what_is_settled_is_published_and_frames_that_repeat_raise_an_alarm(
    tmp_path: Path, write_frame: WriteFrame
) -> None:
    (tmp_path / "in").mkdir()
    same = [
        FrameRef(write_frame(tmp_path / "in" / f"{i}.tif", 0), 0, content=f"c{i}", acquired=float(i))
        for i in range(4)
    ]
    calls = tmp_path / "calls"
    publisher = Publisher("tcp://127.0.0.1:*")
    with zmq.Context.instance().socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVTIMEO, 10_000)
        socket.setsockopt_string(zmq.SUBSCRIBE, "")
        socket.connect(publisher.address)
        time.sleep(0.3)
        said = run(
            tmp_path / "s",
            ListSource(same),
            publisher=publisher,
            on_alarm=f'echo "$FAULTWATCH_ALARM" >> {calls}',
        )
        heard = []
        while not heard or heard[-1]["topic"] != "fraction" or heard[-1]["position"] < 4:
            heard.append(json.loads(socket.recv_multipart()[1]))
    publisher.close()
    assert [message["sequence"] for message in heard] == list(range(1, len(heard) + 1))
    frames = [message for message in heard if message["topic"] == "frame"]
    assert [message["frame"] for message in frames] == [1, 2, 3, 4]
    assert "white noise" in frames[0]["uncounted"]  # what these tests write holds no picture
    assert all("frozen" in message["uncounted"] for message in frames[1:])
    (alarm,) = [m for m in heard if m["topic"] == "alarm" and m["kind"] == "frozen frame"]
    assert (alarm["kind"], alarm["since_frame"]) == ("frozen frame", 2)
    assert sum(said["uncounted"].values()) == 4
    deadline = time.monotonic() + 10
    while not calls.exists() or "frozen frame" not in calls.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
