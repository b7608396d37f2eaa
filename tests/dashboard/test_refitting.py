"""Refits from the page: a real refit of a small forest, in processes of its own; shadow, promotion, cancelling."""

import itertools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dashboard.access import Role
from dashboard.page import SessionPage
from dashboard.refitting import Refits, refits_of
from dashboard.view import RecordView
from models.bundle import SHIPPED, describe
from models.examples.rows import Rows, rows_file, save_rows
from models.results import CLASSES, Analysis, Particle
from models.training.derive import derive
from models.training.forest_file import new_forest, save_forest
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import RecordWriter
from monitor.record.commands import ask
from monitor.record.settling import RunningStatistics
from monitor.record.shadow import shadow
from monitor.statistics.estimate_course import Estimator

NAMES = list(describe(SHIPPED)[1]["features"])
YES, NO = CLASSES.index("yes"), CLASSES.index("no")
_CLICKS = itertools.count()


def rows(count: int, seed: int) -> Rows:
    """Regions of which the first feature tells the class."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % len(CLASSES)
    features = rng.normal(0, 1, (count, len(NAMES))).astype(np.float32)
    features[:, 0] = 3 * classes + rng.normal(0, 0.5, count)
    specimen = np.array([f"s{seed}-{n // 8}" for n in range(count)])
    particle = np.array([f"{s}/{n}" for n, s in enumerate(specimen)])
    told = np.full(count, 300.0), np.full(count, "a"), np.full(count, 4.0), np.full(count, "train")
    return Rows(features, classes, particle, specimen, *told, np.ones(count, bool), NAMES)


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Path:
    """A bundle with a small forest that learnt from `rows`, with them beside it."""
    folder = tmp_path_factory.mktemp("parent")
    learn, check = rows(160, 1), rows(80, 2)
    forest = new_forest(20, 1).fit(learn.features, learn.classes)
    save_forest(forest, folder)
    figures = {"forest": {"trees": 20, "seed": 1, "regions": 160, "importance": {}}}
    derive(SHIPPED, folder / "old", forest=folder, provenance={}, figures=figures)
    save_rows(rows_file(folder / "old"), learn, check)
    return folder / "old"


@pytest.fixture(scope="module")
def made(parent, tmp_path_factory) -> tuple[Path, Refits]:
    """A recorded session in which all faults were called `no`, corrected by Ada; and its refit."""
    folder = tmp_path_factory.mktemp("sessions") / "monday"
    name, details = describe(parent)
    rng = np.random.default_rng(4)
    with RecordWriter(folder) as record:
        record.add_bundle(name, parent, details)
        record.set_meta(bundle=name)
        record.add_source("list", "list", 0.0)
        statistics = RunningStatistics(record, Estimator(details), time.monotonic)
        for number in range(1, 9):
            record.take(
                1, FrameRef(Path(f"/{number}"), 0, content=str(number), acquired=9.0 * number), at=1.0
            )
            statistics.add(record.finish(number, 0, _found(number, name, rng), lambda: 2.0))
        statistics.settle(final=True)
        for number in range(1, 9):
            for label in (1, 2, 3):
                told = {"frame": number, "label": label, "class": "yes", "observer": "Ada"}
                ask(folder, "correct", told, 3.0)
        statistics.carry_out(4.0)
    refits = refits_of(folder)
    assert refits.begin(parent) is None
    assert refits.begin(parent) == "a refit is under way"
    refits.wait(250)
    return folder, refits


def _found(number: int, bundle: str, rng: np.random.Generator) -> FinishedFrame:
    """Three faults that look like `no` in the first feature, and a `null`."""
    particles = []
    for label in range(1, 5):
        values = rng.normal(0, 1, len(NAMES))
        values[0] = 3 * NO if label < 4 else 3 * CLASSES.index("null")
        values[1] = 9.0 if label < 4 else 0.0
        particles.append(
            Particle(
                label, "no" if label < 4 else "null", (0.05, 0.1, 0.8, 0.05) if label < 4 else (0.05, 0.8, 0.1, 0.05),
                False, (150 * label, 100, 150 * label + 60, 160), (150.0 * label, 130.0), 3.0, 7.0,
                ((150.0 * label, 100.0), (150.0 * label, 160.0), (150.0 * label + 60, 130.0)),
                dict(zip(NAMES, values.tolist(), strict=True)),
            )
        )  # fmt: skip
    analysis = Analysis((800, 800), 0.05, tuple(particles), {"n": number}, {"read": 1.0}, bundle, "cpu")
    return FinishedFrame(analysis, finished=1.0, preview=None, pixels=str(number))


@pytest.fixture
def page(made):
    view = RecordView(made[0])
    page = SessionPage(view)
    click(page, ("tab", "refit"), ("observer", "Ada"))
    yield page
    view.close()


def click(page, *asked: tuple[str, str]) -> None:
    """As the page's script does it."""
    number = [next(_CLICKS) for _ in asked]
    what, value = (list(each) for each in zip(*asked, strict=True))
    page.asking.source.data = {"what": what, "value": value, "number": number}
    page.tick()


