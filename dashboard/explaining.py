"""Explanations for every viewer, made one at a time in a process of its own, so that the page goes on meanwhile."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future

from monitor.workers.explained import Explained, NotExplained, ToExplain, explained
from monitor.workers.pool import spawned

log = logging.getLogger("faultwatch.dashboard")

#: The last explanations are kept.
KEPT = 64
#: After so long without a question the process, with its models in memory, is ended [s].
IDLE_S = 180.0
#: The session's own work goes first.
_NICE = 10

Told = Explained | NotExplained


def begun() -> Executor:
    """A process of its own that lets others go first."""
    executor = spawned()
    executor.submit(_yield_to_others)
    return executor


class Explaining:
    """Explains particles on demand; for one thread, the server's loop."""

    def __init__(self, begin: Callable[[], Executor] = begun) -> None:
        self._begin = begin
        self._executor: Executor | None = None
        self._told: OrderedDict[ToExplain, Future[Told]] = OrderedDict()
        self._idle: threading.Timer | None = None
        self._lock = threading.Lock()

    def ask(self, task: ToExplain) -> Future[Told]:
        """The explanation of a particle, now or later; the same one for everybody who asks meanwhile."""
        with self._lock:
            known = self._told.get(task)
            if known is not None and not _worth_another_try(known):
                self._told.move_to_end(task)
                return known
            future = self._submit(task)
            self._told[task] = future
            while len(self._told) > KEPT:
                self._told.popitem(last=False)
            self._wait_for_more()
            return future

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)

    def _submit(self, task: ToExplain) -> Future[Told]:
        for _ in range(2):  # the process may have been killed since the last question
            if self._executor is None:
                self._executor = self._begin()
            try:
                return self._executor.submit(explained, task)
            except BrokenExecutor:
                self._executor = None
        raise BrokenExecutor("the process that explains can't be begun")

    def _wait_for_more(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = threading.Timer(IDLE_S, self.close)
        self._idle.daemon = True
        self._idle.start()


def answer_of(future: Future[Told]) -> Told | None:
    """What came of a question; None while it is worked on."""
    if not future.done():
        return None
    if future.cancelled():
        return NotExplained("It was not explained: the page was being closed.")
    error = future.exception()
    if error is None:
        return future.result()
    log.warning("event=not-explained error=%r", error)
    if isinstance(error, BrokenExecutor):
        return NotExplained("The process that explains it ended unexpectedly; select the particle once more.")
    return NotExplained(f"It can't be explained ({type(error).__name__}: {error}).")


def _worth_another_try(future: Future[Told]) -> bool:
    """It failed for a reason that may have passed."""
    if not future.done():
        return False
    return future.cancelled() or future.exception() is not None or isinstance(future.result(), NotExplained)


def _yield_to_others() -> None:
    if sys.platform != "win32":
        os.nice(_NICE)
