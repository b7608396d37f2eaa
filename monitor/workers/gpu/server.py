"""The process that owns the device: it takes the workers' frames in batches, several batches at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Listener
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any

import numpy as np

from models.device.there import why_no_cuda
from models.errors import ModelError
from monitor.workers.gpu.arena import (
    Count,
    Counted,
    Failed,
    Hello,
    Larger,
    Look,
    Looked,
    Place,
    places_after,
)  # fmt: skip
from monitor.workers.worker import Start, follow_session

if TYPE_CHECKING:  # torch is imported once it is known that there is a device
    from torch import Tensor

    from models.device.chain import Chain, Seen

log = logging.getLogger("faultwatch.device")

LANES = 3
"""So many batches are under way at a time on a GPU: one is uploaded, one computed, one downloaded."""
BATCH = 8
"""Frames of a batch at the most: those that wait when a lane is free, and never waited for."""
BATCH_PIXELS = 1 << 25
"""The frames of a batch have no more pixels than this together, or there is only one: memory stays bounded."""
USUAL = ((2048, 2048), 0.025)
"""Frames of this size [px] and sampling [nm] are run before the first, so that libraries are loaded."""

_LEAVING_S = 2.0
"""So long the process waits at its end until the workers are gone, so that their memory is given back [s]."""


@dataclass
class _Caller:
    """A worker: its connection, its arenas, and what is kept of its last frame."""

    connection: Connection
    arenas: dict[str, SharedMemory] = field(default_factory=dict)
    image: Tensor | None = None
    busy: threading.Lock = field(default_factory=threading.Lock)
    """Held while its arenas are read or written."""
    gone: bool = False

    def memory(self, name: str) -> SharedMemory:
        """The arena of that name, whose pages stay where they are while a device reads and writes them."""
        if name not in self.arenas:
            if len(self.arenas) > 3:  # those of a worker that needed more since
                _forget(self.arenas.pop(next(iter(self.arenas))))
            self.arenas[name] = _pinned(SharedMemory(name))
        return self.arenas[name]

    def answer(self, what: Looked | Counted | Failed | Larger) -> None:
        """Send it; a worker that is gone has no use for it."""
        with contextlib.suppress(OSError):
            self.connection.send(what)

    def leave(self) -> None:
        """Forget everything of the worker. It may have been killed: nobody else would remove its arenas."""
        with self.busy:
            self.gone, self.image = True, None
            for memory in self.arenas.values():
                _forget(memory)
                with contextlib.suppress(FileNotFoundError):
                    memory.unlink()
            self.arenas.clear()
            self.connection.close()


class Server:
    """Answers the workers' requests with one chain; each lane is a thread with a stream of its own."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._waiting: deque[tuple[_Caller, Look | Count]] = deque()
        self._news = threading.Condition()
        self.batches: deque[int] = deque(maxlen=1000)
        """Frames in each of the last batches."""
        self.attending = 0
        """Workers that are connected."""

    def begin(self) -> None:
        """Start the lanes."""
        for _ in range(LANES if self._chain.device != "cpu" else 1):
            threading.Thread(target=self._lane, daemon=True).start()

    def attend(self, connection: Connection) -> None:
        """Take in one worker's requests until it leaves."""
        caller = _Caller(connection)
        with self._news:
            self.attending += 1
        try:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    request: Look | Count = connection.recv()
                    with self._news:
                        self._waiting.append((caller, request))
                        self._news.notify()
        finally:
            caller.leave()
            with self._news:
                self.attending -= 1

    def _lane(self) -> None:
        import torch

        on_gpu = self._chain.device != "cpu"
        stream = torch.cuda.Stream() if on_gpu else None  # type: ignore[no-untyped-call]
        with torch.inference_mode(), torch.cuda.stream(stream) if on_gpu else contextlib.nullcontext():
            while True:
                work = self._next()
                with contextlib.ExitStack() as held:
                    for caller, _ in work:
                        held.enter_context(caller.busy)
                    work = [each for each in work if not each[0].gone]
                    try:
                        self._do(work)
                    except Exception as error:
                        self._failed(work, error)

    def _next(self) -> list[tuple[_Caller, Look | Count]]:
        """The request that waits longest, and all others of its kind that wait, up to a batch."""
        with self._news:
            self._news.wait_for(lambda: self._waiting)
            caller, first = self._waiting.popleft()
            height, width = (first.frame if isinstance(first, Look) else first.labels).shape
            most = min(BATCH, max(1, BATCH_PIXELS // (height * width)))
            others = [each for each in self._waiting if _kind(each[1]) == _kind(first)][: most - 1]
            for each in others:
                self._waiting.remove(each)
            return [(caller, first), *others]

    def _do(self, work: list[tuple[_Caller, Look | Count]]) -> None:
        looks = [(caller, request) for caller, request in work if isinstance(request, Look)]
        counts = [(caller, request) for caller, request in work if isinstance(request, Count)]
        if looks:
            self._look(looks)
        if counts:
            self._count(counts)

    def _look(self, looks: list[tuple[_Caller, Look]]) -> None:
        frames = [look.frame.in_(caller.memory(look.arena)) for caller, look in looks]
        self.batches.append(len(looks))
        seen = self._chain.run(frames, looks[0][1].pixel_size_nm)
        answers = [self._looked(caller, look, seen, n) for n, (caller, look) in enumerate(looks)]
        self._chain.wait()
        figures = [_read(each) for each in seen.figures]
        for n, ((caller, _), answer) in enumerate(zip(looks, answers, strict=True)):
            caller.image = seen.images[n]
            if isinstance(answer, Looked):
                answer = replace(answer, figures=[each[n] for each in figures])
            caller.answer(answer)

    def _count(self, counts: list[tuple[_Caller, Count]]) -> None:
        there = [(caller, count, caller.image) for caller, count in counts if caller.image is not None]
        for caller, _ in counts:
            if caller.image is None:
                caller.answer(Failed("no frame was seen before"))
        if not there:
            return
        labels = [count.labels.in_(caller.memory(count.arena)) for caller, count, _ in there]
        found = self._chain.measure(
            [image for *_, image in there], [count.crops for _, count, _ in there], labels
        )
        for (caller, _, _), numbers in zip(there, found, strict=True):
            caller.answer(Counted([_read(each) for each in numbers]))

    def _looked(self, caller: _Caller, look: Look, seen: Seen, n: int) -> Looked | Larger:
        """What is said of one frame of a batch; its image and maps are on their way into the arena."""
        arrays = [seen.images[n], seen.maps[n], *(each[n] for each in seen.powers)]
        places = places_after(look.frame.end, [tuple(each.shape) for each in arrays], "float32")
        if places[-1].end > look.room:
            return Larger(places[-1].end)
        memory = caller.memory(look.arena)
        for array, place in zip(arrays, places, strict=True):
            _write(array, place, memory)
        return Looked(places[0], places[1], (places[2], places[3]), seen.scale, [])

    def _failed(self, work: list[tuple[_Caller, Look | Count]], error: Exception) -> None:
        """Try the frames of a batch one by one; what fails alone is told to its worker, which does without."""
        log.error("event=device-failed frames=%d error=%s: %s", len(work), type(error).__name__, error)
        if "CUDA error" in str(error):
            os._exit(3)  # nothing works in a process after that; the session begins another one
        self._chain.recover()
        if len(work) > 1:
            for each in work:
                try:
                    self._do([each])
                except Exception as again:
                    self._failed([each], again)
            return
        work[0][0].answer(Failed(f"{type(error).__name__}: {error}"))


def _kind(request: Look | Count) -> tuple[Any, ...]:
    """Requests of the same kind can be done together."""
    if isinstance(request, Look):
        return Look, request.frame.shape, request.frame.dtype, request.pixel_size_nm
    return Count, request.labels.shape, request.crops.pixel_size_nm, request.crops.frequencies


def _write(tensor: Tensor, place: Place, memory: SharedMemory) -> None:
    """Put a tensor into an arena; on a GPU it is there once the stream has come so far."""
    import torch

    torch.from_numpy(place.in_(memory)).copy_(tensor, non_blocking=True)


def _read(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.asarray(tensor.float().cpu().numpy())


def _pinned(memory: SharedMemory) -> SharedMemory:
    """Shared memory whose pages a GPU may read and write by itself; without one, and where it fails, as it is."""
    import torch

    if torch.cuda.is_available():
        runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        failed = int(runtime.cudaHostRegister(_address(memory), memory.size, 0))
        if failed != 0:
            log.warning("event=not-pinned bytes=%d error=%d", memory.size, failed)
    return memory


def _forget(memory: SharedMemory) -> None:
    import torch

    if torch.cuda.is_available():
        runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        runtime.cudaHostUnregister(_address(memory))
    with contextlib.suppress(BufferError):
        memory.close()


def _address(memory: SharedMemory) -> int:
    assert memory.buf is not None
    return int(np.frombuffer(memory.buf, np.uint8).ctypes.data)


def serve(how: Start, device: str, address: str, key: bytes) -> None:
    """Own a device and answer workers, until the session ends.

    Parameters
    ----------
    device
        "cuda", "auto" (there may be none), or "cpu", where this is tested.
    """
    follow_session()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    answer(how, device, Listener(address, authkey=key), lambda _: stop.wait(1.0))


def answer(how: Start, device: str, listener: Listener, ended: Callable[[int], bool]) -> None:
    """Load the bundle and answer workers, until it is ended.

    Parameters
    ----------
    ended
        Whether this is the end, which it may wait for a moment; told how many workers are connected.
    """
    loaded: list[tuple[Server | None, Hello]] = []
    done = threading.Event()

    def greet(connection: Connection) -> None:
        done.wait()
        server, hello = loaded[0]
        with contextlib.suppress(OSError):
            connection.send(hello)
            if server is not None:
                server.attend(connection)

    def accept() -> None:
        while True:
            with contextlib.suppress(OSError, EOFError):
                connection = listener.accept()
                threading.Thread(target=greet, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    loaded.append(_load(how, device))
    done.set()
    server = loaded[0][0]
    while not ended(0 if server is None else server.attending):
        pass
    until = time.monotonic() + _LEAVING_S
    while server is not None and server.attending and time.monotonic() < until:
        time.sleep(0.02)


def _load(how: Start, device: str) -> tuple[Server | None, Hello]:
    missing = why_no_cuda() if device != "cpu" else None
    if missing is not None:
        return None, Hello(None, missing if device == "cuda" else None)
    from models.bundle import device_chain, load_bundle

    try:
        bundle = load_bundle(how.bundle, "cpu", 1)
        chain = device_chain(bundle, "cpu" if device == "cpu" else "cuda")
    except ModelError as error:
        return None, Hello(None, str(error))
    if chain.device != "cpu":
        chain.warm(*USUAL)
    server = Server(chain)
    server.begin()
    return server, Hello(chain.backend)
