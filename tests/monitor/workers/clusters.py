"""A Dask cluster for tests: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from distributed import Client

from monitor.workers import remote
from monitor.workers.worker import Start

ROOT = Path(__file__).parents[3]
HOW = Start(None, "auto", 1)
"""As sessions with one thread and usual settings have it."""


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """
        Parameters
        ----------
        folder
            For its logs, and for what its processes write.
        environment
            More variables for its processes.
        """
        self.folder = folder
        self.environment = dict(environment or {})
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start_scheduler()

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """Start one, also again at the same port, and wait until it answers."""
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=10).close()
                return self.scheduler
            except OSError as error:
                if time.monotonic() > deadline or self.scheduler.poll() is not None:
                    said = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise AssertionError(f"no scheduler on port {self.port}: {said}") from error
                time.sleep(0.1)

    def add(self, *options: str, root: Path = ROOT) -> subprocess.Popen[bytes]:
        """Start a worker; it works in an empty folder."""
        usual = () if options else ("--no-nanny",)
        local = ("--local-directory", str(self.folder / "local"))
        process = self._start("worker", self.address, "--nthreads", "1", *local, *usual, *options, root=root)
        self.workers.append(process)
        return process

    def at_least(self, count: int) -> None:
        """Have so many workers that live, each with the shipped bundle loaded: none is late for a session."""
        for worker in self.workers:
            if worker.poll() is None and psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED:
                worker.kill()  # a test that failed has left it so
                worker.wait(30)
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        for _ in range(count - len(self.workers)):
            self.add()
        client: Any = Client  # its constructor has no types
        with client(self.address, timeout=120, set_as_default=False) as there:
            there.wait_for_workers(len(self.workers), timeout=120)
            addresses = list(there.scheduler_info(n_workers=-1)["workers"])
            begun = [there.submit(remote.begin, HOW, workers=[each], pure=False) for each in addresses]
            for each in begun:
                each.result(timeout=120)

    def stop(self) -> None:
        """End all of it."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait(30)

    def _start(self, kind: str, *arguments: str, root: Path = ROOT) -> subprocess.Popen[bytes]:
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"],
                cwd=empty, env={**os.environ, "PYTHONPATH": str(root), **self.environment}, stdout=log, stderr=log,
            )  # fmt: skip
