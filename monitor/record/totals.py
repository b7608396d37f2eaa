"""Sums over the record that are kept up to date, so that nothing that is shown has to count all of it again.

They follow from the other tables: triggers bring them along with every change, and they are made anew whenever a
session is opened for writing. A record that lacks them (an older version's) is counted when it is read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from models.results import CLASSES, ParticleClass
from monitor.statistics.confusion import called_category
from monitor.statistics.tally import Sums, Tally

SIZES_NM = (2.0, 3.0, 5.0, 8.0)
"""Where one range of diameters ends and the next begins: the ranges for which a bundle states its rates [nm]."""

_TABLES = """
CREATE TABLE totals (
    of   TEXT NOT NULL,
    name TEXT NOT NULL,
    n    INTEGER NOT NULL,
    PRIMARY KEY (of, name)
) WITHOUT ROWID;
CREATE TABLE totals_sizes (
    size   INTEGER NOT NULL,
    class  TEXT NOT NULL,
    sure   INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    weight REAL NOT NULL,
    square REAL NOT NULL,
    PRIMARY KEY (size, class, sure)
) WITHOUT ROWID;
CREATE TABLE totals_calls (
    field  INTEGER NOT NULL,
    class  TEXT NOT NULL,
    sure   INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    weight REAL NOT NULL,
    PRIMARY KEY (field, class, sure)
) WITHOUT ROWID;
CREATE TABLE totals_fields (
    field  INTEGER PRIMARY KEY,
    places INTEGER NOT NULL DEFAULT 0,
    tracks INTEGER NOT NULL DEFAULT 0,
    judged INTEGER NOT NULL DEFAULT 0,
    yes    REAL NOT NULL DEFAULT 0,
    weight REAL NOT NULL DEFAULT 0
);
CREATE TABLE totals_sums (
    fields  INTEGER NOT NULL,
    counted INTEGER NOT NULL,
    judged  INTEGER NOT NULL,
    yy      REAL NOT NULL,
    ym      REAL NOT NULL,
    mm      REAL NOT NULL
);
"""


def _size(row: str) -> str:
    return " + ".join(f"({row}diameter_nm >= {edge})" for edge in SIZES_NM)


#: What each table holds, counted from the others.
_COUNTED = {
    "totals": """
        SELECT 'frames' AS of, state AS name, count(*) AS n FROM frames GROUP BY state
        UNION ALL SELECT state, reason, count(*) FROM frames WHERE reason IS NOT NULL GROUP BY state, reason
        UNION ALL SELECT 'numbered', CAST(source_id AS TEXT), count(*) FROM frames WHERE sequence IS NOT NULL
            GROUP BY source_id
        UNION ALL SELECT 'sightings', class, count(*) FROM particles GROUP BY class
    """,
    "totals of places": """
        SELECT 'places' AS of, '' AS name, count(*) AS n FROM places
        UNION ALL SELECT 'uncounted', uncounted, count(*) FROM places WHERE uncounted IS NOT NULL GROUP BY uncounted
    """,
    "totals_sizes": f"""
        SELECT {_size("")} AS size, class, sure, count(*) AS n, sum(weight) AS weight,
            sum(weight * weight) AS square
        FROM tracks WHERE seen > 0 GROUP BY 1, class, sure
    """,
    "totals_calls": """
        SELECT field, class, sure, count(*) AS n, sum(weight) AS weight
        FROM tracks WHERE seen > 0 GROUP BY field, class, sure
    """,
    "totals_fields": """
        SELECT field, sum(places) AS places, sum(tracks) AS tracks, sum(judged) AS judged, sum(yes) AS yes,
            sum(weight) AS weight
        FROM (
            SELECT field, count(*) AS places, 0 AS tracks, 0 AS judged, 0.0 AS yes, 0.0 AS weight
            FROM places GROUP BY field
            UNION ALL
            SELECT field, 0, count(*), sum(class IN ('no', 'yes')), sum((class = 'yes') * weight),
                sum((class IN ('no', 'yes')) * weight)
            FROM tracks WHERE seen > 0 GROUP BY field
        ) GROUP BY field
    """,
    "totals_sums": """
        SELECT ifnull(sum(places > 0), 0) AS fields, ifnull(sum(tracks > 0), 0) AS counted,
            ifnull(sum(judged > 0), 0) AS judged, total(yes * yes) AS yy, total(yes * weight) AS ym,
            total(weight * weight) AS mm
        FROM {totals_fields}
    """,
}


def _one(of: str, name: str, n: str) -> str:
    """A statement of a trigger that adds to one total."""
    return (
        f"INSERT INTO totals SELECT {of}, {name}, {n} WHERE {name} IS NOT NULL AND {of} IS NOT NULL "
        f"ON CONFLICT (of, name) DO UPDATE SET n = n + excluded.n;\n"
    )


def _frame(row: str, n: int) -> str:
    return (
        _one("'frames'", f"{row}.state", str(n))
        + _one(f"{row}.state", f"{row}.reason", str(n))
        + _one(
            "'numbered'",
            f"(CASE WHEN {row}.sequence IS NOT NULL THEN CAST({row}.source_id AS TEXT) END)",
            str(n),
        )
    )


def _place(row: str, n: int) -> str:
    return (
        _one("'places'", "''", str(n))
        + _one("'uncounted'", f"{row}.uncounted", str(n))
        + f"INSERT INTO totals_fields (field) SELECT {row}.field "
        f"WHERE NOT EXISTS (SELECT 1 FROM totals_fields WHERE field = {row}.field);\n"
        f"UPDATE totals_fields SET places = places + {n} WHERE field = {row}.field;\n"
    )


def _track(row: str, n: int) -> str:
    judged = f"({row}.class IN ('no', 'yes'))"
    values = f"{row}.class, {row}.sure, {n}, {n} * {row}.weight"
    return (
        f"INSERT INTO totals_sizes SELECT {_size(row + '.')}, {values}, {n} * {row}.weight * {row}.weight "
        f"WHERE {row}.seen > 0 ON CONFLICT (size, class, sure) "
        "DO UPDATE SET n = n + excluded.n, weight = weight + excluded.weight, square = square + excluded.square;\n"
        f"INSERT INTO totals_calls SELECT {row}.field, {values} WHERE {row}.seen > 0 "
        "ON CONFLICT (field, class, sure) DO UPDATE SET n = n + excluded.n, weight = weight + excluded.weight;\n"
        f"INSERT INTO totals_fields (field) SELECT {row}.field "
        f"WHERE NOT EXISTS (SELECT 1 FROM totals_fields WHERE field = {row}.field);\n"
        f"UPDATE totals_fields SET tracks = tracks + {n}, judged = judged + {n} * {judged}, "
        f"yes = yes + {n} * ({row}.class = 'yes') * {row}.weight, weight = weight + {n} * {judged} * {row}.weight "
        f"WHERE field = {row}.field AND {row}.seen > 0;\n"
    )


def _trigger(name: str, when: str, *does: str) -> str:
    return f"CREATE TRIGGER totals_{name} AFTER {when}\nBEGIN\n{''.join(does)}END;\n"


_TRIGGERS = (
    _trigger("frame_comes", "INSERT ON frames", _frame("NEW", 1)),
    _trigger(
        "frame_changes",
        "UPDATE OF state, reason, sequence, source_id ON frames",
        _frame("OLD", -1),
        _frame("NEW", 1),
    ),
    _trigger("particle_comes", "INSERT ON particles", _one("'sightings'", "NEW.class", "1")),
    _trigger("particle_goes", "DELETE ON particles", _one("'sightings'", "OLD.class", "-1")),
    _trigger(
        "particle_changes",
        "UPDATE OF class ON particles",
        _one("'sightings'", "OLD.class", "-1"),
        _one("'sightings'", "NEW.class", "1"),
    ),
    _trigger("place_comes", "INSERT ON places", _place("NEW", 1)),
    _trigger("place_goes", "DELETE ON places", _place("OLD", -1)),
    _trigger("place_changes", "UPDATE ON places", _place("OLD", -1), _place("NEW", 1)),
    _trigger("track_comes", "INSERT ON tracks", _track("NEW", 1)),
    _trigger("track_goes", "DELETE ON tracks", _track("OLD", -1)),
    _trigger(
        "track_changes",
        "UPDATE ON tracks WHEN (OLD.field, OLD.class, OLD.sure, OLD.seen > 0, OLD.weight, OLD.diameter_nm) "
        "IS NOT (NEW.field, NEW.class, NEW.sure, NEW.seen > 0, NEW.weight, NEW.diameter_nm)",
        _track("OLD", -1),
        _track("NEW", 1),
    ),
    _trigger(
        "field_changes",
        "UPDATE ON totals_fields",
        """UPDATE totals_sums SET
            fields = fields + (NEW.places > 0) - (OLD.places > 0),
            counted = counted + (NEW.tracks > 0) - (OLD.tracks > 0),
            judged = judged + (NEW.judged > 0) - (OLD.judged > 0),
            yy = yy + NEW.yes * NEW.yes - OLD.yes * OLD.yes,
            ym = ym + NEW.yes * NEW.weight - OLD.yes * OLD.weight,
            mm = mm + NEW.weight * NEW.weight - OLD.weight * OLD.weight;
        """,
    ),
)

_INDICES = """
CREATE INDEX totals_fields_judged ON totals_fields (judged DESC, field);
CREATE INDEX IF NOT EXISTS results_latency ON results (latency_ms);
"""


@dataclass(frozen=True)
class Calls:
    """Tracks that count and are called the same, of one range of sizes or one field."""

    key: int
    """Index of the range, or number of the field."""
    particle_class: ParticleClass
    sure: bool
    n: int
    weight: float
    """The sum of their weights."""

    @property
    def called(self) -> int:
        """Their place in `monitor.statistics.confusion.CALLED`."""
        return called_category(self.particle_class, not self.sure)


def lay_down(db: sqlite3.Connection) -> None:
    """Make the sums of a record of today anew, in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for kind in ("trigger", "table"):
            named = "SELECT name FROM sqlite_master WHERE type = ? AND name LIKE 'totals%'"
            for (name,) in db.execute(named, (kind,)).fetchall():
                db.execute(f"DROP {kind} {name}")
        for statement in (*_TABLES.split(";\n"), *_INDICES.split(";\n")):
            db.execute(statement)
        for table, counted in _COUNTED.items():
            db.execute(f"INSERT INTO {table.split()[0]} {counted.format(totals_fields='totals_fields')}")
        for trigger in _TRIGGERS:
            db.execute(trigger)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def table(db: sqlite3.Connection, name: str) -> str:
    """What to read one of the tables from: itself, or where the record lacks it, what is counted now."""
    kept = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name.split()[0],))
    if kept.fetchone() is not None:
        return name.split()[0]
    return counted(name)


