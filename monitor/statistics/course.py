"""The course of the statistics: the figures after every frame, in order of acquisition."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from monitor.statistics.fraction import Rates, fraction


@dataclass(frozen=True)
class StatisticsRow:
    """The running figures after one analysed frame."""

    frame_id: int
    position: int
    at: float
    counts: tuple[int, int, int, int]
    """Sums up to here, in the order of `CLASSES`."""
    counted: float | None
    corrected: float | None
    low: float | None
    high: float | None

    @property
    def order(self) -> tuple[float, int]:
        """Its place in the order of acquisition."""
        return (self.at, self.frame_id)


def running(
    last: StatisticsRow | None,
    frames: Iterable[tuple[int, float, tuple[int, int, int, int]]],
    rates: Rates | None,
) -> Iterable[StatisticsRow]:
    """The row after each of the next frames; the cost of a frame does not grow with the session.

    Parameters
    ----------
    last
        The row after which they come, None at the beginning.
    frames
        Id, time, and particles by class, in order of acquisition.
    """
    position, counts = (0, (0, 0, 0, 0)) if last is None else (last.position, last.counts)
    for frame_id, at, more in frames:
        position += 1
        counts = (counts[0] + more[0], counts[1] + more[1], counts[2] + more[2], counts[3] + more[3])
        now = fraction(counts[3], counts[2], rates)
        low, high = now.interval or (None, None)
        yield StatisticsRow(frame_id, position, at, counts, now.counted, now.corrected, low, high)
