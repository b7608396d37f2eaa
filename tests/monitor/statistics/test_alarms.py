"""Alarms: every kind raised and cleared, what is not counted, and a state that can be taken up again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.statistics.alarm_kinds import RULES, Alarm, Kind
from monitor.statistics.alarm_limits import Limits
from monitor.statistics.alarms import AlarmState, after_conditions, after_frame, fold, gate
from monitor.statistics.frame_alarms import FrameSeen
from monitor.statistics.session_alarms import Conditions
from monitor.statistics.share_alarm import ShareCourse, g_statistic

GOOD: dict[str, Any] = {
    "verdict": "ok",
    "mean_counts": 500.0,
    "noise_power": 8000.0,
    "noise_whiteness": 0.16,
    "signal": 0.6,
    "information_limit_per_nm": 7.5,
    "sharpness_per_nm": 5.0,
    "illumination_range": 0.10,
    "blur_nm": 0.07,
    "covered": 0.1,
    "unlike": False,
}
DARK = {
    **{name: value for name, value in GOOD.items() if name not in ("information_limit_per_nm", "sharpness_per_nm")},
    "mean_counts": 100.0, "noise_power": 36.0, "noise_whiteness": 1.0, "signal": 0.0, "covered": 0.0,
}  # fmt: skip
BLANK = {**DARK, "mean_counts": 500.0, "noise_power": 8000.0, "noise_whiteness": 0.16}


class Session:
    """Frames and looks, one after the other, and what changed."""

    def __init__(self, good: int = 12) -> None:
        self.state = AlarmState()
        self.frame = -1
        self.told: list[tuple[int, str, str]] = []
        self.frames(good)

    def frames(self, number: int = 1, figures: Mapping[str, Any] | None = None, **about: Any) -> AlarmState:
        for _ in range(number):
            self.frame += 1
            seen = FrameSeen(self.frame, 2.0 * self.frame, GOOD | dict(figures or {}), {"no": 3, "null": 1}, 0.3,
                             False, self.frame % 4 == 0, 0.025)  # fmt: skip
            self._keep(after_frame(self.state, replace(seen, **about)))
        return self.state

    def look(self, time: float, **conditions: Any) -> AlarmState:
        self._keep(after_conditions(self.state, Conditions(time, **conditions)))
        return self.state

    def _keep(self, state: AlarmState) -> None:
        self.state = state
        self.told += [(self.frame, "cleared" if a.cleared else "raised", a.kind) for a in state.changed]


def test_good_frames_raise_nothing() -> None:
    assert Session(200).told == []


@pytest.mark.parametrize(
    ("kind", "quality", "about", "after"),
    [
        ("beam lost", None, {"quality": DARK}, 1),
        ("beam lost", {"verdict": "constant", "noise_power": 0.0}, {}, 1),
        ("blank field", None, {"quality": BLANK}, 1),
        ("frozen frame", None, {"repeated": True}, 1),
        ("out of focus", {"defocus_nm": 90.0, "defocus_confidence": 0.75, "sharpness_per_nm": 4.0}, {}, 1),
        ("out of focus", {"defocus_nm": 90.0, "defocus_confidence": 0.9}, {}, 1),
        ("out of focus", {"sharpness_per_nm": 3.1, "signal": 3.0}, {"new_field": False}, 1),
        ("charging", {"illumination_range": 0.16, "sharpness_per_nm": 4.2}, {}, 1),
        ("charging", {"illumination_range": 0.16, "blur_nm": 0.3}, {}, 1),
        ("drift too fast", None, {"drift_nm": 2.5, "new_field": False}, 2),
        ("calibration shift", {"noise_power": 2400.0}, {}, 2),
        ("calibration shift", {"noise_power": 24000.0}, {}, 2),
    ],
)  # fmt: skip
def test_an_alarm_is_raised_and_cleared(
    kind: Kind, quality: dict[str, Any] | None, about: dict[str, Any], after: int
) -> None:
    session = Session()
    session.frames(5, quality, **about)
    assert session.told == [(11 + after, "raised", kind)]
    (alarm,) = session.state.alarms
    assert (alarm.since_frame, alarm.since_time, alarm.last_frame, alarm.frames) == (12, 24.0, 16, 5)
    assert alarm.cause.endswith(".")
    assert session.state.concerned == (kind,)
    session.frames(6)
    assert session.told[1:] == [(16 + RULES[kind].cleared_after, "cleared", kind)]
    assert session.state.alarms == ()


def test_the_cause_holds_the_figures() -> None:
    session = Session()
    (alarm,) = session.frames(2, {"noise_power": 2400.0}).alarms
    assert alarm.cause == "The dose is 0.30 times the usual one, by the power of the noise."
    assert alarm.severity == "warning"
    assert alarm.action == RULES["calibration shift"].action


def test_between_the_limits_an_alarm_stays_and_is_not_raised_again() -> None:
    session = Session()
    session.frames(
        3, {"sharpness_per_nm": 3.6}, new_field=False
    )  # 0.72 of the usual: between raising and clearing
    assert session.told == []
    session.frames(2, {"sharpness_per_nm": 3.2}, new_field=False)
    session.frames(3, {"sharpness_per_nm": 3.6}, new_field=False)
    assert session.told == [(15, "raised", "out of focus")]
    session.frames(1)
    assert session.told[1:] == [(20, "cleared", "out of focus")]


def test_a_weak_frame_that_reads_soft_counts_only_if_the_next_one_does() -> None:
    session = Session()
    session.frames(1, {"sharpness_per_nm": 3.1, "signal": 0.2}, new_field=False)
    session.frames(1, new_field=False)
    assert session.told == []
    session.frames(2, {"sharpness_per_nm": 3.1, "signal": 0.2}, new_field=False)
    assert session.told == [(15, "raised", "out of focus")]


def test_one_soft_field_is_no_alarm_and_two_are() -> None:
    session = Session()
    session.frames(4, {"sharpness_per_nm": 3.1})
    session.frames(4)
    assert session.told == []
    session.frames(5, {"sharpness_per_nm": 3.1})
    assert session.told == [(24, "raised", "out of focus")]


def test_frames_as_sharp_as_usual_are_in_focus_where_rings_are_doubtful() -> None:
    session = Session()
    session.frames(3, {"defocus_nm": 84.0, "defocus_confidence": 0.76, "sharpness_per_nm": 4.4})
    assert session.told == []


def test_at_a_low_dose_film_that_does_not_show_is_no_hole() -> None:
    session = Session()
    session.frames(1, quality={**BLANK, "noise_power": 1500.0})
    assert session.told == []


def test_a_defocus_that_is_usual_is_no_alarm() -> None:
    session = Session(0)
    session.frames(40, {"defocus_nm": 58.0, "defocus_confidence": 0.9})
    session.frames(3, {"defocus_nm": 65.0, "defocus_confidence": 0.9, "sharpness_per_nm": 4.0})
    assert session.told == []


def test_a_session_that_begins_in_the_dark_says_so() -> None:
    session = Session(0)
    session.frames(2, quality=DARK)
    assert session.told == [(0, "raised", "beam lost")]
    session.frames(5)
    assert session.told[1:] == [(2, "cleared", "beam lost")]


def test_uneven_fields_are_no_charging_but_growing_unevenness_is() -> None:
    session = Session()
    session.frames(4, {"illumination_range": 0.25})  # a film's edge: sharp, and it stays
    assert session.told == []
    session.frames(1)
    for uneven in (0.14, 0.19, 0.25):
        session.frames(1, {"illumination_range": uneven}, new_field=False)
    assert session.told == [(18, "raised", "charging")]


def test_a_level_that_stays_becomes_the_usual_one() -> None:
    session = Session()
    limits = Limits()
    session.frames(limits.settle_frames + 5, {"noise_power": 2400.0})
    assert [what for _, what, _ in session.told] == ["raised", "cleared"]
    session.frames(2)
    assert session.told[2:] == [(session.frame, "raised", "calibration shift")]


def test_a_change_of_the_pixel_size_is_told_and_nothing_is_usual_any_longer() -> None:
    session = Session()
    session.frames(1, pixel_size_nm=0.05)
    assert session.told == [(12, "raised", "pixel size changed")]
    assert session.state.alarms[0].cause == "The pixel size is now 0.05 nm."
    session.frames(20, {"noise_power": 32000.0}, pixel_size_nm=0.05)
    assert session.told[1:] == [(22, "cleared", "pixel size changed")]


def test_frames_unlike_the_training_in_several_fields() -> None:
    session = Session()
    session.frames(4, {"unlike": True}, new_field=False)
    assert session.told == []  # one field, which may be odd
    session.frames(1, {"unlike": True}, new_field=True)
    assert session.told == [(16, "raised", "model unlike these frames")]
    session.frames(8)
    assert session.told[1:] == [(23, "cleared", "model unlike these frames")]


def test_shares_that_jump() -> None:
    session = Session(0)
    session.frames(80)
    assert session.told == []
    session.frames(16, counts={"null": 4})
    assert [(what, kind) for _, what, kind in session.told] == [("raised", "classes' shares jumped")]
    assert "`null`" in session.state.alarms[0].cause
    session.frames(80)
    assert session.told[1][1:] == ("cleared", "classes' shares jumped")


def test_one_full_field_of_another_class_is_enough() -> None:
    session = Session(0)
    session.frames(40, counts={"no": 7, "null": 2})
    session.frames(2, counts={"null": 9}, new_field=False)
    session.frames(1, counts={"null": 9}, new_field=True)
    session.frames(1, counts={"null": 9}, new_field=False)
    assert [(what, kind) for _, what, kind in session.told] == [("raised", "classes' shares jumped")]


def test_the_statistic_of_shares_is_that_of_the_textbook() -> None:
    """Against SciPy's likelihood ratio without continuity correction."""
    from scipy.stats import chi2_contingency

    found = chi2_contingency([[12, 5], [30, 40]], correction=False, lambda_="log-likelihood")
    assert g_statistic((12, 5), (30, 40)) == pytest.approx(found.statistic)
    assert g_statistic((0, 5), (0, 9)) == 0


