"""The score of tracks, on a record and a truth that are written by hand."""

from __future__ import annotations

import json
import sqlite3
from importlib import resources
from pathlib import Path

import pytest

from sim.checks.tracks import identity, main, score


@pytest.fixture
def told(tmp_path: Path) -> tuple[Path, Path]:
    """Three frames of one field, drifting by 1 nm: two particles, one of which changes its track in the last frame."""
    session, truth = tmp_path / "s", tmp_path / "t"
    session.mkdir()
    truth.mkdir()
    schema = resources.files("monitor.record").joinpath("schema.sql").read_text(encoding="utf-8")
    tracks = [{"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 9}]
    lines = []
    with sqlite3.connect(session / "session.sqlite") as db:
        db.executescript(schema)
        db.execute(
            "INSERT INTO sources (kind, address, state, since) VALUES ('directory', '/d', 'closed', 0)"
        )
        db.execute("INSERT INTO bundles VALUES ('b', 'b', '{}')")
        for k in range(3):
            db.execute(
                "INSERT INTO frames (id, source_id, path, arrived, state) VALUES (?, 1, ?, 0, 'queued')",
                (k + 1, f"/d/frame_{k:05d}.mrc"),
            )
            db.execute(
                "INSERT INTO results (frame_id, bundle, backend, height, width, pixel_size_nm, quality, timings_ms, "
                "finished, committed, latency_ms) VALUES (?, 'b', 'cpu', 99, 99, 0.1, '{}', '{}', 0, 0, 0)",
                (k + 1,),
            )
            db.execute(
                "INSERT INTO places VALUES (?, 1, 1, ?, 0, NULL, 'correlation', NULL)", (k + 1, float(-k))
            )
            boxes = {"a": [10 + 10 * k, 10, 30 + 10 * k, 30], "b": [10 + 10 * k, 60, 30 + 10 * k, 80]}
            for label, (name, box) in enumerate(boxes.items(), 1):
                db.execute(
                    "INSERT INTO particles (frame_id, label, class, p_empty, p_null, p_no, p_yes, abstained, row0, "
                    "col0, row1, col1, centroid_row, centroid_col, diameter_nm, area_nm2, outline, features, track) "
                    "VALUES (?, ?, 'no', 0, 0, 1, 0, 0, ?, ?, ?, ?, 0, 0, 2, 3, '[]', '{}', ?)",
                    (k + 1, label, box[0] + 1, *box[1:], tracks[k][name]),
                )
            particles = [{"id": name, "bbox": box} for name, box in boxes.items()]
            lines.append(
                json.dumps({"frame": k, "field": 0, "offset_nm": [float(k), 0.0], "particles": particles})
            )
    db.close()
    (truth / "truth.jsonl").write_text("\n".join(lines))
    return session, truth


def test_a_track_that_changes_costs_its_sightings(told: tuple[Path, Path]) -> None:
    found = score(*told)
    assert (found.frames, found.sightings, found.particles, found.tracks) == (3, 6, 2, 3)
    assert found.identity_f1 == pytest.approx(5 / 6)
    assert found.unique_error == pytest.approx(0.5)
    assert (found.fields, found.true_fields) == (1, 1)
    assert found.place_error_nm == pytest.approx(0.0)


def test_a_frame_that_is_not_counted_is_left_out(told: tuple[Path, Path]) -> None:
    with sqlite3.connect(told[0] / "session.sqlite") as db:
        db.execute("UPDATE places SET uncounted = 'blurred' WHERE frame_id = 3")
    db.close()
    assert score(*told).identity_f1 == 1.0


def test_what_is_no_particle_is_left_out_and_what_has_no_track_is_missed() -> None:
    assert identity([("a", 1), ("a", 1), (None, 7)]) == (1.0, 1, 1)
    f1, tracks, particles = identity([("a", 1), ("a", None), ("b", 1)])
    assert (f1, tracks, particles) == (pytest.approx(2 * 1 / (3 + 2)), 1, 2)


def test_the_command(told: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(told[0]), str(told[1]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tracks"] == 3
    assert main([str(told[0]), str(told[1])]) == 0
    assert "3 tracks for 2 particles" in capsys.readouterr().out
    assert main([str(tmp_path / "nothing"), str(told[1])]) == 1
    assert "can't be compared" in capsys.readouterr().err
