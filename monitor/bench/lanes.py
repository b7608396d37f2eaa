"""Processes in which something is measured, one call at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

from monitor.workers.worker import follow_session

P = ParamSpec("P")
T = TypeVar("T")


class Lane:
    """A process that begins afresh, does what it is given, and ends with this one or when it is closed."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(1, mp_context=context, initializer=follow_session)
        self._pid = self._executor.submit(os.getpid).result()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns, run over there."""
        return self._executor.submit(function, *args, **kwargs).result()

    def close(self) -> None:
        """End it at once, whatever it does."""
        with contextlib.suppress(OSError):
            os.kill(self._pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        self._executor.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Lane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
