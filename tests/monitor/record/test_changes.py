"""Settings that are changed in the middle of a session, and who judges."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle import SHIPPED, describe
from models.forest import as_rows, onnx_forest
from models.results import CLASSES
from models.training.derive import derive
from models.training.forest_file import new_forest, save_forest
from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import RecordWriter
from monitor.record.answering import answer
from monitor.record.changes import SETTING, read_changes
from monitor.record.commands import ask
from monitor.record.judging import PROMOTE, TAKE_BACK, Bench, Judge
from monitor.record.labels import labelled, to_label
from monitor.record.settling import RunningStatistics
from monitor.statistics.estimate_course import Estimator

Finished = Callable[..., FinishedFrame]
Told = Callable[..., tuple[bool, str]]
OLD, DETAILS = describe(SHIPPED)
NAMES = list(DETAILS["features"])
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with another forest, to which `yes` is what has a large first feature, and all else is `no`."""
    folder = tmp_path_factory.mktemp("bundles")
    features = np.random.default_rng(3).normal(0, 1, (200, len(NAMES))).astype(np.float32)
    features[:, 0] = np.arange(200) % 2 * 20 - 10
    classes = np.where(features[:, 0] > 0, CLASSES.index("yes"), CLASSES.index("no"))
    features = np.vstack([features, features[:2] + 1e4])
    save_forest(new_forest(5, 1).fit(features, np.append(classes, [0, 1])), folder)
    return derive(SHIPPED, folder / "other", forest=folder, provenance={})


@pytest.fixture
def record(tmp_path: Path) -> RecordWriter:
    with RecordWriter(tmp_path / "session") as writer:
        writer.add_bundle(OLD, SHIPPED, DETAILS)
        writer.set_meta(bundle=OLD)
        writer.add_source("directory", "somewhere", 0.0)
        yield writer


@pytest.fixture
def statistics(record: RecordWriter) -> RunningStatistics:
    return RunningStatistics(record, Estimator(DETAILS), lambda: 0.0)


@pytest.fixture
def take(record: RecordWriter, statistics: RunningStatistics, finished: Finished) -> Callable[..., None]:
    """Have a frame of four particles settled, whose first features are -9, 9, -9, 9."""

    def taken(number: int, *, bench: Bench | None = None, **quality: Any) -> None:
        made = finished("no", "no", "yes", "null")
        particles = tuple(
            replace(p, features=dict.fromkeys(NAMES, 0.0) | {NAMES[0]: 9.0 * (-1) ** p.label})
            for p in made.analysis.particles
        )
        analysis = replace(made.analysis, particles=particles, bundle=OLD, quality=quality)
        done = replace(made, analysis=analysis, pixels=str(number))
        record.take(1, FrameRef(Path(f"/{number}"), 0, content=str(number), acquired=float(number)), at=1.0)
        order = record.finish(number, 0, done if bench is None else bench.settled(done), lambda: 40.0)
        assert order is not None
        statistics.add(order)
        statistics.settle(final=True)

    return taken


@pytest.fixture
def told(record: RecordWriter, statistics: RunningStatistics) -> Told:
    """Ask for something and tell the session's answer."""
    times = iter(range(10, 1000))

    def tell(name: str, /, **arguments: Any) -> tuple[bool, str]:
        number = ask(record.folder, name, {"observer": "Ada", **arguments}, 5.0)
        statistics.carry_out(float(next(times)))
        row = record._db.execute("SELECT accepted, answer FROM commands WHERE id = ?", (number,)).fetchone()
        return bool(row[0]), row[1]

    return tell


def query(record: RecordWriter, text: str) -> list[tuple[Any, ...]]:
    return record._db.execute(text).fetchall()


# -- settings ------------------------------------------------------------------------------------------------


def test_the_quality_gate_changes_from_a_frame_on(
    record: RecordWriter, statistics: RunningStatistics, take: Callable[..., None], told: Told
) -> None:
    poor = {"verdict": "ok", "noise_power": 0.001, "mean_counts": 1.0, "signal": 0.5}
    blank = "SELECT frame_id, uncounted IS NOT NULL FROM places ORDER BY frame_id"
    for number in range(1, 6):
        take(number, verdict="ok", noise_power=100.0, mean_counts=100.0, signal=0.5, sharpness=1.0)
    take(6, **poor)
    before = query(record, blank)
    done, said = told(SETTING, name="not_counted", value=[])
    assert done
    assert said == "in force from the frame after frame 6 on"
    assert before[-1] == (6, 1)
    take(7, **poor)
    assert query(record, blank) == [*before, (7, 0)]
    # Settled again from the beginning, every frame meets the gate that held when it came.
    statistics.remove((0.5, 0))
    statistics.settle(final=True)
    assert query(record, blank) == [*before, (7, 0)]


