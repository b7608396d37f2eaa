"""Strip charts of what the frames are like."""

import numpy as np
import pytest

from dashboard.components.quality import Quality, event_columns
from dashboard.strips import QUANTITIES
from dashboard.view import RecordView


@pytest.fixture
def shown(session, clock):
    for number in range(1, 7):
        clock.now += 60
        told = {"mean_counts": 100.0 + number, "information_limit_per_nm": 9.5}
        session.place(session.analysed("yes", quality=told), drift_nm=5.0 if number == 4 else 0.1)
    view, went = RecordView(session.directory), []
    quality = Quality(view, went.append)
    yield quality, view, session, went
    view.close()


def test_every_quantity_has_its_points_by_frame_and_by_time(shown, clock) -> None:
    quality, view, _, _ = shown
    quality.update(view.poll(), clock())
    data = quality.source.data
    assert data["x"].tolist() == [1, 2, 3, 4, 5, 6]
    assert data["drift"].tolist() == [0.1, 0.1, 0.1, 5.0, 0.1, 0.1]
    assert data["counts"].tolist() == [101, 102, 103, 104, 105, 106]
    assert data["span"][3] == "4"
    quality.axis_choice.active = 1
    assert quality.source.data["x"].tolist() == [0, 1, 2, 3, 4, 5]
    assert quality.charts[QUANTITIES[-1]].xaxis.axis_label == "minutes since the first frame"
    ranges = {chart.x_range.id for chart in (*quality.charts.values(), quality.lane)}
    assert len(ranges) == 1  # one axis for all


def test_defocus_takes_no_room_where_it_is_not_known(shown, clock) -> None:
    quality, view, session, _ = shown
    quality.update(view.poll(), clock())
    assert not quality.charts["defocus"].visible
    assert "defocus not known" in quality.words.text
    session.place(session.analysed("yes", quality={"defocus_nm": 42.0}), 7)
    quality.update(view.poll(), clock())
    assert quality.charts["defocus"].visible
    assert "defocus <b>42</b> nm" in quality.words.text


def test_nothing_is_sent_where_nothing_is_new(shown, clock) -> None:
    quality, view, _, _ = shown
    quality.update(view.poll(), clock())
    changes = []
    quality.source.on_change("data", lambda attr, old, new: changes.append(new))
    quality.update(view.poll(), clock())
    quality.go_on(clock())
    assert changes == []


def test_a_click_goes_to_the_frame_that_stands_out(shown, clock) -> None:
    quality, view, _, went = shown
    quality._tapped("drift", 4.0)
    assert went == []  # there is nothing yet
    quality.update(view.poll(), clock())
    quality._tapped("drift", 3.8)
    quality._tapped("defocus", 2.2)  # nothing is known of it there: the frame itself
    quality._tapped(None, 6.4)
    assert went == [4, 2, 6]


def test_alarms_lie_where_their_frames_do(shown, clock) -> None:
    quality, view, session, _ = shown
    session.alarm("stage drift", cause="<b>far</b>")
    quality.update(view.poll(), clock())
    drawn = quality.events["warning"].data
    assert (drawn["left"], drawn["right"], drawn["cause"]) == ([3.0], [6.0], ["<b>far</b>"])
    assert quality.events["critical"].data["left"] == []
    assert "1 alarm, 1 on" in quality.words.text
    session.db.execute("UPDATE alarms SET until = 1, until_frame = 5")
    clock.now += 1
    quality.update(view.poll(), clock())
    assert quality.events["warning"].data["right"] == [5.0]
    quality.axis_choice.active = 1
    assert quality.events["warning"].data["left"] == [2.0]


def test_alarms_of_the_session_itself_lie_at_their_time(shown, clock) -> None:
    _, view, session, _went = shown
    first = view.strips()[0].began
    session.alarm("disk nearly full", "critical", until=first + 150)
    session.db.execute("UPDATE alarms SET since_frame = NULL, since = ?", (first + 90,))
    strips, events = view.strips()
    by_frame = event_columns(events, strips, 0, "critical")
    assert by_frame["left"] == pytest.approx([2.5])
    assert by_frame["right"] == pytest.approx([3.5])
    by_time = event_columns(events, strips, 1, "critical")
    assert by_time["left"] == pytest.approx([1.5])
    session.db.execute("UPDATE alarms SET since = NULL")  # before any frame came
    assert event_columns(view.strips()[1], strips, 0, "critical")["left"] == [1.0]


def test_a_long_record_says_that_it_is_being_read(shown, clock, monkeypatch) -> None:
    quality, view, _, _ = shown
    monkeypatch.setattr("dashboard.strips.CHUNK", 2)
    monkeypatch.setattr("dashboard.strips.BUDGET_S", 0)
    quality.update(view.poll(), clock())
    assert "working" in quality.words.text
    for _ in range(4):
        quality.go_on(clock())
    assert "working" not in quality.words.text
    assert np.isfinite(quality.source.data["counts"]).sum() == 6
