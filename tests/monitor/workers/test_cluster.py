"""A session on a Dask cluster: a real scheduler and real workers, which are killed, added, stopped and cut off."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.record import RecordReader, RecordWriter
from monitor.session import Session
from monitor.settings import WatchSettings
from monitor.sources.listed import ListSource
from monitor.workers import connection, remote
from monitor.workers.cluster import ClusterWorkers
from monitor.workers.pool import WorkerFailed
from monitor.workers.worker import Start, Task
from tests.monitor.workers.clusters import ROOT, Cluster

WriteFrame = Callable[..., Path]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing stops a process on Windows"),
]

LONGEST_S = 200
"""A session that takes longer has lost a frame or a worker: less than the limit of a test, so that it can say which."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    yield found
    found.stop()


class Here(Executor):
    """Runs a slot's tasks in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def run(
    folder: Path,
    refs: list[FrameRef],
    tick: Callable[[Session], None] = lambda session: None,
    **settings: Any,
) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
    """Run a session to its end; its ledger, and what it found in order of acquisition."""
    deadline = time.monotonic() + LONGEST_S

    def ticked(session: Session) -> None:
        if (
            time.monotonic() > deadline
        ):  # a session that has begun waits for its workers for as long as it takes
            tasks = [] if session._workers is None else session._workers.tasks
            raise AssertionError(f"not done in {LONGEST_S} s: {session.record.ledger()}, under way: {tasks}")
        tick(session)

    with RecordWriter(folder) as record:
        session = Session(
            record, [ListSource(refs)], WatchSettings(**settings), clock=time.time, steady=time.monotonic,
            threads=1, executor=Here, on_tick=lambda: ticked(session),
        )  # fmt: skip
        session.run()
    with RecordReader(folder) as reader:
        rows = reader.rows(
            "SELECT s.position, f.id, f.path, r.quality, r.preview, s.n_null, s.n_no, s.n_yes FROM statistics s "
            "JOIN frames f ON f.id = s.frame_id JOIN results r ON r.frame_id = f.id ORDER BY s.position"
        )
        return reader.ledger(), [tuple(row) for row in rows]


@pytest.fixture(scope="module")
def refs(tmp_path_factory: pytest.TempPathFactory) -> list[FrameRef]:
    """Frames that come in another order than they were taken."""
    import numpy as np
    import tifffile

    folder, found = tmp_path_factory.mktemp("frames"), []
    for i in range(16):
        path = folder / f"{i}.tif"
        pixels = np.random.default_rng(i).poisson(100, (192, 192)).astype(np.uint16)
        tifffile.imwrite(path, pixels, description='{"pixel_size_nm": 0.05}', metadata=None)
        found.append(FrameRef(path, 0, content=str(i), acquired=1000.0 + (i ^ 1)))
    return found


@pytest.fixture(scope="module")
def alone(refs: list[FrameRef], tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What a session without a cluster finds in them."""
    ledger, found = run(tmp_path_factory.mktemp("alone") / "s", refs, workers=1)
    assert ledger["analysed"] == len(refs)
    return found


def analysed(session: Session) -> int:
    return session.record.ledger()["analysed"]


def holds_a_frame(session: Session) -> bool:
    """Whether a frame is under way for longer than any takes that goes on."""
    tasks = session._workers.tasks if session._workers is not None else []
    return any(time.monotonic() - began > 1.0 for _, began in tasks)


class Steps:
    """Does one thing after another, each when its time has come."""

    def __init__(self, *steps: tuple[Callable[[Session], bool], Callable[[], object]]) -> None:
        self.left = list(steps)

    def __call__(self, session: Session) -> None:
        if self.left and self.left[0][0](session):
            self.left.pop(0)[1]()


