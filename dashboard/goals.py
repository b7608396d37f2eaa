"""How far the fraction is from a goal, worked out seldom enough to cost little."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable

from monitor.record.standing import goal_of, standing
from monitor.statistics.confusion import confusion_of
from monitor.statistics.sequence import Goal

#: Goals that are remembered: viewers may have different ones.
_KEPT = 16


class GoalReader:
    """Goals of one session, for all viewers; working one out takes at most a tenth of the time."""

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._goals: dict[float, tuple[object, Goal]] = {}
        self._not_before = -math.inf

    def read(self, db: sqlite3.Connection, half_width: float) -> Goal:
        """The goal as it stands, or as it stood some seconds ago where working it out again would cost too much."""
        seen = db.execute(
            "SELECT frame_id, position, corrected, low, labels FROM statistics ORDER BY position DESC LIMIT 1"
        ).fetchone()
        known = self._goals.get(half_width)
        began = self._timer()
        if known is not None and (known[0] == seen or began < self._not_before):
            return known[1]
        row = db.execute(
            "SELECT details FROM bundles WHERE id = ifnull((SELECT value FROM meta WHERE key = 'bundle'),"
            " (SELECT bundle FROM results ORDER BY frame_id DESC LIMIT 1))"
        ).fetchone()
        goal = goal_of(standing(db), None if row is None else confusion_of(json.loads(row[0])), half_width)
        if len(self._goals) >= _KEPT:
            self._goals.clear()
        self._goals[half_width] = seen, goal
        now = self._timer()
        self._not_before = now + 9 * (now - began)
        return goal
