"""The session as it stood after an earlier frame."""

import pytest

from dashboard.page import SessionPage
from dashboard.view import RecordView


@pytest.fixture
def view(session, clock):
    for classes in (("yes", "no"), ("yes",), ("no", "null"), ("yes", "yes", "no")):
        clock.now += 60
        session.place(session.analysed(*classes))
    view = RecordView(session.directory)
    yield view
    view.close()


def test_a_moment_holds_the_figures_and_the_sizes_of_then(view) -> None:
    moment = view.moment(2)
    assert moment.figures.counts == (0, 0, 1, 2)
    assert moment.figures.position == 2
    assert moment.sizes.particles == 3
    assert view.moment(4).figures.counts == view.poll().figures.counts
    assert view.moment(4).sizes.counts.tolist() == view.poll().sizes.counts.tolist()
    assert view.moment(99) is None


def test_many_particles_are_not_counted_again(view, monkeypatch) -> None:
    monkeypatch.setattr("dashboard.looking_back.MOST_COUNTED", 2)
    assert view.moment(2).sizes is None


def test_of_frames_settled_together_the_estimate_before_holds(view, session) -> None:
    session.db.execute("UPDATE statistics SET corrected = NULL, low = NULL, high = NULL WHERE position = 3")
    assert view.moment(3).figures.corrected == view.moment(2).figures.corrected
    assert view.moment(3).figures.counts == (0, 1, 2, 2)


def test_the_next_frame_follows_in_order_of_acquisition(view, session) -> None:
    session.db.execute("UPDATE statistics SET position = 10 WHERE frame_id = 1")
    assert view.next_in_time(None)[0] == 2
    assert view.next_in_time(4)[0] == 1
    assert view.next_in_time(1) is None
    assert view.next_in_time(99) is None
    assert view.frame_at(3) == 3
    assert view.frame_at(9) == 4
    assert view.frame_at(0) is None


def test_looking_back_the_page_tells_the_figures_of_then_and_says_so(view, session, clock) -> None:
    page = SessionPage(view, clock=clock)
    now = page.fraction.headline.text
    page.frame.look_at(2)
    assert "as of frame 2, not now" in page.fraction.headline.text
    assert "2 of 3" in page.fraction.headline.text
    assert page.fraction.marker.location == 2
    assert page.counts.source.data["count"][0] == 2
    assert page.counts.root.title.text.endswith("AS OF FRAME 2")
    assert page.sizes.root.xaxis.axis_label.endswith("as of frame 2")
    page.fraction.axis_choice.active = 1
    assert page.fraction.marker.location == pytest.approx(1)
    clock.now += 1
    session.analysed("yes")
    page.tick()
    assert "as of frame 2" in page.fraction.headline.text
    page.frame.live.active = True
    assert "as of" not in page.fraction.headline.text + page.counts.root.title.text
    assert "as of" not in page.sizes.root.xaxis.axis_label
    assert page.fraction.marker.location is None
    assert page.fraction.headline.text != now


def test_sizes_that_are_those_of_now_say_so(view, clock, monkeypatch) -> None:
    monkeypatch.setattr("dashboard.looking_back.MOST_COUNTED", 2)
    page = SessionPage(view, clock=clock)
    page.frame.look_at(2)
    assert "of now" in page.sizes.root.xaxis.axis_label


def test_a_frame_that_is_not_settled_leaves_the_figures_of_now(view, session, clock) -> None:
    session.analysed("yes", settle=False)
    session.analysed("yes", settle=False)
    page = SessionPage(view, clock=clock)
    page.frame.look_at(5)
    assert "as of" not in page.fraction.headline.text


def test_a_click_on_the_course_goes_to_that_frame(view, clock) -> None:
    page = SessionPage(view, clock=clock)
    page.fraction._tapped(3.2)
    assert page.frame.looked_back_at == 3


def test_keys_that_move_in_time(view, clock) -> None:
    page = SessionPage(view, clock=clock)
    keys = (("back", 3), ("back", 2), ("forward", 3), ("nonsense", 3), ("live", None))
    for times, (what, frame) in enumerate(keys):
        page.asking.source.data = {"what": ["time"], "value": [what], "times": [times]}
        assert page.frame.looked_back_at == frame
    page.asking.source.data = {"what": ["time"], "value": ["play"]}
    assert page.playback.playing


def test_a_particle_that_holds_the_frame_leaves_the_figures_of_now(view, session, clock) -> None:
    page = SessionPage(view, clock=clock)
    page.frame.select(4, 1)
    session.analysed("yes")
    clock.now += 1
    page.tick()
    assert page.frame.shown.id == 4
    assert "as of" not in page.fraction.headline.text
    page.frame.look_at(3)
    page.frame.select(3, 1)
    assert "as of frame 3" in page.fraction.headline.text
