"""The particle that is selected: how it is picked and kept, and what its tab tells."""

import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import replace

import numpy as np
import pytest

from dashboard.components.live_frame import LiveFrame
from dashboard.components.particle_svg import profile
from dashboard.components.selection import at_point, beside
from dashboard.explaining import Explaining, answer_of
from dashboard.page import SessionPage
from dashboard.view import RecordView
from models.explain.explanation import Layer, Stack
from monitor.workers.explained import Explained, NotExplained
from tests.dashboard.filed import judged_frame

NOW = 1_760_000_000.0


@pytest.fixture
def view(session):
    view = RecordView(session.directory)
    yield view
    view.close()


@pytest.fixture
def frame(session, view):
    """A live frame over six particles: three in a row, three in the next."""
    session.analysed("yes", "no", "no", "null", "empty", "no")
    frame = LiveFrame(view)
    frame.update(view.poll(), NOW)
    return frame


# -- the selection -------------------------------------------------------------------------------------------


def test_a_click_selects_the_smallest_particle_around_it_and_holds_the_frame(frame, session, view) -> None:
    told = []
    frame.selection.changed = told.append
    frame.pick(1, 80.5 * 0.03, (399.5 - 70) * 0.03)  # the middle of the first
    assert told == [(1, 1)]
    assert not frame.live.active
    assert "looking back" in frame.caption.text
    assert frame.selection.source.data["key"] == ["1:1"]
    assert frame.selection.source.data["xs"][0].mean() == pytest.approx(80.5 * 0.03)

    session.analysed("yes")
    frame.update(view.poll(), NOW)
    assert frame.shown.id == 1
    frame.pick(1, 0.1, 0.1)  # nothing is there
    assert frame.selection.key == (1, 1)
    frame.clear()
    assert told[-1] is None
    assert frame.live.active  # it was live before
    assert frame.shown.id == 2
    assert frame.selection.source.data["xs"] == []


def test_of_particles_around_one_another_the_smaller_is_meant(session, view, particle) -> None:
    session.finish(session.arrive(), [particle("yes", 200, 200, 150), particle("no", 200, 200, 20)])
    shown = view.frame(1)
    assert at_point(shown, 6, 6).particle_class == "no"
    assert at_point(shown, 6, 9).particle_class == "yes"


def test_who_looked_back_before_is_not_sent_to_the_newest(frame, session, view) -> None:
    session.analysed("yes")
    frame.update(view.poll(), NOW)
    frame.step_back()
    frame.select(1, 2)
    frame.clear()
    assert (frame.live.active, frame.shown.id) == (False, 1)
    frame.live.active = True
    frame.select(2, 1)
    frame.step_back()  # a person's step: where to be is theirs to say
    assert frame.selection.source.data["key"] == []  # it is not in this frame
    assert frame.selection.key == (2, 1)
    frame.step_forward()
    assert frame.selection.source.data["key"] == ["2:1"]
    frame.clear()
    assert (frame.live.active, frame.shown.id) == (False, 2)


def test_a_sighting_in_another_frame_brings_that_frame(frame, session, view) -> None:
    session.analysed("yes")
    frame.update(view.poll(), NOW)
    frame.select(1, 3)
    assert (frame.shown.id, frame.selection.key) == (1, (1, 3))
    frame.select(99, 1)
    assert frame.selection.key == (1, 3)


def test_arrow_keys_go_from_one_to_the_next(frame) -> None:
    frame.move("right")
    first = frame.selection.key[1]
    assert first == 6  # the largest
    steps = [("up", 3), ("left", 2), ("left", 1), ("left", 1), ("down", 4), ("right", 5), ("right", 6)]
    for direction, label in steps:
        frame.move(direction)
        assert frame.selection.key == (1, label)
    frame.move("up", ["yes", "null"])  # of the others no outline is drawn
    assert frame.selection.key == (1, 1)


def test_every_particle_is_reached_by_the_keys(view, session) -> None:
    session.analysed("yes")
    (one,) = view.frame(1).particles
    rng = np.random.default_rng(3)
    for _ in range(20):
        corners = rng.integers(0, 1000, (30, 2)).tolist()
        them = [
            replace(one, label=n, bbox=(row, col, row + 40, col + 40))
            for n, (row, col) in enumerate(corners, 1)
        ]
        seen, ahead = {1}, [1]
        while ahead:
            here = ahead.pop()
            new = {beside(them, here, way).label for way in ("up", "down", "left", "right")} - seen
            seen |= new
            ahead += new
        assert len(seen) == len(them)


# -- the tab -------------------------------------------------------------------------------------------------


@pytest.fixture
def page(session, clock):
    """A page whose explanations are made in a thread."""
    explaining = Explaining(lambda: ThreadPoolExecutor(1))
    view = RecordView(session.directory)
    page = SessionPage(view, clock=clock, explaining=explaining)
    page.open("particle")
    yield page
    explaining.close()
    view.close()


def finished(page) -> None:
    """Let the page ask for an explanation, and show it."""
    page.tick()
    wait([page.particle._asked[1]], 60)
    page.tick()


def asked(page, what: str, value: str) -> None:
    page.asking.source.data = {"what": [what], "value": [value]}


def test_nothing_is_selected_at_first(page) -> None:
    assert "Click on a particle" in page.particle.facts.text
    assert page.particle.why.text == ""


