"""The tables by size and by field, the map, and another session beside this one."""

import json
import math

import numpy as np
import pytest

from dashboard.components.fields import CHOOSE, Fields, map_words, status, tables
from dashboard.divided import Divided, FieldMap
from dashboard.view import RecordView
from monitor.record.strata import Stratum
from monitor.statistics.estimate import Estimate

PATIENCE_S = 60


@pytest.fixture
def make(make_session, tmp_path, clock):
    def made(name: str):
        session = make_session(tmp_path / name)
        session.db.execute("PRAGMA user_version = 4")
        for _ in range(3):
            clock.now += 1
            frame = session.analysed("yes", "no", "null")
            session.place(frame, frame)
        return session

    return made


@pytest.fixture
def shown(make, tmp_path):
    views = []

    def show(session, beside=None):
        view, went = RecordView(session.directory), []
        views.append(view)
        return Fields(view, went.append, beside), view, went

    yield show
    for view in views:
        view.close()


def settle(fields, view, now: float) -> None:
    fields.update(view.poll(), now)
    view.divider.wait(PATIENCE_S)
    fields.go_on(now)


def test_it_says_that_it_works_and_then_shows_the_tables(make, shown, clock) -> None:
    fields, view, went = shown(make("a"))
    assert "no frame is settled yet" in fields.status.text
    fields.update(view.poll(), clock())
    view.divider.wait(PATIENCE_S)
    fields.go_on(clock())
    assert "working" not in fields.status.text
    assert "by size" in fields.tables.text
    assert 'data-ask="field" data-value="2"' in fields.tables.text
    assert "1 of 2" in fields.tables.text
    assert not fields.map.visible
    assert "tell no stage position" in fields.no_map.text
    fields.go("2")
    fields.go("2; DROP")
    assert went == [2]


def test_status_says_what_goes_on() -> None:
    assert "working" in status(None, True, None)
    assert "&lt;b&gt;" in status(None, False, "<b>")


def test_the_map_has_a_mark_a_field_and_a_click_goes_there(make, shown, clock) -> None:
    session = make("a")
    for number in (1, 3):
        told = json.dumps({"stage_x_um": 10.0 * number, "stage_y_um": 5.0})
        session.db.execute("UPDATE frames SET metadata = ? WHERE id = ?", (told, number))
    fields, view, went = shown(session)
    settle(fields, view, clock())
    data = fields.source.data
    assert fields.map.visible
    assert sorted(data["x"]) == [10, 30]
    assert set(data["fraction"]) == {0.5}
    assert all("1 of 2 particles" in words for words in data["words"])
    assert "1 field without a stage position" in fields.no_map.text
    fields._tapped(28.0, 5.0)
    assert went == [3]


def test_a_row_tells_the_interval_or_why_there_is_none() -> None:
    known = Stratum(7, 1, (0, 0, 3, 5), Estimate(0.6, 0.55, (0.3, 0.8), None, 8, 8, 0, None))
    other = Stratum(-1, 12, (0, 0, 1, 0), Estimate(0.0, None, None, None, 1, 1, 0, "<i>too few</i>"))
    where = FieldMap(*(np.empty(0) for _ in range(5)), 0)
    text = tables(Divided((((8.0, math.inf), known),), (known, other), where))
    assert "from 8 nm" in text
    assert "55.0 %" in text
    assert "30.0 % – 80.0 %" in text
    assert "12 other fields" in text
    assert "&lt;i&gt;too few&lt;/i&gt;" in text
    assert "no field yet" in map_words(where)


def test_another_session_of_the_folder_beside_this_one(make, shown, clock, tmp_path) -> None:
    make("b")
    fields, view, _ = shown(make("a"), tmp_path)
    settle(fields, view, clock())
    assert fields.choice.options == [CHOOSE, "b"]
    fields.choice.value = "b"
    fields.comparison._thread.join(PATIENCE_S)
    fields.go_on(clock())
    assert "difference <b>+0.0 %</b>" in fields.comparison.root.text
    fields.choice.value = CHOOSE
    assert fields.comparison.root.text == ""


def test_only_what_was_offered_is_compared(make, shown, clock, tmp_path) -> None:
    fields, view, _ = shown(make("a"), tmp_path)
    settle(fields, view, clock())
    fields._choose("value", CHOOSE, "../elsewhere")
    assert fields.comparison.chosen == []


def test_a_session_that_is_served_alone_offers_no_other(make, shown, clock) -> None:
    make("b")
    fields, view, _ = shown(make("a"))
    settle(fields, view, clock())
    assert fields.choice.options == [CHOOSE]
    assert "served" in fields.alone.text
    assert fields.choice.document is None
