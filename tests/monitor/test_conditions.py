"""Alarms of the session itself, from a real record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.conditions import ConditionAlarms
from monitor.feeds import Feeds
from monitor.frames import FrameRef
from monitor.record import RecordWriter
from monitor.record.holding import Holding
from monitor.sources.listed import ListSource
from monitor.statistics.alarm_kinds import Alarm


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watched(record: RecordWriter) -> tuple[Callable[..., None], list[Alarm], Feeds]:
    """Lets a second pass and looks; the alarms that changed; the feeds."""
    clock = Clock()
    stop, hurry = threading.Event(), threading.Event()
    holding = Holding(record, stop, hurry, clock)
    feeds = Feeds(record, holding, hurry, clock)
    changed: list[Alarm] = []
    conditions = ConditionAlarms(record, holding, feeds, clock, clock, changed.append)

    def look(backlog: int = 0, frames: int = 0, seconds: float = 1.0) -> None:
        clock.now += seconds
        for _ in range(frames):
            conditions.frame()
        conditions.look(backlog)

    return look, changed, feeds


def rows(record: RecordWriter) -> list[tuple[Any, ...]]:
    return record._db.execute("SELECT kind, until IS NULL, position FROM alarms ORDER BY id").fetchall()


def test_a_gap_in_numbers_is_raised_and_over_when_frames_came_behind_it(
    record: RecordWriter, watched: tuple[Callable[..., None], list[Alarm], Feeds]
) -> None:
    look, changed, _ = watched
    look()
    assert changed == []
    for number in (1, 2, 6):
        record.take(1, FrameRef(Path(f"/{number}"), 0, sender="camera", sequence=number), at=1.0)
    look()
    assert [(alarm.kind, alarm.cleared) for alarm in changed] == [("gap in numbers", False)]
    assert "3 numbers are missing" in changed[0].cause
    assert rows(record) == [("gap in numbers", 1, None)]
    look(frames=500)
    assert changed[-1].cleared
    assert rows(record) == [("gap in numbers", 0, None)]


def test_a_growing_backlog(
    record: RecordWriter, watched: tuple[Callable[..., None], list[Alarm], Feeds]
) -> None:
    look, changed, _ = watched
    for k in range(60):
        look(backlog=20 * k, seconds=5)
    assert [alarm.kind for alarm in changed] == ["backlog growing"]
    for _ in range(30):
        look(backlog=0, seconds=5)
    assert changed[-1].cleared


def test_a_source_that_is_gone(
    record: RecordWriter, watched: tuple[Callable[..., None], list[Alarm], Feeds], tmp_path: Path
) -> None:
    look, changed, feeds = watched
    source = ListSource([])
    feeds.open(source)
    source.status.state = "lost"
    look()
    assert [alarm.kind for alarm in changed] == ["share gone"]
    assert source.address in changed[0].cause
    source.status.state = "watching"
    look()
    assert changed[-1].cleared
    feeds.close()
    feeds.join(5)


def test_what_an_earlier_run_left_is_closed(record: RecordWriter, watched: Any) -> None:
    record.write_alarms([Alarm("disk filling", None, 5.0, None, 1, "1 GB is free.")])
    assert rows(record) == [("disk filling", 1, None)]
    look, changed, _ = watched
    look()
    assert rows(record)[0] == ("disk filling", 0, None)
    assert [alarm.kind for alarm in changed] in ([], ["disk filling"])  # as the disk of this machine is
