"""A session that was recorded, followed and settled as the real one is, of small frames that drift over one scene."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from models.results import CLASSES, Analysis, Particle, ParticleClass
from monitor.frames import FrameRef, pixels_hash
from monitor.outcomes import FinishedFrame
from monitor.record import RecordWriter
from monitor.record.settling import RunningStatistics
from monitor.statistics.alarm_kinds import Alarm
from monitor.statistics.estimate_course import Estimator
from monitor.tracking.signature import signature, to_png
from monitor.workers.worker import preview

PIXEL_NM, SIDE, FRAMES, STEP = 0.05, 300, 6, 12
BUNDLE = "cdse-test-1"
DETAILS: dict[str, Any] = {
    "abstain_below": 0.6,
    "rates": {"sensitivity": [144, 181], "specificity": [98, 123]},
    "metrics": {"held_out": {"macro_f1": 0.7885, "regions": 1430}},
    "licence": "GPL-3.0-or-later",
    "confusion": {
        "true": ["empty", "null", "no", "yes"],
        "called": ["empty", "null", "no sure", "no doubtful", "yes sure", "yes doubtful"],
        "counts": [[0] * 6, [9, 270, 1, 2, 5, 4], [0, 28, 62, 24, 5, 15], [1, 28, 18, 11, 102, 23]],
        "by": "particle",
        "sure_from": 0.6,
        "strata": [],
    },
}
#: Class, row and column in the scene, and radius [px].
SCENE: tuple[tuple[ParticleClass, int, int, int], ...] = (
    ("yes", 70, 90, 34), ("no", 190, 80, 40), ("null", 110, 200, 30), ("no", 240, 220, 28), ("yes", 180, 250, 24),
)  # fmt: skip


def scene() -> np.ndarray:
    """The whole scene in counts, with fringes where the particles are."""
    rng = np.random.default_rng(5)
    rows, cols = np.mgrid[: SIDE + 100, : SIDE + 100]
    image = rng.poisson(400, rows.shape).astype(float)
    for n, (_, row, col, radius) in enumerate(SCENE):
        inside = (rows - row) ** 2 + (cols - col) ** 2 < radius**2
        image += inside * (120 * np.cos(0.9 * (rows * np.cos(n) + cols * np.sin(n))) - 60)
    return image.clip(0).astype(np.uint16)


def analysed(pixels: np.ndarray, shift: int, quality: dict[str, Any]) -> FinishedFrame:
    """What a worker would say of a frame that begins `shift` rows and columns into the scene."""
    particles = []
    for name, row, col, radius in SCENE:
        r, c = row - shift, col - shift
        p = [0.03] * 4
        p[CLASSES.index(name)] = 0.91
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        outline = zip(r + radius * np.sin(turn), c + radius * np.cos(turn), strict=True)
        features = {
            "first_perfect_h": 0.2, "first_perfect_c": 0.81, "first_faulted": 0.9 if name == "yes" else 0.1,
            "first_significance": 33.0 if name == "yes" else 1.0, "first_row_power": 3.0, "stack_place": 7.0,
        }  # fmt: skip
        diameter = 2 * radius * PIXEL_NM
        bbox = (max(0, r - radius), max(0, c - radius), min(SIDE, r + radius), min(SIDE, c + radius))
        particles.append(
            Particle(
                len(particles) + 1, name, (p[0], p[1], p[2], p[3]), False, bbox, (r, c), diameter,
                np.pi / 4 * diameter**2, tuple(outline), features,
            )
        )  # fmt: skip
    figures = {
        "noise_power": 400.0, "mean_counts": 400.0, "covered": 0.2, "sharpness_per_nm": 4.0 + shift / 100,
        "verdict": "ok", **quality,
    }  # fmt: skip
    return FinishedFrame(
        Analysis((SIDE, SIDE), PIXEL_NM, tuple(particles), figures, {"read": 1.0}, BUNDLE, "onnx-int8"),
        finished=2.0,
        preview=preview(pixels),
        pixels=pixels_hash(pixels),
        signature=to_png(signature(pixels, PIXEL_NM)),
    )


Record = Callable[..., Path]


@pytest.fixture
def recorded(tmp_path: Path) -> Record:
    """Records such a session; the fourth frame is overexposed, and one file is no picture."""

    def make(name: str = "night", *, frames: Path | None = None, details: dict[str, Any] = DETAILS) -> Path:
        frames = frames or tmp_path / "frames"
        frames.mkdir(exist_ok=True)
        with RecordWriter(tmp_path / name) as record:
            record.set_meta(material="CdSe", command="faultwatch watch frames", bundle=BUNDLE)
            record.set_meta(created=1_795_000_000.0, settings='{"keep": "all", "pixel_size": null}')
            record.add_bundle(BUNDLE, tmp_path, details)
            record.add_source("directory", str(frames), 0.0)
            image = scene()
            for i in range(FRAMES):
                shift = STEP * i
                pixels = image[shift : shift + SIDE, shift : shift + SIDE]
                path = frames / f"{i}.tif"
                tifffile.imwrite(path, pixels)
                at = 1_795_000_000.0 + 30 * i
                ref = FrameRef(path, 0, content=str(i), acquired=at, file_size=path.stat().st_size)
                record.take(1, ref, at=at + 1)
                quality = {"verdict": "saturated", "saturated_share": 0.4} if i == 3 else {}
                record.finish(i + 1, 0, analysed(pixels, shift, quality), lambda at=at: at + 3)
            record.take(
                1, FrameRef(frames / "notes.txt", None, content="x", rejected="it is no picture"), at=2e9
            )
            RunningStatistics(record, Estimator(details), lambda: 0.0).settle(final=True)
            record.write_alarms([Alarm("gap in numbers", 2, 1_795_000_030.0, 3, 2, "Two frames never came.")])
            record.set_source(1, state="closed", message=None, duplicates=1, ignored=2, at=1_795_000_200.0)
        return tmp_path / name

    return make


@pytest.fixture
def label_all() -> Callable[[Path], int]:
    """Two observers label every track; they differ on one. Gives the number of tracks."""

    def label(session: Path) -> int:
        with closing(sqlite3.connect(session / "session.sqlite", isolation_level=None)) as db:
            tracks = db.execute("SELECT id, class FROM tracks WHERE seen > 0 ORDER BY id").fetchall()
            for number, name in tracks:
                for observer, other in (("ada", "yes"), ("bo", "no")):
                    told = other if number == tracks[0][0] else name
                    db.execute(
                        "INSERT INTO labels (particle, drawn, inclusion, observer, class, at) "
                        "VALUES (?, 0, 1, ?, ?, 1)",
                        (number, observer, told),
                    )
        return len(tracks)

    return label


@pytest.fixture
def long_session(tmp_path: Path) -> Callable[[int], Path]:
    """A session of many frames, five a field, eight tracks a frame; its rows are written as they are."""
    rng = np.random.default_rng(2)
    classes = ("yes", "no", "null", "no", "yes", "no", "no", "null")

    def frame(f: int) -> dict[str, list[tuple[Any, ...]]]:
        field, name = 5 * ((f - 1) // 5) + 1, f"/none/{f}.tif"
        quality = json.dumps({"noise_power": rng.random(), "sharpness_per_nm": rng.random()})
        outline = "[[1, 1], [9, 1], [9, 9]]"
        rows: dict[str, list[tuple[Any, ...]]] = {
            "frames": [(f, 1, name, 0, 0, None, None, None, None, None, f, f, None, "{}", "analysed", None)],
            "results": [
                (f, "b", "cpu", 999, 999, 0.05, quality, "{}", 0, 0, 9 * rng.random(), None, None, None)
            ],
            "places": [(f, field, field, f % 5, 0, 1, "correlation", None)],
            "statistics": [(f, f, f, 0, 1, 2, 1, *rng.random(4), 0, 1, 2, 1, 3, 0, 1, 0, None, None)],
            "particles": [],
            "tracks": [],
        }
        for k, called in enumerate(classes):
            n = (f - 1) * len(classes) + k + 1
            p = (0.1, 0.2, 0.3, 0.4)
            box = (0, 0, 60, 60, 30, 30, 3, 7)
            rows["particles"].append((n, f, k + 1, called, *p, 0, *box, outline, "{}", n))
            at = (2 + 4 * rng.random(), 1, 0.8, *(50 * rng.random(2)))
            rows["tracks"].append((n, field, field, called, *p, 1, 1, f, f, *at))
        return rows

    def make(frames: int) -> Path:
        folder = tmp_path / "long"
        folder.mkdir()
        schema = resources.files("monitor.record").joinpath("schema.sql").read_text(encoding="utf-8")
        with closing(sqlite3.connect(folder / "session.sqlite", isolation_level=None)) as db:
            db.executescript(f"BEGIN; {schema}; PRAGMA user_version = 4; COMMIT; BEGIN")
            db.execute("INSERT INTO bundles VALUES ('b', 'p', ?)", (json.dumps(DETAILS),))
            db.execute("INSERT INTO meta VALUES ('bundle', 'b')")
            db.execute(
                "INSERT INTO sources (id, kind, address, state, since) VALUES (1, 'directory', 'd', 'closed', 0)"
            )
            for f in range(1, frames + 1):
                for table, rows in frame(f).items():
                    db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
            db.execute("COMMIT")
        return folder

    return make
