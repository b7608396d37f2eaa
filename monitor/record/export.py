"""A session as a table: a row a particle sighting, units in the column names."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import itertools
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monitor.errors import InputError
from monitor.record import RecordReader
from monitor.record.whole_file import whole_file

#: Column in the table and where it comes from; features follow, as `feature_<name>`, with their unit if they
#: have one.
COLUMNS = {
    "frame_id": "frame_id",
    "source": "address",
    "path": "path",
    "frame_index": "item",
    "revision": "revision",
    "sender": "sender",
    "sequence": "sequence",
    "acquired_unix_s": "acquired",
    "arrived_unix_s": "arrived",
    "pixel_size_nm": "pixel_size_nm",
    "frame_height_px": "height",
    "frame_width_px": "width",
    "particle": "label",
    "track": "track",
    "class": "class",
    "p_empty": "p_empty",
    "p_null": "p_null",
    "p_no": "p_no",
    "p_yes": "p_yes",
    "abstained": "abstained",
    "centroid_row_px": "centroid_row",
    "centroid_column_px": "centroid_col",
    "bbox_row0_px": "row0",
    "bbox_column0_px": "col0",
    "bbox_row1_px": "row1",
    "bbox_column1_px": "col1",
    "diameter_nm": "diameter_nm",
    "area_nm2": "area_nm2",
    "bundle": "bundle",
}

#: The same of a row a track.
TRACK_COLUMNS = {
    "track": "id",
    "field_first_frame": "field",
    "map_first_frame": "map",
    "source": "address",
    "path": "path",
    "frame_index": "item",
    "first_frame": "first_frame",
    "last_frame": "last_frame",
    "first_seen_unix_s": "first_at",
    "counted_sightings": "seen",
    "class": "class",
    "p_empty": "p_empty",
    "p_null": "p_null",
    "p_no": "p_no",
    "p_yes": "p_yes",
    "sure": "sure",
    "diameter_nm": "diameter_nm",
    "whole": "whole",
    "weight": "weight",
    "map_row_nm": "row_nm",
    "map_column_nm": "col_nm",
}

#: Units of features; the others are numbers without one (logarithms of ratios, shares, correlations).
FEATURE_UNITS = {"peak_first_k": "per_nm", "first_depth": "layers", "second_depth": "layers"}

_TEXT = ("source", "path", "sender", "class", "bundle")
_WHOLE = (
    "track", "field_first_frame", "map_first_frame", "first_frame", "last_frame", "counted_sightings",
    "frame_id", "frame_index", "revision", "sequence", "frame_height_px", "frame_width_px", "particle",
    "bbox_row0_px", "bbox_column0_px", "bbox_row1_px", "bbox_column1_px",
)  # fmt: skip

_TRUTHS = ("abstained", "sure", "whole")

#: Rows that are written to Parquet at a time.
_BATCH = 10_000


def export(session: Path, to: Path, tracks: bool = False) -> int:
    """Write a session's particles to `.csv` or `.parquet`; returns how many rows there are.

    Parameters
    ----------
    tracks
        A row a track instead of a row a sighting.

    Raises
    ------
    InputError
        There is no session, the name ends in neither, it can't be written, or tracks are asked for where an older
        version recorded none.
    """
    suffix = to.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise InputError(f"{to}: a table is written as .csv or .parquet, label images as .zip", path=to)
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            f"{to}: .parquet needs pyarrow, which is not installed; pip install pyarrow (the extra `parquet`)",
            path=to,
        )
    with RecordReader(session) as record, record.glance():
        if tracks and not record.has_tracks:
            raise InputError(
                f"{session}: an older version recorded it and followed no particles; "
                "faultwatch replay records it anew, with tracks",
                path=session,
            )
        features = [] if tracks else _feature_names(record)
        names = [*TRACK_COLUMNS] if tracks else [*COLUMNS, *map(feature_column, features)]
        rows = _track_rows(record) if tracks else _rows(record, features)
        with whole_file(to) as part:
            return _write_csv(part, names, rows) if suffix == ".csv" else _write_parquet(part, names, rows)


def feature_column(name: str) -> str:
    """What a feature's column is called."""
    return "_".join(("feature", name, *([FEATURE_UNITS[name]] if name in FEATURE_UNITS else [])))


def _feature_names(record: RecordReader) -> list[str]:
    """Every feature that any particle has, in order of appearance."""
    names: dict[str, None] = {}
    for particle in record.particles():
        names.update(dict.fromkeys(json.loads(particle["features"])))
    return list(names)


def _rows(record: RecordReader, features: list[str]) -> Iterator[list[Any]]:
    for particle in record.particles():
        values = json.loads(particle["features"])
        row = [_value(particle, column) for column in COLUMNS.values()]
        yield row + [values.get(name) for name in features]


def _track_rows(record: RecordReader) -> Iterator[list[Any]]:
    for track in record.tracks():
        yield [_value(track, column) for column in TRACK_COLUMNS.values()]


def _value(particle: sqlite3.Row, column: str) -> Any:
    value = particle[column] if column in particle.keys() else None  # noqa: SIM118, it is no dict
    if column in _TRUTHS:
        return bool(value)
    return os.fsdecode(value).encode("utf-8", "replace").decode() if isinstance(value, bytes) else value


def _write_csv(to: Path, names: list[str], rows: Iterator[list[Any]]) -> int:
    with to.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(names)
        count = 0
        for row in rows:
            table.writerow(row)
            count += 1
    return count


def _write_parquet(to: Path, names: list[str], rows: Iterator[list[Any]]) -> int:
    pyarrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    # By name, not by what happens to be in it: a column of which nothing is known keeps its type.
    kinds = dict.fromkeys(_TRUTHS, pyarrow.bool_())
    kinds |= dict.fromkeys(_TEXT, pyarrow.string()) | dict.fromkeys(_WHOLE, pyarrow.int64())
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.float64())) for name in names])
    count = 0
    with parquet.ParquetWriter(to, schema) as file:
        while batch := list(itertools.islice(rows, _BATCH)):
            columns = [list(column) for column in zip(*batch, strict=True)]
            file.write_table(pyarrow.table(columns, schema=schema))
            count += len(batch)
    return count
