"""The course of the frames' own figures: read once, thinned without losing what stands out."""

import numpy as np
import pytest

from dashboard.strips import QUANTITIES, StripReader, read_events
from dashboard.view import RecordView, open_record


@pytest.fixture
def grown(session, clock):
    """Forty frames; frame 23 drifted far and was late."""
    for number in range(1, 41):
        clock.now += 2
        told = {"mean_counts": 100.0 + number, "information_limit_per_nm": 9.0 - (number == 31)}
        frame = session.analysed(
            "yes", quality=told | ({"defocus_nm": 50.0} if number > 20 else {}),
            latency_ms=9000.0 if number == 23 else 400.0,
        )  # fmt: skip
        session.place(frame, frame, drift_nm=7.5 if number == 23 else 0.2)
    return session


def test_few_frames_stand_for_themselves(grown) -> None:
    with open_record(grown.directory) as db:
        strips = StripReader(64).read(db)
    assert strips.frames == 1
    assert strips.position.tolist() == list(range(1, 41))
    assert strips.of["counts"].mean.tolist() == [100.0 + number for number in range(1, 41)]
    assert np.isnan(strips.of["defocus"].mean[:20]).all()
    assert set(strips.of["defocus"].mean[20:]) == {50.0}
    assert strips.of["drift"].worst_frame[22] == 23


def test_what_stands_out_is_not_thinned_away(grown) -> None:
    with open_record(grown.directory) as db:
        strips = StripReader(8).read(db)
    assert len(strips.position) <= 8
    assert strips.frames == 8
    assert strips.position[-1] == 40
    assert strips.of["drift"].high.max() == 7.5
    assert 23 in strips.of["drift"].worst_frame
    assert 23 in strips.of["delay"].worst_frame
    assert 31 in strips.of["limit"].worst_frame  # there the least is the worst
    assert strips.of["counts"].mean[0] == pytest.approx(np.mean(100.0 + np.arange(1, 9)))


def test_only_what_is_new_is_read_and_nothing_new_is_the_same_object(grown, clock) -> None:
    with open_record(grown.directory) as db:
        reader = StripReader(64)
        before = reader.read(db)
        assert reader.read(db) is before
        grown.place(grown.analysed("no", quality={"mean_counts": 7.0}), 41)
        after = reader.read(db)
    assert after.position[-1] == 41
    assert after.of["counts"].mean[-1] == 7.0
    assert after.of["counts"].mean[:-1].tolist() == before.of["counts"].mean.tolist()


def test_a_course_that_was_laid_anew_is_read_anew(grown) -> None:
    with open_record(grown.directory) as db:
        reader = StripReader(64)
        reader.read(db)
        grown.db.execute("DELETE FROM statistics WHERE position > 30")
        assert reader.read(db).position[-1] == 30


def test_a_long_record_is_read_a_piece_at_a_time(grown, monkeypatch) -> None:
    monkeypatch.setattr("dashboard.strips.CHUNK", 10)
    monkeypatch.setattr("dashboard.strips.BUDGET_S", 0)
    with open_record(grown.directory) as db:
        reader = StripReader(64)
        reader.read(db)
        assert reader.pending
        for _ in range(4):
            strips = reader.read(db)
        assert not reader.pending
    assert strips.position[-1] == 40
    monkeypatch.undo()
    with open_record(grown.directory) as db:
        whole = StripReader(64).read(db)
    for name in QUANTITIES:
        np.testing.assert_array_equal(strips.of[name].mean, whole.of[name].mean)


def test_backlog_is_what_arrived_before_the_result(session, clock) -> None:
    began = clock.now
    frames = [(session.arrive(), setattr(clock, "now", began + n + 1))[0] for n in range(6)]
    # Results come after 3.5 s, at once, after everything, and out of turn; the last two wait.
    for frame, seconds in zip(frames, (3.5, 3.6, 30.0, 4.5, 30.5, 31.0), strict=True):
        clock.now = began + seconds
        session.finish(frame)
    with open_record(session.directory) as db:
        assert StripReader().read(db).of["backlog"].mean.tolist() == [3, 2, 3, 1, 1, 0]


def test_events_know_their_frames(grown, clock) -> None:
    grown.alarm("stage drift")
    grown.alarm("beam lost", "critical", until=clock.now)
    grown.db.execute("UPDATE alarms SET until_frame = 9 WHERE kind = 'beam lost'")
    with open_record(grown.directory) as db:
        over, on = read_events(db)
    assert (over.kind, over.severity, over.since[0], over.until[0]) == ("beam lost", "critical", 3, 9)
    assert (on.kind, on.until) == ("stage drift", None)


def test_a_record_without_places_has_no_course(made) -> None:
    view = RecordView(made.directory)
    strips, events = view.strips()
    assert len(strips.position) == 0
    assert events == ()
    view.close()
