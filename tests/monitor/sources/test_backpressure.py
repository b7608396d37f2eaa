"""Back-pressure: a full spool is said, what can't be kept is counted, and the page stays live over a backlog."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from monitor.client import FrameSender
from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.record import RecordReader, RecordWriter, summary
from monitor.session import Session
from monitor.settings import WatchSettings, load_settings
from monitor.sources import keeper
from monitor.sources.base import Source, SourceStatus
from monitor.sources.choose import choose_source
from monitor.sources.listed import ListSource
from monitor.sources.replayed import ReplaySource
from monitor.sources.socket import SocketSource
from monitor.sources.spool import Spool
from monitor.workers.worker import Task

WriteFrame = Callable[..., Path]
WaitFor = Callable[..., None]
Run = Callable[..., "Running"]

#: 128² in two bytes: three of these fit into the limit, not four.
IMAGES = np.random.default_rng(1).poisson(80, (40, 128, 128)).astype(np.uint16)
LIMIT_GB = 3.5 * IMAGES[0].nbytes / 1e9
REASON = "it could not be kept: the spool has reached its limit of 0.000114688 GB"


class Gated(Executor):
    """Analyses in a thread of this process, one frame after the other, while its gate is open."""

    def __init__(self, gate: threading.Event, log: list[str]) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._gate = gate
        self._log = log

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not (args and isinstance(args[0], Task)):
            return self._pool.submit(fn, *args, **kwargs)

        def analyse() -> Any:
            assert self._gate.wait(120)
            return fn(*args, **kwargs)

        self._log.append(args[0].ref.path.name)
        return self._pool.submit(analyse)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._gate.set()
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)


class Running:
    """A session in a thread, with an analysis that can be held up."""

    def __init__(self, folder: Path, make: Callable[[WatchSettings], Source], **settings: Any) -> None:
        self.folder = folder
        self.gate = threading.Event()
        self.begun: list[str] = []
        """Names of the frames, in the order in which their analysis was begun."""
        self.unbalanced: list[dict[str, int]] = []
        self.statistics: list[tuple[int, int]] = []
        """At every tick that frames wait: how many were analysed, and the position of the last statistics."""
        self._settings = WatchSettings(workers=1, **{"until_idle": 0.5, **settings})
        self.source = make(self._settings)
        self._session: Session | None = None
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._opened.wait(60)

    def _run(self) -> None:
        with RecordWriter(self.folder) as record, RecordReader(self.folder) as reader:

            def tick() -> None:
                self._opened.set()
                ledger = reader.ledger()
                states = ("analysed", "queued", "rejected", "dropped")
                if ledger["arrived"] != sum(ledger[state] for state in states):
                    self.unbalanced.append(ledger)
                last = reader.last_statistics()
                if ledger["queued"]:
                    self.statistics.append((ledger["analysed"], 0 if last is None else last.position))

            self._session = Session(
                record,
                [self.source],
                self._settings,
                clock=time.time,
                steady=time.monotonic,
                threads=1,
                executor=lambda: Gated(self.gate, self.begun),
                on_tick=tick,
            )
            self._session.run()

    def stop(self) -> None:
        """End it, whatever it does."""
        self.gate.set()
        if self._session is not None:
            self._session.stop()
        self._thread.join(60)

    def end(self) -> dict[str, Any]:
        """Let it run until it is idle; its summary."""
        self.gate.set()
        self._thread.join(120)
        assert not self._thread.is_alive()
        assert self.unbalanced == []
        return summary.summarise(self.folder)


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    """Begins sessions, and ends those that a test has left."""
    sessions: list[Running] = []

    def begin(folder: Path, make: Callable[[WatchSettings], Source], **settings: Any) -> Running:
        sessions.append(Running(folder, make, **settings))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.stop()


@pytest.fixture(autouse=True)
def _tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_RETRY_S", 0.05)


def listening(address: str, spool: Path) -> Callable[[WatchSettings], SocketSource]:
    def make(settings: WatchSettings) -> SocketSource:
        source = choose_source(address, settings, spool)
        assert isinstance(source, SocketSource)
        return source

    return make


@pytest.mark.parametrize("keep", ["none", LIMIT_GB / 2])
def test_a_full_spool_holds_who_can_wait_until_frames_are_analysed(
    tmp_path: Path, wait_for: WaitFor, run: Run, keep: object
) -> None:
    folder = tmp_path / "s"
    running = run(folder, listening("ack://127.0.0.1:*", folder / "spool"), keep=keep, spool_gb=LIMIT_GB)
    assert isinstance(running.source, SocketSource)
    status = running.source.status
    port = running.source.endpoint.rpartition(":")[2]
    with FrameSender(f"ack://127.0.0.1:{port}", window=20, resend_s=0.5) as sender:
        for image in IMAGES[:10]:
            sender.send(image, pixel_size_nm=0.05)
        wait_for(lambda: status.state == "lost")
        assert "(the spool has reached its limit of 0.000114688 GB)" in str(status.message)
        assert "senders have to wait until there is room" in str(status.message)
        with RecordReader(folder) as reader:  # and whoever looks at the record is told
            wait_for(lambda: reader.sources()[0].state == "lost")
            assert reader.sources()[0].message == status.message
            assert reader.ledger()["arrived"] == 3
        wait_for(lambda: sender.flush(0.05) == list(range(3, 10)))
        running.gate.set()
        assert sender.flush(60) == []
    said = running.end()
    assert said["ledger"] == {"arrived": 10, "analysed": 10, "queued": 0, "rejected": 0, "dropped": 0}
    assert said["lost"] == 0
    left = sum(file.stat().st_size for file in (folder / "spool").rglob("*.tif"))
    assert left <= (0 if keep == "none" else LIMIT_GB / 2 * 1e9)


def test_what_a_publisher_sends_to_a_full_spool_is_counted_as_dropped(
    tmp_path: Path, wait_for: WaitFor, run: Run
) -> None:
    folder = tmp_path / "s"
    with FrameSender("sub://127.0.0.1:*") as sender:
        address = sender._socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        running = run(
            folder,
            listening(address.replace("tcp", "sub"), folder / "spool"),
            keep="none",
            spool_gb=LIMIT_GB,
            until_idle=1,
        )
        status = running.source.status
        with RecordReader(folder) as reader:

            def send_until(reached: Callable[[], bool]) -> None:
                def sent() -> bool:
                    if not reached() and sender.sent < 4000:
                        sender.send(IMAGES[sender.sent % len(IMAGES)], pixel_size_nm=0.05)
                    return reached()

                wait_for(sent, 60)

            send_until(lambda: reader.ledger()["dropped"] >= 5)
            assert status.state == "lost"
            assert "they are dropped until there is room" in str(status.message)
            assert reader.ledger()["queued"] == 3
            running.gate.set()
            send_until(lambda: reader.ledger()["analysed"] >= 6)
            send_until(lambda: status.state == "watching")  # the last may have been one that was dropped
            last = "SELECT max(sequence) FROM frames"
            wait_for(lambda: reader._db.execute(last).fetchone() == (sender.sent - 1,))
    said = running.end()
    assert said["reasons"] == {REASON: said["ledger"]["dropped"]}
    assert said["ledger"]["arrived"] + said["lost"] == sender.sent
    assert said["sources"][0]["sent"] == sender.sent
    # A replay of it has the same balance: what was dropped stays so.
    again = run(tmp_path / "again", lambda settings: ReplaySource(folder), reconcile_s=0.1)
    assert again.end()["ledger"]["dropped"] == said["ledger"]["dropped"]


def test_what_waited_in_a_socket_that_is_closed_is_counted(tmp_path: Path, wait_for: WaitFor) -> None:
    refs: list[FrameRef] = []
    source = listening("tcp://127.0.0.1:*", tmp_path / "spool")(WatchSettings(disk_reserve_mb=1e12))
    source.open([])
    thread = threading.Thread(target=lambda: refs.extend(source.refs()))
    thread.start()
    with FrameSender(source.endpoint) as sender:
        for image in IMAGES[:3]:
            sender.send(image)
        wait_for(lambda: source.status.state == "lost")
    source.close()
    thread.join(20)
    assert not thread.is_alive()
    assert [ref.sequence for ref in refs] == [0, 1, 2]
    with RecordWriter(tmp_path / "s") as record, RecordReader(tmp_path / "s") as reader:
        row = record.add_source("pull", "tcp", 0.0)
        for ref in refs:
            record.take(row.id, ref, at=0.0)
        assert reader.ledger() == {"arrived": 3, "analysed": 0, "queued": 0, "rejected": 0, "dropped": 3}
        # Sent again later it is a new frame, none that was received before.
        again = listening("tcp://127.0.0.1:*", tmp_path / "spool")(WatchSettings())
        again.open(record.refs(row.id))
        assert not again._seen
        again.close()
        list(again.refs())


def test_the_limit_is_of_all_spools_together_and_notices_what_was_deleted(tmp_path: Path) -> None:
    now = 0.0
    limit = int(LIMIT_GB * 1e9)

    def spool(name: str) -> Spool:
        return Spool(tmp_path / name, reserve=0, limit=limit, clock=lambda: 1.0, steady=lambda: now)

    def add(to: Spool) -> FrameRef:
        return to.add(IMAGES[0], {}, pixel_size_nm=None, acquired=None, sender="", sequence=None, content="")

    one, other = spool("one"), spool("other")
    first = add(one)
    add(other)
    add(one)
    for full in (one, other):
        with pytest.raises(OSError, match=r"the spool has reached its limit of 0\.000114688 GB"):
            add(full)
    first.path.unlink()
    now += 1.0
    assert add(other).path.exists()


def test_a_limit_below_what_is_to_be_kept_is_said() -> None:
    with pytest.raises(InputError, match=r"spool-gb: .*has to be more than keep \(10 GB\).* \(given: 5"):
        load_settings(keep=10.0, spool_gb=5.0, curve_secret_key="secret")
    assert load_settings(keep="all", spool_gb=5.0).spool_limit() == 5_000_000_000


@pytest.fixture
def backlog(tmp_path: Path, write_frame: WriteFrame) -> list[FrameRef]:
    """Eight frames, and one that comes when they wait already."""
    (tmp_path / "in").mkdir()
    return [
        FrameRef(write_frame(tmp_path / "in" / f"{i}.tif", i), 0, content=f"c{i}", acquired=1e9 + i)
        for i in range(9)
    ]


def rows(folder: Path) -> list[tuple[Any, ...]]:
    with RecordReader(folder) as reader:
        return list(
            reader._db.execute(
                "SELECT f.path, s.position, s.at, s.n_empty, s.n_null, s.n_no, s.n_yes, s.counted, s.low "
                "FROM statistics s JOIN frames f ON f.id = s.frame_id ORDER BY s.position"
            )
        )


def test_the_page_stays_live_over_a_backlog_and_the_statistics_come_right(
    tmp_path: Path, backlog: list[FrameRef], wait_for: WaitFor, run: Run
) -> None:
    class Late(ListSource):
        """Announces its last frame when it is told to."""

        now = threading.Event()

        def refs(self) -> Iterator[FrameRef]:
            yield from self._frames[:-1]
            assert self.now.wait(60)
            yield self._frames[-1]

    late = Late(backlog)
    folder = tmp_path / "s"
    running = run(folder, lambda settings: late, latest_first=True)
    with RecordReader(folder) as reader:
        wait_for(lambda: reader.ledger()["queued"] == 8 and running.begun)
        late.now.set()
        wait_for(lambda: reader.ledger()["queued"] == 9)
    said = running.end()
    assert said["ledger"] == {"arrived": 9, "analysed": 9, "queued": 0, "rejected": 0, "dropped": 0}
    # What was in analysis already, then the newest, then the backlog backwards.
    first, *others = running.begun
    assert others[0] == "8.tif"
    assert others[1:] == [f"{i}.tif" for i in range(7, -1, -1) if f"{i}.tif" != first]
    # The figures follow while others wait still.
    assert any(analysed >= 3 and position >= analysed - 1 for analysed, position in running.statistics)
    in_order = run(tmp_path / "in-order", lambda settings: ListSource(backlog))
    in_order.end()
    assert in_order.begun == [f"{i}.tif" for i in range(9)]
    assert rows(folder) == rows(tmp_path / "in-order")
    assert len(rows(folder)) == 9


def test_a_spool_that_is_full_now_and_then_does_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = itertools.count()
    spool = Spool(tmp_path, reserve=0, clock=lambda: 1.0)
    status, closed = SourceStatus(), threading.Event()
    keeping = keeper.Keeper(
        spool, status, "sub://camera", closed, can_wait=False, steady=lambda: float(next(seconds))
    )

    def full() -> FrameRef:
        raise OSError(28, "No space left on device")

    def drop(reason: str) -> FrameRef:
        return spool.dropped({}, reason, sender="", sequence=1, content="")

    def room() -> FrameRef:
        return FrameRef(tmp_path / "a.tif")

    for _ in range(100):  # seconds
        dropped = keeping.keep(full, drop)
        assert dropped is not None
        assert dropped.dropped == "it could not be kept: No space left on device"
        assert status.state == "lost"
        assert keeping.keep(room, drop) == room()
        assert status.state == "watching"
    events = [record.getMessage().split()[0] for record in caplog.records]
    assert events == ["event=spool-refused", "event=spool-works-again"] * 2
