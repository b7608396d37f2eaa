"""Fractions of parts, alarms, labels and two sessions beside each other, as `summary` tells them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitor.frames import FrameRef
from monitor.record import RecordWriter
from monitor.record.settling import RunningStatistics
from monitor.record.strata import MOST_FIELDS
from monitor.record.summary import as_json, compared, summarise
from monitor.record.summary_text import as_text
from monitor.statistics.alarm_kinds import Alarm
from monitor.statistics.estimate_course import Estimator

DETAILS: dict[str, Any] = {
    "abstain_below": 0.3,
    "confusion": {
        "true": ["empty", "null", "no", "yes"],
        "called": ["empty", "null", "no sure", "no doubtful", "yes sure", "yes doubtful"],
        "counts": [[0] * 6, [0, 270, 3, 3, 5, 5], [0, 28, 62, 24, 5, 15], [0, 28, 18, 11, 102, 23]],
        "by": "particle",
        "sure_from": 0.3,
        "strata": [],
    },
}
Finished = Callable[..., Any]
Record = Callable[..., Path]


@pytest.fixture
def recorded(tmp_path: Path, finished: Finished) -> Record:
    """Records a session of frames with particles of the given classes; the frames don't overlap."""

    def make(name: str, *frames: tuple[str, ...], details: dict[str, Any] = DETAILS) -> Path:
        with RecordWriter(tmp_path / name) as record:
            record.add_bundle("test-bundle", tmp_path, details)
            record.set_meta(bundle="test-bundle")
            record.add_source("directory", "somewhere", 0.0)
            for i, classes in enumerate(frames, 1):
                record.take(1, FrameRef(Path(f"/data/{i}.tif"), 0, content=str(i)), at=float(i))
                record.finish(i, 0, finished(*classes), lambda: 3.0)
            RunningStatistics(record, Estimator(details), lambda: 0.0).settle(final=True)
        return tmp_path / name

    return make


def test_parts_add_up_and_have_intervals(recorded: Record) -> None:
    session = recorded("s", *[("yes", "no", "no", "null")] * 5)
    said = summarise(session)
    (size,) = said["by_size"]
    assert (size["from_nm"], size["to_nm"]) == (3.0, 5.0)
    assert size["tracks"] == said["tracks"]
    low, high = size["interval"]
    assert 0 <= low < size["corrected"] < high <= 1
    for name, number in said["tracks"].items():
        assert sum(one["tracks"][name] for one in said["by_field"]) == number
    assert said["always"][0] <= said["fraction"]["interval"][0]
    assert said["always"][1] >= said["fraction"]["interval"][1]
    text = as_text(said)
    assert "by size     3 to 5 nm: " in text
    assert "always " in text
    assert json.loads(as_json(said)) == said


def test_many_fields_share_a_row(recorded: Record) -> None:
    frames = [("yes", "no") if i % 2 else ("no",) for i in range(MOST_FIELDS + 7)]
    said = summarise(recorded("s", *frames))
    assert said["fields"] > MOST_FIELDS
    assert [one["field"] for one in said["by_field"]].count(None) == 1
    assert sum(one["fields"] for one in said["by_field"]) == said["fields"]


def test_a_bundle_that_does_not_say_how_it_errs_has_counts_and_a_reason(recorded: Record) -> None:
    said = summarise(recorded("s", ("yes", "no"), details={}))
    assert said["fraction"]["interval"] is None
    assert "no confusion matrix" in said["fraction"]["reason"]
    assert said["by_size"][0]["interval"] is None
    assert "no confusion matrix" in said["by_size"][0]["reason"]
    assert said["always"] is None
    assert "not corrected: the bundle has no confusion matrix" in as_text(said)


def test_alarms_are_told(recorded: Record) -> None:
    session = recorded("s", ("yes", "no"))
    with RecordWriter(session) as record:
        record.write_alarms(
            [
                Alarm("beam lost", 1, 1.0, 3, 3, "No electrons came.", 4, 4.0, True),
                Alarm("disk filling", None, 5.0, None, 0, "1 GB is left."),
            ]
        )
    said = summarise(session)
    assert [alarm["kind"] for alarm in said["alarms"]] == ["beam lost", "disk filling"]
    beam, disk = said["alarms"]
    assert beam == {
        "kind": "beam lost", "since": 1.0, "until": 4.0, "frames": 3, "cause": "No electrons came.",
        "severity": "critical", "acknowledged": None,
    }  # fmt: skip
    assert disk["until"] is None
    text = as_text(said)
    assert (
        "beam lost since 1970-01-01 00:00:01 UTC until 1970-01-01 00:00:04 UTC, 3 frames: No electrons"
        in text
    )
    assert "disk filling since 1970-01-01 00:00:05 UTC, lasts" in text


def test_labels_move_the_parts_and_observers_are_compared(recorded: Record) -> None:
    session = recorded("s", *[("yes", "no", "no")] * 4)
    before = summarise(session)["by_size"][0]
    with closing(sqlite3.connect(session / "session.sqlite", isolation_level=None)) as db:
        tracks = [row[0] for row in db.execute("SELECT id FROM tracks WHERE seen > 0 ORDER BY id")]
        said_of = [(track, "ada", "no") for track in tracks]
        said_of += [(track, "bo", "no") for track in tracks[1:]] + [(tracks[0], "bo", "yes")]
        db.executemany(
            "INSERT INTO labels (particle, drawn, inclusion, observer, class, at) VALUES (?, 0, 1, ?, ?, 1)",
            said_of,
        )
        particle = db.execute("SELECT max(id) + 1 FROM particles").fetchone()[0]
        db.execute("INSERT INTO labels (particle, drawn, inclusion) VALUES (?, 0, 0.5)", (particle,))
    said = summarise(session)
    assert said["labels"]["count"] == len(tracks)
    assert said["labels"]["waiting"] == 1
    assert said["labels"]["by_two"] == len(tracks)
    assert said["labels"]["kappa"] == pytest.approx(0.0)  # one observer gave one label alone
    after = said["by_size"][0]
    assert after["labels"] == len(tracks)
    assert after["corrected"] < before["corrected"]
    assert f"labels      {len(tracks)} tracks, 1 drawn and not labelled yet, κ 0.00" in as_text(said)


def test_two_sessions_beside_each_other(recorded: Record) -> None:
    few = recorded("few", *[("no", "no", "no", "no", "yes")] * 3)
    many = recorded("many", *[("yes", "yes", "yes", "yes", "no")] * 3)
    said = compared(many, few)
    other = said["compare"]
    assert other["difference"] == pytest.approx(
        said["fraction"]["corrected"] - other["fraction"]["corrected"]
    )
    low, high = other["interval"]
    assert low < other["difference"] < high
    assert other["apart"] is (low > 0)
    back = compared(few, many)["compare"]
    assert back["interval"] == pytest.approx([-high, -low])
    assert "difference  +" in as_text(said)
    assert json.loads(as_json(said)) == said


def test_a_session_without_an_interval_has_no_difference(recorded: Record) -> None:
    said = compared(recorded("a", ("yes", "no")), recorded("b"))
    assert said["compare"]["difference"] is None
    assert "b has no interval" in said["compare"]["reason"]
    assert "difference  none: " in as_text(said)
