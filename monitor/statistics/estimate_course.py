"""The estimate after each frame, from the tally as it stands then."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.statistics.confusion import CALLED, TRUE, confusion_of, true_category
from monitor.statistics.course import Counts, StatisticsRow
from monitor.statistics.estimate import Estimate, estimate
from monitor.statistics.tally import Sums, Tally, Vote

ESTIMAND = "of the particles whose stacking is resolved, the share that holds at least one planar fault"
"""What the fraction is of, before any particle tells of which sizes."""
SURE_FROM = 0.6
"""A call is sure from this probability on, where the bundle states no other."""


def estimand(sizes_nm: tuple[float, float] | None) -> str:
    """What the fraction is of, with the range of diameters [nm] of the particles behind it."""
    if sizes_nm is None:
        return ESTIMAND
    low, high = sizes_nm
    return ESTIMAND.replace("particles whose", f"particles of {low:.1f} to {high:.1f} nm whose", 1)


class Estimator:
    """Estimates with what is known of the bundle's errors, and with the labels of the session."""

    def __init__(self, details: dict[str, Any]) -> None:
        """
        Parameters
        ----------
        details : the bundle's manifest.
        """
        self._confusion = confusion_of(details)
        self.sure_from = float(details.get("abstain_below", SURE_FROM))
        self.labels: dict[int, tuple[str, Vote]] = {}
        """What an observer said of a track, and what the track counts for now."""

    def row(
        self,
        frame_id: int,
        position: int,
        at: float,
        counts: Counts,
        tally: Tally,
        *,
        unlike_training: bool = False,
        full: bool = True,
    ) -> StatisticsRow:
        """The figures after a frame; with `full` off, those alone that cost nothing."""
        tracks = (tally.classes[0], tally.classes[1], tally.classes[2], tally.classes[3])
        weights = sum(tally.called[1:])
        counted = sum(tally.called[3:]) / weights if weights > 0 else None
        if not full:
            return StatisticsRow(frame_id, position, at, counts, counted, None, None, None, tracks)
        found = self.estimate(tally, unlike_training=unlike_training)
        low, high = found.interval or (None, None)
        always_low, always_high = found.sequence or (None, None)
        return StatisticsRow(
            frame_id, position, at, counts, counted, found.corrected, low, high, tracks, found.effective_n,
            always_low, always_high, found.labels, found.reason,
        )  # fmt: skip

    def estimate(self, tally: Tally, *, unlike_training: bool = False) -> Estimate:
        """The fraction of all tracks."""
        counts, labels = estimated_from(tally, self.labels)
        return estimate(
            counts,
            self._confusion,
            labels,
            tally.design_effect(),
            unlike_training=unlike_training,
        )


def estimated_from(
    tally: Sums, labelled: dict[int, tuple[str, Vote]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Tracks without a label by call (5,), their weights scaled to their effective number, and labelled ones (3, 5).

    Parameters
    ----------
    labelled : what an observer said of a track, and what the track counts for in the tally.
    """
    scale = tally.scale()
    counts = np.array(tally.called) * scale
    labels = np.zeros((len(TRUE), len(CALLED)))
    for name, vote in labelled.values():
        labels[true_category(name), vote.called] += 1
        counts[vote.called] -= vote.weight * scale
    return np.maximum(counts, 0.0), labels