def text(page) -> str:
    return page.tabs["refit"].root.text


def test_a_refit_learns_and_is_compared_on_the_session_and_on_stored_rows(made, parent) -> None:
    folder, refits = made
    state = refits.state
    assert state.stage == "ready", state.what
    assert state.bundle == folder / "refits" / "1"
    assert rows_file(state.bundle).is_file()
    assert [path.name for path in sorted((folder / "refits").iterdir())] == ["1", "1.rows.npz"]
    assert describe(state.bundle)[1]["parent"] == describe(parent)[0]
    assert state.comparison["old"]["corrected"] == 0
    assert state.comparison["new"]["corrected"] >= 20
    tracks = np.array(state.shadow["tracks"])
    assert tracks[NO, YES] == tracks[NO].sum() > 0
    assert state.shadow["sightings"][NO][YES] == 24
    assert state.shadow == shadow(folder, state.bundle)


def test_nothing_in_the_record_changes_by_it(made, parent) -> None:
    with RecordView(made[0])._reading() as db:
        assert db.execute("SELECT DISTINCT bundle FROM results").fetchall() == [(describe(parent)[0],)]
        assert db.execute("SELECT count(*) FROM particles WHERE class = 'no'").fetchone() == (24,)


def test_the_tab_tells_the_differences(made, page) -> None:
    refits = made[1]
    assert f"in shadow: {refits.state.id}" in text(page)
    assert "24 corrections to learn from" in text(page)
    assert "24 of 32 sightings" in text(page)
    for words in ("macro-F1", "null called no or yes", "old ↓ new →", "before", "after, without labels"):
        assert words in text(page)


def test_where_no_session_runs_it_says_how_to_begin_one_with_it(made, page) -> None:
    click(page, ("refit-promote", ""))
    page.asking._pending[0].since -= 2
    deadline = time.monotonic() + 20
    while "to judge with this bundle" not in text(page):
        assert time.monotonic() < deadline
        page.tick()
        time.sleep(0.05)
    assert f"begin one with --bundle {made[1].state.bundle}" in text(page)


def test_a_refit_is_found_again_by_another_process(made) -> None:
    again = Refits(made[0])
    assert (again.state.stage, again.state.id) == ("ready", made[1].state.id)
    assert again.state.shadow is None
    again.look_again()
    again.wait(100)
    assert again.state.shadow == made[1].state.shadow


def test_a_refit_that_is_cancelled_leaves_nothing(made, parent, page) -> None:
    folder, refits = made
    before = refits.state
    assert refits.begin(parent) is None
    page.tick()
    assert 'data-ask="refit-cancel"' in text(page)
    assert "<progress" in text(page)
    click(page, ("refit-cancel", ""))
    refits.wait(60)
    assert refits.state.stage == "cancelled"
    page.tick()
    assert "▲ cancelled" in text(page)
    assert [path.name for path in sorted((folder / "refits").iterdir())] == ["1", "1.rows.npz"]
    refits.recall()
    assert refits.state == replace(before, shadow=None)


def test_a_refit_that_fails_says_why(made, tmp_path) -> None:
    refits = Refits(tmp_path)  # no session
    refits.begin(SHIPPED)
    refits.wait(100)
    assert refits.state.stage == "failed"
    assert "session" in refits.state.what


def test_without_the_training_extra_it_says_what_to_install(made, parent, monkeypatch) -> None:
    monkeypatch.setattr("dashboard.refitting.NEEDED", ("a_package_that_is_not_there",))
    assert "pip install 'faultwatch[training]'" in str(made[1].begin(parent))


def test_a_viewer_who_may_only_look_starts_nothing(made) -> None:
    view = RecordView(made[0])
    page = SessionPage(view, role=Role.VIEWER)
    click(page, ("tab", "refit"), ("refit-begin", ""))
    assert not made[1].state.running
    assert "this link is for looking only" in text(page)
    view.close()
