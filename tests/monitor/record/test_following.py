"""Tracks, alarms and labels in the record, settled in order of acquisition."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitor.errors import InputError, NoSession
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import RecordReader, RecordWriter
from monitor.record.answering import answer
from monitor.record.commands import ask
from monitor.record.course import STATES_KEPT
from monitor.record.labels import observers_agree, to_label
from monitor.record.settling import RunningStatistics
from monitor.statistics.estimate_course import Estimator

Finished = Callable[..., FinishedFrame]

#: Every call is right in 90 of 100, and doubtful in 10 of these.
CONFUSION = {
    "abstain_below": 0.35,
    "confusion": {
        "true": ["empty", "null", "no", "yes"],
        "called": ["empty", "null", "no sure", "no doubtful", "yes sure", "yes doubtful"],
        "counts": [[0] * 6, [0, 190, 4, 2, 2, 2], [0, 12, 160, 18, 6, 4], [0, 12, 6, 4, 160, 18]],
        "by": "particle",
        "sure_from": 0.35,
        "strata": [],
    },
}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def settler(record: RecordWriter, details: dict[str, Any] | None = None) -> RunningStatistics:
    return RunningStatistics(record, Estimator(CONFUSION if details is None else details), Clock())


def take(
    record: RecordWriter,
    done: FinishedFrame,
    number: int,
    statistics: RunningStatistics | None = None,
    **quality: Any,
) -> None:
    """A frame that is acquired at `number`, with its result."""
    at = float(number)
    taken = record.take(1, FrameRef(Path(f"/{number}"), 0, content=str(number), acquired=at), at=at)
    done = replace(done, pixels="frozen" if quality.pop("frozen", False) else str(number))
    order = record.finish(taken.frame_id, 0, done, lambda: 100.0)
    assert order is not None
    if statistics is not None:
        statistics.add(order)


def table(record: RecordWriter, query: str) -> list[tuple[Any, ...]]:
    return record._db.execute(query).fetchall()


def everything(record: RecordWriter) -> list[list[tuple[Any, ...]]]:
    """All that settling writes, but for the states, of which old ones are dropped."""
    return [
        table(
            record,
            "SELECT frame_id, field, map, row_nm, col_nm, drift_nm, how, uncounted FROM places ORDER BY 1",
        ),
        table(record, "SELECT * FROM tracks ORDER BY id"),
        table(record, "SELECT id, track FROM particles ORDER BY id"),
        table(
            record,
            "SELECT frame_id, position, t_empty, t_null, t_no, t_yes, counted FROM statistics ORDER BY position",
        ),
        table(record, "SELECT kind, since_frame, until_frame, frames FROM alarms ORDER BY since_frame, kind"),
    ]


def story(finished: Finished) -> list[tuple[FinishedFrame, dict[str, Any]]]:
    """Frames whose particles stand still, one that is frozen, and two other fields without any."""
    return [
        (finished("yes", "no", "null"), {}),
        (finished("yes", "no", "null"), {}),
        (finished("yes", "no", "null"), {"frozen": True}),
        (finished(), {}),
        (finished("yes", "no", "no"), {}),
        (finished("no", "no", "no"), {}),
    ]


def test_the_same_tracks_whether_it_was_interrupted_or_not(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, finished: Finished
) -> None:
    frames = story(finished)
    results = []
    for stops in ([], [1], [2, 3], [5], list(range(len(frames)))):
        folder = tmp_path_factory.mktemp("s")
        with RecordWriter(folder) as record:
            record.add_bundle("test-bundle", folder, {})
            record.add_source("directory", "somewhere", 0.0)
            statistics = settler(record)
            for number, (done, quality) in enumerate(frames, 1):
                if number - 1 in stops:
                    statistics = settler(record)
                take(record, done, number, statistics, **quality)
                statistics.settle()
            results.append(everything(record))
    assert all(result == results[0] for result in results[1:])


def test_the_same_tracks_in_whatever_order_results_come(
    tmp_path_factory: pytest.TempPathFactory, finished: Finished
) -> None:
    frames = story(finished)
    results = []
    for order in ([1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], [2, 1, 4, 3, 6, 5]):
        folder = tmp_path_factory.mktemp("s")
        with RecordWriter(folder) as record:
            record.add_bundle("test-bundle", folder, {})
            record.add_source("directory", "somewhere", 0.0)
            for number in range(1, 7):
                record.take(
                    1,
                    FrameRef(Path(f"/{number}"), 0, content=str(number), acquired=float(number)),
                    at=float(number),
                )
            statistics = settler(record)
            for number in order:
                done, _ = frames[number - 1]
                placed = record.finish(number, 0, done, lambda: 100.0)
                assert placed is not None
                statistics.add(placed)
                statistics.settle()
            statistics.settle(final=True)
            tracks = table(
                record, "SELECT class, seen, first_frame, last_frame FROM tracks ORDER BY first_frame, class"
            )
            results.append((everything(record)[3], tracks))
    assert all(result == results[0] for result in results[1:])


def test_a_frozen_frame_is_shown_and_not_counted(record: RecordWriter, finished: Finished) -> None:
    statistics = settler(record)
    for number in (1, 2, 3):
        take(record, finished("yes", "no"), number, statistics, frozen=True)
    statistics.settle()
    reasons = [why for (why,) in table(record, "SELECT uncounted FROM places ORDER BY frame_id")]
    assert reasons[0] is None
    assert all("repeats the pixels" in why for why in reasons[1:])
    assert table(
        record, "SELECT t_no, t_yes, n_no, n_yes FROM statistics ORDER BY position DESC LIMIT 1"
    ) == [(1, 1, 3, 3)]
    assert table(record, "SELECT kind, since_frame, until FROM alarms") == [("frozen frame", 2, None)]
    assert table(record, "SELECT seen FROM tracks") == [(1,), (1,)]


def test_an_alarm_that_was_acknowledged_stays_so_when_its_frames_are_settled_again(
    record: RecordWriter, finished: Finished
) -> None:
    statistics = settler(record)
    for number in (2, 3, 4):
        take(record, finished("yes"), number, statistics, frozen=number > 1)
    statistics.settle()
    ((alarm,),) = table(record, "SELECT id FROM alarms")
    number = ask(record.folder, "acknowledge", {"alarm": alarm}, 50.0)
    assert statistics.carry_out(51.0) == ["acknowledge"]
    assert table(record, f"SELECT accepted, answer FROM commands WHERE id = {number}") == [
        (1, "acknowledged")
    ]
    take(record, finished("yes"), 1, statistics)
    statistics.settle(final=True)
    assert table(record, "SELECT kind, since_frame, acknowledged FROM alarms") == [("frozen frame", 2, 51.0)]


def test_states_of_old_rows_are_dropped_but_for_some(record: RecordWriter, finished: Finished) -> None:
    statistics = settler(record)
    many = 3 * STATES_KEPT
    for number in range(1, many + 1):
        take(record, finished(), number, statistics)
        statistics.settle()
    kept = [
        position for (position,) in table(record, "SELECT position FROM statistics WHERE state IS NOT NULL")
    ]
    assert set(range(many - STATES_KEPT, many + 1)) <= set(kept)
    assert {position for position in kept if position <= STATES_KEPT} == {STATES_KEPT}
    # One that comes late among the oldest is settled from what is left of them.
    late = record.take(1, FrameRef(Path("/late"), 0, content="late", acquired=10.5), at=1000.0)
    order = record.finish(late.frame_id, 0, finished("yes"), lambda: 100.0)
    assert order is not None
    statistics.add(order)
    statistics.settle(final=True)
    assert table(record, f"SELECT position FROM statistics WHERE frame_id = {late.frame_id}") == [(11,)]
    assert table(record, "SELECT count(*), max(position) FROM statistics") == [(many + 1, many + 1)]


# -- labels ----------------------------------------------------------------------------------------------------


@pytest.fixture
def audited(record: RecordWriter, finished: Finished) -> tuple[RecordWriter, RunningStatistics]:
    """A session of 40 tracks, half of which are called yes, of which all were drawn by an audit."""
    statistics = settler(record)
    for number in range(1, 21):
        # Every second frame is another specimen as far as is known, and nothing of it is found again.
        take(record, finished("yes" if number % 2 else "no"), number * 2, statistics)
        take(record, finished(), number * 2 + 1, statistics)
    statistics.settle()
    ask(record.folder, "audit", {"number": 100}, 1.0)
    assert statistics.carry_out(2.0) == ["audit"]
    return record, statistics


def last(record: RecordWriter) -> tuple[Any, ...]:
    ((*row,),) = table(
        record, "SELECT corrected, low, high, labels FROM statistics ORDER BY position DESC LIMIT 1"
    )
    return tuple(row)


def test_an_audit_draws_every_track_once_by_a_sighting_that_can_be_shown(
    audited: tuple[RecordWriter, RunningStatistics],
) -> None:
    record, _ = audited
    tracks = table(record, "SELECT count(*) FROM tracks WHERE seen > 0")[0][0]
    drawn = table(record, "SELECT p.track, l.inclusion FROM labels l JOIN particles p ON p.id = l.particle")
    assert len(drawn) == len({track for track, _ in drawn}) == tracks
    assert {inclusion for _, inclusion in drawn} == {1.0}
    assert len(list(to_label(record._db, "Ada"))) == tracks


def test_labels_move_the_estimate_and_can_be_taken_back(
    audited: tuple[RecordWriter, RunningStatistics],
) -> None:
    record, statistics = audited
    before = last(record)
    assert before[3] == 0
    waiting = list(to_label(record._db, "Ada"))
    for shown in waiting:
        ask(record.folder, "label", {"particle": shown.particle, "observer": "Ada", "class": "yes"}, 3.0)
    assert statistics.carry_out(4.0) == ["label"] * len(waiting)
    after = last(record)
    assert after[3] == len(waiting)
    assert after[0] > 0.9 > before[0]  # every track is a yes, says who looked
    assert after[2] - after[1] < before[2] - before[1]
    assert list(to_label(record._db, "Ada")) == []
    assert len(list(to_label(record._db, "Bela"))) == len(waiting)
    for shown in waiting:
        ask(record.folder, "label", {"particle": shown.particle, "observer": "Ada", "class": None}, 5.0)
    statistics.carry_out(6.0)
    assert last(record) == before
    assert len(list(to_label(record._db, "Ada"))) == len(waiting)


def test_labels_outlive_a_restart_and_a_late_frame(
    audited: tuple[RecordWriter, RunningStatistics], finished: Finished
) -> None:
    record, statistics = audited
    for shown in list(to_label(record._db, "Ada"))[:8]:
        ask(record.folder, "label", {"particle": shown.particle, "observer": "Ada", "class": "no"}, 3.0)
    statistics.carry_out(4.0)
    assert last(record)[3] == 8
    again = settler(record)
    take(record, finished("yes"), 1, again)
    again.settle(final=True)
    assert last(record)[3] == 8


def test_two_observers_agree_as_far_as_they_do(audited: tuple[RecordWriter, RunningStatistics]) -> None:
    record, statistics = audited
    for k, shown in enumerate(to_label(record._db, "Ada")):
        seen = "yes" if k % 2 else "no"
        ask(record.folder, "label", {"particle": shown.particle, "observer": "Ada", "class": seen}, 3.0)
        other = seen if k else "null"
        ask(record.folder, "label", {"particle": shown.particle, "observer": "Bela", "class": other}, 3.0)
    statistics.carry_out(4.0)
    found = observers_agree(record._db)
    assert found is not None
    assert 0.8 < found.kappa < 1


def test_a_session_that_nobody_runs_is_answered_too(
    audited: tuple[RecordWriter, RunningStatistics],
) -> None:
    record, _ = audited
    record.add_bundle("test-bundle", record.folder, CONFUSION)
    record.set_meta(bundle="test-bundle")
    before = last(record)
    shown = list(to_label(record._db, "Ada"))
    for one in shown:
        ask(record.folder, "label", {"particle": one.particle, "observer": "Ada", "class": "yes"}, 3.0)
    assert answer(record.folder, 4.0) is None  # it runs, and will answer itself
    record.close()
    assert answer(record.folder, 5.0) == ["label"] * len(shown)
    with RecordReader(record.folder) as reader:
        row = reader.last_statistics()
    assert row is not None
    assert row.labels == len(shown)
    assert row.corrected is not None
    assert row.corrected > before[0]


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("audit", {"number": 0}, "greater than or equal to 1"),
        ("audit", {}, "Field required"),
        ("label", {"particle": 1, "observer": "", "class": "yes"}, "at least 1 character"),
        ("label", {"particle": 1, "observer": "Ada", "class": "maybe"}, "Input should be"),
        ("launch", {}, "there is no command launch"),
    ],
)
def test_what_can_not_be_asked_is_said_at_once(
    record: RecordWriter, name: str, arguments: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        ask(record.folder, name, arguments, 1.0)
    assert table(record, "SELECT count(*) FROM commands") == [(0,)]


def test_commands_that_mean_nothing_are_answered(record: RecordWriter, tmp_path: Path) -> None:
    statistics = settler(record)
    numbers = [
        ask(record.folder, "audit", {"number": 20}, 1.0),
        ask(record.folder, "label", {"particle": 7, "observer": "Ada", "class": "yes"}, 1.0),
        ask(record.folder, "acknowledge", {"alarm": 3}, 1.0),
        ask(record.folder, "correct", {"frame": 1, "label": 1, "class": "yes"}, 1.0),
    ]
    record._db.execute(
        "INSERT INTO commands (at, name, arguments) VALUES (1, 'launch', '{}'), (1, 'audit', '[')"
    )
    assert statistics.carry_out(2.0) == []
    answers = dict(table(record, "SELECT id, answer FROM commands"))
    assert "no particle to label yet" in answers[numbers[0]]
    assert "was not drawn by an audit" in answers[numbers[1]]
    assert "no alarm 3" in answers[numbers[2]]
    assert "frame 1 has no particle 1" in answers[numbers[3]]
    assert "no command launch" in answers[numbers[3] + 1]
    assert "can't be understood" in answers[numbers[3] + 2]
    assert table(record, "SELECT DISTINCT accepted FROM commands") == [(0,)]
    with pytest.raises(NoSession):
        ask(tmp_path / "nowhere", "audit", {"number": 1}, 1.0)


def test_without_a_confusion_there_is_a_reason_in_place_of_an_interval(
    record: RecordWriter, finished: Finished
) -> None:
    statistics = settler(record, {"rates": {"sensitivity": [9, 10], "specificity": [9, 10]}})
    take(record, finished("yes", "no"), 1, statistics)
    statistics.settle()
    ((counted, corrected, low, reason),) = table(
        record, "SELECT counted, corrected, low, reason FROM statistics"
    )
    assert (counted, corrected, low) == (0.5, None, None)
    assert "audit" in reason


def test_an_old_record_is_read_and_says_that_it_followed_nothing(
    record: RecordWriter, finished: Finished
) -> None:
    take(record, finished("yes"), 1)
    record.close()
    with sqlite3.connect(record.folder / "session.sqlite") as db:
        for name in ("places", "tracks", "alarms", "labels"):
            db.execute(f"DROP TABLE {name}")
        db.execute("DROP TRIGGER ledger_result_went")
        db.execute("PRAGMA user_version = 3")
    db.close()
    with RecordReader(record.folder) as reader:
        assert not reader.has_tracks
    with pytest.raises(InputError, match="an older version recorded it"):
        answer(record.folder, 1.0)
    with RecordReader(record.folder) as reader:
        assert list(reader.tracks(["t.id"])) == []
        assert reader.places() == {"fields": None, "frames": 0, "uncounted": {}}
