"""Spools received frames; while the disk refuses, the sender waits or the frame is dropped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from monitor.frames import FrameRef
from monitor.sources.base import SourceStatus
from monitor.sources.spool import Spool

log = logging.getLogger("faultwatch.spool")

_RETRY_S = 1.0

#: A spool that is full now and then, as one at its limit is, is logged this often [s].
_SAY_AGAIN_S = 60.0


class Keeper:
    """Spools the frames of one source; while that is refused, the source's status says so."""

    def __init__(
        self,
        spool: Spool,
        status: SourceStatus,
        address: str,
        closed: threading.Event,
        *,
        can_wait: bool,
        sends_again: bool = False,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Parameters
        ----------
        address
            The source's, for the sentence to the operator.
        closed
            Set when the source is to end.
        can_wait
            Its senders keep their frames until there is room (ack, PUSH). Others go on regardless (PUB, a
            camera server), so that a frame which can't be kept is dropped, and counted.
        sends_again
            They send again what was not acknowledged, so that what they waited for need not be counted when
            the source is closed meanwhile.
        steady
            Never goes back [s].
        """
        self._spool = spool
        self._status = status
        self._address = address
        self._closed = closed
        self._can_wait = can_wait
        self._sends_again = sends_again
        self._steady = steady
        self._refused = False
        self._said: float | None = None
        """When the log was told last."""
        self._telling = False

    def keep(self, write: Callable[[], FrameRef], drop: Callable[[str], FrameRef]) -> FrameRef | None:
        """Spool one frame. None: the source was closed while it had to wait, and will be sent again.

        Parameters
        ----------
        write
            Puts it into the spool, or raises OSError.
        drop
            Given the reason: makes the ref by which the ledger counts it as dropped.
        """
        while True:
            try:
                ref = write()
            except OSError as error:
                reason = str(error.strerror or error)
                self._refuse(reason)
                if self._can_wait and not self._closed.wait(_RETRY_S):
                    continue
                return None if self._sends_again else drop(f"it could not be kept: {reason}")
            if self._refused:
                self._refused = False
                self._status.state, self._status.message = "watching", None
                if self._telling:
                    log.warning("event=spool-works-again source=%s", self._address)
            return ref

    def _refuse(self, reason: str) -> None:
        if self._refused:
            return
        self._refused = True
        consequence = (
            "senders have to wait until there is room"
            if self._can_wait
            else "they are dropped until there is room"
        )
        self._status.state = "lost"
        self._status.message = (
            f"{self._address}: frames can't be written to {self._spool.folder} ({reason}); {consequence}"
        )
        now = self._steady()
        self._telling = self._said is None or now - self._said >= _SAY_AGAIN_S
        if self._telling:
            self._said = now
            log.error("event=spool-refused message=%r", self._status.message)