def test_a_worker_is_killed_in_mid_run_and_another_is_added(
    cluster: Cluster, refs: list[FrameRef], alone: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    cluster.at_least(2)
    victim = cluster.workers[0]
    steps = Steps(
        (lambda s: analysed(s) >= 2, lambda: victim.send_signal(signal.SIGSTOP)),
        (holds_a_frame, victim.kill),
        (lambda s: analysed(s) >= 4, cluster.add),
    )
    ledger, found = run(tmp_path / "s", refs, steps, scheduler=cluster.address)
    assert ledger == {"arrived": 16, "analysed": 16, "queued": 0, "rejected": 0, "dropped": 0}
    assert found == alone
    assert not steps.left


def test_a_slow_worker_keeps_no_other_frame_waiting(
    cluster: Cluster, refs: list[FrameRef], alone: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    cluster.at_least(2)
    slow = cluster.workers[0]
    steps = Steps(
        (lambda s: analysed(s) >= 2, lambda: slow.send_signal(signal.SIGSTOP)),
        # All but the one that it has are done by the other one.
        (lambda s: analysed(s) == 15, lambda: slow.send_signal(signal.SIGCONT)),
    )
    ledger, found = run(tmp_path / "s", refs, steps, scheduler=cluster.address)
    assert ledger["analysed"] == 16
    assert found == alone
    assert not steps.left


def test_a_worker_that_hangs_from_the_start_keeps_no_session_waiting(
    cluster: Cluster, refs: list[FrameRef], alone: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    cluster.at_least(2)
    cluster.workers[0].send_signal(signal.SIGSTOP)
    ledger, found = run(tmp_path / "s", refs, scheduler=cluster.address)  # Dask would wait for five minutes
    assert ledger["analysed"] == 16
    assert found == alone


def test_a_worker_that_hangs_is_ended_by_its_nanny(
    cluster: Cluster,
    refs: list[FrameRef],
    alone: list[tuple[Any, ...]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The time limit ends the worker, and the frame is given to another one."""
    cluster.at_least(1)
    nanny = cluster.add("--nanny")
    cluster.at_least(2)
    client = connection.connect(cluster.address)
    try:
        client.wait_for_workers(len(cluster.workers), timeout=60)
        workers = client.scheduler_info()["workers"]
        (address,) = (address for address, worker in workers.items() if worker["nanny"])
        (pid,) = client.run(os.getpid, workers=[address]).values()
    finally:
        client.close()
    steps = Steps((lambda s: analysed(s) >= 2, lambda: os.kill(pid, signal.SIGSTOP)))
    ledger, found = run(tmp_path / "s", refs, steps, scheduler=cluster.address, time_limit_s=3.0)
    assert ledger["analysed"] == 16
    assert found == alone
    assert "was not done within 3 s" in caplog.text
    nanny.terminate()
    try:
        nanny.wait(60)
    except subprocess.TimeoutExpired:  # it still waits for a worker that is stopped
        nanny.kill()
        nanny.wait(30)


def test_the_scheduler_is_started_again(
    cluster: Cluster, refs: list[FrameRef], alone: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    cluster.at_least(2)

    def again() -> None:
        cluster.scheduler.kill()
        cluster.scheduler.wait(30)
        cluster.start_scheduler()
        for worker in cluster.workers:  # as what runs a cluster would: they end without a scheduler
            worker.kill()
            worker.wait(30)
        for _ in range(2):
            cluster.add()

    steps = Steps((lambda s: analysed(s) >= 3, again))
    ledger, found = run(tmp_path / "s", refs, steps, scheduler=cluster.address)
    assert ledger["analysed"] == 16
    assert found == alone
    assert not steps.left


@pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="no path means another place in another process"
)
def test_files_that_a_worker_does_not_see_travel_to_it(
    cluster: Cluster,
    refs: list[FrameRef],
    alone: list[tuple[Any, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under the path of one frame the workers see nothing, under that of another one a different file."""
    cluster.at_least(1)
    monkeypatch.chdir(refs[0].path.parent)
    here = Path("/proc/self/cwd")
    shutil.copy(refs[5].path, cluster.folder / "empty" / "1.tif")
    hidden = [
        FrameRef(here / ref.path.name, 0, content=ref.content, acquired=ref.acquired) for ref in refs[:3]
    ]
    ledger, found = run(tmp_path / "s", hidden, scheduler=cluster.address)
    assert ledger["analysed"] == 3
    assert {(Path(row[2]).name, row[3]) for row in found} == {
        (Path(r[2]).name, r[3]) for r in alone if r[1] <= 3
    }
    monkeypatch.setattr(remote, "LARGEST_SENT", 1000)
    new = [FrameRef(here / refs[6].path.name, 0)]  # the others stay at the worker for a while
    ledger, _ = run(tmp_path / "s2", new, scheduler=cluster.address)
    assert ledger["rejected"] == 1
    with RecordReader(tmp_path / "s2") as reader:
        assert "does not see this file, and it is too large to be sent" in next(iter(reader.reasons()))


def test_a_file_that_was_sent_is_kept_for_the_next_frames(tmp_path: Path) -> None:
    stamp = remote.Stamp(3, 5)
    path = tmp_path / "elsewhere" / "a_1.ser"
    assert remote._received(path, stamp, None, tmp_path) is None
    first = remote._received(path, stamp, remote.Sent("a_1.ser", b"abc", (("a.emi", b"x"),)), tmp_path)
    assert first is not None
    assert first.read_bytes() == b"abc"
    assert (first.parent / "a.emi").read_bytes() == b"x"
    assert remote._received(path, stamp, None, tmp_path) == first
    for i in range(4):
        remote._received(path, remote.Stamp(3, 6 + i), remote.Sent("a_1.ser", b"abd", ()), tmp_path)
    assert not first.parent.exists()


def hopeless(workers: ClusterWorkers) -> str:
    """The sentence with which workers that can't begin give up."""
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            workers.finished()
            time.sleep(0.02)
    except WorkerFailed as error:
        return str(error)
    finally:
        workers.close()
    raise AssertionError("they did not give up")


def connected(address: str, how: Start, **more: Any) -> ClusterWorkers:
    return ClusterWorkers(
        address, how, None, time_limit_s=60, clock=time.monotonic, wake=lambda: None, **more
    )


def test_what_is_wrong_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No scheduler; no worker; a bundle that workers do not see; workers that run another program."""
    shipped = Start(None, "cpu", 1)
    other = Cluster(tmp_path)
    try:
        said = hopeless(connected(other.address, shipped, patience_s=0.2))
        assert f"start some with: dask worker {other.address}" in said
        shutil.copytree(ROOT / "monitor", tmp_path / "code" / "monitor")
        (tmp_path / "code" / "models").symlink_to(ROOT / "models")
        with (tmp_path / "code" / "monitor" / "errors.py").open("a") as file:
            file.write("# changed\n")
        other.add(root=tmp_path / "code")
        said = hopeless(connected(other.address, Start(tmp_path, "cpu", 1)))
        assert said.startswith("the worker at tcp://127.0.0.1:")
        assert "is no bundle" in said
        assert "runs another version of faultwatch" in hopeless(connected(other.address, shipped))
    finally:
        other.stop()
    monkeypatch.setattr(connection, "_ANSWER_S", 0.5)
    with pytest.raises(InputError, match="no Dask scheduler answers at tcp:"):
        connected(other.address, shipped)


def test_a_task_is_small(refs: list[FrameRef]) -> None:
    """Where the workers see the files, their paths travel and not their pixels."""
    import pickle

    task = Task(1, 0, refs[0], None, None, None)
    assert len(pickle.dumps((task, Start(None, "cpu", 1), remote.Stamp.of(refs[0].path)))) < 2000
