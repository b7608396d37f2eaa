"""What a worker of a Dask cluster does for sessions: keeps their bundles warm and analyses a frame at a time.

Sessions that share a cluster may use different bundles, so every call says which one it means.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import platform
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin, get_worker

from models.device.there import device_wanted
from monitor.errors import InputError
from monitor.outcomes import Outcome, RejectedFrame
from monitor.workers import worker
from monitor.workers.gpu.shared import SharedDevice
from monitor.workers.worker import Ready, Start, Task

if TYPE_CHECKING:
    from models.bundle import Bundle

#: So many bundles stay loaded in a worker; the one that was used longest ago goes.
_BUNDLES = 2

#: So many files that were sent stay in a worker, so that a stack is sent once and not once a frame.
_FILES = 4

#: A larger file is not sent to workers that do not see it [bytes].
LARGEST_SENT = 512 * 2**20

#: Libraries on which the figures of a particle may depend, with Python itself.
_LIBRARIES = ("distributed", "numpy", "scipy", "onnxruntime", "opencv-python-headless", "torch")


@dataclass(frozen=True)
class Begun:
    """A worker with its bundle, and what program it runs."""

    ready: Ready
    code: str
    """See `code`."""
    versions: dict[str, str]


@dataclass(frozen=True)
class Stamp:
    """A file as the session sees it. A file of another size or time is another one, whatever its name."""

    size: int
    mtime_ns: int

    @staticmethod
    def of(path: Path) -> Stamp | None:
        """Of a file, None where there is none."""
        try:
            found = os.stat(path)
        except OSError:
            return None
        return Stamp(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class Unseen:
    """The worker does not see the file, or another one in its place."""


@dataclass(frozen=True)
class Sent:
    """A file that travels to a worker, with the small files that are read with it."""

    name: str
    content: bytes
    beside: tuple[tuple[str, bytes], ...]


class Preload(WorkerPlugin):
    """Has a bundle loaded by every worker of the cluster, also by those that join later, before their first frame."""

    idempotent = True

    def __init__(self, how: Start) -> None:
        self.how = how
        self.name = plugin_name(how)

    async def setup(self, worker: Any) -> None:
        """Load it. What is wrong with it is said by `begin`: the worker may serve others all the same."""
        how = replace(self.how, threads=worker.state.nthreads)
        try:
            await asyncio.to_thread(bundle_of, how)
        except Exception as error:
            worker.log_event("faultwatch", {"bundle": str(how.bundle), "error": str(error)})


def plugin_name(how: Start) -> str:
    """The same for sessions that want the same of the workers."""
    return f"faultwatch-{hashlib.blake2b(repr(how).encode(), digest_size=8).hexdigest()}"


@functools.cache
def code() -> str:
    """Hash of the program that judges: workers that run another one would not say the same of a frame."""
    digest = hashlib.blake2b(digest_size=8)
    root = Path(__file__).parents[2]
    for room in ("models", "monitor"):
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what the figures of a particle may depend on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


_bundles: OrderedDict[Start, Bundle] = OrderedDict()
_loading = threading.Lock()
_at_work = threading.Lock()
_files: OrderedDict[tuple[Path, Stamp], Path] = OrderedDict()


def bundle_of(how: Start) -> Bundle:
    """The bundle, loaded where it is not yet.

    Raises
    ------
    Exception
        Any error of the bundle or the device.
    """
    with _loading:
        if how not in _bundles:
            if device_wanted(how.device):
                shared = SharedDevice(how, code())
                _bundles[how] = worker.load(replace(how, gpu=shared.contact), shared.begin)
            else:
                _bundles[how] = worker.load(how)
            while len(_bundles) > _BUNDLES:
                _bundles.popitem(last=False)
        _bundles.move_to_end(how)
        return _bundles[how]


def begin(how: Start) -> Begun:
    """Load the bundle, with as many threads as this worker was given.

    Raises
    ------
    Exception
        Any error of the bundle or the device.
    """
    bundle = bundle_of(replace(how, threads=get_worker().state.nthreads))
    return Begun(worker.ready(bundle), code(), versions())


def run(task: Task, how: Start, stamp: Stamp | None, sent: Sent | None = None) -> Outcome | Unseen:
    """Analyse one frame. Never raises for what is wrong with a frame.

    Parameters
    ----------
    stamp
        The frame's file as the session sees it; None: the session does not see it either.
    sent
        The file itself, where this worker does not see it.
    """
    with _at_work:  # a worker with several threads gives all of them to one frame
        bundle = bundle_of(replace(how, threads=get_worker().state.nthreads))
        path = task.ref.path
        if stamp is not None and Stamp.of(path) != stamp:
            try:
                received = _received(path, stamp, sent, Path(get_worker().local_directory))
            except OSError as error:
                return RejectedFrame(f"the worker has no room for its file ({error.strerror})")
            if received is None:
                return Unseen()
            task = replace(task, ref=replace(task.ref, path=received))
        return worker.run_with(bundle, task)


def _received(path: Path, stamp: Stamp, sent: Sent | None, folder: Path) -> Path | None:
    """Where a file that was sent lies, None where it was not sent yet."""
    key = (path, stamp)
    if sent is not None and key not in _files:
        place = Path(tempfile.mkdtemp(prefix="frame-", dir=folder))
        for name, content in ((sent.name, sent.content), *sent.beside):
            (place / name).write_bytes(content)
        os.utime(place / sent.name, ns=(stamp.mtime_ns, stamp.mtime_ns))
        _files[key] = place / sent.name
        while len(_files) > _FILES:
            _, old = _files.popitem(last=False)
            for file in old.parent.iterdir():
                file.unlink()
            old.parent.rmdir()
    return _files.get(key)


def read_to_send(path: Path, stamp: Stamp) -> Sent:
    """A file as it travels to a worker.

    Raises
    ------
    InputError
        It is too large.
    OSError
        It can't be read.
    """
    if stamp.size > LARGEST_SENT:
        raise InputError(
            f"the worker does not see this file, and it is too large to be sent ({stamp.size / 2**20:.0f} MiB, "
            f"at most {LARGEST_SENT / 2**20:.0f}): let the workers see it under the same path"
        )
    # Notes of SerialEM and of TIA (`name.emi` beside `name_1.ser`) are read with their frames.
    beside = {f"{path.name}.mdoc", f"{path.stem}.mdoc", f"{path.stem.rpartition('_')[0]}.emi"} - {path.name}
    notes = [
        (name, path.with_name(name).read_bytes()) for name in sorted(beside) if path.with_name(name).is_file()
    ]
    return Sent(path.name, path.read_bytes(), tuple(notes))