def counted(name: str) -> str:
    """One of the tables, counted when it is read."""
    return f"({_COUNTED[name].format(totals_fields='(' + _COUNTED['totals_fields'] + ')')})"


def of(db: sqlite3.Connection, *kinds: str) -> dict[str, int]:
    """Totals of some kinds by name, the largest first; none that are 0."""
    places = "totals of places" if kinds[0] in ("places", "uncounted") else "totals"
    marks = ", ".join("?" * len(kinds))
    return dict(
        db.execute(
            f"SELECT name, sum(n) AS n FROM {table(db, places)} WHERE of IN ({marks}) "
            "GROUP BY name HAVING sum(n) > 0 ORDER BY sum(n) DESC, name",
            kinds,
        )
    )


def sums(db: sqlite3.Connection) -> Sums:
    """The sums over all tracks that count."""
    found = Sums()
    for name, sure, n, weight, square in db.execute(
        f"SELECT class, sure, n, weight, square FROM {table(db, 'totals_sizes')} WHERE n > 0"
    ):
        called = called_category(name, not sure)
        found.classes[CLASSES.index(name)] += n
        found.called[called] += weight
        found.squares += square if called else 0.0
    judged, yy, ym, mm = db.execute(f"SELECT judged, yy, ym, mm FROM {table(db, 'totals_sums')}").fetchone()
    found.judged_fields, found.products = judged, (yy, ym, mm)
    return found


