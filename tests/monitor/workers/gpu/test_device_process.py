"""Workers hand their frames to the process that owns the device; here it runs torch on the CPU."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from models.analysis import analyse
from models.bundle import load_bundle
from models.device.there import TORCH_CPU
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.workers.agreement import TOLERANCE, compare
from monitor.workers.gpu.arena import PREFIX
from monitor.workers.pool import Finished, Workers
from monitor.workers.worker import Start, Task

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Two workers and their device."""
    how = Start(None, TORCH_CPU, 1)
    workers = Workers(how, 2, time_limit_s=60, clock=time.monotonic, wake=threading.Event().set)
    deadline = time.monotonic() + 120
    while workers.ready is None and time.monotonic() < deadline:
        workers.finished()
        time.sleep(0.05)
    assert workers.ready is not None
    yield workers
    pids = [slot.ready.pid for slot in workers._slots if slot.ready is not None]
    workers.close()
    # The workers were killed; their memory was given back all the same.
    left = [path.name for pid in pids for path in Path("/dev/shm").glob(f"{PREFIX}{pid}-*")]
    assert (len(pids), left) == (2, [])


def results(workers: Workers, tasks: list[Task]) -> dict[int, Finished]:
    """Every task's result, by its frame's number."""
    found: dict[int, Finished] = {}
    waiting, deadline = list(tasks), time.monotonic() + 120
    while len(found) < len(tasks) and time.monotonic() < deadline:
        while waiting and workers.free():
            if not workers.submit(waiting[0]):
                break
            waiting.pop(0)
        for news in workers.finished():
            found[news.task.frame_id] = news
        time.sleep(0.02)
    return found


def frame(path: Path, size: int, seed: int) -> Path:
    """A frame with one disc of fringes, as TIFF."""
    rows, cols = np.mgrid[:size, :size]
    disc = np.hypot(rows - size / 2, cols - size / 2) < 50
    fringes = 1 + disc * (0.3 * np.cos(rows * 0.9) + 0.3 * np.cos(cols * 0.9) - 0.2)
    tifffile.imwrite(path, np.random.default_rng(seed).poisson(200 * fringes).astype(np.uint16))
    return path


def tasks_of(folder: Path, sizes: list[int]) -> list[Task]:
    paths = [frame(folder / f"{n}.tif", size, n) for n, size in enumerate(sizes)]
    return [Task(n, 0, FrameRef(path, 0), 0.05, None, None) for n, path in enumerate(paths)]


def agreeing(found: dict[int, Finished], tasks: list[Task]) -> None:
    """Every frame was judged on the device, and as the CPU judges it."""
    bundle = load_bundle(device="cpu")
    for task in tasks:
        outcome = found[task.frame_id].outcome
        assert isinstance(outcome, FinishedFrame), outcome
        assert outcome.analysis.backend == "torch-cpu"
        expected = analyse(tifffile.imread(task.ref.path), 0.05, bundle)
        assert len(expected.particles) >= 1
        agreement = compare(expected, outcome.analysis, TOLERANCE)
        assert agreement.differences == ()


def test_frames_of_several_sizes_are_judged_as_on_the_cpu(workers: Workers, tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path, [256, 256, 320, 256])
    agreeing(results(workers, tasks), tasks)


def test_a_device_process_that_dies_costs_no_frame(workers: Workers, tmp_path: Path) -> None:
    device = workers._device
    assert device is not None
    before, restarts = device.pid, workers.restarts
    assert before is not None
    os.kill(before, signal.SIGKILL)
    tasks = tasks_of(tmp_path, [256, 288])
    agreeing(results(workers, tasks), tasks)
    assert device.restarts == 1
    assert device.pid != before
    assert workers.restarts == restarts  # the workers themselves went on
