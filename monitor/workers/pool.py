"""Worker processes: one `Executor` with one process a slot, so that one death fails one frame."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, replace

from monitor.outcomes import Outcome, RejectedFrame
from monitor.settings import processors
from monitor.workers import worker
from monitor.workers.gpu.process import DeviceProcess, process_wanted
from monitor.workers.worker import Ready, Start, Task

log = logging.getLogger("faultwatch.workers")

#: A bundle that takes longer to load is given up [s].
_START_LIMIT_S = 180.0

#: So many workers in a row may die while they load the bundle, before the first has begun; then the session ends.
_MAY_DIE = 3

#: One that dies while loading later is started again; longest pause before that [s].
_LONGEST_PAUSE_S = 30.0


#: glibc gives large arrays back to the system when they are freed, and takes their pages anew one by one for the next
#: frame: a tenth of the time of a frame of 2048². These limits are above all arrays of a frame.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}


def share_processors(workers: int) -> int:
    """Threads of each worker; what workers load is told so through the environment, which they begin with.

    Workers share the processors: more threads than that are slower. C libraries are told to keep memory that is freed,
    where the environment does not say otherwise.
    """
    threads = max(1, processors() // workers)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)
    for variable, limit in _KEEP_MEMORY.items():
        os.environ.setdefault(variable, limit)
    return threads


class WorkerFailed(Exception):
    """A worker could not begin; the message says why."""


@dataclass(frozen=True)
class Finished:
    """The result of a slot's task."""

    task: Task
    outcome: Outcome | None
    """None: the worker died over it."""
    reason: str | None = None
    """How it died."""


def spawned() -> Executor:
    """One worker process, begun afresh (nothing of the session's memory, threads or files is in it)."""
    context = multiprocessing.get_context("spawn")
    # Not with its first task: a session that is killed before it could send that would leave it behind for ever.
    return ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=worker.follow_session)


class _Slot:
    """One executor with one worker, its present task, and when that has to be done."""

    def __init__(self) -> None:
        self.executor: Executor | None = None
        self.starting: Future[Ready] | None = None
        self.ready: Ready | None = None
        self.task: Task | None = None
        self.future: Future[Outcome] | None = None
        self.began = 0.0
        self.overdue = False
        self.again: float | None = None
        """When it is to begin anew, where it is not to at once [s, steady clock]."""


