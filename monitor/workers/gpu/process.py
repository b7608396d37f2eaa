"""The session's side: begins the process that owns the device, and another one where it dies."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from models.device.there import torch_device
from monitor.workers.gpu.server import serve
from monitor.workers.worker import Contact, Start

log = logging.getLogger("faultwatch.workers")

_LONGEST_PAUSE_S = 30.0
_ENDING_S = 5.0


def address_of(folder: Path, name: str) -> str:
    """Where workers of this computer reach a process that owns a device: a socket in a folder, or a named pipe."""
    return rf"\\.\pipe\{name}" if sys.platform == "win32" else str(folder / "device")


class DeviceProcess:
    """The process that owns the device, for as long as the session lives."""

    def __init__(self, how: Start) -> None:
        self._how = how
        self._folder = Path(tempfile.mkdtemp(prefix="faultwatch-"))
        name = f"faultwatch-{os.getpid()}-{secrets.token_hex(4)}"
        self.contact = Contact(address_of(self._folder, name), secrets.token_bytes(32))
        self.restarts = 0
        self._not_before = 0.0
        self._begin()

    @property
    def pid(self) -> int | None:
        """Of the present process."""
        return self._process.pid

    def look(self) -> None:
        """Begin another process where this one has died."""
        if self._process.is_alive() or time.monotonic() < self._not_before:
            return
        log.error("event=device-process-replaced exit=%s", self._process.exitcode)
        self.restarts += 1
        self._not_before = time.monotonic() + min(2.0**self.restarts, _LONGEST_PAUSE_S)
        self._begin()

    def close(self) -> None:
        """End the process, once the workers have ended."""
        self._process.terminate()
        self._process.join(_ENDING_S)
        self._process.kill()
        self._process.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _begin(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            Path(self.contact.address).unlink()
        device = torch_device(self._how.device)
        context = multiprocessing.get_context("spawn")
        told = (self._how, device, self.contact.address, self.contact.key)
        self._process = context.Process(target=serve, args=told, daemon=True, name="device")
        self._process.start()