def test_what_the_record_knows_is_there_at_once(session, page) -> None:
    session.analysed("yes", "no")
    second = session.analysed("yes")
    session.db.execute("UPDATE particles SET track = 1 WHERE label = 1")
    session.place(1)
    session.db.execute(
        "INSERT INTO labels (particle, drawn, inclusion, observer, class, at) VALUES (1, 1, 1, '<b>Ann', 'no', 5)"
    )
    page.tick()
    asked(page, "particle-at", f"{second}:{80.5 * 0.03}:{(399.5 - 70) * 0.03}")
    panel = page.particle
    assert "fault seen" in panel.facts.text
    assert "85%" in panel.facts.text
    assert "2.10 nm" in panel.facts.text
    assert "<b>&lt;b&gt;Ann</b> labelled its track <b>no</b>" in panel.facts.text
    assert re.findall(r'data-value="(\d:\d)"', panel.track.text) == ["1:1", "2:1"]
    assert 'aria-label="frame 1: yes, 2.10 nm"' in panel.track.text
    assert "working …" in panel.why.text
    assert "crop/3.png" in panel.pictures.text

    asked(page, "particle", "1:2")
    assert "would show" in panel.facts.text
    asked(page, "particle-move", "left yes,no,null,empty")
    assert page.frame.selection.key == (1, 1)
    asked(page, "particle", "nonsense")
    asked(page, "particle-move", "sideways")
    assert page.frame.selection.key == (1, 1)
    asked(page, "particle-clear", "")
    assert "Click on a particle" in panel.facts.text


def test_a_particle_that_is_not_there_any_more(session, page) -> None:
    session.analysed("yes")
    page.tick()
    asked(page, "particle", "1:1")
    session.db.execute("DELETE FROM particles")
    session.db.execute("UPDATE results SET committed = committed + 1")
    page.tick()
    assert "analysed anew, and this particle is not in it any more" in page.particle.facts.text


def test_a_file_that_is_gone_is_said_and_the_picture_is_the_previews(session, page) -> None:
    session.analysed("yes")
    page.tick()
    asked(page, "particle", "1:1")
    finished(page)
    assert "is no longer there." in page.particle.why.text
    assert "from the preview" in page.particle.pictures.text
    assert "no spectrum" in page.particle.pictures.text


def test_what_counted_is_worked_out_and_drawn(session, page, tmp_path) -> None:
    frame_id = judged_frame(session, tmp_path / "a.tif")
    label = session.db.execute("SELECT label FROM particles ORDER BY area_nm2 DESC").fetchone()[0]
    page.tick()
    asked(page, "particle", f"{frame_id}:{label}")
    assert "working …" in page.particle.pictures.text
    finished(page)
    told = page.particle.told
    assert isinstance(told, Explained)
    stack = told.explanation.stack
    texts = page.particle.pictures.text, page.particle.why.text
    assert texts[0].count('class="layer"') == len(stack.layers)
    assert texts[0].count('class="spot"') == 2 * len(told.explanation.spots)
    assert ('class="fault"' in texts[0]) == (stack.fault is not None)
    assert "what counted for or against" in texts[1]
    assert told.explanation.counted[0].feature in texts[1]
    assert "Indexed for CdSe by spacing and angle to the stack" in texts[1]
    # The layers' places lie in the picture, along the rows of the frame.
    ends = re.findall(r'class="plane" x1="([\d.]+)" y1="([\d.]+)"', texts[0])
    rows = [float(y) for _, y in ends]
    assert np.abs(np.diff(rows)) == pytest.approx(np.full(len(rows) - 1, stack.d_nm / 0.03), abs=1.0)


def test_of_layers_in_which_nothing_is_read_no_letters_are_drawn() -> None:
    layers = tuple(Layer(0.35 * n, 0.1 * n, 1.0, "ABC"[n % 3]) for n in range(6))
    stack = Stack(
        direction_deg=90.0, frequency_per_nm=2.85, d_nm=0.35, strength=9.0, sequence="cubic", faulted=False,
        word="ABCABC", fault=None, fault_layer=None, fault_nm=None, first_nm=1.0, along=(1.0, 0.0),
        explained={"hexagonal": 0.0, "cubic": 0.9, "faulted": 0.9}, significance=0.0, layers=layers,
    )  # fmt: skip
    assert profile(stack).count("<text") == 6
    assert "read as ABCABC" in profile(stack)
    unread = replace(stack, explained={"hexagonal": 0.0, "cubic": 0.3, "faulted": 0.5})
    assert "<text" not in profile(unread)
    assert 'points=""' in profile(unread)
    assert profile(unread).count('class="seen"') == 6
    assert "no sequence explains enough" in profile(unread)
    faulted = replace(unread, faulted=True, fault="I1", fault_layer=2.5, fault_nm=0.875)
    assert 'class="fault" x1="56"' in profile(faulted)
    assert profile(faulted).count("<text") == 6


# -- the process ---------------------------------------------------------------------------------------------


def test_one_question_is_answered_once_and_a_failure_may_pass(session, view) -> None:
    session.analysed("yes")
    task = view.inspected(1, 1).to_explain(session.directory)
    explaining = Explaining(lambda: ThreadPoolExecutor(1))
    try:
        first = explaining.ask(task)
        assert isinstance(first.result(30), NotExplained)
        assert explaining.ask(task) is not first  # the file may be back
    finally:
        explaining.close()


def test_a_process_that_ended_is_said_and_begun_again(session, view) -> None:
    begun = []

    def begin():
        begun.append(ProcessPoolExecutor(1))
        return begun[-1]

    session.analysed("yes")
    task = view.inspected(1, 1).to_explain(session.directory)
    explaining = Explaining(begin)
    try:
        explaining.ask(task).result(60)
        for process in list(begun[0]._processes.values()):
            process.kill()
            process.join()
        while isinstance(said := answer_of(future := explaining.ask(task)), type(None)):
            wait([future], 60)
        assert "ended unexpectedly" in said.reason or "no longer there" in said.reason
        assert "no longer there" in explaining.ask(task).result(60).reason
        assert len(begun) == 2
    finally:
        explaining.close()
