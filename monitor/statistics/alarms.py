"""Alarms of a session: raised and cleared with hysteresis, as a pure fold over its frames and its condition.

`after_frame` takes one frame at a time, in order of acquisition; `after_conditions` takes looks at the session
itself. Both give a new state and change nothing else, so that the same frames always give the same alarms, and a
session that is taken up again gets them by folding over its record. The state has a bounded size and turns into
JSON and back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from monitor.statistics.alarm_kinds import RULES, Alarm, Finding, Kind
from monitor.statistics.alarm_limits import Limits
from monitor.statistics.frame_alarms import FIGURES, FrameSeen, Here, Usual, found_in_frame, number
from monitor.statistics.session_alarms import ConditionCourse, Conditions, found_in_conditions
from monitor.statistics.share_alarm import ShareCourse

#: Kinds that are told by comparison with what is usual, and may turn out to be the new usual.
_RELATIVE: tuple[Kind, ...] = ("out of focus", "charging", "calibration shift")


@dataclass(frozen=True)
class Streak:
    """Findings of one kind in a row."""

    wrong: int = 0
    right: int = 0
    since_frame: int | None = None
    since_time: float | None = None


@dataclass(frozen=True)
class AlarmState:
    """All that is kept of the frames so far."""

    alarms: tuple[Alarm, ...] = ()
    """Those that are on, in the order in which they were raised."""
    changed: tuple[Alarm, ...] = ()
    """Those that the last step raised or cleared (`Alarm.cleared`)."""
    concerned: tuple[Kind, ...] = ()
    """The kinds that the last frame is an instance of, whose alarms are on."""
    streaks: Mapping[Kind, Streak] = field(default_factory=dict)
    usual: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The last values of each figure in good frames."""
    lately: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The same of all frames that were lit and new, good or not."""
    pixel_size_nm: float | None = None
    pixel_frames: int | None = None
    """Frames since the pixel size changed."""
    unlike: tuple[tuple[bool, int], ...] = ()
    """Of the last frames that were judged: whether unlike the training, and which field."""
    here: Here = field(default_factory=Here)
    shares: ShareCourse = field(default_factory=ShareCourse)
    course: ConditionCourse = field(default_factory=ConditionCourse)
    last_frame: int | None = None

    @property
    def raised(self) -> frozenset[Kind]:
        """The kinds that are on."""
        return frozenset(alarm.kind for alarm in self.alarms)

    def of_last_frame(self) -> tuple[Alarm, ...]:
        """The alarms that concern the last frame, for `gate`."""
        return tuple(alarm for alarm in self.alarms if alarm.kind in self.concerned)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "alarms": [alarm.as_dict() for alarm in self.alarms],
            "changed": [alarm.as_dict() for alarm in self.changed],
            "concerned": list(self.concerned),
            "streaks": {
                kind: [s.wrong, s.right, s.since_frame, s.since_time] for kind, s in self.streaks.items()
            },
            "usual": {name: list(values) for name, values in self.usual.items()},
            "lately": {name: list(values) for name, values in self.lately.items()},
            "pixel_size_nm": self.pixel_size_nm,
            "pixel_frames": self.pixel_frames,
            "unlike": [list(each) for each in self.unlike],
            "here": asdict(self.here),
            "shares": self.shares.as_dict(),
            "course": self.course.as_dict(),
            "last_frame": self.last_frame,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> AlarmState:
        """The inverse of `as_dict`, also after a way through JSON.

        Raises
        ------
        KeyError, TypeError
            It is no such state.
        """
        return cls(
            **{
                **told,
                "alarms": tuple(Alarm.from_dict(each) for each in told["alarms"]),
                "changed": tuple(Alarm.from_dict(each) for each in told["changed"]),
                "concerned": tuple(told["concerned"]),
                "streaks": {kind: Streak(*values) for kind, values in told["streaks"].items()},
                "usual": {name: tuple(values) for name, values in told["usual"].items()},
                "lately": {name: tuple(values) for name, values in told["lately"].items()},
                "unlike": tuple((each[0], each[1]) for each in told["unlike"]),
                "here": Here(**told["here"]),
                "shares": ShareCourse.from_dict(told["shares"]),
                "course": ConditionCourse.from_dict(told["course"]),
            }
        )


_USUAL_LIMITS = Limits()


def after_frame(state: AlarmState, seen: FrameSeen, limits: Limits = _USUAL_LIMITS) -> AlarmState:
    """The state after one more frame."""
    here, course = state.here.moved(seen.new_field), state.course.with_frame()
    state = replace(state, here=here, last_frame=seen.frame, course=course)
    state = _with_pixel_size(state, seen, limits)
    usual = Usual(state.usual, limits)
    found = found_in_frame(seen, usual, state.here, limits, state.raised)
    if not seen.repeated:
        state = replace(state, here=state.here.with_frame(seen.quality, usual))
    spoilt = any(finding.wrong for finding in found.values())
    if not found["frozen frame"].wrong:
        state = _with_unlike(state, seen, limits)
    if not spoilt:
        state = replace(state, shares=state.shares.with_frame(seen.counts, here.field, limits))
    found |= _over_frames(state, limits)
    state = _with_usual(state, seen, found, limits)
    state = _judged(state, found, seen.frame, seen.time)
    concerned = tuple(kind for kind, finding in found.items() if finding.wrong and kind in state.raised)
    return replace(state, concerned=concerned)


def after_conditions(state: AlarmState, now: Conditions, limits: Limits = _USUAL_LIMITS) -> AlarmState:
    """The state after a look at the session itself."""
    found, course = found_in_conditions(now, state.course, limits, state.raised)
    return _judged(replace(state, course=course), found, state.last_frame, now.time)


def after_passed_frames(
    state: AlarmState, count: int, time: float, limits: Limits = _USUAL_LIMITS
) -> AlarmState:
    """The state of a session's own condition after so many more frames: a gap is over when enough came behind it."""
    gap = state.course.frames_since_gap
    if gap is None:
        return replace(state, changed=())
    state = replace(state, course=replace(state.course, frames_since_gap=gap + count))
    found: dict[Kind, Finding] = {}
    if gap + count >= limits.gap_frames:
        found["gap in numbers"] = Finding(False)
    return _judged(state, found, state.last_frame, time)


