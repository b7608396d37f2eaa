"""What is changed on the page while a session runs: a real session, its workers in this process."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from models.bundle import SHIPPED, describe
from models.training.derive import derive
from models.training.forest_file import new_forest, save_forest
from monitor.frames import FrameRef, content_hash
from monitor.record import RecordReader, RecordWriter
from monitor.record.changes import material_at
from monitor.record.commands import ask
from monitor.record.judging import Bench
from monitor.session import Session
from monitor.settings import WatchSettings
from monitor.sources.listed import ListSource
from monitor.workers.verify import verify
from monitor.workers.worker import Task

OLD, DETAILS = describe(SHIPPED)


class Here(Executor):
    """Runs a slot's tasks in this process, at once; `before` is called before each."""

    def __init__(self, before: Callable[[int], None]) -> None:
        self._before = before

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if args and isinstance(args[0], Task):
            self._before(args[0].frame_id)
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with another forest, to which everything is about as likely as all else."""
    folder = tmp_path_factory.mktemp("bundles")
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 1, (80, len(DETAILS["features"]))).astype(np.float32)
    save_forest(new_forest(3, 1).fit(rows, np.arange(80) % 4), folder)
    return derive(SHIPPED, folder / "other", forest=folder, provenance={})


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[FrameRef]:
    """Five frames of noise with a disc of lattice fringes, which the network takes for a particle."""
    folder = tmp_path_factory.mktemp("in")
    made = []
    y, x = np.mgrid[:256, :256] * 0.05
    inside = (y - 6.4) ** 2 + (x - 6.4) ** 2 < 2.2**2
    fringes = sum(np.cos(2 * np.pi * 2.85 * (y * np.cos(a) + x * np.sin(a))) for a in (0.2, 1.25, 2.3))
    for number in range(1, 6):
        rng = np.random.default_rng(number)
        image = rng.poisson(200 + inside * (30 * fringes - 30)).astype(np.uint16)
        path = folder / f"{number}.tif"
        tifffile.imwrite(path, image, description='{"pixel_size_nm": 0.05}', metadata=None)
        made.append(FrameRef(path, 0, content=str(number), acquired=1000.0 * number))
    return made


@pytest.fixture
def run(tmp_path: Path, frames: list[FrameRef]) -> Iterator[Callable[..., sqlite3.Connection]]:
    """Run a session in which commands are asked before a frame is analysed; each is (frame, name, arguments)."""
    dbs = []

    def runs(*asked: tuple[int, str, dict[str, Any]], **settings: Any) -> sqlite3.Connection:
        folder = tmp_path / f"session-{len(dbs)}"

        left = list(asked)

        def before(frame: int) -> None:
            for each in [each for each in left if each[0] == frame]:
                left.remove(each)  # a frame may be analysed again
                _, name, arguments = each
                ask(folder, name, {"observer": "Ada", **arguments}, time.time())

        with RecordWriter(folder) as record:
            session = Session(
                record, [ListSource(frames)], WatchSettings(workers=1, **settings),
                clock=time.time, steady=time.monotonic, threads=1, executor=lambda: Here(before),
            )  # fmt: skip
            session.run()
        dbs.append(sqlite3.connect(folder / "session.sqlite"))
        return dbs[-1]

    yield runs
    for db in dbs:
        db.close()


def test_a_promoted_forest_judges_from_the_next_frame_on_and_is_taken_back(
    run: Callable[..., sqlite3.Connection], other: Path
) -> None:
    new = describe(other)[0]
    whole = "SELECT frame_id, label, p_empty, p_null, p_no, p_yes FROM particles ORDER BY frame_id, label"
    promoted = run((4, "promote", {"bundle": str(other)}))
    assert promoted.execute("SELECT accepted FROM commands").fetchall() == [(1,)]
    assert promoted.execute("SELECT DISTINCT bundle FROM results").fetchall() == [(new,)]
    figures = "SELECT count(*), max(t_empty + t_null + t_no + t_yes) FROM statistics"
    # The same as if that bundle had judged from the beginning, down to the last figure.
    from_the_beginning = run(bundle=other)
    found = np.array(promoted.execute(whole).fetchall())
    assert len(found) >= 5
    np.testing.assert_allclose(found, from_the_beginning.execute(whole).fetchall(), atol=1e-5)
    assert promoted.execute(figures).fetchone() == from_the_beginning.execute(figures).fetchone()
    # And taken back, as if nothing had been.
    back = run((3, "promote", {"bundle": str(other)}), (5, "take back", {}))
    assert back.execute("SELECT accepted FROM commands").fetchall() == [(1,), (1,)]
    assert back.execute("SELECT DISTINCT bundle FROM results").fetchall() == [(OLD,)]
    np.testing.assert_allclose(back.execute(whole).fetchall(), run().execute(whole).fetchall(), atol=1e-5)


def test_settings_are_followed_from_the_next_frame_on(run: Callable[..., sqlite3.Connection]) -> None:
    db = run(
        (2, "setting", {"name": "abstain_below", "value": 1.0}),
        (4, "setting", {"name": "material", "value": "Au"}),
    )
    marked = db.execute("SELECT frame_id, min(abstained) FROM particles GROUP BY frame_id").fetchall()
    assert dict(marked)[5] == 1
    assert db.execute("SELECT value FROM meta WHERE key = 'material'").fetchone() == ("Au",)
    assert db.execute("SELECT value FROM meta WHERE key = 'first_material'").fetchone() == ("",)
    answers = [answer for (answer,) in db.execute("SELECT answer FROM commands ORDER BY id")]
    assert all("in force from the " in answer for answer in answers)


def test_verify_judges_every_frame_by_the_material_that_held(
    run: Callable[..., sqlite3.Connection], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a frame that was under way at the change: it is analysed again, and its result is the only one."""
    db = run((3, "setting", {"name": "material", "value": "Au"}), material="CdSe")
    (folder,) = {Path(path).parent for _, _, path in db.execute("PRAGMA database_list")}
    (change,) = json.loads(db.execute("SELECT value FROM meta WHERE key = 'changes'").fetchone()[0])
    since = {
        frame for (frame,) in db.execute("SELECT frame_id FROM results WHERE committed >= ?", (change["at"],))
    }
    assert {1, 2, 3, 4, 5} > since >= {4, 5}
    with RecordReader(folder) as reader:
        held = {number: reader.recorded(number).material for number in reader.analysed()}
    assert held == {number: "Au" if number in since else "CdSe" for number in range(1, 6)}
    for number, path in db.execute("SELECT id, path FROM frames").fetchall():  # which file it was
        db.execute("UPDATE frames SET content = ? WHERE id = ?", (content_hash(Path(path)), number))
    db.commit()
    assert verify(folder, device="cpu") == 0
    assert "5 agree, 0 differ" in capsys.readouterr().out
    # What the material decides differs between the two: by the last one alone, frames would not be the same.
    change_to_au = json.dumps([{**change, "at": 0.0}])
    db.execute("UPDATE meta SET value = ? WHERE key = 'changes'", (change_to_au,))
    db.commit()
    assert verify(folder, device="cpu") == 1


def test_a_session_that_is_begun_again_with_another_material_keeps_when(tmp_path: Path) -> None:
    with RecordWriter(tmp_path) as record:
        about = ("bundle", tmp_path, {})
        record.begin(Bench("CdSe"), *about, 10.0)
        record.begin(Bench("Au"), *about, 20.0)
        record.begin(Bench(None), *about, 30.0)  # goes on with what it was told last
        record.begin(Bench(None), *about, 40.0)
    with closing(sqlite3.connect(tmp_path / "session.sqlite")) as db:
        held = [material_at(db, at) for at in (15.0, 20.0, 35.0)]
        assert held == ["CdSe", "Au", "Au"]
        db.execute("DELETE FROM meta WHERE key IN ('changes', 'first_material')")  # as in an older record
        assert material_at(db, 15.0) == "Au"