def tally(db: sqlite3.Connection) -> Tally:
    """The same sums, to go on with as tracks begin and change."""
    found = sums(db)
    rows = db.execute(f"SELECT field, yes, weight FROM {table(db, 'totals_fields')} WHERE judged > 0")
    return Tally(
        found.classes, found.called, found.squares, found.judged_fields, found.products,
        {field: (yes, weight) for field, yes, weight in rows},
    )  # fmt: skip


def calls_by_size(db: sqlite3.Connection) -> list[Calls]:
    """Tracks by range of sizes and call."""
    rows = db.execute(
        f"SELECT size, class, sure, n, weight FROM {table(db, 'totals_sizes')} WHERE n > 0 ORDER BY 1, 2, 3"
    )
    return [Calls(size, name, bool(sure), n, weight) for size, name, sure, n, weight in rows]


def calls_of_fields(db: sqlite3.Connection, fields: Sequence[int]) -> list[Calls]:
    """Tracks of some fields by field and call."""
    rows = db.execute(
        f"SELECT field, class, sure, n, weight FROM {table(db, 'totals_calls')} "
        f"WHERE n > 0 AND field IN ({', '.join('?' * len(fields))}) ORDER BY 1, 2, 3",
        list(fields),
    )
    return [Calls(field, name, bool(sure), n, weight) for field, name, sure, n, weight in rows]


def largest_fields(db: sqlite3.Connection, most: int) -> tuple[list[int], int]:
    """The fields with the most judged tracks, and how many hold a track at all."""
    rows = db.execute(
        f"SELECT field FROM {table(db, 'totals_fields')} WHERE tracks > 0 ORDER BY judged DESC, field LIMIT ?",
        (most,),
    ).fetchall()
    (number,) = db.execute(f"SELECT counted FROM {table(db, 'totals_sums')}").fetchone()
    return [field for (field,) in rows], int(number)
