"""`faultwatch verify`: kept frames analysed again and compared with the record, by the shipped bundle itself."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from models.device.there import TORCH_CPU
from models.results import Analysis, Particle
from monitor.errors import InputError, NoSession
from monitor.frames import FrameRef, content_hash, pixels_hash
from monitor.outcomes import FinishedFrame
from monitor.record import DATABASE, Recorded, RecordReader, RecordWriter
from monitor.workers import verify as verifying
from monitor.workers.agreement import TOLERANCE, compare, match, overlap, tolerance_of
from monitor.workers.verify import verify
from monitor.workers.worker import Start, Task, run, start

FRAMES = 3


def picture(seed: int, side: int = 256, pixel_size_nm: float = 0.05) -> np.ndarray[Any, Any]:
    """Two round particles with hexagonal lattice fringes on a grey ground, with shot noise."""
    rows, cols = np.mgrid[:side, :side] * pixel_size_nm
    image = np.full((side, side), 100.0)
    for row, col, angle in ((4.0, 4.0, 0.3), (9.0, 8.5, 1.2)):
        waves = sum(
            np.cos(2 * np.pi * 2.85 * ((rows - row) * np.cos(turn) + (cols - col) * np.sin(turn)))
            for turn in (angle, angle + np.pi / 3, angle + 2 * np.pi / 3)
        )
        image += (np.hypot(rows - row, cols - col) < 2.0) * (12 * waves - 12)
    return np.random.default_rng(seed).poisson(image.clip(1)).astype(np.uint16)


def write(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    tifffile.imwrite(path, pixels, description='{"pixel_size_nm": 0.05}', metadata=None)


def take(record: RecordWriter, path: Path, **more: Any) -> int:
    figures = path.stat()
    known = {
        "content": content_hash(path),
        "file_size": figures.st_size,
        "file_mtime_ns": figures.st_mtime_ns,
    }
    return record.take(1, FrameRef(path, 0, **{**known, **more}), at=0.0).frame_id


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with frames and the session that analysed them, by the worker that a session starts."""
    folder = tmp_path_factory.mktemp("made")
    ready = start(Start(None, "cpu", 1))
    (folder / "s" / "spool").mkdir(parents=True)
    with RecordWriter(folder / "s") as record:
        record.add_source("directory", "in", 0.0)
        record.add_bundle(ready.bundle, ready.path, ready.details)
        record.set_meta(bundle=ready.bundle, material="")
        for i in range(FRAMES):
            path = folder / "s" / "spool" / f"{i}.tif"
            write(path, picture(i))
            number = take(record, path)
            outcome = run(Task(number, 0, record.frame(number).ref, None, None, None))
            assert isinstance(outcome, FinishedFrame)
            assert len(outcome.analysis.particles) == 2
            record.finish(number, 0, replace(outcome, finished=1.0), lambda: 1.0)
        bad = folder / "s" / "spool" / "bad.tif"
        bad.write_bytes(b"nothing")
        record.take(1, FrameRef(bad, None, content="x", rejected="no picture"), at=0.0)
    return folder / "s"


@pytest.fixture
def session(made: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "s"))


def verified(session: Path, **options: Any) -> tuple[int, dict[str, Any], str]:
    out, err = io.StringIO(), io.StringIO()
    status = verify(session, **{"device": "cpu", **options}, as_json=True, out=out, err=err)
    return status, json.loads(out.getvalue()), err.getvalue()


def change(session: Path, statement: str) -> None:
    db = sqlite3.connect(session / DATABASE)
    with db:
        db.execute(statement)
    db.close()


