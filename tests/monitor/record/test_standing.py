"""What the fraction stands on, read from the record, is what the session itself estimates from."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.bundle import SHIPPED
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import RecordWriter
from monitor.record.commands import ask
from monitor.record.settling import RunningStatistics
from monitor.record.standing import goal_of, standing
from monitor.statistics.confusion import confusion_of
from monitor.statistics.estimate import estimate
from monitor.statistics.estimate_course import Estimator

Finished = Callable[..., FinishedFrame]
DETAILS = json.loads((SHIPPED / "bundle.json").read_text(encoding="utf-8"))


@pytest.fixture
def statistics(record: RecordWriter, finished: Finished) -> RunningStatistics:
    """Six frames, one every 30 s, whose particles were followed."""
    running = RunningStatistics(record, Estimator(DETAILS), lambda: 0.0)
    for number in range(1, 7):
        record.take(1, FrameRef(Path(f"/{number}"), 0, acquired=30.0 * number), at=30.0 * number)
        order = record.finish(number, 0, finished("yes", "no", "no", "null"), lambda: 100.0)
        assert order is not None
        running.add(order)
    running.settle(final=True)
    return running


def last(record: RecordWriter) -> tuple[float, float, float]:
    row: tuple[float, float, float] = record._db.execute(
        "SELECT corrected, low, always_high FROM statistics ORDER BY position DESC LIMIT 1"
    ).fetchone()
    return row


def estimated(record: RecordWriter) -> tuple[float | None, float, float]:
    stands = standing(record._db)
    found = estimate(stands.counts, confusion_of(DETAILS), stands.labels, stands.design_effect)
    assert found.interval is not None
    assert found.sequence is not None
    return found.corrected, found.interval[0], found.sequence[1]


def test_the_record_gives_the_estimate_that_the_session_wrote(
    record: RecordWriter, statistics: RunningStatistics
) -> None:
    assert estimated(record) == pytest.approx(last(record))


def test_also_with_labels(record: RecordWriter, statistics: RunningStatistics) -> None:
    before = last(record)
    ask(record.folder, "audit", {"number": 20}, 1.0)
    statistics.carry_out(1.0)
    drawn = record._db.execute("SELECT particle FROM labels").fetchall()
    for (particle,) in drawn:
        told = {"particle": particle, "observer": "Ada", "class": "yes"}
        ask(record.folder, "label", told, 2.0)
    statistics.carry_out(2.0)
    assert standing(record._db).labels.sum() == len(drawn)
    assert last(record) != before
    assert estimated(record) == pytest.approx(last(record))


def test_the_rate_is_of_new_particles_a_minute(record: RecordWriter, statistics: RunningStatistics) -> None:
    judged = "UPDATE statistics SET t_yes = position, t_no = 2 * position"
    assert standing(record._db).per_minute is None  # the same three particles all the time
    record._db.execute(judged)
    assert standing(record._db).per_minute == pytest.approx(6)  # three in 30 s


def test_of_an_empty_session_the_goal_is_not_known_yet(record: RecordWriter) -> None:
    stands = standing(record._db)
    assert np.all(stands.counts == 0)
    assert stands.per_minute is None
    goal = goal_of(stands, confusion_of(DETAILS), 0.05)
    assert (goal.now, goal.reached) == (None, False)


def test_frames_unlike_the_training_ask_for_labels(
    record: RecordWriter, statistics: RunningStatistics
) -> None:
    record._db.execute(
        "INSERT INTO alarms (kind, severity, cause, action, frames)"
        " VALUES ('model unlike these frames', 'warning', 'So.', 'Audit.', 1)"
    )
    stands = standing(record._db)
    assert stands.unlike_training
    assert goal_of(stands, confusion_of(DETAILS), 0.05).labels == 20
