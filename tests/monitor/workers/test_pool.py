"""Real worker processes: warm, replaced when they die or hang, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import psutil
import pytest

from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.settings import processors
from monitor.workers.pool import Finished, WorkerFailed, Workers, share_processors
from monitor.workers.worker import Ready, Start, Task

WriteFrame = Callable[..., Path]
WaitFor = Callable[..., None]

pytestmark = pytest.mark.slow


def task(path: Path) -> Task:
    return Task(1, 0, FrameRef(path, 0), None, None, None)


def result(workers: Workers) -> Finished:
    """The next thing that a worker has to say."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if news := workers.finished():
            return news[0]
        time.sleep(0.02)
    raise AssertionError("no worker had anything to say")


@pytest.fixture
def workers(wait_for: WaitFor) -> Iterator[Workers]:
    news = threading.Event()
    workers = Workers(Start(None, "cpu", 1), 1, time_limit_s=3.0, clock=time.monotonic, wake=news.set)
    wait_for(lambda: workers.finished() or workers.ready, 60)
    yield workers
    workers.close()


def test_a_worker_is_warm_and_says_what_it_is(
    workers: Workers, write_frame: WriteFrame, tmp_path: Path
) -> None:
    assert workers.ready is not None
    assert workers.ready.pid != os.getpid()
    frame = write_frame(tmp_path / "a.tif", size=256)
    pids = set()
    for _ in range(2):
        assert workers.submit(task(frame))
        outcome = result(workers).outcome
        assert isinstance(outcome, FinishedFrame)
        assert outcome.analysis.shape == (256, 256)
        assert outcome.analysis.labels is None
        pids.add(workers.ready.pid)
    assert len(pids) == 1
    # What a worker imports decides how much memory a session takes; torch alone would double it.
    assert not any("libtorch" in part.path for part in psutil.Process(pids.pop()).memory_maps())


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing stops a process on Windows")
def test_a_worker_that_dies_or_hangs_is_replaced(
    workers: Workers, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    frame = write_frame(tmp_path / "a.tif", size=256)
    for deadly, said in ((signal.SIGKILL, "ended its worker process"), (signal.SIGSTOP, "within 3 s")):
        assert workers.ready is not None
        pid = workers.ready.pid
        os.kill(pid, signal.SIGSTOP)
        assert workers.submit(task(frame))
        os.kill(pid, deadly)
        finished = result(workers)
        assert finished.outcome is None
        assert said in str(finished.reason)
        wait_for(lambda: workers.finished() or workers.ready, 60)
        assert workers.ready.pid != pid
        assert not psutil.pid_exists(pid)
    assert workers.restarts == 2
    assert workers.submit(task(frame))
    assert result(workers).outcome is not None


def test_a_worker_that_died_while_it_waited_fails_no_frame(
    workers: Workers, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    assert workers.ready is not None
    os.kill(workers.ready.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    process = workers._slots[0].executor
    wait_for(lambda: getattr(process, "_broken", True), 20)
    assert not workers.submit(task(tmp_path))
    wait_for(lambda: workers.finished() or workers.ready, 60)
    assert workers.submit(task(write_frame(tmp_path / "a.tif")))
    assert result(workers).outcome is not None


def test_what_is_wrong_with_the_bundle_is_said(tmp_path: Path) -> None:
    workers = Workers(Start(tmp_path, "cpu", 1), 1, time_limit_s=1, clock=time.monotonic, wake=lambda: None)
    try:
        with pytest.raises(WorkerFailed, match=r"is no bundle: it has no bundle\.json"):
            result(workers)
    finally:
        workers.close()


class Frail(Executor):
    """Begins or dies over it, as it is told."""

    def __init__(self, lives: bool) -> None:
        self._lives = lives

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if not self._lives or isinstance(args[0], Task):
            future.set_exception(BrokenProcessPool("died"))
        else:
            future.set_result(Ready(0, "bundle", Path(), {}))
        return future


@pytest.mark.parametrize("began", [True, False])
def test_workers_that_die_while_they_load_are_tried_again_once_one_has_begun(
    began: bool, tmp_path: Path
) -> None:
    fates, now = iter([began, *[False] * 9, True]), [0.0]
    workers = Workers(
        Start(None, "cpu", 1),
        1,
        time_limit_s=9,
        clock=lambda: now[0],
        wake=lambda: None,
        executor=lambda: Frail(next(fates)),
    )
    try:
        if not began:
            for _ in range(3):
                assert not workers.finished()
            with pytest.raises(WorkerFailed, match="die while they load"):
                workers.finished()
            return
        workers.finished()
        assert workers.submit(task(tmp_path))
        assert result(workers).outcome is None
        while workers.ready is None:
            assert not workers.free()
            workers.finished()
            now[0] += 1.0
        assert now[0] > 2 + 4 + 8 + 16 + 30 + 30
        assert workers.restarts == 10
    finally:
        workers.close()


def test_workers_of_a_killed_session_end_by_themselves(wait_for: WaitFor) -> None:
    code = (
        "import time; from monitor.workers.worker import Start; from monitor.workers.pool import Workers\n"
        "if __name__ == '__main__':\n"
        "    workers = Workers(Start(None, 'cpu', 1), 1, time_limit_s=9, clock=time.monotonic, wake=print)\n"
        "    while not workers.ready: workers.finished(); time.sleep(.05)\n"
        "    print(workers.ready.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        pid = int(next(line for line in session.stdout if line.strip()))
        session.kill()
        session.stdout.close()
    wait_for(lambda: not psutil.pid_exists(pid), 20)


def test_a_worker_whose_session_is_killed_before_its_first_task_ends_by_itself(wait_for: WaitFor) -> None:
    code = (
        "import time; from monitor.workers.pool import spawned\n"
        "if __name__ == '__main__':\n"
        "    executor = spawned(); executor._spawn_process()  # a task would come next\n"
        "    print(next(iter(executor._processes)), flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        worker = psutil.Process(int(session.stdout.readline()))
        session.kill()
        session.stdout.close()
    wait_for(lambda: not worker.is_running(), 30)


def test_workers_share_the_processors_and_keep_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    for name in (*names, "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    assert share_processors(1) == processors()
    assert {os.environ[name] for name in names} == {str(processors())}
    assert int(os.environ["MALLOC_TRIM_THRESHOLD_"]) > 2**29
    assert os.environ["MALLOC_MMAP_THRESHOLD_"] == "1"  # as the user has it
    assert share_processors(1000) == 1
