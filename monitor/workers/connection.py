"""The connection of a session to a Dask scheduler, kept up by a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distributed import Client

from monitor.errors import InputError
from monitor.workers import remote
from monitor.workers.worker import Start

log = logging.getLogger("faultwatch.workers")

#: The cluster is looked at so often [s].
_LOOK_S = 0.25

#: Answers of the scheduler are waited for so long [s].
_ANSWER_S = 10.0

#: At the end of a session it is waited so long until workers need not load its bundle any more [s].
_TIDY_S = 5.0


@dataclass(frozen=True)
class World:
    """The cluster as it was at the last look."""

    client: Any
    scheduler: str
    """Its identity: another one after it was started again."""
    workers: dict[str, str]
    """Address and identity; a worker that was started again at the same address is another one."""


class Connection:
    """Looks after the workers of one scheduler, and connects anew where it was lost, for as long as it takes."""

    def __init__(self, scheduler: str, how: Start, wake: Callable[[], None]) -> None:
        """
        Parameters
        ----------
        how
            What every worker is to load before its first frame.
        wake
            Called, from another thread, when the cluster has changed.

        Raises
        ------
        InputError
            No scheduler answers at the address.
        """
        self.world: World | None = None
        """None: not connected at the moment."""
        self._address, self._how, self._wake = scheduler, how, wake
        self._closing = threading.Event()
        self._to_end: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._client: Any = connect(scheduler)
        self._thread = threading.Thread(target=self._look_after, name=scheduler, daemon=True)
        self._thread.start()

    def end(self, address: str) -> None:
        """Have a worker that hangs ended; its nanny starts another one."""
        self._to_end.put(address)

    def close(self) -> None:
        """Leave the scheduler."""
        self._closing.set()
        self._thread.join(timeout=2 * _ANSWER_S)

    def _look_after(self) -> None:
        while True:
            before, now = self.world, None
            try:
                if self._client is None:
                    self._client = connect(self._address)
                now = _look(self._client)
                if before is None or (now.client, now.scheduler) != (before.client, before.scheduler):
                    self._greet(now)
                while not self._to_end.empty():
                    self._end(self._to_end.get())
            except Exception as error:  # whatever it is: connect anew
                if before is not None:
                    log.error("event=scheduler-lost address=%s reason=%r", self._address, _line(error))
                now = None
                self._leave()
            if now != before:
                self.world = now
                self._wake()
            if self._closing.wait(_LOOK_S):
                break
        self._leave(tidy=True)

    def _greet(self, world: World) -> None:
        """Have the bundle loaded by all workers, also by those that join later.

        Dask waits until every worker has done so, for minutes where one hangs. The session does not: each worker loads
        the bundle when it is to begin at the latest, and says then what is wrong with it.
        """
        log.info("event=scheduler address=%s workers=%d", self._address, len(world.workers))

        def preload() -> None:
            try:
                world.client.register_plugin(remote.Preload(self._how))
            except Exception as error:
                if not self._closing.is_set():
                    log.error("event=preloading-failed address=%s reason=%r", self._address, _line(error))

        _within(0.0, preload)

    def _end(self, address: str) -> None:
        try:
            self._client.restart_workers([address], timeout=_ANSWER_S, raise_for_error=False)
        except ValueError:
            log.error("event=worker-hangs worker=%s reason='it has no nanny that could end it'", address)

    def _leave(self, *, tidy: bool = False) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if tidy and client.status == "running":
            name = remote.plugin_name(self._how)

            def tidy_up() -> None:
                with contextlib.suppress(Exception):
                    client.unregister_worker_plugin(name)

            _within(_TIDY_S, tidy_up)  # the scheduler goes on with it alone, where a worker hangs
        with contextlib.suppress(Exception):
            client.close(timeout=2)


def connect(scheduler: str) -> Any:
    """A client of the scheduler at an address.

    Raises
    ------
    InputError
        None answers there.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said in sentences of ours
    client: Any = Client  # its constructor has no types
    try:
        return client(scheduler, timeout=_ANSWER_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"no Dask scheduler answers at {scheduler} ({_line(error)})") from error


def _look(client: Any) -> World:
    """The cluster as it is.

    Raises
    ------
    OSError
        The scheduler can't be reached.
    """
    if client.status != "running":
        raise OSError(f"the connection is {client.status}")
    told = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=_ANSWER_S)
    return World(client, told["id"], {address: worker["id"] for address, worker in told["workers"].items()})


def _within(limit_s: float, call: Callable[[], None]) -> None:
    """Call something, and wait for it so long at the most; it goes on where it is not done by then."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(limit_s)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
