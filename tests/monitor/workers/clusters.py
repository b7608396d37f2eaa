"""A Dask cluster for tests: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[3]


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
        """Start one; also again, at the same port."""
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        return self.scheduler

    def add(self, *options: str, root: Path = ROOT) -> subprocess.Popen[bytes]:
        """Start a worker; it works in an empty folder."""
        usual = () if options else ("--no-nanny",)
        local = ("--local-directory", str(self.folder / "local"))
        process = self._start("worker", self.address, "--nthreads", "1", *local, *usual, *options, root=root)
        self.workers.append(process)
        return process

    def at_least(self, count: int) -> None:
        """Have so many workers that live."""
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        for _ in range(count - len(self.workers)):
            self.add()

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
