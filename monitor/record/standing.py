"""What the fraction of a session stands on just now, read from its record: tracks by call, labels, fields."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.record import totals
from monitor.record.labels import labelled
from monitor.statistics.confusion import Confusion
from monitor.statistics.estimate_course import estimated_from
from monitor.statistics.sequence import Goal, goal

RATE_FRAMES = 200
"""The present rate of new particles is taken over this many frames."""


@dataclass(frozen=True)
class Standing:
    """The arguments from which `monitor.statistics.estimate.estimate` and `monitor.statistics.sequence.goal` follow."""

    counts: npt.NDArray[np.float64]
    """(5,) tracks without a label, by call."""
    labels: npt.NDArray[np.float64]
    """(3, 5) tracks with one, by truth and call."""
    design_effect: float
    per_minute: float | None
    """New tracks called yes or no a minute; None where that can't be told."""
    unlike_training: bool


def standing(db: sqlite3.Connection) -> Standing:
    """As the record stands. The cost grows with the number of labels alone.

    Raises
    ------
    sqlite3.Error
        The record can't be read, or is of a version before 4.
    """
    tally = totals.sums(db)
    counts, labels = estimated_from(tally, labelled(db))
    (unlike,) = db.execute(
        "SELECT EXISTS (SELECT 1 FROM alarms WHERE kind = 'model unlike these frames' AND until IS NULL)"
    ).fetchone()
    return Standing(counts, labels, tally.design_effect(), _per_minute(db), bool(unlike))


def goal_of(stands: Standing, confusion: Confusion | None, half_width: float) -> Goal:
    """Whether the fraction is known to ± `half_width`, else what is missing; takes about 0.1 s."""
    return goal(
        stands.counts,
        confusion,
        half_width,
        stands.labels,
        stands.design_effect,
        per_minute=stands.per_minute,
        unlike_training=stands.unlike_training,
    )


def _per_minute(db: sqlite3.Connection) -> float | None:
    last = db.execute(
        "SELECT position, at, t_no + t_yes FROM statistics ORDER BY position DESC LIMIT 1"
    ).fetchone()
    if last is None:
        return None
    first = db.execute(
        "SELECT at, t_no + t_yes FROM statistics WHERE position = ?", (max(1, last[0] - RATE_FRAMES),)
    ).fetchone()
    if first is None or first[1] is None or last[2] <= first[1] or last[1] <= first[0]:
        return None
    return float(60 * (last[2] - first[1]) / (last[1] - first[0]))