def state_of(session: Path) -> dict[str, str]:
    return {
        str(path.relative_to(session)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(session.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_a_session_agrees_with_itself_exactly_and_nothing_of_it_is_changed(session: Path) -> None:
    before = state_of(session)
    status, said, err = verified(session)
    assert (status, err) == (0, "")
    assert said["frames"] == {
        "analysed": 3, "compared": 3, "agree": 3, "differ": 0, "gone": 0, "changed": 0,
        "rejected": 1, "dropped": 0, "queued": 0,
    }  # fmt: skip
    assert (said["complete"], said["particles"], said["largest_difference"]) == (True, 6, 0.0)
    assert [(judged["frames"], judged["exactly"]) for judged in said["judged"]] == [(3, True)]
    assert state_of(session) == before


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE particles SET p_no = p_no + 1e-9 WHERE frame_id = 2 AND label = 1", "differ by 1e-09"),
        ("UPDATE particles SET class = 'yes' WHERE frame_id = 2 AND label = 1", "was yes and is no now"),
        ("UPDATE particles SET row1 = row1 + 1 WHERE frame_id = 2 AND label = 1", "row 80, column 80 covered ["),
        ("DELETE FROM particles WHERE frame_id = 2 AND label = 1", "was not recorded"),
        ("UPDATE particles SET row0 = 0, row1 = 9 WHERE frame_id = 2 AND label = 1", "is not found"),
        ("UPDATE results SET height = 200 WHERE frame_id = 2", "the frame had 200 × 256 px"),
    ],
)  # fmt: skip
def test_what_differs_is_told_with_its_frame(session: Path, statement: str, told: str) -> None:
    change(session, statement)
    status, said, err = verified(session)
    assert status == 1
    assert "1 of 3 frames that could be compared differ" in err
    assert said["frames"]["agree"] == 2
    (differing,) = said["not_agreeing"]
    assert (differing["frame_id"], differing["what"]) == (2, "differ")
    assert told in " ".join(differing["differences"])


def test_files_that_are_gone_or_written_again_are_no_differences(session: Path) -> None:
    (session / "spool" / "0.tif").unlink()
    write(session / "spool" / "1.tif", picture(99))
    os.utime(session / "spool" / "2.tif")  # touched: the bytes are the same
    status, said, _ = verified(session)
    assert status == 0
    assert [(frame["frame_id"], frame["what"]) for frame in said["not_agreeing"]] == [
        (1, "gone"),
        (2, "changed"),
    ]
    assert said["frames"]["agree"] == 1


def test_a_file_written_again_under_its_old_size_and_time_is_noticed_where_it_matters(session: Path) -> None:
    path = session / "spool" / "1.tif"
    figures = path.stat()
    write(path, picture(99))
    assert path.stat().st_size == figures.st_size
    os.utime(path, ns=(figures.st_atime_ns, figures.st_mtime_ns))
    status, said, _ = verified(session)
    assert (status, said["frames"]["changed"]) == (0, 1)


def test_a_stack_that_grew_keeps_its_frames(session: Path, tmp_path: Path) -> None:
    """Frames of a stack are known by their pixels, not by the file's bytes."""
    path = session / "spool" / "0.tif"
    content = pixels_hash(tifffile.imread(path))
    change(session, f"UPDATE frames SET content = '{content}' WHERE id = 1")
    note = '{"pixel_size_nm": 0.05}'
    tifffile.imwrite(
        path, np.stack([picture(0), picture(7)]), description=note, metadata=None, photometric="minisblack"
    )
    status, said, _ = verified(session)
    assert (status, said["frames"]["agree"]) == (0, 3)


def test_a_frame_that_can_not_be_analysed_any_more_differs(session: Path) -> None:
    change(session, "UPDATE results SET pixel_size_nm = 1e-4 WHERE frame_id = 3")
    status, said, _ = verified(session)
    assert status == 1
    assert "it can't be analysed now: " in said["not_agreeing"][0]["differences"][0]


def test_ctrl_c_tells_what_was_found_so_far(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def interrupted(task: Task) -> object:
        calls.append(task)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(task)

    monkeypatch.setattr(verifying, "run", interrupted)
    status, said, _ = verified(session)
    assert (status, said["complete"], said["frames"]["compared"]) == (130, False, 2)


def test_a_bundle_that_is_gone_is_said_with_the_way_out(session: Path) -> None:
    change(session, "INSERT INTO bundles VALUES ('lost-1', '/nowhere', '{}')")
    change(session, "UPDATE results SET bundle = 'lost-1' WHERE frame_id = 2")
    with pytest.raises(InputError, match=r"lost-1 that judged is no longer at /nowhere; give --bundle"):
        verify(session, device="cpu", out=io.StringIO())


def test_another_bundle_is_compared_within_the_tolerance(session: Path) -> None:
    with RecordReader(session) as reader:
        shipped = reader.bundle_path(str(reader.bundle()))
    change(session, "INSERT INTO bundles VALUES ('lost-1', '/nowhere', '{}')")
    change(session, "UPDATE results SET bundle = 'lost-1'")
    change(session, "UPDATE particles SET p_no = p_no + 0.01 WHERE frame_id = 1")
    status, said, _ = verified(session, bundle=shipped)
    assert status == 0
    assert said["judged"][0]["exactly"] is False
    assert said["largest_difference"] == pytest.approx(0.01)
    change(session, f"UPDATE particles SET p_no = p_no + {TOLERANCE} WHERE frame_id = 1")
    assert verified(session, bundle=shipped)[0] == 1


def test_a_device_is_compared_within_the_tolerance_with_itself_too(session: Path) -> None:
    status, said, err = verified(session, device=TORCH_CPU)
    assert (status, err) == (0, "")
    assert said["judged"][0]["now"]["backend"] == "torch-cpu"
    assert said["judged"][0]["exactly"] is False
    assert (said["particles"], 0 < said["largest_difference"] <= TOLERANCE) == (6, True)
    out = io.StringIO()
    assert verify(session, device=TORCH_CPU, out=out, err=io.StringIO()) == 0
    assert "then, " in out.getvalue()
    assert "on torch-cpu now, to be the same within 0.2 of a probability" in out.getvalue()
    same = ("shipped-1", "torch-cuda")
    assert tolerance_of(same, same) == TOLERANCE


def test_the_text_says_the_same(session: Path) -> None:
    (session / "spool" / "0.tif").unlink()
    change(session, "UPDATE particles SET class = 'yes' WHERE frame_id = 2 AND label = 1")
    out, err = io.StringIO(), io.StringIO()
    assert verify(session, device="cpu", out=out, err=err) == 1
    text = out.getvalue()
    assert "2 of 3 analysed frames: 1 agree, 1 differ" in text
    assert "1 gone, 0 changed since" in text
    assert "1 rejected, 0 dropped, 0 queued" in text
    assert "was yes and is no now" in text
    assert f"gone        {session / 'spool' / '0.tif'}" in text


def test_where_nothing_is_kept_that_is_said(session: Path) -> None:
    shutil.rmtree(session / "spool")
    out = io.StringIO()
    assert verify(session, device="cpu", out=out, err=io.StringIO()) == 0
    assert "nothing could be compared" in out.getvalue()


def test_no_session_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoSession, match="holds no session"):
        verify(tmp_path)


def particle(
    box: tuple[int, int, int, int], name: Any = "no", p: tuple[float, ...] = (0.0, 0.1, 0.5, 0.4)
) -> Particle:
    return Particle(1, name, p, False, box, (box[0], box[1]), 3.0, 7.0, ())  # type: ignore[arg-type]


def test_overlap_is_that_of_boxes() -> None:
    assert overlap((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert overlap((0, 0, 2, 2), (0, 1, 2, 3)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 2, 2), (0, 2, 2, 4)) == 0


def test_each_particle_is_matched_with_the_one_most_like_it() -> None:
    then = [particle((0, 0, 10, 10)), particle((0, 2, 10, 12)), particle((50, 50, 60, 60))]
    now = [particle((0, 2, 10, 12)), particle((90, 90, 95, 95)), particle((0, 0, 10, 10))]
    pairs, gone, new = match(then, now)
    assert [(a.bbox, b.bbox) for a, b in pairs] == [(p.bbox, p.bbox) for p in then[:2]]
    assert (gone, new) == ([then[2]], [now[1]])


def test_the_tolerance_decides_between_two_classes_that_are_close(session: Path) -> None:
    with RecordReader(session) as reader:
        recorded = reader.recorded(1)
    assert recorded is not None
    then = particle((0, 0, 9, 9))
    now = replace(then, particle_class="yes", probabilities=(0.0, 0.1, 0.4, 0.5))
    recorded = replace(recorded, particles=(then,))
    found = Analysis(recorded.shape, 0.05, (now,), {}, {}, recorded.bundle, "other")
    assert said(recorded, found, 0.2) == ()
    assert said(recorded, found, 0.05) == ("the particle at row 0, column 0 was no and is yes now",)
    assert len(said(recorded, found, 0.0)) == 1


def said(recorded: Recorded, found: Analysis, tolerance: float) -> tuple[str, ...]:
    return compare(recorded, found, tolerance).differences