def test_a_change_is_kept_with_name_and_time(
    record: RecordWriter, take: Callable[..., None], told: Told
) -> None:
    take(1)
    told(SETTING, name="goal", value=0.1)
    told(SETTING, name="material", value="Au")
    goal, material = read_changes(record._db)
    assert (goal.at, goal.observer, goal.name, goal.value, goal.after) == (10.0, "Ada", "goal", 0.1, (1.0, 1))
    assert (material.name, material.value) == ("material", "Au")
    assert record.meta("material") == "Au"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("abstain_below", 0.2, "from 0.25 to 1"),
        ("abstain_below", "high", "from 0.25 to 1"),
        ("goal", None, "half width"),
        ("not_counted", ["frozen frame"], "the quality gate knows beam lost"),
        ("material", "Unobtainium", "no material Unobtainium is known"),
        ("port", 1, "Input should be"),
    ],
)
def test_a_setting_that_can_not_be_is_refused_before_it_is_asked(
    record: RecordWriter, name: str, value: object, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        ask(record.folder, SETTING, {"name": name, "value": value, "observer": "Ada"}, 1.0)


def test_the_threshold_marks_what_comes_and_a_session_that_is_begun_again_goes_on_with_it(
    record: RecordWriter, take: Callable[..., None], told: Told
) -> None:
    bench = Bench("CdSe")
    record.begin(bench, OLD, SHIPPED, DETAILS, 1.0)
    take(1, bench=bench)
    told(SETTING, name="abstain_below", value=0.9)
    told(SETTING, name="material", value="Au")
    record.follow(bench)
    take(2, bench=bench)
    assert query(record, "SELECT frame_id, sum(abstained) FROM particles GROUP BY frame_id") == [
        (1, 0),
        (2, 4),
    ]
    assert bench.material == "Au"
    again = Bench(None)
    record.begin(again, OLD, SHIPPED, DETAILS, 2.0)
    take(3, bench=again)
    assert query(record, "SELECT sum(abstained) FROM particles WHERE frame_id = 3") == [(4,)]
    assert (again.material, record.meta("material")) == ("Au", "Au")
    told(SETTING, name="abstain_below", value=None)
    record.follow(again)
    take(4, bench=again)
    assert query(record, "SELECT sum(abstained) FROM particles WHERE frame_id = 4") == [(0,)]
    given = Bench("CdSe")
    record.begin(given, OLD, SHIPPED, DETAILS, 3.0)
    assert (given.material, record.meta("material")) == ("CdSe", "CdSe")
    assert read_changes(record._db)[-1].observer == "the command line"


# -- who judges ----------------------------------------------------------------------------------------------


def test_a_promoted_bundle_judges_all_of_the_session_and_is_taken_back(
    record: RecordWriter, statistics: RunningStatistics, take: Callable[..., None], told: Told, other: Path
) -> None:
    bench = Bench(None)
    record.begin(bench, OLD, SHIPPED, DETAILS, 1.0)
    take(1)
    take(2)
    judge = Judge.of(other)
    done, said = told(PROMOTE, bundle=str(other))
    assert done, said
    assert f"{judge.id} judges from the frame after frame 2 on" in said
    record.follow(bench)
    assert bench.path == other
    statistics.judge(Estimator(bench.details))
    statistics.settle(final=True)
    take(3, bench=bench)  # was under way: the old forest judged it
    sightings = query(record, "SELECT frame_id, label, class FROM particles ORDER BY 1, 2")
    assert sightings == [(f, n, ("no", "yes")[(n + 1) % 2]) for f in (1, 2, 3) for n in (1, 2, 3, 4)]
    assert query(record, "SELECT DISTINCT bundle FROM results") == [(judge.id,)]
    assert record.meta("bundle") == judge.id
    assert query(record, "SELECT class, count(*) FROM tracks GROUP BY class") == [("no", 2), ("yes", 2)]
    assert query(record, "SELECT count(*) FROM statistics") == [(3,)]
    assert not told(PROMOTE, bundle=str(other))[0]
    old = onnx_forest(SHIPPED / "forest.onnx", len(NAMES), DETAILS["sharpening"])
    rows = as_rows([dict.fromkeys(NAMES, 0.0) | {NAMES[0]: sign * 9.0} for sign in (-1, 1)], NAMES)
    done, said = told(TAKE_BACK)
    assert done, said
    record.follow(bench)
    assert bench.judge is None
    probabilities = np.array(
        query(record, "SELECT p_empty, p_null, p_no, p_yes FROM particles WHERE frame_id = 1")
    )
    np.testing.assert_allclose(probabilities[:2], old(rows) / old(rows).sum(axis=1, keepdims=True), atol=1e-5)
    assert query(record, "SELECT DISTINCT bundle FROM results") == [(OLD,)]
    assert not told(TAKE_BACK)[0]
    assert [change.value["id"] for change in read_changes(record._db)] == [judge.id, OLD]


def test_a_session_that_is_begun_again_goes_on_with_the_promoted_bundle(
    record: RecordWriter, take: Callable[..., None], told: Told, other: Path
) -> None:
    take(1)
    told(PROMOTE, bundle=str(other))
    again = Bench(None)
    record.begin(again, OLD, SHIPPED, DETAILS, 2.0)
    assert again.path == other
    assert record.meta("bundle") == Judge.of(other).id
    with_it = Bench(None)  # --bundle names it
    record.begin(with_it, Judge.of(other).id, other, Judge.of(other).details, 3.0)
    assert with_it.path is None
    assert record.meta("bundle") == Judge.of(other).id


def test_labels_of_earlier_audits_count_again_once_they_are_drawn_anew(
    record: RecordWriter, statistics: RunningStatistics, take: Callable[..., None], told: Told, other: Path
) -> None:
    take(1)
    ask(record.folder, "audit", {"number": 4}, 2.0)
    statistics.carry_out(3.0)
    for asked in list(to_label(record._db, "Ada")):
        ask(record.folder, "label", {"particle": asked.particle, "observer": "Ada", "class": "yes"}, 3.0)
    statistics.carry_out(4.0)
    assert len(labelled(record._db)) == 4
    told(PROMOTE, bundle=str(other))
    statistics.judge(Estimator(Judge.of(other).details))
    statistics.settle(final=True)
    assert labelled(record._db) == {}
    assert list(to_label(record._db, "Bea")) == []
    ask(record.folder, "audit", {"number": 4}, 5.0)
    statistics.carry_out(50.0)
    assert {name for name, _ in labelled(record._db).values()} == {"yes"}
    assert len(labelled(record._db)) == 4
    assert list(to_label(record._db, "Ada")) == []  # she need not say it twice
    assert len(list(to_label(record._db, "Bea"))) == 4


def test_a_bundle_that_differs_in_more_than_its_forest_is_refused(
    record: RecordWriter, take: Callable[..., None], told: Told, other: Path, tmp_path: Path
) -> None:
    take(1)
    before = list(record._db.iterdump())
    shutil.copytree(other, tmp_path / "strange")
    manifest = json.loads((other / "bundle.json").read_text())
    manifest["segmentation"] = {**manifest["segmentation"], "strange": 1}
    (tmp_path / "strange" / "bundle.json").write_text(json.dumps(manifest))
    done, said = told(PROMOTE, bundle=str(tmp_path / "strange"))
    assert not done
    assert "differs from" in said
    assert not told(PROMOTE, bundle=str(tmp_path / "nowhere"))[0]
    after = [line for line in record._db.iterdump() if '"commands"' not in line]
    assert after == [line for line in before if '"commands"' not in line]


def test_what_lacks_features_is_not_judged_again(
    record: RecordWriter, take: Callable[..., None], told: Told, other: Path
) -> None:
    take(1)
    with sqlite3.connect(record.folder / "session.sqlite") as db:
        db.execute("UPDATE particles SET features = '{}' WHERE label = 3")
    done, said = told(PROMOTE, bundle=str(other))
    assert not done
    assert "measured without" in said
    assert record.meta("bundle") == OLD
    assert query(record, "SELECT count(*) FROM statistics") == [(1,)]


def test_without_a_session_only_the_goal_changes(
    record: RecordWriter, take: Callable[..., None], other: Path
) -> None:
    take(1)
    record.close()
    asked = [
        (PROMOTE, {"bundle": str(other)}),
        (TAKE_BACK, {}),
        (SETTING, {"name": "material", "value": None}),
        (SETTING, {"name": "goal", "value": 0.2}),
    ]
    for name, arguments in asked:
        ask(record.folder, name, {"observer": "Ada", **arguments}, 1.0)
    assert answer(record.folder, 2.0) == [SETTING]
    with sqlite3.connect(record.folder / "session.sqlite") as db:
        answers = db.execute("SELECT accepted, answer FROM commands ORDER BY id").fetchall()
    assert [accepted for accepted, _ in answers] == [0, 0, 0, 1]
    assert f"--bundle {other}" in answers[0][1]
