"""The settings tab: changed by commands with a name, with their history; the others are read."""

import itertools
import json

import pytest

from dashboard.page import SessionPage
from dashboard.view import RecordView

_CLICKS = itertools.count()


@pytest.fixture
def page(session, clock):
    session.db.execute(
        "INSERT INTO meta VALUES ('settings', ?)", (json.dumps({"quiet_s": 0.5, "sources": ["/<b>"]}),)
    )
    session.analysed("yes", "no")
    view = RecordView(session.directory)
    page = SessionPage(view, clock=clock)
    click(page, ("tab", "settings"))
    yield page
    view.close()


def click(page, *asked: tuple[str, str]) -> None:
    """As the page's script does it."""
    number = [next(_CLICKS) for _ in asked]
    what, value = (list(each) for each in zip(*asked, strict=True))
    page.asking.source.data = {"what": what, "value": value, "number": number}
    page.tick()


def change(page, session, name: str, value: object) -> None:
    click(page, ("settings-set", json.dumps({"name": name, "value": value})))
    session.carry_out()
    page.tick()


def text(page) -> str:
    return page.tabs["settings"].root.text


def test_what_can_be_changed_and_what_can_not_is_shown(page) -> None:
    for field in ("set-abstain_below", "set-not_counted", "set-goal", "set-material"):
        assert f'id="{field}"' in text(page)
    assert '<option value="CdSe" selected>' in text(page)
    assert "--quiet-s" in text(page)
    assert "/&lt;b&gt;" in text(page)
    assert "faultwatch.toml" in text(page)


def test_without_a_name_nothing_is_changed(page, session) -> None:
    change(page, session, "goal", 0.1)
    assert session.asked() == []
    assert "Give your name first" in text(page)


@pytest.mark.parametrize(
    ("name", "value", "shown", "kept"),
    [
        ("abstain_below", 0.8, 'step="0.01" value="0.8"', "abstaining threshold</b> 0.8"),
        ("abstain_below", None, 'step="0.01" value=""', "abstaining threshold</b> the bundle's own"),
        ("goal", 0.12, 'step="1" value="12"', "goal</b> ± 12 %"),
        ("material", "Au", '<option value="Au" selected>', "material</b> Au"),
        ("material", None, '<option value="" selected>', "material</b> all that are known"),
        ("not_counted", ["charging"], 'value="charging" checked', "quality gate</b> charging"),
        ("not_counted", [], 'value="charging">', "quality gate</b> counts every frame"),
    ],
)
def test_a_setting_is_changed_and_its_change_is_kept(page, session, name, value, shown, kept) -> None:
    click(page, ("observer", "Ada <i>"))
    change(page, session, name, value)
    assert session.asked() == [("setting", {"name": name, "value": value, "observer": "Ada <i>"}, 1)]
    assert shown in text(page)
    history = text(page).split("changed so far")[1]
    assert kept.replace("'", "&#x27;") in history
    assert "after frame 1 · Ada &lt;i&gt;" in history


def test_what_can_not_be_is_refused_with_a_reason(page, session) -> None:
    click(page, ("observer", "Ada"))
    change(page, session, "abstain_below", 7)
    assert "a probability from 0.25 to 1" in text(page)
    assert session.asked() == []


def test_the_goal_is_set_for_all_viewers(page, session) -> None:
    click(page, ("observer", "Ada"))
    change(page, session, "goal", 0.12)
    click(page, ("tab", "now"))
    assert page.fraction.goal.value == 12
    page.fraction.goal.value = 20  # one viewer's own
    session.analysed("yes")
    page.tick()
    assert page.fraction.goal.value == 20


@pytest.mark.parametrize("value", ["", "{}", "[]", "3", '{"name": 3, "value": {}}'])
def test_what_is_no_setting_is_not_asked(page, session, value) -> None:
    click(page, ("observer", "Ada"), ("settings-set", value))
    assert session.asked() == []
