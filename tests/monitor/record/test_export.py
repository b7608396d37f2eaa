"""A session as a table: units in the names, types that do not depend on what is in it."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.features.measure import feature_names
from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import RecordReader, RecordWriter
from monitor.record.export import COLUMNS, FEATURE_UNITS, TRACK_COLUMNS, export, feature_column
from monitor.record.settling import RunningStatistics
from monitor.statistics.estimate_course import Estimator

Finished = Callable[..., FinishedFrame]

#: Columns without a unit, because what they hold has none.
NAMES = {"source", "path", "sender", "class", "bundle"}
NUMBERS = {"frame_id", "frame_index", "revision", "sequence", "particle", "track", "abstained"}
TRACK_NUMBERS = {
    "track", "field_first_frame", "map_first_frame", "frame_index", "first_frame", "last_frame",
    "counted_sightings", "sure", "whole", "weight",
}  # fmt: skip
SHARES = {"p_empty", "p_null", "p_no", "p_yes"}


@pytest.fixture
def session(record: RecordWriter, finished: Finished) -> Path:
    """Frame 1 with two particles whose features differ, frame 2 with none, frame 3 with one, frame 4 waiting."""
    for i in range(4):
        path = Path("/data", f'é粒子,"{i}".tif')
        record.take(1, FrameRef(path, 0, content=str(i), acquired=100.5 + i, sequence=None), at=200.25 + i)
    first = finished("yes", "no")
    particles = list(first.analysis.particles)
    particles[1] = replace(
        particles[1], abstained=True, features={"peak_first_k": 2.85, "sharpness": math.nan}
    )
    first = replace(first, analysis=replace(first.analysis, particles=tuple(particles)))
    for number, done in ((1, first), (2, finished()), (3, finished("null"))):
        record.finish(number, 0, done, lambda: 300.0)
    return record.folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_column_says_its_unit() -> None:
    units = re.compile(r"_(nm|nm2|px|unix_s)$")
    for name in COLUMNS:
        assert bool(units.search(name)) is (name not in NAMES | NUMBERS | SHARES), name
    for name in TRACK_COLUMNS:
        assert bool(units.search(name)) is (name not in NAMES | TRACK_NUMBERS | SHARES), name


def test_every_feature_with_a_unit_is_known_and_says_it() -> None:
    assert set(FEATURE_UNITS) <= set(feature_names())
    assert feature_column("peak_first_k") == "feature_peak_first_k_per_nm"
    assert feature_column("first_depth") == "feature_first_depth_layers"
    assert feature_column("sobel_mean") == "feature_sobel_mean"
    columns = [feature_column(name) for name in feature_names()]
    assert len({*columns, *COLUMNS}) == len(columns) + len(COLUMNS)


def test_a_row_a_particle_as_it_was_recorded(session: Path, tmp_path: Path) -> None:
    assert export(session, tmp_path / "t.csv") == 3
    rows = rows_of(tmp_path / "t.csv")
    assert [(row["frame_id"], row["particle"], row["class"]) for row in rows] == [
        ("1", "1", "yes"), ("1", "2", "no"), ("3", "1", "null"),
    ]  # fmt: skip
    first, second, third = rows
    assert list(first) == [*COLUMNS, "feature_sharpness", "feature_peak_first_k_per_nm"]
    assert first["path"] == '/data/é粒子,"0".tif'
    assert (first["source"], first["bundle"], first["frame_index"]) == ("somewhere", "test-bundle", "0")
    assert (first["acquired_unix_s"], first["arrived_unix_s"]) == ("100.5", "200.25")
    assert (first["pixel_size_nm"], first["frame_height_px"], first["frame_width_px"]) == (
        "0.05",
        "1000",
        "1000",
    )
    assert [first[f"p_{name}"] for name in ("empty", "null", "no", "yes")] == ["0.1", "0.2", "0.3", "0.4"]
    assert [first[f"bbox_{name}_px"] for name in ("row0", "column0", "row1", "column1")] == [
        "100",
        "100",
        "160",
        "160",
    ]
    assert (first["centroid_row_px"], first["diameter_nm"], first["area_nm2"]) == ("1.0", "3.0", "7.07")
    assert (first["sender"], first["sequence"]) == ("", "")
    assert [row["abstained"] for row in rows] == ["False", "True", "False"]
    assert (first["feature_sharpness"], first["feature_peak_first_k_per_nm"]) == ("0.5", "")
    assert (second["feature_sharpness"], second["feature_peak_first_k_per_nm"]) == ("", "2.85")
    assert third["feature_sharpness"] == "0.5"


def test_parquet_says_the_same_with_types(session: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert export(session, tmp_path / "t.parquet") == 3
    export(session, tmp_path / "t.csv")
    table = parquet.read_table(tmp_path / "t.parquet")
    kinds = {field.name: str(field.type) for field in table.schema}
    assert {kinds[name] for name in NAMES} == {"string"}
    assert {kinds[name] for name in NUMBERS - {"abstained"}} == {"int64"}
    assert kinds["abstained"] == "bool"
    assert {kinds[name] for name in (*SHARES, "acquired_unix_s", "diameter_nm", "feature_sharpness")} == {
        "double"
    }
    assert {kinds[name] for name in COLUMNS if name.startswith(("bbox_", "frame_"))} == {"int64"}

    def text(value: Any) -> str:
        return "" if value is None else str(value)

    assert [{name: text(value) for name, value in row.items()} for row in table.to_pylist()] == rows_of(
        tmp_path / "t.csv"
    )


def test_a_row_a_track(session: Path, record: RecordWriter, tmp_path: Path) -> None:
    RunningStatistics(record, Estimator({}), lambda: 0.0).settle(final=True)
    assert export(session, tmp_path / "t.csv", tracks=True) == 3
    first = rows_of(tmp_path / "t.csv")[0]
    assert (first["track"], first["class"], first["sure"], first["whole"]) == ("1", "yes", "False", "True")
    assert (first["path"], first["first_frame"], first["counted_sightings"]) == (
        '/data/é粒子,"0".tif',
        "1",
        "1",
    )
    # A frame of 50 nm: (50 / (50 + 3))², the share of its neighbourhood in which a particle of 3 nm would be in view.
    assert float(first["weight"]) == pytest.approx((50 / 53) ** 2)
    parquet = pytest.importorskip("pyarrow.parquet")
    export(session, tmp_path / "t.parquet", tracks=True)
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.schema.names == list(TRACK_COLUMNS)
    assert {str(table.schema.field(name).type) for name in ("sure", "whole")} == {"bool"}
    assert [str(row["track"]) for row in table.to_pylist()] == [
        row["track"] for row in rows_of(tmp_path / "t.csv")
    ]


def test_a_session_without_particles_is_a_table_without_rows(record: RecordWriter, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for suffix in ("csv", "parquet"):
        assert export(record.folder, tmp_path / f"t.{suffix}") == 0
    assert rows_of(tmp_path / "t.csv") == []
    table = parquet.read_table(tmp_path / "t.parquet")
    assert (table.column_names, table.num_rows) == (list(COLUMNS), 0)
    assert str(table.schema.field("path").type) == "string"


def test_a_table_is_of_one_moment(
    session: Path, finished: Finished, record: RecordWriter, tmp_path: Path
) -> None:
    """What comes while it is written is not half in it."""
    export(session, tmp_path / "before.csv")
    with RecordReader(session) as reader, reader.glance():
        before = list(reader.particles(["p.frame_id", "p.features"]))
        assert record.finish(4, 0, finished("yes"), lambda: 301.0) is not None
        assert list(reader.particles(["p.frame_id", "p.features"])) == before
    assert export(session, tmp_path / "after.csv") == len(before) + 1


def test_a_name_that_is_no_text_is_still_a_row(
    record: RecordWriter, finished: Finished, tmp_path: Path
) -> None:
    record.take(1, FrameRef(Path(os.fsdecode(b"/data/\xff.tif")), 0, content="x"), at=0.0)
    record.finish(1, 0, finished("yes"), lambda: 1.0)
    assert export(record.folder, tmp_path / "t.csv") == 1
    assert rows_of(tmp_path / "t.csv")[0]["path"] == "/data/?.tif"


def test_a_table_that_can_not_be_written_is_said_and_leaves_nothing(session: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"written as \.csv or \.parquet"):
        export(session, tmp_path / "t.xlsx")
    with pytest.raises(InputError, match=r"t\.csv can't be written: No such file"):
        export(session, tmp_path / "nowhere" / "t.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="can't be written"):
        export(session, tmp_path / "folder.csv")
    assert not list(tmp_path.glob("*.part"))
