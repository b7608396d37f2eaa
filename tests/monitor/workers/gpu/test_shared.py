"""The workers of a cluster begin the process that owns their device, and share it; here it runs torch on the CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile

from models.analysis import analyse
from models.bundle import load_bundle
from models.device.there import TORCH_CPU
from models.errors import BundleRefused
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.workers.agreement import TOLERANCE, compare
from monitor.workers.cluster import ClusterWorkers
from monitor.workers.gpu.shared import SharedDevice, _key
from monitor.workers.pool import Finished
from monitor.workers.worker import Start, Task
from tests.monitor.workers.clusters import ROOT, Cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="folders have no owner there, and locks no flock"),
]

HOW = Start(None, TORCH_CPU, 1)


def device_processes(folder: Path) -> list[psutil.Process]:
    """Those that own, or want to own, the device of a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        told = process.info["cmdline"] or []
        if "monitor.workers.gpu.shared" in told and any(str(folder) in each for each in told):
            found.append(process)
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers, each with a nanny, as `dask worker` has them."""
    folder = tmp_path_factory.mktemp("shared")
    found = Cluster(folder, {"TMPDIR": str(folder)})
    for _ in range(2):
        found.add("--nanny")
    yield found
    found.stop()
    for process in device_processes(folder):
        process.kill()
        process.wait(30)


@pytest.fixture(scope="module")
def workers(cluster: Cluster) -> Iterator[ClusterWorkers]:
    found = ClusterWorkers(
        cluster.address, HOW, None, time_limit_s=100, clock=time.monotonic, wake=lambda: None
    )
    deadline = time.monotonic() + 180
    while sum(slot.ready is not None for slot in found._slots.values()) < 2 and time.monotonic() < deadline:
        found.finished()
        time.sleep(0.05)
    assert sum(slot.ready is not None for slot in found._slots.values()) == 2
    yield found
    found.close()


def tasks_of(folder: Path, sizes: list[int]) -> list[Task]:
    """Frames with one disc of fringes each, as TIFF."""
    tasks = []
    for number, size in enumerate(sizes):
        rows, cols = np.mgrid[:size, :size]
        disc = np.hypot(rows - size / 2, cols - size / 2) < 50
        fringes = 1 + disc * (0.3 * np.cos(rows * 0.9) + 0.3 * np.cos(cols * 0.9) - 0.2)
        path = folder / f"{number}.tif"
        tifffile.imwrite(path, np.random.default_rng(number).poisson(200 * fringes).astype(np.uint16))
        tasks.append(Task(number, 0, FrameRef(path, 0), 0.05, None, None))
    return tasks


def results(workers: ClusterWorkers, tasks: list[Task]) -> dict[int, Finished]:
    found: dict[int, Finished] = {}
    waiting, deadline = list(tasks), time.monotonic() + 150
    while len(found) < len(tasks) and time.monotonic() < deadline:
        while waiting and workers.free() and workers.submit(waiting[0]):
            waiting.pop(0)
        found |= {news.task.frame_id: news for news in workers.finished()}
        time.sleep(0.02)
    return found


def agreeing(found: dict[int, Finished], tasks: list[Task]) -> None:
    """Every frame was judged on the device, and as the CPU judges it."""
    bundle = load_bundle(device="cpu")
    for task in tasks:
        outcome = found[task.frame_id].outcome
        assert isinstance(outcome, FinishedFrame), outcome
        assert outcome.analysis.backend == "torch-cpu"
        expected = analyse(tifffile.imread(task.ref.path), 0.05, bundle)
        assert len(expected.particles) >= 1
        assert compare(expected, outcome.analysis, TOLERANCE).differences == ()


def test_two_workers_of_a_cluster_share_one_device_process(
    cluster: Cluster, workers: ClusterWorkers, tmp_path: Path
) -> None:
    tasks = tasks_of(tmp_path, [256, 256, 288, 256])
    agreeing(results(workers, tasks), tasks)
    assert len(device_processes(cluster.folder)) == 1


def test_workers_begin_another_device_process_where_theirs_dies(
    cluster: Cluster, workers: ClusterWorkers, tmp_path: Path
) -> None:
    (before,) = device_processes(cluster.folder)
    before.send_signal(signal.SIGKILL)
    tasks = tasks_of(tmp_path, [256, 288, 256])
    agreeing(results(workers, tasks), tasks)
    (now,) = device_processes(cluster.folder)
    assert now.pid != before.pid
    assert workers.restarts == 0  # the workers themselves went on


def test_of_two_device_processes_one_stays(tmp_path: Path) -> None:
    _key(tmp_path / "key")
    command = [sys.executable, "-m", "monitor.workers.gpu.shared", str(tmp_path), "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment) as first:
        try:
            deadline = time.monotonic() + 60
            while not (tmp_path / "device").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            subprocess.run(command, env=environment, timeout=60, check=True)
            assert first.poll() is None
            assert (tmp_path / "lock").read_text() == str(first.pid)
        finally:
            first.kill()


def test_who_shares_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same bundle, program and devices: the same process; else another one. Nobody else may read its key."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one = SharedDevice(HOW, "a").contact
    assert SharedDevice(Start(None, TORCH_CPU, 4, "CdSe"), "a").contact == one
    others = [SharedDevice(HOW, "b"), SharedDevice(Start(tmp_path, TORCH_CPU, 1), "a")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    others.append(SharedDevice(HOW, "a"))
    assert len({one.address, *(other.contact.address for other in others)}) == 4
    assert len({one.key, *(other.contact.key for other in others)}) == 4
    folder = others[-1]._folder
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o755)
    with pytest.raises(BundleRefused, match="may be read by others"):
        SharedDevice(HOW, "a")
