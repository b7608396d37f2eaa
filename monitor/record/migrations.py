"""Migrations from an older schema to the present one: a table of steps, each one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from importlib import resources

#: `PRAGMA user_version` of the schema in schema.sql and ledger.sql.
SCHEMA_VERSION = 4

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
    # Particles were counted by sightings; the figures are made again, over tracks, when the session goes on.
    3: """
        ALTER TABLE results ADD COLUMN signature BLOB;
        ALTER TABLE particles ADD COLUMN track INTEGER;
        CREATE INDEX particles_track ON particles (track);
CREATE TABLE places (             -- where each settled frame lies on the specimen
    frame_id  INTEGER PRIMARY KEY REFERENCES results(frame_id) ON DELETE CASCADE,
    field     INTEGER NOT NULL,               -- number of the field's first frame
    map       INTEGER NOT NULL,               -- its first frame: fields that overlap share a map
    row_nm    REAL NOT NULL,                  -- of the frame's upper left corner, on the map
    col_nm    REAL NOT NULL,
    drift_nm  REAL,                           -- from the frame before; NULL: the stage moved
    how       TEXT NOT NULL,                  -- first, correlation, particles, drift, returned, bridged
    uncounted TEXT                            -- why its particles are not counted; NULL: they are
);
CREATE INDEX places_map ON places (map);

CREATE TABLE tracks (             -- a row a physical particle
    id          INTEGER PRIMARY KEY,          -- particles.id of its first sighting
    field       INTEGER NOT NULL,             -- in which it was seen first
    map         INTEGER NOT NULL,
    class       TEXT NOT NULL CHECK (class IN ('empty', 'null', 'no', 'yes')),
    p_empty     REAL NOT NULL,
    p_null      REAL NOT NULL,
    p_no        REAL NOT NULL,
    p_yes       REAL NOT NULL,
    sure        INTEGER NOT NULL,             -- 0: too close to call
    seen        INTEGER NOT NULL,             -- sightings in frames that count; 0: the track does not count
    first_frame INTEGER NOT NULL,
    last_frame  INTEGER NOT NULL,
    diameter_nm REAL NOT NULL,                -- in the sighting that shows most of it
    whole       INTEGER NOT NULL,             -- it was seen without touching the border of a frame
    weight      REAL NOT NULL,                -- 1 / how often one of its size comes into view
    row_nm      REAL NOT NULL,                -- of its centre, on the map
    col_nm      REAL NOT NULL
);
CREATE INDEX tracks_map ON tracks (map);
CREATE INDEX tracks_size ON tracks (class, diameter_nm);
CREATE TABLE alarms (             -- a row an alarm, from when it was raised
    id           INTEGER PRIMARY KEY,
    kind         TEXT NOT NULL,
    severity     TEXT NOT NULL,               -- notice, warning, critical
    cause        TEXT NOT NULL,               -- a sentence with the figures, as they were when it was raised
    action       TEXT NOT NULL,               -- what to do
    since_frame  INTEGER,                     -- the first frame concerned; NULL: before any frame came
    since        REAL,                        -- its time
    last_frame   INTEGER,                     -- the last frame concerned
    frames       INTEGER NOT NULL,            -- how many are concerned
    until_frame  INTEGER,                     -- at which it was cleared
    until        REAL,                        -- NULL: it lasts
    position     INTEGER,                     -- of the frame that raised it; NULL: the session itself did
    acknowledged REAL                         -- when a person did
);
CREATE INDEX alarms_open ON alarms (until);

CREATE TABLE labels (             -- tracks that an audit drew, and what people said of them
    id        INTEGER PRIMARY KEY,
    particle  INTEGER NOT NULL,               -- particles.id of the sighting that was shown
    drawn     REAL NOT NULL,
    inclusion REAL NOT NULL,                  -- probability with which the track was drawn
    observer  TEXT,                           -- NULL: nobody has looked yet
    class     TEXT CHECK (class IN ('empty', 'null', 'no', 'yes')),
    at        REAL,
    UNIQUE (particle, observer)
);
        DELETE FROM statistics;
        ALTER TABLE statistics ADD COLUMN t_empty INTEGER;
        ALTER TABLE statistics ADD COLUMN t_null INTEGER;
        ALTER TABLE statistics ADD COLUMN t_no INTEGER;
        ALTER TABLE statistics ADD COLUMN t_yes INTEGER;
        ALTER TABLE statistics ADD COLUMN effective REAL;
        ALTER TABLE statistics ADD COLUMN always_low REAL;
        ALTER TABLE statistics ADD COLUMN always_high REAL;
        ALTER TABLE statistics ADD COLUMN labels INTEGER;
        ALTER TABLE statistics ADD COLUMN reason TEXT;
        ALTER TABLE statistics ADD COLUMN state TEXT;
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