def test_sightings_of_a_field_count_once() -> None:
    course = ShareCourse()
    for field in range(1, 7):
        for _ in range(5):
            course = course.with_frame({"yes": 2, "no": 1, "empty": 4}, field, Limits())
    assert course.last == ((0, 1, 2),) * 4
    assert course.before == (0, 1, 2)


def test_gaps_in_the_numbers() -> None:
    session = Session()
    session.look(100.0, lost=3)
    assert session.state.alarms[0].cause == "3 numbers are missing in what came."
    session.look(101.0, lost=3)
    session.frames(Limits().gap_frames + 2)
    assert [(what, kind) for _, what, kind in session.told] == [
        ("raised", "gap in numbers"),
        ("cleared", "gap in numbers"),
    ]


def test_a_backlog_that_grows_and_is_worked_off() -> None:
    session = Session()
    for second in range(0, 120, 5):
        session.look(float(second), backlog=second)
    assert [(what, kind) for _, what, kind in session.told] == [("raised", "backlog growing")]
    assert session.state.alarms[0].cause == "50 frames wait, 50 more than 50 s before."
    for second, length in ((130, 100), (140, 70), (150, 40), (160, 20)):
        session.look(float(second), backlog=length)
    assert session.told[1][1:] == ("cleared", "backlog growing")


