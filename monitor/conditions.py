"""Alarms of the session itself: gaps in numbers, a growing backlog, a full disk, a share that is gone."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from monitor.feeds import Feeds
from monitor.record import RecordWriter
from monitor.record.holding import Holding
from monitor.statistics.alarm_kinds import Alarm
from monitor.statistics.alarms import AlarmState, after_conditions, after_passed_frames
from monitor.statistics.session_alarms import Conditions

EVERY_S = 1.0


class ConditionAlarms:
    """Looks at the session once a second, and keeps its alarms in the record."""

    def __init__(
        self,
        record: RecordWriter,
        holding: Holding,
        feeds: Feeds,
        clock: Callable[[], float],
        steady: Callable[[], float],
        on_changed: Callable[[Alarm], None],
    ) -> None:
        """
        Parameters
        ----------
        clock : [s since 1970 UTC]
        steady : never goes back [s].
        on_changed : called with every alarm that is raised or cleared.
        """
        self._record, self._holding, self._feeds = record, holding, feeds
        self._clock, self._steady, self._on_changed = clock, steady, on_changed
        lost = record.lost()
        state = AlarmState()
        self._state = after_conditions(state, Conditions(clock(), lost=lost)) if lost else state
        self._state = AlarmState(course=self._state.course)
        self._next = steady()
        self._passed = 0
        self._begun = False

    def frame(self) -> None:
        """A frame was settled."""
        self._passed += 1

    def look(self, backlog: int) -> None:
        """Look, if it is time to.

        Parameters
        ----------
        backlog : frames that wait or are in analysis.
        """
        now = self._steady()
        if now < self._next:
            return
        self._next = now + EVERY_S
        at = self._clock()
        if not self._begun:
            self._begun = self._holding.write(lambda: self._record.close_conditions(at)) is not None
        conditions = Conditions(
            at, backlog, _free(self._record), self._record.lost(), tuple(self._feeds.lost_addresses())
        )
        before = self._state
        self._state = after_conditions(before, conditions)
        changed = list(self._state.changed)
        if self._passed:
            self._state = after_passed_frames(self._state, self._passed, at)
            changed += self._state.changed
            self._passed = 0
        if self._state.alarms == before.alarms and not changed:
            return
        alarms = (*self._state.alarms, *(alarm for alarm in changed if alarm.cleared))
        self._holding.write(lambda: self._record.write_alarms(alarms))
        for alarm in changed:
            self._on_changed(alarm)


def _free(record: RecordWriter) -> int | None:
    try:
        return shutil.disk_usage(record.folder).free
    except OSError:
        return None
