"""Everything that a report tells of a session, read from its record at one moment."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.record import RecordReader
from monitor.record.queries import from_json
from monitor.record.rows import AlarmRow
from monitor.record.strata import Strata, Stratum
from monitor.record.summary import summary_of

Floats = npt.NDArray[np.float64]
QUALITY = (
    "information_limit_per_nm", "sharpness_per_nm", "defocus_nm", "astigmatism_nm", "blur_nm", "noise_power",
    "mean_counts", "covered", "likeness",
)  # fmt: skip
"""Figures of frames that are drawn over the session."""


@dataclass(frozen=True, eq=False)
class Course:
    """A value for each settled frame, in order of acquisition; NaN where there is none."""

    frames: list[int]
    columns: dict[str, Floats]
    uncounted: list[str | None]

    def __getitem__(self, name: str) -> Floats:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, eq=False)
class Particles:
    """Every particle that counts, once; every sighting where an older version followed none."""

    ids: npt.NDArray[np.int64]
    classes: list[str]
    diameters_nm: Floats
    maps: npt.NDArray[np.int64]
    """0 where places are not known."""
    rows_nm: Floats
    cols_nm: Floats


@dataclass(frozen=True, eq=False)
class Facts:
    """One session as it stood at one moment."""

    folder: Path
    summary: dict[str, Any]
    """As `faultwatch summary --json` tells it."""
    meta: dict[str, str]
    version: int
    """Of the record's schema."""
    sizes: list[tuple[tuple[float, float], Stratum]]
    fields: list[Stratum]
    course: Course
    particles: Particles
    views: dict[int, list[tuple[float, float, float, float]]]
    """Top, left, height and width of the frames on each map [nm]."""
    alarms: list[AlarmRow]
    bundles: list[tuple[str, dict[str, Any], int]]
    """Each model with its manifest and the number of frames that it judged, the last one first."""
    kinds: list[tuple[str, tuple[int, int], float, int]]
    """Backend, shape, pixel size [nm] and number of the frames."""

    @property
    def running(self) -> bool:
        """A source is still watched: the session goes on, or was ended by force."""
        return any(source["state"] != "closed" for source in self.summary["sources"])

    @property
    def counts_tracks(self) -> bool:
        """Each physical particle is counted once."""
        return self.version >= 4


def read_facts(record: RecordReader) -> Facts:
    """Read a session at one moment.

    Raises
    ------
    sqlite3.DatabaseError
        What stands in a row is damaged.
    """
    with record.glance():
        strata = Strata(record)
        return Facts(
            folder=record.folder,
            summary=summary_of(record),
            meta=record.meta(),
            version=int(record.rows("PRAGMA user_version")[0][0]),
            sizes=strata.sizes(),
            fields=strata.fields(),
            course=_course(record),
            particles=_particles(record),
            views=_views(record),
            alarms=record.alarms(),
            bundles=_bundles(record),
            kinds=[
                (row[0], (row[1], row[2]), row[3], row[4])
                for row in record.rows(
                    "SELECT backend, height, width, pixel_size_nm, count(*) AS n FROM results "
                    "GROUP BY backend, height, width, pixel_size_nm ORDER BY n DESC LIMIT 12"
                )
            ],
        )


def _course(record: RecordReader) -> Course:
    figures = ["at", "counted", "corrected", "low", "high"]
    if record.has_tracks:
        figures += ["always_low", "always_high"]
        drift, places = "p.drift_nm, p.uncounted", "LEFT JOIN places p ON p.frame_id = s.frame_id"
    else:
        drift, places = "NULL, NULL", ""
    rows = record.rows(
        f"SELECT s.frame_id, r.quality, r.latency_ms, {drift}, {', '.join(f's.{name}' for name in figures)} "
        f"FROM statistics s JOIN results r ON r.frame_id = s.frame_id {places} ORDER BY s.position"
    )
    names = [*figures, "delay_s", "drift_nm", *QUALITY]
    table = np.full((len(rows), len(names)), np.nan)
    for line, row in zip(table, rows, strict=True):
        quality = from_json(row[1])
        quality = quality if isinstance(quality, dict) else {}
        delay = None if row[2] is None else row[2] / 1000
        values = (*tuple(row)[5:], delay, row[3], *(quality.get(name) for name in QUALITY))
        line[:] = [_number(value) for value in values]
    columns = {name: table[:, i] for i, name in enumerate(names)}
    for name in ("always_low", "always_high"):
        columns.setdefault(name, np.full(len(rows), np.nan))
    return Course([row[0] for row in rows], columns, [row[4] for row in rows])


def _number(value: Any) -> float:
    """NaN for what is no number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan


def _particles(record: RecordReader) -> Particles:
    rows: list[sqlite3.Row] = record.rows(
        "SELECT id, class, diameter_nm, map, row_nm, col_nm FROM tracks WHERE seen > 0 ORDER BY id"
        if record.has_tracks
        else "SELECT id, class, diameter_nm, 0, 0.0, 0.0 FROM particles ORDER BY id"
    )
    table = np.array([tuple(row)[2:] for row in rows], np.float64).reshape(-1, 4)
    return Particles(
        np.array([row[0] for row in rows], np.int64),
        [row[1] for row in rows],
        table[:, 0],
        table[:, 1].astype(np.int64),
        table[:, 2],
        table[:, 3],
    )


def _views(record: RecordReader) -> dict[int, list[tuple[float, float, float, float]]]:
    views: dict[int, list[tuple[float, float, float, float]]] = {}
    if not record.has_tracks:
        return views
    for number, *box in record.rows(
        "SELECT p.map, p.row_nm, p.col_nm, r.height * r.pixel_size_nm, r.width * r.pixel_size_nm FROM places p "
        "JOIN results r ON r.frame_id = p.frame_id WHERE p.how <> 'bridged' ORDER BY p.frame_id"
    ):
        views.setdefault(number, []).append((box[0], box[1], box[2], box[3]))
    return views


def _bundles(record: RecordReader) -> list[tuple[str, dict[str, Any], int]]:
    rows = record.rows(
        "SELECT b.id, b.details, (SELECT count(*) FROM results r WHERE r.bundle = b.id) FROM bundles b "
        "ORDER BY b.id = ? DESC, b.id",
        record.bundle(),
    )
    manifests = [(row[0], from_json(row[1]), row[2]) for row in rows]
    return [(name, told if isinstance(told, dict) else {}, n) for name, told, n in manifests]