def fold(frames: Iterable[FrameSeen], limits: Limits = _USUAL_LIMITS) -> AlarmState:
    """The state after all these frames, from nothing."""
    state = AlarmState()
    for seen in frames:
        state = after_frame(state, seen, limits)
    return state


def gate(
    quality: Mapping[str, Any], alarms: Iterable[Alarm], kinds: frozenset[str] | None = None
) -> str | None:
    """Why the particles of a frame are not counted, as a sentence; `None` where they are.

    Such a frame is kept and shown.

    Parameters
    ----------
    quality : of the frame.
    alarms : that concern it, see `AlarmState.of_last_frame`.
    kinds : of alarms by which frames are not counted; None: as the rules have it.
    """
    if quality.get("verdict") == "saturated":
        return f"overexposed: {number(quality, 'saturated_share') or 0.0:.0%} of the pixels stand at the largest value"
    if quality.get("repeated") is True:
        return "frozen frame: it repeats the pixels of an earlier one"
    for alarm in alarms:
        if RULES[alarm.kind].not_counted if kinds is None else alarm.kind in kinds:
            return f"{alarm.kind}: {alarm.cause}"
    return None


def _judged(
    state: AlarmState, found: Mapping[Kind, Finding], frame: int | None, time: float | None
) -> AlarmState:
    """With the findings counted, and alarms raised and cleared by them."""
    streaks = dict(state.streaks)
    on = {alarm.kind: alarm for alarm in state.alarms}
    changed = []
    for kind, finding in found.items():
        rule, streak = RULES[kind], streaks.get(kind, Streak())
        if finding.wrong:
            first = Streak(0, 0, frame, time) if streak.wrong == 0 else streak
            streak = replace(first, wrong=streak.wrong + 1, right=0)
            if kind in on:
                on[kind] = replace(on[kind], last_frame=frame, frames=on[kind].frames + 1)
            elif streak.wrong >= rule.raised_after:
                on[kind] = Alarm(
                    kind, streak.since_frame, streak.since_time, frame, streak.wrong, finding.cause
                )
                changed.append(on[kind])
        else:
            streak = Streak(0, streak.right + 1)
            if kind in on and streak.right >= rule.cleared_after:
                changed.append(replace(on.pop(kind), until_frame=frame, until_time=time, cleared=True))
        streaks[kind] = streak
    return replace(state, alarms=tuple(on.values()), changed=tuple(changed), streaks=streaks)


