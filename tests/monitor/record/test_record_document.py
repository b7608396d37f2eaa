"""docs/record.md and the schema say the same."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from models.features.measure import feature_names
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import DATABASE, SCHEMA_VERSION, RecordWriter
from monitor.record.export import FEATURE_UNITS
from monitor.record.settling import RunningStatistics
from monitor.statistics.estimate_course import Estimator

DOCUMENT = (Path(__file__).parents[3] / "docs" / "record.md").read_text(encoding="utf-8")


@pytest.fixture
def db(record: RecordWriter, finished: Callable[..., FinishedFrame]) -> sqlite3.Connection:
    for i in range(3):
        record.take(1, FrameRef(Path(f"/{i}.tif"), 0, content=str(i), acquired=1000.0 * i), at=float(i))
    record.finish(1, 0, finished("yes", "no", "null"), lambda: 10.0)
    record.finish(2, 0, finished("yes"), lambda: 10.0)
    record.reject(3, 0, "no pixel size")
    RunningStatistics(record, Estimator({}), lambda: 0.0).settle(final=True)
    return record._db


def described() -> dict[str, list[str]]:
    """Tables (and views) and their columns, as the document has them."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^### `", DOCUMENT, flags=re.MULTILINE)[1:]:
        name, text = part.split("`", 1)
        text = re.split(r"^##", text, flags=re.MULTILINE)[0]
        cells = re.findall(r"^\| (`[^|]*) \|", text, flags=re.MULTILINE)
        found[name] = re.findall(r"`(\w+)`", " ".join(cells) if cells else text)
    return found


def test_every_table_and_column_is_described_and_no_other(db: sqlite3.Connection) -> None:
    names = db.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
    )
    schema = {name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")] for (name,) in names}
    assert described() == schema


def test_every_question_is_answered(db: sqlite3.Connection) -> None:
    (block,) = re.findall(r"```sql\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    questions = [text for text in block.split(";\n") if text.strip()]
    assert len(questions) == 7
    answers = [db.execute(question).fetchall() for question in questions]
    assert answers[0] == [("rejected", "no pixel size", 1)]
    assert answers[1] == [("1970-01-01 00:00:00", 1, 1), ("1970-01-01 00:15:00", 1, 0)]
    assert answers[2] == [(3, 2, 3)]
    assert [row[0] for row in answers[3]] == ["/0.tif", "/0.tif", "/1.tif"]
    assert [row[:2] for row in answers[4]] == [(1, 1), (1, 2), (1, 3), (2, 1)]
    assert answers[5] == []
    assert len(answers[6]) == 1


def test_the_examples_for_opening_it_work(record: RecordWriter, db: sqlite3.Connection) -> None:
    reading = sqlite3.connect(f"{(record.folder / DATABASE).as_uri()}?mode=ro", uri=True)
    (query,) = re.findall(r'read_sql\("(.*?)", db\)', DOCUMENT)
    assert len(reading.execute(query).fetchall()) == 4
    (query,) = re.findall(r'session\.sqlite "(.*?)"', DOCUMENT)
    assert reading.execute(query).fetchall() == [(3, 2, 0, 1, 0)]
    reading.close()


def test_versions_and_features_are_named() -> None:
    history = DOCUMENT.split("## Versions")[1]
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", history, flags=re.MULTILINE)] == list(
        range(1, SCHEMA_VERSION + 1)
    )
    features = DOCUMENT.split("### Features")[1].split("##")[0]
    named = set(re.findall(r"`([\w.]+)`", features))
    assert named >= set(FEATURE_UNITS)
    assert named <= set(feature_names())
