"""Keeps tracks and running statistics in order of acquisition while results come in any order."""

from __future__ import annotations

import math
from collections.abc import Callable

from monitor.record.following import Following, Settled
from monitor.record.writer import RecordWriter
from monitor.statistics.estimate_course import Estimator

Order = tuple[float, int]


class RunningStatistics:
    """Settles frame after frame, and settles the tail again where a result comes out of order.

    A result that belongs before others makes what was settled behind it wrong. That is settled again together, so
    seldom that it takes a small share of the time, also while a backlog is analysed from its end.
    """

    #: Settling again may take this share of the time.
    SHARE = 0.05

    #: Frames that are settled in one transaction.
    BATCH = 4

    #: The session has other things to do after so long [s].
    SLICE_S = 0.1

    def __init__(
        self,
        record: RecordWriter,
        estimator: Estimator,
        clock: Callable[[], float],
        on_settled: Callable[[Settled], None] = lambda settled: None,
    ) -> None:
        """
        Parameters
        ----------
        clock
            Any steady one [s].
        on_settled
            Called after every frame that was settled and committed; again for one that is settled again.
        """
        self._on_settled = on_settled
        self._record = record
        self._clock = clock
        self._following = Following(estimator)
        # Results that were committed just before the last end of this session have no row yet.
        self._behind = record.has_unsettled()
        self._stale: Order | None = None
        if record.has_hole():
            self._stale = (0.0, 0)
        else:
            record.restore(self._following, None)
        self._again_after = clock()
        self._told: Order = (-math.inf, 0)
        """Of the frames up to here nothing is told."""

    @property
    def settled(self) -> bool:
        """Nothing is waiting to be written."""
        return not self._behind and self._stale is None

    def add(self, order: Order) -> None:
        """A frame was analysed."""
        last = self._following.last
        if last is not None and order <= last.order:
            self._mark(order)
        self._behind = True

    def remove(self, order: Order) -> None:
        """A frame's result is gone, because its file was written again."""
        self._mark(order)

    def settle(self, *, before: Order | None = None, final: bool = False) -> None:
        """Write what is due, for no longer than `SLICE_S` unless it is final.

        Parameters
        ----------
        before
            Frames from here on can wait: one that comes before them is being analysed right now.
        final
            All of it now, however recently the tail was settled again.
        """
        began = self._clock()
        again = self._stale is not None and (final or began >= self._again_after)
        if again:
            self._record.restore(self._following, self._stale)
            self._stale, self._behind = None, True
        while self._behind:
            settled, self._behind = self._record.settle(self._following, before, self.BATCH)
            for each in settled:
                if each.row.order > self._told:
                    self._on_settled(each)
            if not settled:
                break
            if not final and self._clock() - began >= self.SLICE_S:
                break
        if again:
            now = self._clock()
            self._again_after = now + (now - began) * (1 / self.SHARE - 1)

    def carry_out(self, at: float, *, running: bool = True) -> list[str]:
        """Answer the commands that wait, and bring the figures to the labels; returns what was carried out."""
        return self._record.carry_out(self._following, at, running=running)

    def judge(self, estimator: Estimator) -> None:
        """Settle everything again, with the errors of another bundle: it judged all of it anew.

        What was settled before is not told again, so that no alarm calls twice.
        """
        last = self._following.last
        self._told = self._told if last is None else max(self._told, last.order)
        self._following = Following(estimator)
        self._stale, self._behind, self._again_after = (0.0, 0), True, self._clock()

    def _mark(self, order: Order) -> None:
        self._stale = order if self._stale is None else min(order, self._stale)
