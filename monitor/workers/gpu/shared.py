"""The process that owns a computer's device, begun and shared by the workers of a cluster: no session is at hand there.

Whoever finds nobody there begins one; of several that begin at a time the one with the lock stays. It ends once no
worker has been connected to it for a while.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Listener
from pathlib import Path

from models.device.there import torch_device
from models.errors import BundleRefused
from monitor.workers.gpu.process import address_of
from monitor.workers.gpu.server import answer
from monitor.workers.worker import Contact, Start

log = logging.getLogger("faultwatch.workers")

LINGER_S = 30.0
"""So long the process waits for another worker [s]."""
_LONGEST_PAUSE_S = 30.0
_ROOT = Path(__file__).parents[3]


class SharedDevice:
    """The device of the workers of one user on one computer that judge by the same bundle and program."""

    def __init__(self, how: Start, code: str) -> None:
        """
        Parameters
        ----------
        code
            Hash of the program: another one has a process of its own.

        Raises
        ------
        BundleRefused
            Another user could read what the workers tell each other.
        """
        self._how = how
        user = str(os.getuid()) if sys.platform != "win32" else ""
        which = (how.bundle, how.device, code, os.environ.get("CUDA_VISIBLE_DEVICES"))
        name = f"faultwatch-{user}-{hashlib.blake2b(repr(which).encode(), digest_size=8).hexdigest()}"
        self._folder = Path(tempfile.gettempdir()) / name
        self._folder.mkdir(mode=0o700, exist_ok=True)
        _check_ours(self._folder)
        self.contact = Contact(address_of(self._folder, name), _key(self._folder / "key"))
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = 0
        self._not_before = 0.0

    def begin(self) -> None:
        """Begin the process, where this worker's last one has ended or there was none."""
        if time.monotonic() < self._not_before or (
            self._process is not None and self._process.poll() is None
        ):
            return
        self._begun += 1
        self._not_before = time.monotonic() + min(2.0**self._begun, _LONGEST_PAUSE_S)
        told = [str(self._folder), torch_device(self._how.device), *_optional(self._how.bundle)]
        path = os.pathsep.join([str(_ROOT), *_optional(os.environ.get("PYTHONPATH"))])
        # Not by multiprocessing: a worker that Dask's nanny looks after may have no child by that.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "monitor.workers.gpu.shared", *told],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        log.info("event=device-process-begun pid=%d device=%s", self._process.pid, self._how.device)


def serve_workers(folder: Path, device: str, bundle: Path | None) -> None:
    """Own the device and answer workers, until none has been connected for a while; at once, where another one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C for a worker is none for those of others
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with (folder / "lock").open("a") as lock:
        try:
            _hold(lock.fileno())
            lock.truncate(0)
            lock.write(str(os.getpid()))  # for people who look after the computer
            lock.flush()
            address = address_of(folder, folder.name)
            with contextlib.suppress(FileNotFoundError):
                Path(address).unlink()  # of a process that was killed
            listener = Listener(address, authkey=_key(folder / "key"))
        except OSError:
            return  # another one owns it
        last: list[float] = []

        def ended(attending: int) -> bool:
            if attending or not last:  # it is asked first when the bundle is loaded
                last[:] = [time.monotonic()]
            return stop.wait(1.0) or time.monotonic() - last[0] > LINGER_S

        answer(Start(bundle, device, 1), device, listener, ended)
        listener.close()  # while the lock is held: afterwards the address may be another one's


def _hold(file: int) -> None:
    """Take the lock for as long as this process lives.

    Raises
    ------
    OSError
        Another process has it.
    """
    if sys.platform != "win32":  # there the first to open a pipe is the only one
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _key(path: Path) -> bytes:
    """The key by which workers and process know each other: the same for all who ask, whoever is the first."""
    own = path.with_name(f"key-{secrets.token_hex(8)}")
    own.write_bytes(secrets.token_bytes(32))
    with contextlib.suppress(FileExistsError):
        os.link(own, path)
    own.unlink()
    return path.read_bytes()


def _check_ours(folder: Path) -> None:
    found = folder.lstat()
    if sys.platform != "win32" and (
        not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077
    ):
        raise BundleRefused(f"{folder} may be read by others; remove it, so that the device can be shared")


def _optional(value: object) -> list[str]:
    return [] if value is None else [str(value)]


if __name__ == "__main__":
    serve_workers(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None)
