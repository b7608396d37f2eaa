"""Workers of a Dask cluster behind the same interface as the processes of this machine.

The session decides which worker takes which frame, and gives each one frame at a time: a slow worker takes fewer,
and nothing waits at a worker that dies.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from typing import Any

from distributed.scheduler import KilledWorker

from monitor.errors import InputError
from monitor.outcomes import Outcome, RejectedFrame
from monitor.workers import remote
from monitor.workers.connection import Connection, World
from monitor.workers.pool import Finished, WorkerFailed
from monitor.workers.remote import Begun, Stamp, Unseen
from monitor.workers.worker import Ready, Start, Task

log = logging.getLogger("faultwatch.workers")

#: A bundle that takes longer to load is given up [s].
_START_LIMIT_S = 180.0

#: Before the first worker has joined, it is waited for so long [s]. Later a session waits for as long as it takes.
PATIENCE_S = 60.0

#: Files that travel to workers at a time: each is in memory as a whole.
_SENT_AT_A_TIME = 2


class _Slot:
    """One worker of the cluster, and the frame that it has."""

    def __init__(self, address: str, identity: str, executor: Executor, now: float) -> None:
        self.address = address
        self.identity = identity
        self.executor = executor
        self.starting: Future[Begun] | None = None
        self.ready: Ready | None = None
        self.usable = True
        """It may take frames."""
        self.task: Task | None = None
        self.stamp: Stamp | None = None
        self.future: Future[Any] | None = None
        self.began = now

    @property
    def free(self) -> bool:
        return self.usable and self.ready is not None and self.task is None


class ClusterWorkers:
    """The workers of a Dask scheduler. Not for several threads; `wake` is called from others when there is news."""

    def __init__(
        self,
        scheduler: str,
        how: Start,
        most: int | None,
        *,
        time_limit_s: float,
        clock: Callable[[], float],
        wake: Callable[[], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        """
        Parameters
        ----------
        scheduler
            Its address, as tcp://host:8786.
        most
            So many workers are used at the most; None: all.
        time_limit_s
            A worker that takes longer over a frame is ended.
        clock
            Steady [s].
        patience_s
            So long the first worker is waited for [s].

        Raises
        ------
        InputError
            No scheduler answers there.
        """
        self._address, self._how, self._most = scheduler, how, most
        self._limit, self._clock, self._wake = time_limit_s, clock, wake
        self._patience, self._since = patience_s, clock()
        self._slots: dict[str, _Slot] = {}
        self._again: deque[tuple[Task, float]] = deque()
        self._known: World | None = None
        self._refused: dict[str, str] = {}
        self._first: Begun | None = None
        self.restarts = 0
        """Workers that were lost with a frame."""
        self._sending = threading.Semaphore(_SENT_AT_A_TIME)
        self._connection = Connection(scheduler, how, wake)

    @property
    def ready(self) -> Ready | None:
        """What the workers are, None until the first has begun."""
        return None if self._first is None else self._first.ready

    @property
    def tasks(self) -> list[tuple[Task, float]]:
        """What is being analysed or waits to be analysed again, and since when [s, steady clock]."""
        under_way = [(slot.task, slot.began) for slot in self._slots.values() if slot.task is not None]
        return [*under_way, *self._again]

    def free(self) -> bool:
        """Whether a task would begin at once."""
        return not self._again and any(slot.free for slot in self._slots.values())

    def submit(self, task: Task) -> bool:
        """Give a task to a free worker; False where that one can't be reached."""
        return self._give(next(slot for slot in self._slots.values() if slot.free), task)

    def finished(self) -> list[Finished]:
        """What was done since the last call.

        Frames that were under way when the connection to the scheduler was lost are given to a worker again. A
        frame whose worker alone left the cluster is told as one over which a worker died.

        Raises
        ------
        WorkerFailed
            No worker can begin. Once one has, they are waited for.
        """
        news = self._reconcile(self._connection.world)
        for slot in list(self._slots.values()):
            if slot.starting is not None:
                self._check_start(slot)
            elif slot.task is not None and slot.future is not None:
                news += self._check_task(slot, slot.task, slot.future)
        for slot in self._slots.values():
            if self._again and slot.free and self._give(slot, self._again[0][0]):
                self._again.popleft()
        self._check_hope()
        return news

    def close(self) -> None:
        """Leave the cluster; tasks under way are not waited for."""
        for slot in self._slots.values():
            for future in (slot.future, slot.starting):
                if future is not None:
                    future.cancel()
        self._connection.close()

    # -- what the session's thread does ----------------------------------------------------------------------

    def _reconcile(self, world: World | None) -> list[Finished]:
        """Bring the slots to what the cluster is now."""
        news: list[Finished] = []
        known = self._known
        if world is known:
            return news
        self._known = world
        if world is None or (
            known is not None and (world.client, world.scheduler) != (known.client, known.scheduler)
        ):
            for slot in self._slots.values():
                self._take_back(slot)
            self._slots.clear()
        if world is None:
            return news
        gone = [s for s in self._slots.values() if world.workers.get(s.address) != s.identity]
        for slot in gone:
            del self._slots[slot.address]
            if slot.task is not None and len(gone) == 1:
                self.restarts += 1
                news.append(Finished(slot.task, None, "ended its worker process"))
            else:
                self._take_back(slot)  # several at once: that is the network, or somebody who ends them
        for address, identity in world.workers.items():
            full = self._most is not None and sum(s.usable for s in self._slots.values()) >= self._most
            if address not in self._slots and not full:
                self._slots[address] = self._begin(world.client, address, identity)
        return news

    def _take_back(self, slot: _Slot) -> None:
        if slot.task is not None:
            self._again.append((slot.task, self._clock()))
        for future in (slot.future, slot.starting):
            if future is not None:
                future.cancel()

    def _begin(self, client: Any, address: str, identity: str) -> _Slot:
        executor = client.get_executor(workers=[address], pure=False)
        slot = _Slot(address, identity, executor, self._clock())
        slot.starting = executor.submit(remote.begin, self._how)
        slot.starting.add_done_callback(lambda _: self._wake())
        return slot

    def _check_start(self, slot: _Slot) -> None:
        assert slot.starting is not None
        if not slot.starting.done():
            if self._clock() - slot.began > _START_LIMIT_S:
                self._refuse(slot, f"did not load the bundle within {_START_LIMIT_S:g} s")
            return
        try:
            begun = slot.starting.result()
        except (CancelledError, KilledWorker):
            self._slots.pop(slot.address)  # it has left, or is begun at the next look
            self._known = (
                None if self._known is None else World(self._known.client, self._known.scheduler, {})
            )
            return
        except ModuleNotFoundError as error:
            self._refuse(slot, f"lacks {error.name}: start it where faultwatch[cluster] is installed")
            return
        except Exception as error:
            self._refuse(slot, f"can't begin: {error}")
            return
        slot.starting = None
        if begun.code != remote.code():
            self._refuse(slot, "runs another version of faultwatch than this session")
        elif self._first is not None and begun.ready.bundle != self._first.ready.bundle:
            self._refuse(slot, f"has another bundle ({begun.ready.bundle}) than {self._first.ready.bundle}")
        else:
            slot.ready = begun.ready
            self._first = self._first or begun
            ours = remote.versions()
            apart = {
                name: (told, ours[name]) for name, told in begun.versions.items() if told != ours.get(name)
            }
            log.info("event=worker-joined worker=%s bundle=%s", slot.address, begun.ready.bundle)
            if apart:
                log.warning(
                    "event=worker-has-other-libraries worker=%s there_and_here=%r", slot.address, apart
                )

    def _refuse(self, slot: _Slot, why: str) -> None:
        slot.starting, slot.usable = None, False
        self._refused[slot.address] = f"the worker at {slot.address} {why}"
        log.error("event=worker-refused reason=%r", self._refused[slot.address])

    def _check_hope(self) -> None:
        if self._first is not None or self._known is None:
            return
        if self._slots and not any(slot.usable for slot in self._slots.values()):
            raise WorkerFailed(next(iter(self._refused.values())))
        if not self._known.workers and self._clock() - self._since > self._patience:
            raise WorkerFailed(
                f"no worker has joined the scheduler at {self._address} within {self._patience:g} s; "
                f"start some with: dask worker {self._address}"
            )

    def _give(self, slot: _Slot, task: Task) -> bool:
        stamp = Stamp.of(task.ref.path)
        try:
            future = slot.executor.submit(remote.run, task, self._how, stamp)
        except Exception:  # the connection was lost this moment, of which the next look tells
            slot.usable = False
            return False
        slot.task, slot.stamp, slot.future, slot.began = task, stamp, future, self._clock()
        future.add_done_callback(lambda _: self._wake())
        return True

    def _check_task(self, slot: _Slot, task: Task, future: Future[Any]) -> list[Finished]:
        if not future.done():
            if self._clock() - slot.began <= self._limit:
                return []
            slot.usable, slot.task, slot.future = False, None, None
            future.cancel()
            self._connection.end(slot.address)
            self.restarts += 1
            return [Finished(task, None, f"was not done within {self._limit:g} s")]
        outcome: Outcome | None = None
        reason: str | None = None
        try:
            found = future.result()
        except CancelledError:
            self._take_back(slot)
        except KilledWorker:
            reason = "ended its worker process"
        except Exception as error:
            reason = f"lost its result ({type(error).__name__}: {error})"
        else:
            if isinstance(found, Unseen):
                found = self._aside(self._send, slot, task)
            if isinstance(found, Future):
                slot.future = found
                found.add_done_callback(lambda _: self._wake())
                return []
            outcome = found
        slot.task, slot.future = None, None
        return [] if outcome is None and reason is None else [Finished(task, outcome, reason)]

    def _aside(self, call: Callable[[_Slot, Task], Any], slot: _Slot, task: Task) -> Future[Any]:
        """Do it in a thread that the program need not wait for at its end, as it would for an executor's."""
        future: Future[Any] = Future()

        def run() -> None:
            with self._sending:
                if future.set_running_or_notify_cancel():
                    try:
                        future.set_result(call(slot, task))
                    except BaseException as error:  # asyncio's cancellation is no `Exception`
                        future.set_exception(error if isinstance(error, Exception) else CancelledError())

        threading.Thread(target=run, name="send frames", daemon=True).start()
        return future

    def _send(self, slot: _Slot, task: Task) -> Future[Any] | Outcome:
        """Send a file to the worker that does not see it, and have it analysed there."""
        assert slot.stamp is not None  # else the worker would have tried to open it
        try:
            sent = remote.read_to_send(task.ref.path, slot.stamp)
        except InputError as error:
            return RejectedFrame(str(error))
        except OSError as error:
            return RejectedFrame(f"it can't be read ({error.strerror})", gone=not task.ref.path.exists())
        client = slot.executor._client  # type: ignore[attr-defined]
        there = client.scatter(sent, workers=[slot.address], hash=False)
        future: Future[Any] = slot.executor.submit(remote.run, task, self._how, slot.stamp, there)
        return future
