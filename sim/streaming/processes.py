"""The processes that draw specimens: they come in the order of their numbers, however many draw.

Process i of n draws the numbers i, i + n, i + 2n, … and sends each through its own pipe, where it waits until it is
taken. A process whose pipe has lost its reader ends: so none outlives the program, however that ends.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import cv2

from models.errors import ModelError
from sim.streaming.specimens import Drawn, Plan, draw

WAITING = 2
"""Specimens of each process that wait in this one at the most."""


def _work(pipe: Connection, plan: Plan, first: int, step: int, end: int | None) -> None:
    """Draw and send until the end, or until nobody reads any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program, which ends this process
    cv2.setNumThreads(1)
    number = first
    try:
        while end is None or number < end:
            try:
                made: Drawn | str = draw(plan, number)
            except Exception as error:  # whatever it is, the program says it
                made = f"specimen {number} of the stream can't be drawn: {type(error).__name__}: {error}"
            pipe.send(made)
            if isinstance(made, str):
                return
            number += step
    except OSError:  # the reader has gone
        return


class Processes:
    """Specimens of a plan, drawn by processes.

    Parameters
    ----------
    end : the number after the last one; without it they go on for ever.
    """

    def __init__(self, plan: Plan, count: int, *, end: int | None = None) -> None:
        context = get_context("spawn")
        self._end, self._next = end, 0
        self._closed = threading.Event()
        self._queues: list[queue.Queue[Any]] = []
        self._processes = []
        self._threads = []
        for number in range(count):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_work,
                args=(theirs, plan, number, count, end),
                daemon=True,
                name=f"specimens-{number}",
            )
            process.start()
            theirs.close()
            kept: queue.Queue[Any] = queue.Queue(WAITING)
            thread = threading.Thread(target=self._receive, args=(ours, kept, process), daemon=True)
            thread.start()
            self._queues.append(kept)
            self._processes.append(process)
            self._threads.append(thread)

    def _receive(self, pipe: Connection, kept: queue.Queue[Any], process: Any) -> None:
        """Move what a process sends into its queue, until it ends."""
        with pipe:
            while not self._closed.is_set():
                try:
                    made = pipe.recv()
                except (EOFError, OSError):
                    process.join(5)
                    made = f"a process that draws specimens ended by itself (exit status {process.exitcode})"
                while not self._closed.is_set():
                    with suppress(queue.Full):
                        kept.put(made, timeout=0.2)
                        break
                if isinstance(made, str):
                    return

    def take(self, wait: bool = True) -> Drawn | None:
        """The specimen of the next number; `None` where it is not there yet and is not waited for.

        Raises
        ------
        ModelError
            It can't be drawn, or the process that had to has died.
        """
        try:
            made = self._queues[self._next % len(self._queues)].get(block=wait)
        except queue.Empty:
            return None
        if isinstance(made, str):
            raise ModelError(made)
        self._next += 1
        return made  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Drawn]:
        """The specimens in order, each waited for."""
        while self._end is None or self._next < self._end:
            drawn = self.take()
            assert drawn is not None
            yield drawn

    def close(self) -> None:
        """End all processes."""
        self._closed.set()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
