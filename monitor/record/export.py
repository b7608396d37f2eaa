"""A session as a table: a row a particle sighting, units in the column names."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monitor.errors import InputError
from monitor.record import RecordReader
from monitor.record.queries import from_json
from monitor.record.whole_file import whole_file

#: Column in the table and where it comes from: `p` is a sighting, `f` its frame, `r` the result, `s` the source.
#: Features follow, as `feature_<name>`, with their unit if they have one.
COLUMNS = {
    "frame_id": "p.frame_id",
    "source": "s.address",
    "path": "f.path",
    "frame_index": "f.item",
    "revision": "f.revision",
    "sender": "f.sender",
    "sequence": "f.sequence",
    "acquired_unix_s": "f.acquired",
    "arrived_unix_s": "f.arrived",
    "pixel_size_nm": "r.pixel_size_nm",
    "frame_height_px": "r.height",
    "frame_width_px": "r.width",
    "particle": "p.label",
    "track": "p.track",
    "class": "p.class",
    "p_empty": "p.p_empty",
    "p_null": "p.p_null",
    "p_no": "p.p_no",
    "p_yes": "p.p_yes",
    "abstained": "p.abstained",
    "centroid_row_px": "p.centroid_row",
    "centroid_column_px": "p.centroid_col",
    "bbox_row0_px": "p.row0",
    "bbox_column0_px": "p.col0",
    "bbox_row1_px": "p.row1",
    "bbox_column1_px": "p.col1",
    "diameter_nm": "p.diameter_nm",
    "area_nm2": "p.area_nm2",
    "bundle": "r.bundle",
}

#: The same of a row a track, `t`.
TRACK_COLUMNS = {
    "track": "t.id",
    "field_first_frame": "t.field",
    "map_first_frame": "t.map",
    "source": "s.address",
    "path": "f.path",
    "frame_index": "f.item",
    "first_frame": "t.first_frame",
    "last_frame": "t.last_frame",
    "first_seen_unix_s": "ifnull(f.acquired, f.arrived)",
    "counted_sightings": "t.seen",
    "class": "t.class",
    "p_empty": "t.p_empty",
    "p_null": "t.p_null",
    "p_no": "t.p_no",
    "p_yes": "t.p_yes",
    "sure": "t.sure",
    "diameter_nm": "t.diameter_nm",
    "whole": "t.whole",
    "weight": "t.weight",
    "map_row_nm": "t.row_nm",
    "map_column_nm": "t.col_nm",
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

#: Numbers as Python writes them into JSON and, the same, into CSV.
_ONLY_NUMBERS = re.compile(r"[-+.,0-9e]*").fullmatch

Row = tuple[list[Any], str]
"""The cells of one row, and its features as they stand in the record: JSON, empty where there are none."""


class _MoreFeatures(Exception):
    """A particle has a feature for which there is no column."""


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
    write = _write_csv if suffix == ".csv" else _write_parquet
    with RecordReader(session) as record, record.glance():
        if tracks:
            if not record.has_tracks:
                raise InputError(
                    f"{session}: an older version recorded it and followed no particles; "
                    "faultwatch replay records it anew, with tracks",
                    path=session,
                )
            with whole_file(to) as part:
                return write(part, list(TRACK_COLUMNS), [], _track_rows(record))
        with whole_file(to) as part:
            return _write_particles(record, part, write)


def feature_column(name: str) -> str:
    """What a feature's column is called."""
    return "_".join(("feature", name, *([FEATURE_UNITS[name]] if name in FEATURE_UNITS else [])))


def _write_particles(
    record: RecordReader, part: Path, write: Callable[[Path, list[str], list[str], Iterable[Row]], int]
) -> int:
    """In one pass where every particle has the features of the first, as one bundle gives them."""
    features = _feature_names(record, 1)
    while True:
        names = [*COLUMNS, *map(feature_column, features)]
        try:
            return write(part, names, features, _rows(record))
        except _MoreFeatures:
            features = _feature_names(record, None)


def _feature_names(record: RecordReader, most: int | None) -> list[str]:
    """Every feature that any of the first `most` particles has (None: of all), in order of appearance."""
    names: dict[str, None] = {}
    for (features,) in itertools.islice(record.particles(["p.features"]), most):
        names.update(dict.fromkeys(from_json(features)))
    return list(names)


def _rows(record: RecordReader) -> Iterator[Row]:
    columns = {**COLUMNS, **({} if record.has_tracks else {"track": "NULL"})}
    rows = record.particles([*columns.values(), "p.features"])
    return _plain(columns, (row for row in rows), sum(record.sightings().values()))


def _track_rows(record: RecordReader) -> Iterator[Row]:
    ((number,),) = record.rows("SELECT count(*) FROM tracks")
    return _plain(TRACK_COLUMNS, ((*row, "") for row in record.tracks(TRACK_COLUMNS.values())), number)


def _plain(columns: Mapping[str, str], rows: Iterable[tuple[Any, ...]], number: int) -> Iterator[Row]:
    """Rows with truths as such and names as text, told of on a progress bar."""
    names = list(columns)
    truths = [names.index(name) for name in _TRUTHS if name in names]
    texts = [names.index(name) for name in _TEXT if name in names]
    for *cells, features in tqdm(rows, total=number, unit="row", disable=None):
        for index in truths:
            cells[index] = bool(cells[index])
        for index in texts:
            if isinstance(cells[index], bytes):
                cells[index] = os.fsdecode(cells[index]).encode("utf-8", "replace").decode()
        yield cells, features


def _write_csv(to: Path, names: list[str], features: list[str], rows: Iterable[Row]) -> int:
    count = 0
    with to.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(names)
        line = csv.writer(_Text()).writerow
        for cells, text in rows:
            numbers = _numbers(text, features) if features else None
            if numbers is None:
                table.writerow(cells + _values(text, features))
            else:
                file.write(f"{line(cells)[:-2]},{numbers}\r\n")
            count += 1
    return count


class _Text:
    """A file that hands back what is written to it, to get a line of CSV as text."""

    def write(self, text: str) -> str:
        return text


def _numbers(text: str, features: list[str]) -> str | None:
    """Features as cells of CSV, by their text alone: most of the time would go to reading and writing numbers.

    None where they are not exactly the numbers of `features` as the session writes them, one after the other.
    """
    parts = text.split('"')
    if parts[1::2] != features:
        return None
    # ": 0.5, : -1.2, : null}"
    cells = "".join(parts[2::2])[2:-1].replace(", : ", ",").replace("null", "")
    return cells if _ONLY_NUMBERS(cells) else None


def _values(text: str, features: list[str]) -> list[Any]:
    if not features and not text:
        return []
    values = from_json(text)
    found = [values.pop(name, None) for name in features]
    if values:
        raise _MoreFeatures
    return found


def _write_parquet(to: Path, names: list[str], features: list[str], rows: Iterable[Row]) -> int:
    pyarrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    # By name, not by what happens to be in it: a column of which nothing is known keeps its type.
    kinds = dict.fromkeys(_TRUTHS, pyarrow.bool_())
    kinds |= dict.fromkeys(_TEXT, pyarrow.string()) | dict.fromkeys(_WHOLE, pyarrow.int64())
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.float64())) for name in names])
    count = 0
    cells = (row + _values(text, features) for row, text in rows)
    with parquet.ParquetWriter(to, schema) as file:
        while batch := list(itertools.islice(cells, _BATCH)):
            columns = [list(column) for column in zip(*batch, strict=True)]
            file.write_table(pyarrow.table(columns, schema=schema))
            count += len(batch)
    return count