def _with_pixel_size(state: AlarmState, seen: FrameSeen, limits: Limits) -> AlarmState:
    """With this frame's pixel size; where it is another one, nothing of what was usual holds any longer."""
    before = state.pixel_size_nm
    if before is None or abs(seen.pixel_size_nm / before - 1) <= limits.pixel_share:
        counted = None if state.pixel_frames is None else state.pixel_frames + 1
        return replace(state, pixel_size_nm=before or seen.pixel_size_nm, pixel_frames=counted)
    return replace(state, pixel_size_nm=seen.pixel_size_nm, pixel_frames=0, usual={}, lately={})


def _with_unlike(state: AlarmState, seen: FrameSeen, limits: Limits) -> AlarmState:
    unlike = seen.quality.get("unlike")
    if not isinstance(unlike, bool):
        return state
    return replace(state, unlike=(*state.unlike, (unlike, state.here.field))[-limits.unlike_window :])


def _over_frames(state: AlarmState, limits: Limits) -> dict[Kind, Finding]:
    """What several frames together say."""
    found: dict[Kind, Finding] = {}
    if state.pixel_frames is not None:
        cause = f"The pixel size is now {state.pixel_size_nm:.5g} nm."
        found["pixel size changed"] = Finding(state.pixel_frames < limits.pixel_frames, cause)
    if state.unlike:
        fields = [field for unlike, field in state.unlike if unlike]
        on = "model unlike these frames" in state.raised
        enough = len(fields) >= limits.unlike_raised and len(set(fields)) >= limits.unlike_fields
        cause = (
            f"{len(fields)} of the last {len(state.unlike)} frames are unlike those of the training; "
            "of good frames one in a hundred would be."
        )
        found["model unlike these frames"] = Finding(
            len(fields) > limits.unlike_cleared if on else enough, cause
        )
    shares = state.shares.judge(limits, "classes' shares jumped" in state.raised)
    if shares is not None:
        found["classes' shares jumped"] = shares
    gap = state.course.frames_since_gap
    if gap is not None and gap >= limits.gap_frames:
        found["gap in numbers"] = Finding(False)
    return found


def _with_usual(
    state: AlarmState, seen: FrameSeen, found: Mapping[Kind, Finding], limits: Limits
) -> AlarmState:
    """With this frame's figures among the usual ones, if it is a good frame."""
    if any(found[kind].wrong for kind in ("frozen frame", "beam lost", "blank field") if kind in found):
        return state

    def added(kept: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        values = {name: number(seen.quality, name) for name in FIGURES}
        return {
            **kept,
            **{
                name: (*kept.get(name, ()), value)[-limits.usual_frames :]
                for name, value in values.items()
                if value is not None
            },
        }

    lately = added(state.lately)
    if not any(found[kind].wrong for kind in _RELATIVE if kind in found):
        soft = state.here.soft_field is not None  # suspect, though nothing is wrong yet
        return replace(state, lately=lately, usual=state.usual if soft else added(state.usual))
    longest = max(
        state.streaks.get(kind, Streak()).wrong for kind in _RELATIVE if kind in found and found[kind].wrong
    )
    if longest + 1 >= limits.settle_frames:
        return replace(state, lately=lately, usual=lately)
    return replace(state, lately=lately)
