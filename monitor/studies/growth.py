"""Sessions of any length with real rows, to measure what a long one costs; `python -m dashboard.growth` measures.

The first block of frames goes through the session's own writer and tracking. Longer sessions are made of copies of
it, row by row, in the record's own schema with all its rules.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import SHIPPED
from models.results import CLASSES, Analysis, Particle
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.read.jsonable import jsonable
from monitor.record import DATABASE, RecordWriter
from monitor.record.settling import RunningStatistics
from monitor.statistics.estimate_course import Estimator

BLOCK = 1000
"""Frames that are written one by one before they are copied."""
PARTICLES = 10
"""In a frame."""
A_FIELD = 4
"""Frames of one field, in which the same particles are seen."""
SIDE, PIXEL_NM = 1024, 0.05
FEATURES = 60
PREVIEW_BYTES = 6000
_CORNERS = 24


Times = tuple[float, float]
"""On the clock, and of the processor [s]: on a busy machine the second tells more."""


def now() -> Times:
    """Where both stand."""
    return time.perf_counter(), time.process_time()


def since(began: Times) -> Times:
    """What went by on both."""
    clock, processor = now()
    return clock - began[0], processor - began[1]


def details() -> dict[str, Any]:
    """The manifest of the shipped bundle, by which fractions are estimated."""
    found = json.loads((SHIPPED / "bundle.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


class Frames:
    """Results as workers give them: fields of particles, each seen in several frames that drift a little."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._places = np.zeros((0, 2))

    def result(self, number: int) -> FinishedFrame:
        """Of the frame of this number."""
        if number % A_FIELD == 0 or not len(self._places):
            # On a jittered grid, so that no two are one.
            cells = self._rng.choice(16, PARTICLES, replace=False)
            self._places = np.stack([cells // 4, cells % 4], axis=1) * 240 + self._rng.uniform(
                60, 200, (PARTICLES, 2)
            )
            self._classes = self._rng.choice(4, PARTICLES, p=(0.1, 0.3, 0.42, 0.18))
            self._sizes = self._rng.uniform(25, 50, PARTICLES)
        else:
            self._places = self._places + self._rng.uniform(-4, 4, 2)
        particles = tuple(self._particle(i) for i in range(PARTICLES))
        quality: dict[str, float | bool | str] = {
            "contrast": 0.1,
            "mean_counts": 100.0,
            "unjudged_share": 0.0,
        }
        analysis = Analysis((SIDE, SIDE), PIXEL_NM, particles, quality, {"read": 1.0}, "grown", "onnx-int8")
        blob = self._rng.bytes(PREVIEW_BYTES)
        return FinishedFrame(
            analysis, finished=time.time(), preview=blob, pixels=blob[:16].hex(), signature=None
        )

    def _particle(self, i: int) -> Particle:
        row, column = (float(x) for x in self._places[i])
        radius, name = float(self._sizes[i]), CLASSES[self._classes[i]]
        p = self._rng.dirichlet(np.where(np.arange(4) == self._classes[i], 9.0, 1.0))
        angles = np.linspace(0, 2 * np.pi, _CORNERS + 1)
        outline = np.stack([row + radius * np.sin(angles), column + radius * np.cos(angles)], axis=1)
        features = {f"feature_{k:02d}": float(x) for k, x in enumerate(self._rng.normal(size=FEATURES))}
        box = (int(row - radius), int(column - radius), int(row + radius), int(column + radius))
        return Particle(
            label=i + 1,
            particle_class=name,
            probabilities=(float(p[0]), float(p[1]), float(p[2]), float(p[3])),
            abstained=bool(p.max() < 0.5),
            bbox=box,
            centroid=(row, column),
            diameter_nm=2 * radius * PIXEL_NM,
            area_nm2=float(np.pi * (radius * PIXEL_NM) ** 2),
            outline=tuple((float(r), float(c)) for r, c in outline),
            features=features,
        )


@dataclass
class Grown:
    """A session that is open for writing, and goes on."""

    record: RecordWriter
    running: RunningStatistics
    frames: Frames
    number: int
    """Frames in it."""
    opened: Times
    """Of going on with it after it was closed."""

    def one_more(self) -> tuple[Times, Times]:
        """Take in, commit and settle another frame; the times of its commits, and of settling it."""
        path, at = Path(f"/frames/{self.number:07d}.tif"), 1e9 + float(self.number)
        done = self.frames.result(self.number)
        began = now()
        taken = self.record.take(1, FrameRef(path, 0, content=f"{self.number:032x}", acquired=at), at)
        order = self.record.finish(taken.frame_id, 0, done, lambda: at + 1)
        committed = since(began)
        began = now()
        assert order is not None
        self.running.add(order)
        self.running.settle(final=True)
        self.number += 1
        return committed, since(began)


def grow(folder: Path, frames: int, seed: int = 1, block: Path | None = None) -> Grown:
    """A session of so many frames, a multiple of `BLOCK` or fewer, ready to go on.

    Parameters
    ----------
    block
        A session of `BLOCK` frames that is closed, to begin with a copy of it.
    """
    if frames > BLOCK and frames % BLOCK:
        raise ValueError(f"a long session is a multiple of {BLOCK} frames")
    if block is not None and frames >= BLOCK:
        shutil.copytree(block, folder)
    else:
        grown = _opened(folder, seed, 0)
        for _ in range(min(frames, BLOCK)):
            grown.one_more()
        grown.record.close()
    if frames > BLOCK:
        _lengthen(folder, frames // BLOCK)
    return _opened(folder, seed + 1, frames)


def _opened(folder: Path, seed: int, number: int) -> Grown:
    began = now()
    record = RecordWriter(folder)
    record.add_bundle("grown", SHIPPED, jsonable(details()))
    record.set_meta(bundle="grown", created="1e9")
    record.add_source("directory", "/frames", 0.0)
    running = RunningStatistics(record, Estimator(details()), time.monotonic)
    return Grown(record, running, Frames(seed), number, since(began))


def _lengthen(folder: Path, blocks: int) -> None:
    """Make a session of one block one of so many."""
    with contextlib.closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as db:
        # Nothing of it has to outlast a power cut while it is made, and every page is written once.
        for setting in (
            "journal_mode = OFF",
            "synchronous = OFF",
            "cache_size = -400000",
            "foreign_keys = ON",
        ):
            db.execute(f"PRAGMA {setting}")
        for number in range(1, blocks):
            _copy(db, number)


def _copy(db: sqlite3.Connection, number: int) -> None:
    """Append the first `BLOCK` frames with all that follows from them once more."""
    shift = {"f": number * BLOCK, "p": number * BLOCK * PARTICLES}
    moved = {
        "frames": {
            "id": "id + :f",
            "path": "'/frames/' || substr('0000000' || (id - 1 + :f), -7) || '.tif'",
            "content": "printf('%032x', id - 1 + :f)",
            "acquired": "acquired + :f",
            "arrived": "arrived + :f",
            "state": "'queued'",
        },
        "results": {"frame_id": "frame_id + :f", "pixels": "pixels || :f", "committed": "committed + :f"},
        "particles": {"id": "id + :p", "frame_id": "frame_id + :f", "track": "track + :p"},
        "places": {"frame_id": "frame_id + :f", "field": "field + :f", "map": "map + :f"},
        "tracks": {
            "id": "id + :p", "field": "field + :f", "map": "map + :f", "first_frame": "first_frame + :f",
            "last_frame": "last_frame + :f",
        },
        "statistics": {"frame_id": "frame_id + :f", "position": "position + :f", "at": "at + :f"},
    }  # fmt: skip
    # Running sums go on where the copy before ended.
    for name in ("n_empty", "n_null", "n_no", "n_yes", "t_empty", "t_null", "t_no", "t_yes"):
        moved["statistics"][name] = (
            f"{name} + {number} * (SELECT {name} FROM statistics WHERE position = {BLOCK})"
        )
    own = {"frames": "id", "results": "frame_id", "particles": "frame_id", "places": "frame_id",
           "tracks": "first_frame", "statistics": "position"}  # fmt: skip
    db.execute("BEGIN IMMEDIATE")
    for table, changes in moved.items():
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        values = ", ".join(changes.get(column, column) for column in columns)
        db.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} WHERE {own[table]} <= {BLOCK}",
            shift,
        )
    db.execute("COMMIT")


def in_turn(sessions: list[Grown], frames: int) -> Iterator[tuple[Grown, Times, Times]]:
    """Let sessions go on frame by frame, each in its turn, so that what else the machine does concerns all alike."""
    for _, grown in itertools.product(range(frames), sessions):
        yield grown, *grown.one_more()
