"""Migrations from an older schema to the present one: a table of steps, each one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from importlib import resources

#: `PRAGMA user_version` of the schema in schema.sql and ledger.sql.
SCHEMA_VERSION = 3

#: The oldest version whose tables readers understand as they are, without a migration.
OLDEST_READABLE = 1

#: What makes a record of one version one of the next. A step is never changed. It changes tables and rows alone; the
#: rules of ledger.sql are dropped before the first step and created again after the last.
STEPS: Mapping[int, str] = {
    # Version 1 had no rules: what a foreign program could have brought out of balance waits again.
    1: """
        DELETE FROM results WHERE frame_id NOT IN (SELECT id FROM frames WHERE state = 'analysed');
        DELETE FROM particles WHERE frame_id NOT IN (SELECT frame_id FROM results);
        DELETE FROM statistics WHERE frame_id NOT IN (SELECT frame_id FROM results);
        UPDATE frames SET state = 'queued'
        WHERE state = 'analysed' AND id NOT IN (SELECT frame_id FROM results);
        CREATE TABLE commands (           -- what a person asked for on the page, its only write; the session answers
    id        INTEGER PRIMARY KEY,
    at        REAL NOT NULL,
    name      TEXT NOT NULL,                  -- such as correct
    arguments TEXT NOT NULL,                  -- JSON; of correct: {"frame": id, "label": n, "class": name or null}
    accepted  INTEGER,                        -- NULL: not looked at yet
    answer    TEXT
);
    """,
    # What was analysed before has no hash, and is not found among the frames of a frozen camera.
    2: """
        ALTER TABLE results ADD COLUMN pixels TEXT;
        CREATE INDEX results_pixels ON results (pixels);
    """,
}


def version_of(db: sqlite3.Connection) -> int:
    """The schema version of a record; 0 where the file holds none."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def lay_down(db: sqlite3.Connection) -> None:
    """Make an empty file an empty record, in one transaction."""
    with_rules = _script("schema.sql") + _script("ledger.sql")
    _in_one_transaction(db, with_rules, SCHEMA_VERSION)


def migrate(
    db: sqlite3.Connection, steps: Mapping[int, str] = STEPS, newest: int = SCHEMA_VERSION
) -> list[int]:
    """Bring an older record to the newest version, one step after the other; returns those it took.

    A step that fails leaves the record as it was before that step, which the next try begins with.

    Raises
    ------
    sqlite3.DatabaseError
        A step can't be made: the disk is full, the record is held by another program, or damaged.
    """
    taken = []
    while (version := version_of(db)) < newest:
        script = "".join(f"DROP {kind} {name};\n" for kind, name in _rules(db)) + steps[version]
        if version + 1 == newest:
            script += _script("ledger.sql")
        _in_one_transaction(db, script, version + 1)
        taken.append(version)
    return taken


def statements(script: str) -> Iterator[str]:
    """The single statements of an SQL script."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _in_one_transaction(db: sqlite3.Connection, script: str, version: int) -> None:
    # Tables that are made anew must not take with them what points to them; whether everything still points
    # somewhere is looked at in the end.
    (kept,) = db.execute("PRAGMA foreign_keys").fetchone()
    db.execute("PRAGMA foreign_keys = OFF")
    try:
        db.execute("BEGIN IMMEDIATE")
        for statement in statements(script):
            db.execute(statement)
        broken = db.execute("PRAGMA foreign_key_check").fetchone()
        if broken is not None:
            raise sqlite3.IntegrityError(f"row {broken[1]} of {broken[0]} belongs to no row of {broken[2]}")
        db.execute(f"PRAGMA user_version = {version}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    finally:
        db.execute(f"PRAGMA foreign_keys = {kept}")


def _rules(db: sqlite3.Connection) -> list[tuple[str, str]]:
    return db.execute(
        "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view') "
        r"AND (name = 'ledger' OR name LIKE 'ledger\_%' ESCAPE '\')"
    ).fetchall()


def _script(name: str) -> str:
    return resources.files("monitor.record").joinpath(name).read_text(encoding="utf-8")
