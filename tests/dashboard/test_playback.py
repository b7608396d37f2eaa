"""Playing back at the pace of acquisition."""

import pytest

from dashboard.components.live_frame import LiveFrame
from dashboard.playback import LONGEST_S, PAUSE, PLAY, Playback
from dashboard.view import RecordView


class Timer:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def played(session, clock):
    """Frames at 0, 2, 4, 64 and 66 s, live."""
    for wait in (0, 2, 2, 60, 2):
        clock.now += wait
        session.analysed("yes")
    view = RecordView(session.directory)
    frame, timer = LiveFrame(view), Timer()
    playback = Playback(frame, view, timer)
    frame.update(view.poll(), clock())
    yield frame, playback, timer
    view.close()


def passes(playback, timer, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        timer.now += 0.1
        playback.step()


def test_from_live_it_plays_all_of_it_as_acquired_with_long_gaps_shortened(played) -> None:
    frame, playback, timer = played
    playback.toggle()
    assert (frame.shown.id, playback.button.label) == (1, PAUSE)
    passes(playback, timer, 1.8)
    assert frame.shown.id == 1
    passes(playback, timer, 0.4)
    assert frame.shown.id == 2
    passes(playback, timer, 2)
    assert frame.shown.id == 3
    passes(playback, timer, LONGEST_S - 0.5)
    assert frame.shown.id == 3
    passes(playback, timer, 1)
    assert frame.shown.id == 4
    passes(playback, timer, 2)
    assert frame.shown.id == 5
    assert frame.live.active
    assert not playback.playing
    assert playback.button.label == PLAY


def test_ten_times_as_fast(played) -> None:
    frame, playback, timer = played
    playback.speed.active = 1
    playback.play()
    passes(playback, timer, 0.3)
    assert frame.shown.id == 2
    passes(playback, timer, 0.2)
    assert frame.shown.id == 3
    passes(playback, timer, 1)
    assert frame.live.active


def test_it_plays_on_from_the_frame_that_is_looked_at(played) -> None:
    frame, playback, timer = played
    frame.look_at(2)
    playback.play()
    assert frame.shown.id == 2
    passes(playback, timer, 2.2)
    assert frame.shown.id == 3


def test_pause_and_play_again(played) -> None:
    frame, playback, timer = played
    playback.play()
    passes(playback, timer, 1)
    playback.toggle()
    passes(playback, timer, 60)
    assert frame.shown.id == 1
    playback.toggle()
    passes(playback, timer, 2.2)
    assert frame.shown.id == 2


@pytest.mark.parametrize("choose", ["step_forward", "live", "slider"])
def test_whatever_else_is_chosen_pauses_it(played, choose) -> None:
    frame, playback, _ = played
    playback.play()
    if choose == "live":
        frame.live.active = True
    elif choose == "slider":
        frame.slider.value = 3
    else:
        frame.step_forward()
    assert not playback.playing


def test_a_machine_that_was_asleep_does_not_make_up_for_it(played) -> None:
    frame, playback, timer = played
    playback.play()
    timer.now += 3600
    playback.step()
    assert frame.shown.id == 2
    playback.step()
    assert frame.shown.id == 2
    assert playback.playing


def test_nothing_to_play(session) -> None:
    view = RecordView(session.directory)
    playback = Playback(LiveFrame(view), view)
    playback.toggle()
    assert not playback.playing
    view.close()
