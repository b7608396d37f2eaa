"""The sums that a record keeps are those that are counted from it, whatever was done to it."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.bundle import SHIPPED
from models.results import CLASSES
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import DATABASE, RecordReader, RecordWriter, strata, totals
from monitor.record.commands import ask
from monitor.record.settling import RunningStatistics
from monitor.record.standing import standing
from monitor.record.summary import summarise
from monitor.statistics.estimate_course import Estimator

Finished = Callable[..., FinishedFrame]
DETAILS = json.loads((SHIPPED / "bundle.json").read_text(encoding="utf-8"))
TABLES = (
    ("totals", "WHERE of NOT IN ('places', 'uncounted') AND n <> 0"),
    ("totals of places", "WHERE of IN ('places', 'uncounted') AND n <> 0"),
    ("totals_sizes", "WHERE n <> 0"),
    ("totals_calls", "WHERE n <> 0"),
    ("totals_fields", "WHERE places + tracks > 0"),
    ("totals_sums", ""),
)


def held(db: sqlite3.Connection, count: bool) -> dict[str, list[Any]]:
    """All sums as they are kept, or counted from the other tables."""
    found = {}
    for name, which in TABLES:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({name.split()[0]})")]
        source = totals.counted(name) if count else name.split()[0]
        rows = db.execute(f"SELECT {', '.join(columns)} FROM {source} {which}").fetchall()
        found[name] = [
            pytest.approx(value) if isinstance(value, float) else value
            for row in sorted(rows)
            for value in row
        ]
    return found


def plain(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: [getattr(value, "expected", value) for value in values] for name, values in found.items()}


@pytest.fixture
def busy(record: RecordWriter, finished: Finished) -> RunningStatistics:
    """A session in which frames come late, are written again, are rejected, and have numbers."""
    chance = random.Random(3)
    running = RunningStatistics(record, Estimator(DETAILS), lambda: 0.0)
    for number in range(1, 41):
        # Some belong before those that came.
        at = 30.0 * number - (200.0 if number % 7 == 0 else 0.0)
        sequence = number if number % 2 else None
        record.take(
            1, FrameRef(Path(f"/{number}"), 0, acquired=at, sender="a", sequence=sequence, content="1"), at=at
        )
        if number % 9 == 0:
            record.reject(number, 0, "no pixel size")
            continue
        found = finished(*chance.choices(CLASSES, k=chance.randrange(5)))
        particles = tuple(
            replace(
                p, diameter_nm=chance.uniform(1.5, 9), bbox=(b := chance.randrange(800), b, b + 60, b + 60)
            )
            for p in found.analysis.particles
        )
        quality = {"scanning": number == 5}
        order = record.finish(
            number,
            0,
            replace(found, analysis=replace(found.analysis, particles=particles, quality=quality)),
            lambda: 1.0,
        )
        assert order is not None
        running.add(order)
        running.settle(final=number % 5 == 0)
    for number in (3, 20):  # written again: the results are gone, and come again
        taken = record.take(
            1, FrameRef(Path(f"/{number}"), 0, acquired=30.0 * number, content="2"), at=1300.0
        )
        assert taken.replaced is not None
        running.remove(taken.replaced)
    running.settle(final=True)
    order = record.finish(20, 1, finished("yes", "no"), lambda: 1.0)
    assert order is not None
    running.add(order)
    running.settle(final=True)
    ask(record.folder, "audit", {"number": 9}, 1.0)
    running.carry_out(1.0)
    for (particle,) in record._db.execute("SELECT particle FROM labels").fetchall():
        ask(record.folder, "label", {"particle": particle, "observer": "Ada", "class": "yes"}, 2.0)
    running.carry_out(2.0)
    return running


def test_what_is_kept_is_what_is_counted(record: RecordWriter, busy: RunningStatistics) -> None:
    kept = held(record._db, count=False)
    assert len(kept["totals_calls"]) > 50
    assert kept["totals of places"][-3:] == ["uncounted", "it is no HRTEM image", 1]
    assert plain(held(record._db, count=True)) == kept
    # Also what another program changes.
    record._db.execute("UPDATE tracks SET class = 'yes', diameter_nm = 4 WHERE id % 2 = 0")
    record._db.execute("DELETE FROM tracks WHERE id % 5 = 0")
    record._db.execute("UPDATE particles SET class = 'no' WHERE id % 3 = 0")
    record._db.execute("DELETE FROM results WHERE frame_id % 4 = 0")
    assert plain(held(record._db, count=True)) == held(record._db, count=False)


def test_a_record_without_sums_says_the_same(record: RecordWriter, busy: RunningStatistics) -> None:
    """The slow way: everything is counted when it is read."""
    quick = summarise(record.folder), standing(record._db)
    assert quick[0]["labels"]["count"] > 5
    assert len(quick[0]["by_field"]) > 5
    for kind in ("trigger", "table"):
        for (name,) in record._db.execute(
            "SELECT name FROM sqlite_master WHERE type = ? AND name LIKE 'totals%'", (kind,)
        ).fetchall():
            record._db.execute(f"DROP {kind} {name}")
    slow = summarise(record.folder), standing(record._db)
    assert rounded(slow[0]) == rounded(quick[0])
    assert slow[1].counts == pytest.approx(quick[1].counts)
    assert slow[1].labels == pytest.approx(quick[1].labels)
    assert slow[1].design_effect == pytest.approx(quick[1].design_effect)


def test_fields_without_rows_of_their_own_and_sums_that_were_lost(
    record: RecordWriter, busy: RunningStatistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordReader(record.folder) as reader:
        every = strata.Strata(reader).fields()
        monkeypatch.setattr(strata, "MOST_FIELDS", 3)
        found = strata.Strata(reader).fields()
    assert [s.key for s in found][-1] == -1
    assert found[-1].parts == len(every) - 3
    for i in range(4):
        assert sum(s.tracks[i] for s in found) == sum(s.tracks[i] for s in every)
    assert sum(s.estimate.labels for s in found) == sum(s.estimate.labels for s in every)
    fewest = min(s.judged for s in found[:-1])
    assert all(s.judged <= fewest for s in every if s.key not in {f.key for f in found})
    # Sums that were lost are made again when the session goes on.
    kept, folder = held(record._db, count=False), record.folder
    record.close()
    db = sqlite3.connect(folder / DATABASE, isolation_level=None)
    db.execute("DELETE FROM totals")
    db.execute("DROP TRIGGER totals_track_comes")
    db.close()
    with RecordWriter(folder) as again:
        assert plain(held(again._db, count=False)) == kept


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value