class Workers:
    """A fixed number of slots. Not for several threads; `wake` is called from others when there is news."""

    def __init__(
        self,
        how: Start,
        count: int,
        *,
        time_limit_s: float,
        clock: Callable[[], float],
        wake: Callable[[], None],
        executor: Callable[[], Executor] = spawned,
    ) -> None:
        """
        Parameters
        ----------
        time_limit_s
            A worker that takes longer over a frame is ended.
        clock
            Steady [s].
        executor
            Makes what runs one slot's tasks, one after the other.
        """
        self._device: DeviceProcess | None = None
        if process_wanted(how.device):
            self._device = DeviceProcess(how)
            how = replace(how, gpu=self._device.contact)
        self._how = how
        self._limit = time_limit_s
        self._clock = clock
        self._wake = wake
        self._make = executor
        self._slots = [_Slot() for _ in range(count)]
        self._failures = 0
        self._ever_ready = False
        self.restarts = 0
        """Workers that were replaced."""
        for slot in self._slots:
            self._begin(slot)

    @property
    def ready(self) -> Ready | None:
        """What the workers are, None until the first has begun."""
        return next((slot.ready for slot in self._slots if slot.ready is not None), None)

    @property
    def tasks(self) -> list[tuple[Task, float]]:
        """What is being analysed, and since when [s, steady clock]."""
        return [(slot.task, slot.began) for slot in self._slots if slot.task is not None]

    def free(self) -> bool:
        """Whether a task would begin at once."""
        return any(slot.ready is not None and slot.task is None for slot in self._slots)

    def submit(self, task: Task) -> bool:
        """Give a task to a free worker; False where that one has died while it waited, and is replaced."""
        slot = next(slot for slot in self._slots if slot.ready is not None and slot.task is None)
        assert slot.executor is not None
        try:
            future = slot.executor.submit(worker.run, task)
        except BrokenExecutor:
            self._replace(slot)
            return False
        slot.task, slot.future, slot.began = task, future, self._clock()
        future.add_done_callback(lambda _: self._wake())
        return True

    def finished(self) -> list[Finished]:
        """What was done since the last call; dead and hanging workers are replaced.

        Raises
        ------
        WorkerFailed
            No worker can begin. Once one has, those that die while they load are tried again, for as long as it takes:
            a session that works does not end because memory is short for a while.
        """
        if self._device is not None:
            self._device.look()
        news = []
        for slot in self._slots:
            if slot.again is not None:
                if self._clock() >= slot.again:
                    self._replace(slot)
            elif slot.starting is not None:
                self._check_start(slot)
            elif slot.future is not None and slot.task is not None:
                if slot.future.done():
                    news.append(self._conclude(slot, slot.task, slot.future))
                elif not slot.overdue and self._clock() - slot.began > self._limit:
                    slot.overdue = True
                    self._kill(slot)  # its future fails by that
        return news

    def close(self) -> None:
        """End all workers; tasks under way are not waited for."""
        for slot in self._slots:
            self._kill(slot)
            if slot.executor is not None:
                slot.executor.shutdown(wait=True, cancel_futures=True)
        if self._device is not None:
            self._device.close()

    # -- inside ----------------------------------------------------------------------------------------------

    def _begin(self, slot: _Slot) -> None:
        slot.executor = self._make()
        slot.ready, slot.task, slot.future, slot.overdue, slot.again = None, None, None, False, None
        slot.began = self._clock()
        slot.starting = slot.executor.submit(worker.start, self._how)
        slot.starting.add_done_callback(lambda _: self._wake())

    def _check_start(self, slot: _Slot) -> None:
        assert slot.starting is not None
        if not slot.starting.done():
            if self._clock() - slot.began > _START_LIMIT_S:
                raise WorkerFailed(f"the bundle was not loaded within {_START_LIMIT_S:g} s")
            return
        try:
            slot.ready = slot.starting.result()
        except BrokenExecutor as error:
            self._failures += 1
            if self._failures <= _MAY_DIE:
                self._replace(slot)
                return
            said = "worker processes die while they load the bundle (out of memory?)"
            if not self._ever_ready:
                raise WorkerFailed(said) from error
            pause = min(2.0 ** (self._failures - _MAY_DIE), _LONGEST_PAUSE_S)
            slot.starting, slot.again = None, self._clock() + pause
            log.error(
                "event=worker-can-not-begin times=%d again_s=%.0f reason=%r", self._failures, pause, said
            )
        except Exception as error:
            raise WorkerFailed(str(error)) from error
        else:
            self._failures, self._ever_ready = 0, True
            slot.starting = None

    def _conclude(self, slot: _Slot, task: Task, future: Future[Outcome]) -> Finished:
        try:
            outcome = future.result()
        except BrokenExecutor:
            took = f"was not done within {self._limit:g} s" if slot.overdue else "ended its worker process"
            self._replace(slot)
            return Finished(task, None, took)
        except Exception as error:
            # The way to the worker failed, not the worker (what it said can't be pickled, say).
            outcome = RejectedFrame(f"its result was lost ({type(error).__name__}: {error})")
        slot.task, slot.future = None, None
        return Finished(task, outcome)

    def _replace(self, slot: _Slot) -> None:
        self.restarts += 1
        self._kill(slot)
        if slot.executor is not None:
            slot.executor.shutdown(wait=False, cancel_futures=True)
        self._begin(slot)

    def _kill(self, slot: _Slot) -> None:
        # Windows knows SIGTERM alone, and ends the process at once with it.
        if slot.ready is not None and isinstance(slot.executor, ProcessPoolExecutor):
            with contextlib.suppress(OSError):
                os.kill(slot.ready.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