def test_a_backlog_that_only_varies_is_none() -> None:
    session = Session()
    for second in range(0, 600, 10):
        session.look(float(second), backlog=30 + (second // 10) % 8)
    assert session.told == []


def test_a_disk_that_fills_by_level_and_by_rate() -> None:
    session = Session()
    session.look(0.0, disk_free=int(100e9))
    session.look(60.0, disk_free=int(94e9))  # 16 minutes
    assert session.state.alarms[0].cause == (
        "94.0 GB are free on the session's disk, enough for 16 min at the present rate."
    )
    for minute in range(2, 12):
        session.look(60.0 * minute, disk_free=int(94e9))
    assert session.told[1][1:] == ("cleared", "disk filling")
    assert session.look(900.0, disk_free=int(2e9)).alarms[0].kind == "disk filling"


def test_a_share_that_goes_and_comes_back() -> None:
    session = Session()
    session.look(1.0, sources_gone=("/mnt/titan",))
    assert session.state.alarms[0].cause == "/mnt/titan can't be reached."
    session.look(2.0)
    assert [what for _, what, _ in session.told] == ["raised", "cleared"]


def test_what_is_not_counted_and_why() -> None:
    session = Session()
    assert gate(GOOD, session.state.of_last_frame()) is None
    assert gate(GOOD | {"verdict": "saturated", "saturated_share": 0.4}, ()) == (
        "overexposed: 40% of the pixels stand at the largest value"
    )
    assert str(gate(GOOD | {"repeated": True}, ())).startswith("frozen frame")
    state = session.frames(2, {"noise_power": 2400.0})
    assert gate(GOOD, state.of_last_frame()) is None  # another dose is told, and counted
    state = session.frames(1, quality=DARK)
    assert str(gate(DARK, state.of_last_frame())).startswith("beam lost: The noise has 0.")
    state = session.frames(1)
    assert gate(GOOD, state.of_last_frame()) is None


def test_a_good_frame_while_an_alarm_is_still_on_is_counted() -> None:
    session = Session()
    session.frames(3, {"illumination_range": 0.2, "sharpness_per_nm": 4.0})
    state = session.frames(1)
    assert [alarm.kind for alarm in state.alarms] == ["charging"]
    assert gate(GOOD, state.of_last_frame()) is None


QUALITIES = st.sampled_from(
    [GOOD, DARK, BLANK, {}, GOOD | {"sharpness_per_nm": 3.0}, GOOD | {"illumination_range": 0.3, "blur_nm": 0.4},
     GOOD | {"noise_power": 2000.0}, GOOD | {"unlike": True}, {"verdict": "constant"}]
)  # fmt: skip
SEEN = st.builds(
    FrameSeen,
    frame=st.integers(0, 10**6),
    time=st.none() | st.floats(0, 1e9),
    quality=QUALITIES,
    counts=st.dictionaries(st.sampled_from(["empty", "null", "no", "yes"]), st.integers(0, 30)),
    drift_nm=st.none() | st.floats(0, 30),
    repeated=st.booleans(),
    new_field=st.booleans(),
    pixel_size_nm=st.sampled_from([0.025, 0.05]),
)


@given(st.lists(SEEN, max_size=60), st.integers(0, 60))
def test_a_state_that_went_through_json_goes_on_the_same(frames: list[FrameSeen], at: int) -> None:
    whole = fold(frames)
    half = after_conditions(fold(frames[:at]), Conditions(1.0, backlog=3, disk_free=10**12, lost=2))
    plain = after_conditions(fold(frames[:at]), Conditions(1.0, backlog=3, disk_free=10**12, lost=2))
    half = AlarmState.from_dict(json.loads(json.dumps(half.as_dict())))
    for seen in frames[at:]:
        half, plain = after_frame(half, seen), after_frame(plain, seen)
    assert half == plain
    assert AlarmState.from_dict(json.loads(json.dumps(whole.as_dict()))) == whole


@given(st.lists(SEEN, max_size=60))
def test_raised_and_cleared_take_turns(frames: list[FrameSeen]) -> None:
    state, on = AlarmState(), set()
    for seen in frames:
        state = after_frame(state, seen)
        for alarm in state.changed:
            assert (alarm.kind in on) == alarm.cleared
            on ^= {alarm.kind}
        assert on == state.raised
        assert set(state.concerned) <= on


def test_the_state_stays_small() -> None:
    session = Session(400)
    early = len(json.dumps(session.state.as_dict()))
    session.frames(2000)
    assert len(json.dumps(session.state.as_dict())) < early + 400


def test_every_kind_has_a_rule_and_an_alarm_goes_through_json() -> None:
    assert set(get_args(Kind)) == set(RULES)
    assert all(rule.action.endswith(".") for rule in RULES.values())
    alarm = Alarm("charging", 3, None, 4, 2, "Because.")
    told = json.loads(json.dumps(alarm.as_dict()))
    assert told["severity"] == "warning"
    assert Alarm.from_dict(told) == alarm


def test_every_limit_is_above_nothing() -> None:
    limits = Limits()
    assert all(getattr(limits, each.name) > 0 for each in fields(limits))
    for raised, cleared in (
        (limits.lost_cleared_share, limits.lost_share),
        (limits.sharp_cleared_share, limits.sharp_share),
        (limits.uneven_factor, limits.uneven_cleared_factor),
        (limits.drift_nm, limits.drift_cleared_nm),
        (limits.dose_factor, limits.dose_cleared_factor),
    ):
        assert raised > cleared


def test_the_document_tells_every_alarm_as_it_is() -> None:
    document = (Path(__file__).parents[3] / "docs" / "alarms.md").read_text(encoding="utf-8")
    for kind, rule in RULES.items():
        (row,) = (line for line in document.splitlines() if line.startswith(f"| **{kind}** |"))
        assert f"| {rule.severity} |" in row
        assert f"| {rule.action} |" in row
        assert row.endswith("| not counted |" if rule.not_counted else "| counted |")
