"""The rules by which the record keeps its own ledger: plain SQLite, without foreign keys, is refused as well."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.results import Analysis
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import DATABASE, RecordReader, RecordWriter

Finished = Callable[..., FinishedFrame]

#: A result for frame `?`, from what any other frame has.
RESULT = (
    "INTO results (frame_id, bundle, backend, height, width, pixel_size_nm, quality, timings_ms, finished, "
    "committed, latency_ms) VALUES (?, 'test-bundle', 'cpu', 8, 8, 0.05, '{}', '{}', 1, 1, 1)"
)
FRAME = "INTO frames (source_id, path, item, arrived, state, reason) VALUES (1, ?, 0, 1, ?, ?)"


@pytest.fixture
def plain(record: RecordWriter, finished: Finished) -> Iterator[sqlite3.Connection]:
    """A record with a frame of each state (1 analysed, 2 queued, 3 rejected, 4 dropped), as `sqlite3` opens it."""
    fill(record, finished)
    db = sqlite3.connect(record.folder / DATABASE, isolation_level=None)
    assert db.execute("PRAGMA foreign_keys").fetchone() == (0,)
    yield db
    db.close()


def fill(record: RecordWriter, finished: Finished) -> None:
    for i in range(4):
        record.take(1, FrameRef(Path(f"/{i}"), 0, content=str(i)), at=float(i))
    record.finish(1, 0, finished("yes", "no"), lambda: 10.0)
    record.reject(3, 0, "no pixel size")
    record.drop(4, "the disk is full")


def balance(db: sqlite3.Connection) -> tuple[int, int, int, int, int]:
    """The ledger, after a look at whether it balances and is true."""
    row: tuple[int, int, int, int, int] = db.execute(
        "SELECT arrived, analysed, queued, rejected, dropped FROM ledger"
    ).fetchone()
    assert row[0] == sum(row[1:])
    assert db.execute(
        "SELECT (SELECT group_concat(id) FROM frames WHERE state = 'analysed') IS "
        "(SELECT group_concat(frame_id) FROM (SELECT frame_id FROM results ORDER BY frame_id))"
    ).fetchone() == (1,)
    assert db.execute(
        "SELECT count(*) FROM frames WHERE (state IN ('rejected', 'dropped')) <> (reason IS NOT NULL)"
    ).fetchone() == (0,)
    assert db.execute(
        "SELECT count(*) FROM particles WHERE frame_id NOT IN (SELECT frame_id FROM results)"
    ).fetchone() == (0,)
    return row


@pytest.mark.parametrize(
    ("statement", "values", "why"),
    [
        ("UPDATE frames SET state = 'lost' WHERE id = 2", (), "CHECK"),
        ("UPDATE frames SET state = NULL WHERE id = 2", (), "NOT NULL"),
        ("UPDATE frames SET state = 'rejected' WHERE id = 2", (), "CHECK"),
        ("UPDATE frames SET state = 'dropped' WHERE id = 2", (), "CHECK"),
        ("UPDATE frames SET reason = 'why not' WHERE id = 2", (), "CHECK"),
        ("UPDATE frames SET reason = 'why not' WHERE id = 1", (), "CHECK"),
        ("UPDATE frames SET reason = NULL WHERE id = 3", (), "CHECK"),
        ("UPDATE frames SET state = 'analysed' WHERE id = 2", (), "exactly where it has a result"),
        ("UPDATE frames SET state = 'analysed', reason = NULL WHERE id = 3", (), "exactly where it has"),
        ("UPDATE frames SET state = 'queued' WHERE id = 1", (), "exactly where it has a result"),
        ("UPDATE frames SET state = 'rejected', reason = 'x' WHERE id = 1", (), "exactly where it has"),
        ("UPDATE OR IGNORE frames SET state = 'analysed' WHERE id = 2", (), "exactly where it has a result"),
        ("UPDATE frames SET id = 9 WHERE id = 1", (), "keeps its number"),
        ("UPDATE frames SET rowid = 9 WHERE id = 2", (), "keeps its number"),
        ("UPDATE OR REPLACE frames SET id = 1 WHERE id = 2", (), "keeps its number"),
        ("UPDATE OR REPLACE frames SET path = '/0' WHERE id = 2", (), "another frame has that place"),
        ("DELETE FROM frames WHERE id = 2", (), "stays in the ledger"),
        ("DELETE FROM frames", (), "stays in the ledger"),
        (f"INSERT {FRAME}", ("/new", "analysed", None), "analysed by its result"),
        (f"INSERT {FRAME}", ("/new", "rejected", None), "CHECK"),
        (f"INSERT {FRAME}", ("/new", "queued", "why not"), "CHECK"),
        (f"INSERT {FRAME}", ("/new", "seen", None), "CHECK"),
        (f"INSERT OR REPLACE {FRAME}", ("/0", "queued", None), "in the ledger already"),
        (
            "REPLACE INTO frames (id, source_id, path, item, arrived, state) VALUES (1, 1, '/new', 0, 1, 'queued')",
            (),
            "in the ledger already",
        ),
        (f"INSERT {RESULT}", (1,), "only a queued frame"),
        (f"INSERT OR REPLACE {RESULT}", (1,), "only a queued frame"),
        (f"INSERT {RESULT}", (3,), "only a queued frame"),
        (f"INSERT {RESULT}", (4,), "only a queued frame"),
        (f"INSERT {RESULT}", (99,), "only a queued frame"),
        ("UPDATE results SET frame_id = 2", (), "stays with its frame"),
        ("UPDATE particles SET frame_id = 2", (), "stays with its frame"),
        ("INSERT INTO particles SELECT NULL, 2, 9, class, p_empty, p_null, p_no, p_yes, abstained, row0, col0, "
         "row1, col1, centroid_row, centroid_col, diameter_nm, area_nm2, outline, features, track FROM particles",
         (), "needs a result"),
        ("DELETE FROM sources", (), "frames came from this source"),
    ],
)  # fmt: skip
def test_no_statement_brings_the_ledger_out_of_balance(
    plain: sqlite3.Connection, statement: str, values: tuple[object, ...], why: str
) -> None:
    before = balance(plain)
    with pytest.raises(sqlite3.IntegrityError, match=why):
        plain.execute(statement, values)
    assert balance(plain) == before == (4, 1, 1, 1, 1)


def test_a_result_makes_its_frame_analysed_and_takes_that_with_it(plain: sqlite3.Connection) -> None:
    plain.execute(f"INSERT {RESULT}", (2,))
    assert balance(plain) == (4, 2, 0, 1, 1)
    plain.execute(
        "INSERT INTO statistics (frame_id, position, at, n_empty, n_null, n_no, n_yes) VALUES (1, 1, 0, 0, 0, 1, 1)"
    )
    plain.execute("INSERT INTO places VALUES (1, 1, 1, 0, 0, NULL, 'first', NULL)")
    plain.execute("DELETE FROM results WHERE frame_id = 1")
    assert balance(plain) == (4, 1, 1, 1, 1)
    for table in ("particles", "statistics", "places"):
        assert plain.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_inside_a_transaction_it_balances_too(record: RecordWriter, finished: Finished) -> None:
    """Not only at its end: whatever is read on the way, through the same connection, is in balance."""
    record.take(1, FrameRef(Path("/a"), 0, content="a"), at=0.0)
    seen: list[tuple[int, ...]] = []

    def clock() -> float:
        seen.append(balance(record._db))
        return 1.0

    record.finish(1, 0, finished("yes"), clock)
    assert seen == [(1, 0, 1, 0, 0)]
    assert balance(record._db) == (1, 1, 0, 0, 0)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("natrdf")), max_size=25))
def test_it_balances_after_whatever_a_session_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]]
) -> None:
    """new, another content, taken again, rejected, dropped, finished: in any order, of any frame."""
    done = made()
    with RecordWriter(tmp_path_factory.mktemp("s")) as record, RecordReader(record.folder) as reader:
        record.add_bundle("test-bundle", record.folder, {})
        record.add_source("directory", "somewhere", 0.0)
        for number, step in steps:
            known = {frame.path: frame for frame in reader.frames()}.get(Path(f"/{number}"))
            if step in "nat" or known is None:
                content = "other" if step == "a" else "same"
                record.take(1, FrameRef(Path(f"/{number}"), 0, content=content), at=float(number))
            elif step == "r":
                record.reject(known.id, known.revision, "no pixel size")
            elif step == "d":
                record.drop(known.id, "the disk is full")
            else:
                record.finish(known.id, known.revision, done, lambda: 1.0)
            arrived, analysed, queued, rejected, dropped = balance(record._db)
            assert reader.ledger() == {
                "arrived": arrived, "analysed": analysed, "queued": queued, "rejected": rejected, "dropped": dropped,
            }  # fmt: skip
        assert reader.ledger()["arrived"] == len({number for number, _ in steps})


def made() -> FinishedFrame:
    """A result without particles."""
    return FinishedFrame(Analysis((8, 8), 0.05, (), {}, {}, "test-bundle", "cpu"), 1.0, None)
