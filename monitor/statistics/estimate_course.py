"""The estimate after each frame, from the tally as it stands then."""

from __future__ import annotations

from monitor.statistics.course import Counts, StatisticsRow
from monitor.statistics.fraction import Rates, fraction
from monitor.statistics.tally import Tally

ESTIMAND = "of the particles whose stacking is resolved, the share that holds at least one planar fault"
"""What the fraction is of."""


class Estimator:
    """Estimates with what is known of the bundle's errors."""

    def __init__(self, rates: Rates | None) -> None:
        self._rates = rates

    def row(self, frame_id: int, position: int, at: float, counts: Counts, tally: Tally) -> StatisticsRow:
        """The figures after a frame."""
        weights = sum(tally.called[1:])
        effective = tally.judged / tally.design_effect()
        tracks = (tally.classes[0], tally.classes[1], tally.classes[2], tally.classes[3])
        if not weights or not tally.judged:
            return StatisticsRow(frame_id, position, at, counts, None, None, None, None, tracks, 0.0)
        share = sum(tally.called[3:]) / weights
        now = fraction(share * effective, (1 - share) * effective, self._rates)
        low, high = now.interval or (None, None)
        return StatisticsRow(
            frame_id, position, at, counts, now.counted, now.corrected, low, high, tracks, effective
        )
