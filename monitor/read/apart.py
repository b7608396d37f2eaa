"""Reading in a process apart, for libraries that a damaged file can stop or end.

HDF5 is such a library: one flipped byte can put it into an endless loop, which only the end of the process ends. So
HDF5 files are opened in another process, with limits on its time and memory. A process that exceeds a limit is
killed, its file is refused, and the next file is read by a new process. `serve` is what runs in that process.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.serve import HEAD
from monitor.read.signals import LARGEST_COUNT, Axis, Details, Signal

#: Longest time to open a file or to load a frame [s]; a large frame gets more, by `_SLOWEST_BYTES_S`.
LIMIT_S = 20.0
#: A disk is taken to be no slower than this [bytes/s].
_SLOWEST_BYTES_S = 2e6


class _Gone(Exception):
    """The process ended before it answered."""


class _Process:
    """The other process; it answers one request at a time."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "monitor.read.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # A thread for each of many cores would take the address space that frames need.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self._late = False

    def ask(self, request: dict[str, Any], limit_s: float) -> tuple[dict[str, Any], bytearray]:
        """The answer to a request, and the bytes of the pixels with it.

        Raises
        ------
        UnreadableFrame, IncompleteFile
            The reader in the other process raised it.
        _Gone
            The process ended by itself, or was killed after `limit_s` seconds.
        """
        timer = threading.Timer(limit_s, self._give_up)
        timer.start()
        try:
            stdin, stdout = cast(IO[bytes], self._child.stdin), cast(IO[bytes], self._child.stdout)
            stdin.write(json.dumps({**request, "limit_s": limit_s}).encode() + b"\n")
            stdin.flush()
            head, raw = HEAD.unpack(_take(stdout, HEAD.size))
            answer = json.loads(_take(stdout, head))
            pixels = _take(stdout, raw)
        except (OSError, ValueError, _Gone) as error:
            self.close()
            how = f"reading it had not ended after {limit_s:.2g} s" if self._late else "it ends what reads it"
            raise _Gone(f"the file is damaged: {how}") from error
        finally:
            timer.cancel()
        if "refused" in answer:
            raise (IncompleteFile if answer["incomplete"] else UnreadableFrame)(answer["refused"])
        return answer, pixels

    def close(self) -> None:
        """End the process."""
        self._child.kill()
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):
                cast(IO[bytes], pipe).close()
        self._child.wait()

    def _give_up(self) -> None:
        self._late = True
        self._child.kill()


_lock = threading.RLock()
_process: _Process | None = None


def _ask(
    request: dict[str, Any], limit_s: float | None = None, by: _Process | None = None
) -> tuple[dict[str, Any], bytearray, _Process]:
    """Ask the other process, which is started if there is none.

    `by` is the process that has the file open, None for a request that opens one.
    """
    global _process
    with _lock:
        if _process is None:
            _process = _Process()
            atexit.register(_end)
        if by is not None and by is not _process:
            raise UnreadableFrame("the file is damaged: reading another frame of it had to be given up")
        try:
            return *_process.ask(request, LIMIT_S if limit_s is None else limit_s), _process
        except _Gone as error:
            _process = None
            atexit.unregister(_end)
            raise UnreadableFrame(str(error)) from error
        except UnreadableFrame:
            raise
        except BaseException:  # Ctrl-C between request and answer: the next answer would be the wrong one
            _end()
            raise


def _end() -> None:
    global _process
    if _process is not None:
        _process.close()
        _process = None


def signals_apart(reader: str, path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The signals of a file; the module `reader` finds and loads them in the other process.

    Raises
    ------
    UnreadableFrame
        The reader refused the file, did not answer in time, or its process ended.
    IncompleteFile
        The reader found that the file is not whole.
    """
    answer, _, process = _ask({"do": "open", "reader": reader, "path": str(path.absolute())})
    number = answer["file"]

    def close() -> None:
        with _lock, contextlib.suppress(UnreadableFrame):
            if process is _process:
                _ask({"do": "close", "file": number}, by=process)

    stack.callback(close)

    def signal_of(position: int, told: dict[str, Any]) -> Signal:
        where = {"file": number, "signal": position}
        shape, dtype = tuple(int(side) for side in told["shape"]), np.dtype(told["dtype"])
        for_its_size_s = float(np.prod(shape)) * dtype.itemsize / _SLOWEST_BYTES_S

        def load(index: int) -> np.ndarray[Any, Any]:
            answer, pixels, _ = _ask(
                {"do": "load", **where, "index": index}, LIMIT_S + for_its_size_s, process
            )
            return np.frombuffer(pixels, np.dtype(answer["dtype"])).reshape(answer["shape"])

        def details(index: int) -> Details:
            answer, _, _ = _ask({"do": "details", **where, "index": index}, by=process)
            return Details(**answer["details"])

        return Signal(
            min(told["count"], LARGEST_COUNT + 1),
            shape,
            dtype,
            load,
            Axis(**told["rows"]),
            Axis(**told["columns"]),
            told["title"],
            details,
            told["refusal"],
            told["scale_doubt"],
            tuple(told["notes"]),
            series=told["series"],
        )

    return [signal_of(position, told) for position, told in enumerate(answer["signals"])]


def _take(stream: IO[bytes], length: int) -> bytearray:
    """The next `length` bytes of a stream; raises `_Gone` where it ends before."""
    taken = bytearray(length)
    view, at = memoryview(taken), 0
    while at < length:
        count = stream.readinto(view[at:])  # type: ignore[attr-defined]
        if not count:
            raise _Gone
        at += count
    return taken
