"""Read a finished session with pandas: its record is a SQLite file.

python examples/read_session.py sessions/20260101-120000
docs/record.md describes every table. `faultwatch export SESSION --to F.parquet` gives the same without SQL.
"""

import argparse
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd

SIGHTINGS = """
    SELECT f.path, p.class, p.diameter_nm, p.abstained
    FROM particles p JOIN frames f ON f.id = p.frame_id
    ORDER BY ifnull(f.acquired, f.arrived), f.id, p.label
"""


def sightings_of(session: Path) -> pd.DataFrame:
    """One row a sighting of a particle, in order of acquisition. The record is opened for reading only."""
    record = (session / "session.sqlite").resolve()
    with closing(sqlite3.connect(f"{record.as_uri()}?mode=ro", uri=True)) as db:
        return pd.read_sql(SIGHTINGS, db)


def main() -> None:
    """Print sightings and median size of each class."""
    parser = argparse.ArgumentParser(description="Read a session's record.")
    parser.add_argument("session", type=Path)
    table = sightings_of(parser.parse_args().session)
    print(
        table.groupby("class")["diameter_nm"].agg(sightings="count", median_diameter_nm="median").to_string()
    )


if __name__ == "__main__":
    main()
