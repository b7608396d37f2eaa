"""The most doubtful tracks, corrections with a name, and marks of missed particles."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.results import CLASSES
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import RecordWriter
from monitor.record.commands import ask
from monitor.record.corrections import CORRECT, read_corrections
from monitor.record.reviewing import MISSED, WITHDRAW, doubtful, read_missed
from monitor.record.settling import RunningStatistics
from monitor.statistics.estimate_course import Estimator

Finished = Callable[..., FinishedFrame]

#: Of six particles in a frame, the closest to call is the third, then the fifth.
SHARES = (
    (0.0, 0.1, 0.2, 0.7),
    (0.0, 0.1, 0.8, 0.1),
    (0.0, 0.02, 0.48, 0.5),
    (0.0, 0.8, 0.1, 0.1),
    (0.0, 0.1, 0.5, 0.4),
    (0.9, 0.1, 0.0, 0.0),
)


@pytest.fixture
def statistics(record: RecordWriter, finished: Finished) -> RunningStatistics:
    """Two frames of one field with the same six particles, settled."""
    statistics = RunningStatistics(record, Estimator({}), lambda: 0.0)
    made = finished("yes", "no", "yes", "null", "no", "empty")
    particles = tuple(
        replace(
            p,
            probabilities=shares,
            outline=((p.bbox[0], 100.0), (p.bbox[0], 160.0), (p.bbox[2], 160.0), (p.bbox[2], 100.0)),
        )
        for p, shares in zip(made.analysis.particles, SHARES, strict=True)
    )
    made = replace(made, analysis=replace(made.analysis, particles=particles))
    for number in (1, 2):
        record.take(1, FrameRef(Path(f"/{number}"), 0, content=str(number), acquired=float(number)), at=1.0)
        order = record.finish(number, 0, replace(made, pixels=str(number)), lambda: 40.0)
        assert order is not None
        statistics.add(order)
    statistics.settle(final=True)
    return statistics


@pytest.fixture
def told(record: RecordWriter, statistics: RunningStatistics) -> Callable[..., tuple[bool, str]]:
    """Ask for something and tell the session's answer."""

    def tell(name: str, **arguments: Any) -> tuple[bool, str]:
        number = ask(record.folder, name, arguments, 5.0)
        statistics.carry_out(6.0)
        row = record._db.execute("SELECT accepted, answer FROM commands WHERE id = ?", (number,)).fetchone()
        return bool(row[0]), row[1]

    return tell


Told = Callable[..., tuple[bool, str]]


def queue(record: RecordWriter, **options: Any) -> list[int]:
    return [each.label for each in doubtful(record._db, 10, **options)]


def test_the_closest_to_call_come_first_and_each_track_once(
    record: RecordWriter, statistics: RunningStatistics
) -> None:
    assert queue(record) == [3, 5, 1, 2, 4, 6]
    first = doubtful(record._db, 1)
    assert len(first) == 1
    assert (first[0].particle_class, first[0].seen, first[0].bundle) == ("yes", 2, "test-bundle")
    assert first[0].margin == pytest.approx(0.02, abs=0.02)
    assert sum(first[0].probabilities) == pytest.approx(1)


def test_what_is_corrected_leaves_the_queue_unless_it_is_kept(record: RecordWriter, told: Told) -> None:
    (first,) = doubtful(record._db, 1)
    done, said = told(CORRECT, frame=first.frame, label=3, observer="Ada", **{"class": "no"})
    assert done
    assert "the fraction does not change" in said
    assert queue(record) == [5, 1, 2, 4, 6]
    assert queue(record, keep=frozenset({first.particle})) == [3, 5, 1, 2, 4, 6]
    (kept,) = doubtful(record._db, 0, keep=frozenset({first.particle}))
    assert kept.corrected is not None
    assert (kept.corrected.particle_class, kept.corrected.observer, kept.corrected.at) == ("no", "Ada", 5.0)
    told(CORRECT, frame=first.frame, label=3, observer="Ada", **{"class": None})
    assert queue(record) == [3, 5, 1, 2, 4, 6]


def test_what_an_audit_drew_is_neither_in_the_queue_nor_learnt_from(record: RecordWriter, told: Told) -> None:
    corrected = {"frame": 1, "observer": "Ada", "class": "no"}
    told(CORRECT, label=3, **corrected)
    before = record._db.execute("SELECT corrected, low, high, labels FROM statistics").fetchall()
    told(CORRECT, label=5, **corrected)
    assert record._db.execute("SELECT corrected, low, high, labels FROM statistics").fetchall() == before
    assert len(read_corrections(record.folder).classes) == 2
    record._db.execute(
        "INSERT INTO labels (particle, drawn, inclusion) VALUES (9, 6, 0.5)"
    )  # 3, as frame 2 shows it
    assert queue(record) == [1, 2, 4, 6]
    assert [CLASSES[k] for k in read_corrections(record.folder).classes] == ["no"]
    assert "only its label counts" in told(CORRECT, label=3, **corrected)[1]


def test_a_correction_without_a_name_is_kept_as_before(record: RecordWriter, told: Told) -> None:
    assert told(CORRECT, frame=1, label=3, **{"class": "no"})[0]
    held = next(each for each in doubtful(record._db, 0, keep=frozenset({3})) if each.label == 3)
    assert held.corrected is not None
    assert held.corrected.observer is None


def test_a_missed_particle_is_marked_and_the_mark_taken_back(record: RecordWriter, told: Told) -> None:
    assert told(MISSED, frame=1, row=400.5, col=700.0, diameter_nm=3.5, observer="Ada")[0]
    assert told(MISSED, frame=2, row=20.0, col=30.0, observer="Bea")[0]
    first, second = read_missed(record._db)
    assert (first.frame, first.row, first.col, first.diameter_nm, first.observer) == (
        1,
        400.5,
        700,
        3.5,
        "Ada",
    )
    assert second.diameter_nm is None
    assert read_missed(record._db, 2) == [second]
    assert told(WITHDRAW, command=first.command, observer="Ada") == (True, "taken back")
    assert read_missed(record._db) == [second]
    assert not told(WITHDRAW, command=first.command, observer="Ada")[0]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"frame": 9, "row": 1, "col": 1}, "frame 9 is not analysed"),
        ({"frame": 1, "row": 1000, "col": 1}, "outside of frame 1"),
        ({"frame": 1, "row": 130, "col": 130}, "particle 1 of frame 1 is there already"),
    ],
)
def test_a_mark_that_can_not_be_is_refused(
    record: RecordWriter, told: Told, place: dict[str, Any], said: str
) -> None:
    done, answer = told(MISSED, observer="Ada", **place)
    assert not done
    assert said in answer
    assert read_missed(record._db) == []


def test_where_nothing_but_an_empty_region_is_a_particle_can_be_missed(
    record: RecordWriter, told: Told
) -> None:
    assert told(MISSED, frame=1, row=630, col=130, observer="Ada")[0]


def test_marks_are_rows_of_commands_with_name_and_time(record: RecordWriter, told: Told) -> None:
    told(MISSED, frame=1, row=1, col=1, observer="Ada")
    (row,) = record._db.execute("SELECT at, name, arguments FROM commands").fetchall()
    assert row[:2] == (5.0, "missed")
    assert json.loads(row[2]) == {"frame": 1, "row": 1, "col": 1, "observer": "Ada"}
