"""From an older schema to today's: with the version-1 schema as it was (data/record_v1.sql)."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.errors import NoSession
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import DATABASE, SCHEMA_VERSION, RecordReader, RecordWriter
from monitor.record.migrations import STEPS, migrate, statements

VERSION_1 = Path(__file__).parent / "data" / "record_v1.sql"

FRAME = "INSERT INTO frames (source_id, path, item, arrived, metadata, state, reason) VALUES (1, ?, 0, 5, '{}', ?, ?)"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A session of version 1 with a frame of each state, one of them analysed with a particle."""
    folder = tmp_path / "old"
    folder.mkdir()
    db = sqlite3.connect(folder / DATABASE, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(f"BEGIN; {VERSION_1.read_text(encoding='utf-8')}; PRAGMA user_version = 1; COMMIT;")
    db.execute("INSERT INTO meta VALUES ('created', '1.0')")
    db.execute("INSERT INTO bundles VALUES ('test-bundle', '/b', '{}')")
    db.execute("INSERT INTO sources (kind, address, state, since) VALUES ('directory', 'in', 'watching', 0)")
    for path, state, reason in (
        ("/0", "analysed", None), ("/1", "queued", None), ("/2", "rejected", "no"), ("/3", "dropped", "full"),
    ):  # fmt: skip
        db.execute(FRAME, (path, state, reason))
    result(db, 1)
    db.close()
    return folder


def result(db: sqlite3.Connection, frame_id: int) -> None:
    db.execute(
        "INSERT INTO results VALUES (?, 'test-bundle', 'cpu', 8, 8, 0.05, '{}', '{}', 1, 1, 1, NULL)",
        (frame_id,),
    )
    db.execute(
        "INSERT INTO particles VALUES (NULL, ?, 1, 'yes', 0, 0, 0.4, 0.6, 0, 0, 0, 2, 2, 1, 1, 3, 7, '[]', '{}')",
        (frame_id,),
    )


def version(folder: Path) -> int:
    db = sqlite3.connect(folder / DATABASE)
    (number,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return int(number)


def schema(folder: Path) -> dict[str, str]:
    """What is in the file by name, without comments and white space."""
    db = sqlite3.connect(folder / DATABASE)
    said = {
        name: re.sub(r" ?([(),]) ?", r"\1", re.sub(r"\s+", " ", re.sub(r"--.*", "", sql)))
        for name, sql in db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    }
    db.close()
    return said


def test_there_is_a_step_from_every_version_to_the_next() -> None:
    assert list(STEPS) == list(range(1, SCHEMA_VERSION))


def test_a_reader_reads_an_older_record_as_it_is(old: Path) -> None:
    with RecordReader(old) as reader:
        assert reader.ledger() == {"arrived": 4, "analysed": 1, "queued": 1, "rejected": 1, "dropped": 1}
        assert reader.sightings()["yes"] == 1
        recorded = reader.recorded(1)
        assert recorded is not None
        assert recorded.particles[0].particle_class == "yes"
    assert version(old) == 1


def test_a_writer_makes_it_one_of_today_and_goes_on(
    old: Path, tmp_path: Path, finished: Callable[..., FinishedFrame]
) -> None:
    with RecordWriter(old) as record:
        assert record.queued() == [2]
        assert record.take(1, FrameRef(Path("/new"), 0, content="x"), at=9.0).frame_id == 5
        assert record.finish(2, 0, replace(finished("no"), pixels="x"), lambda: 10.0) is not None
        assert record._db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert version(old) == SCHEMA_VERSION
    with RecordReader(old) as reader:
        assert reader.ledger() == {"arrived": 5, "analysed": 2, "queued": 1, "rejected": 1, "dropped": 1}
        assert reader.sightings() == {"empty": 0, "null": 0, "no": 1, "yes": 1}
        assert reader.meta() == {"created": "1.0"}
        assert reader._db.execute("SELECT pixels FROM results").fetchall() == [(None,), ("x",)]
    with RecordWriter(tmp_path / "new"):
        pass
    assert schema(old) == schema(tmp_path / "new")


def test_what_was_out_of_balance_waits_again(old: Path) -> None:
    db = sqlite3.connect(old / DATABASE, isolation_level=None)
    db.execute(FRAME, ("/analysed-without-a-result", "analysed", None))
    result(db, 3)  # of a frame that was rejected
    db.close()
    with RecordWriter(old) as record:
        assert record.queued() == [2, 5]
    with RecordReader(old) as reader:
        assert reader.ledger() == {"arrived": 5, "analysed": 1, "queued": 2, "rejected": 1, "dropped": 1}
        assert reader.analysed() == [1]
        assert reader.sightings()["yes"] == 1


def test_a_step_that_fails_leaves_the_record_of_the_version_before(old: Path) -> None:
    before = schema(old)
    db = sqlite3.connect(old / DATABASE, isolation_level=None)
    steps = {1: STEPS[1], 2: "ALTER TABLE frames ADD COLUMN colour TEXT;\nUPDATE nowhere SET x = 1;"}
    with pytest.raises(sqlite3.OperationalError, match="no such table: nowhere"):
        migrate(db, steps, 3)
    assert version(old) == 2
    after = schema(old)
    assert after.pop("commands")  # which the step before it made
    assert after == before
    steps[2] = "ALTER TABLE frames ADD COLUMN colour TEXT;"
    assert migrate(db, steps, 3) == [2]
    db.close()
    assert version(old) == 3
    assert "colour TEXT" in schema(old)["frames"]
    assert "ledger_frame_stays" in schema(old)


def test_a_table_made_anew_must_leave_nothing_dangling(old: Path) -> None:
    db = sqlite3.connect(old / DATABASE, isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="row 1 of results belongs to no row of bundles"):
        migrate(db, {1: "DELETE FROM bundles;"}, 2)
    assert db.execute("SELECT count(*) FROM bundles").fetchone() == (1,)
    db.close()
    assert version(old) == 1


def test_rules_are_off_while_a_step_works_and_on_afterwards(old: Path) -> None:
    db = sqlite3.connect(old / DATABASE, isolation_level=None)
    assert migrate(db, STEPS, 2) == [1]
    step = "DELETE FROM frames WHERE state = 'dropped';"  # which the rules refuse
    assert migrate(db, {2: step}, 3) == [2]
    assert db.execute("SELECT arrived, dropped FROM ledger").fetchone() == (3, 0)
    with pytest.raises(sqlite3.IntegrityError, match="stays in the ledger"):
        db.execute("DELETE FROM frames")
    db.close()


def test_a_script_is_cut_into_its_statements() -> None:
    trigger = "CREATE TRIGGER c AFTER INSERT ON a BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"
    script = f"-- one; two\nCREATE TABLE a (b);\n{trigger}"
    assert [text.split()[-1] for text in statements(script)] == ["(b);", "END;"]


@pytest.mark.parametrize("number", [0, 99])
def test_what_no_step_begins_with_is_refused_and_left_alone(old: Path, number: int) -> None:
    db = sqlite3.connect(old / DATABASE)
    db.execute(f"PRAGMA user_version = {number}")
    db.close()
    before = (old / DATABASE).read_bytes()
    for opened in (RecordReader, RecordWriter):
        with pytest.raises(NoSession, match=f"schema {number}"):
            opened(old)
    assert (old / DATABASE).read_bytes() == before
