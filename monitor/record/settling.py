"""Keeps the running statistics in order of acquisition while results come in any order."""

from __future__ import annotations

from collections.abc import Callable

from monitor.record import RecordWriter
from monitor.statistics.course import running
from monitor.statistics.fraction import Rates

Order = tuple[float, int]
Counts = tuple[int, int, int, int]


class RunningStatistics:
    """Appends where it can and rewrites the tail where a result comes out of order.

    A result that belongs before others makes the rows behind it wrong. They are written again together, so seldom that
    rewriting takes a small share of the time, also while a backlog is analysed from its end.
    """

    #: A rewrite may take this share of the time.
    SHARE = 0.05

    def __init__(self, record: RecordWriter, rates: Rates | None, clock: Callable[[], float]) -> None:
        """
        Parameters
        ----------
        clock
            Any steady one [s].
        """
        self._record = record
        self._rates = rates
        self._clock = clock
        self._last = record.last_statistics()
        self._waiting: dict[Order, Counts] = {}
        # Results that were committed just before the last end of this session have no row yet.
        self._stale: Order | None = (0.0, 0) if record.has_unsettled() else None
        self._rewrite_after = clock()

    @property
    def settled(self) -> bool:
        """Nothing is waiting to be written."""
        return not self._waiting and self._stale is None

    def add(self, order: Order, counts: Counts) -> None:
        """A frame was analysed."""
        self._waiting[order] = counts

    def remove(self, order: Order) -> None:
        """A frame's result is gone, because its file was written again."""
        self._waiting.pop(order, None)
        self._mark(order)

    def settle(self, *, before: Order | None = None, final: bool = False) -> None:
        """Write what is due.

        Parameters
        ----------
        before
            Frames from here on can wait: one that comes before them is being analysed right now.
        final
            Rewrite now, however recent the last rewrite is.
        """
        ready = sorted(order for order in self._waiting if before is None or order < before)
        if ready and (self._stale is None and (self._last is None or ready[0] > self._last.order)):
            rows = list(
                running(
                    self._last, ((order[1], order[0], self._waiting[order]) for order in ready), self._rates
                )
            )
            self._record.write_statistics(rows)
            self._last = rows[-1]
            for order in ready:
                del self._waiting[order]
        elif ready:
            self._mark(ready[0])
        if self._stale is not None and (final or self._clock() >= self._rewrite_after):
            self._rewrite(self._stale)

    def _mark(self, order: Order) -> None:
        self._stale = order if self._stale is None else min(order, self._stale)

    def _rewrite(self, stale: Order) -> None:
        began = self._clock()
        base = self._record.last_statistics(before=stale)
        frames = list(self._record.unsettled(None if base is None else base.order))
        rows = list(running(base, frames, self._rates))
        self._record.write_statistics(rows, from_position=1 if base is None else base.position + 1)
        self._last = rows[-1] if rows else base
        # Every committed result has its row now, so nothing of it waits any longer.
        self._waiting.clear()
        self._stale = None
        now = self._clock()
        self._rewrite_after = now + (now - began) * (1 / self.SHARE - 1)
