"""The review tab: the sample first, then the most doubtful, relabelled, undone; missed particles marked."""

import itertools
import re

import pytest

from dashboard.page import SessionPage
from dashboard.view import RecordView

_CLICKS = itertools.count()


@pytest.fixture
def page(session, clock):
    frame = session.analysed("yes", "no", "null", "no")
    session.place(frame)
    shares = ((0.1, 0.1, 0.1, 0.7), (0.1, 0.1, 0.41, 0.39), (0.1, 0.6, 0.2, 0.1), (0.1, 0.1, 0.5, 0.3))
    for number, each in enumerate(shares, 1):
        session.db.execute(
            "UPDATE tracks SET p_empty = ?, p_null = ?, p_no = ?, p_yes = ? WHERE id = ?", (*each, number)
        )
    view = RecordView(session.directory)
    page = SessionPage(view, clock=clock)
    click(page, ("tab", "review"))
    yield page
    view.close()


def click(page, *asked: tuple[str, str]) -> None:
    """As the page's script does it."""
    number = [next(_CLICKS) for _ in asked]
    what, value = (list(each) for each in zip(*asked, strict=True))
    page.asking.source.data = {"what": what, "value": value, "number": number}
    page.tick()


@pytest.fixture
def reviewing(page):
    """Ada put off the sample."""
    click(page, ("observer", "Ada"), ("review-later", ""))
    return page


def text(page) -> str:
    return page.tabs["review"].root.text


def shown(page) -> int:
    return page.tabs["review"].shown.label


def answered(page, session) -> None:
    session.carry_out()
    page.tick()


def test_the_sample_comes_first(page, session) -> None:
    assert "No particle was drawn yet" in text(page)
    click(page, ("review-draw", ""))
    answered(page, session)
    assert "4 of the 4 particles that audits drew are not labelled by you yet" in text(page)
    assert 'data-open="audit"' in text(page)
    click(page, ("review-later", ""))
    assert "No particle is doubtful" in text(page)  # all of them were drawn


def test_the_most_doubtful_are_shown_with_what_the_model_says(reviewing) -> None:
    assert "1 of 4 most doubtful" in text(reviewing)
    assert 'The model says <b class="called">no</b>, ahead by 2 %' in text(reviewing)
    assert "cdse-test-1" in text(reviewing)
    order = [shown(reviewing)]
    for _ in range(3):
        click(reviewing, ("review-move", "1"))
        order.append(shown(reviewing))
    assert order == [2, 4, 3, 1]
    click(reviewing, ("review-move", "1"))
    assert "These were the 4 most doubtful particles" in text(reviewing)
    click(reviewing, ("review-move", "-1"))
    assert shown(reviewing) == 1


def test_the_queue_stays_in_its_order_while_frames_come(reviewing, session, monkeypatch) -> None:
    monkeypatch.setattr("dashboard.components.review.QUEUE", 4)
    session.place(session.analysed("no", "yes"))
    session.db.execute(
        "UPDATE tracks SET p_no = 0.4, p_yes = 0.4 WHERE id > 4"
    )  # closer to call than all before
    reviewing.tick()
    order = [shown(reviewing)]
    for _ in range(3):
        click(reviewing, ("review-move", "1"))
        order.append(shown(reviewing))
    assert order == [2, 4, 3, 1]
    click(reviewing, ("review-move", "1"), ("review-again", ""))
    assert reviewing.tabs["review"].shown.frame == 2


def test_without_a_name_nothing_is_corrected(page, session) -> None:
    click(page, ("review-later", ""))
    assert "Give your name first" in text(page)
    click(page, ("review-label", "2:yes"))
    assert session.asked() == []


def test_a_correction_is_a_command_with_a_name_and_undo_takes_it_back(reviewing, session) -> None:
    click(reviewing, ("review-label", "2:yes"))
    assert shown(reviewing) == 4
    answered(reviewing, session)
    assert "the fraction does not change by it" in text(reviewing)
    click(reviewing, ("review-move", "-1"))
    assert "Ada said <b>yes</b>" in text(reviewing)
    click(reviewing, ("review-label", "2:empty"), ("review-undo", ""))
    answered(reviewing, session)
    assert "Ada said <b>yes</b>" in text(reviewing)
    click(reviewing, ("review-undo", ""))
    answered(reviewing, session)
    assert "Ada said" not in text(reviewing)
    ada = {"frame": 1, "label": 2, "observer": "Ada"}
    assert [told for _, told, _ in session.asked()] == [
        {**ada, "class": name} for name in ("yes", "empty", "yes", None)
    ]


def test_a_second_click_for_the_particle_before_is_not_taken(reviewing, session) -> None:
    click(reviewing, ("review-label", "2:yes"), ("review-label", "2:no"))
    assert len(session.asked()) == 1


def test_a_refused_correction_is_not_shown_as_said(reviewing, session) -> None:
    click(reviewing, ("review-label", "2:yes"), ("review-move", "-1"))
    assert "You say <b>yes</b>" in text(reviewing)
    session.db.execute("UPDATE commands SET accepted = 0, answer = 'no <room>'")
    reviewing.tick()
    assert "You say" not in text(reviewing)
    assert "no &lt;room&gt;" in text(reviewing)


def test_a_missed_particle_is_marked_on_the_whole_frame_and_taken_back(reviewing, session) -> None:
    click(reviewing, ("review-whole", ""))
    assert 'aria-pressed="true"' in text(reviewing)
    assert text(reviewing).count("<polygon") == 4
    click(reviewing, ("review-missed", "1:380.5:20.0:3.5"))
    answered(reviewing, session)
    assert session.asked() == [
        ("missed", {"frame": 1, "row": 380.5, "col": 20.0, "diameter_nm": 3.5, "observer": "Ada"}, 1)
    ]
    assert re.search(r'<circle cx="20\.0" cy="380\.5" r="58\.3"', text(reviewing))
    assert "row 380, column 20, 3.5 nm · Ada" in text(reviewing)
    assert "1 missed particle is marked" in text(reviewing)
    click(reviewing, ("review-undo", ""))
    answered(reviewing, session)
    assert "<circle" not in text(reviewing)
    click(reviewing, ("review-missed", "1:380:20:"))
    answered(reviewing, session)
    click(reviewing, ("review-withdraw", "3"))
    answered(reviewing, session)
    assert session.asked()[-1] == ("withdraw", {"command": 3, "observer": "Ada"}, 1)
    assert "<circle" not in text(reviewing)


@pytest.mark.parametrize("value", ["2:5:5:", "1:x:5:", "1:5", "", "1:-4:5:"])
def test_a_place_that_is_none_is_not_marked(reviewing, session, value) -> None:
    click(reviewing, ("review-missed", value))
    assert session.asked() == []


def test_it_says_what_counts_for_what(reviewing, session) -> None:
    assert "count for the fraction" in text(reviewing)
    assert "(0 so far)" in text(reviewing)
    click(reviewing, ("review-label", "2:yes"))
    answered(reviewing, session)
    assert "(1 so far)" in text(reviewing)


def test_hostile_names_are_escaped(page, session) -> None:
    click(page, ("observer", "<img src=x>"), ("review-later", ""), ("review-label", "2:yes"))
    answered(page, session)
    click(page, ("review-move", "-1"), ("review-missed", "1:380:20:"))
    answered(page, session)
    assert "&lt;img src=x&gt; said" in text(page)
    assert "<img src=x>" not in text(page)
