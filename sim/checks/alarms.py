"""Whether alarms come when they should and only then: `python -m sim.checks.alarms`.

Stories in which every kind of event is staged once are played by the virtual microscope, analysed as in a session, and
folded into alarms. Counted are, by kind of event, the stories in which its alarm is on within three frames of its
beginning, and false alarms: raised in a frame in which nothing is staged that explains them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monitor.statistics.alarms import AlarmState, after_frame, gate
from monitor.statistics.frame_alarms import FrameSeen
from sim.checks.staged import SECONDS_A_FRAME, Played, kept

#: The alarms that an event should raise; none where the pictures do not tell it from good frames.
EXPECTED: dict[str, tuple[str, ...]] = {
    "beam_loss": ("beam lost",),
    "off_focus": ("out of focus",),
    "charging": ("charging",),
    "frozen_frame": ("frozen frame",),
    "blank_field": ("blank field",),
    "dose_change": ("calibration shift",),
    "off_zone_field": ("classes' shares jumped",),
    "contamination": (),
}
#: Further alarms that are no false ones while an event lasts.
EXPLAINED: dict[str, tuple[str, ...]] = {
    "off_focus": ("model unlike these frames", "charging"),
    "charging": ("model unlike these frames", "out of focus", "drift too fast"),
    "dose_change": ("model unlike these frames",),
}
WITHIN = 3
"""Frames from the first of an event, that one included."""
AFTER = 3
"""Frames after an event in which its alarms are no false ones: what is judged over several frames lasts longer."""


@dataclass
class Score:
    """What was counted."""

    staged: Counter[str] = field(default_factory=Counter)
    in_time: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    good: int = 0
    good_not_counted: int = 0
    spoilt: Counter[str] = field(default_factory=Counter)
    spoilt_not_counted: Counter[str] = field(default_factory=Counter)

    def table(self) -> str:
        """A row a kind of event, and what was false."""
        rows = [
            "event            alarm                       staged  within 3  later  never  frames  not counted"
        ]
        for event, alarms in EXPECTED.items():
            staged, in_time, late = self.staged[event], self.in_time[event], self.late[event]
            told = f"{staged:6d} {in_time:9d} {late:6d} {staged - in_time - late:6d}"
            frames = f"{self.spoilt[event]:7d} {self.spoilt_not_counted[event]:12d}"
            rows.append(f"{event:<16} {', '.join(alarms) or 'none':<27} {told} {frames}")
        rate = 1000 * len(self.false) / max(1, self.good)
        rows.append(f"{self.good} good frames: {len(self.false)} false alarms, {rate:.1f} in 1,000 frames")
        rows.append(f"good frames that are not counted: {self.good_not_counted}")
        return "\n".join([*rows, *(f"false: {each}" for each in self.false), *self.missed])


def states(frames: Iterable[Played]) -> Iterator[tuple[Played, AlarmState]]:
    """Every frame with the state after it."""
    state = AlarmState()
    for each in frames:
        seen = FrameSeen(
            each.frame,
            each.frame * SECONDS_A_FRAME,
            each.quality,
            each.counts,
            each.drift_nm,
            each.repeated,
            each.new_field,
            each.pixel_size_nm,
        )
        state = after_frame(state, seen)
        yield each, state


def add(score: Score, frames: Sequence[Played], name: str) -> None:
    """Count one story."""
    course = list(states(frames))
    explained: dict[str, int] = {}
    """Until which frame an alarm is no false one."""
    for each, state in course:
        for event in each.events:
            for kind in (*EXPECTED.get(event, ()), *EXPLAINED.get(event, ())):
                explained[kind] = each.frame + AFTER
        for alarm in state.changed:
            if not alarm.cleared and explained.get(alarm.kind, -1) < each.frame:
                score.false.append(f"{name}, frame {each.frame}: {alarm.kind}: {alarm.cause}")
        closed = gate({**each.quality, "repeated": each.repeated}, state.of_last_frame()) is not None
        if each.events:
            score.spoilt[each.events[0]] += 1
            score.spoilt_not_counted[each.events[0]] += closed
        else:
            score.good += 1
            score.good_not_counted += closed
    for event, alarms in EXPECTED.items():
        if not alarms:
            continue
        during = [(each.frame, state.raised) for each, state in course if event in each.events]
        if not during:
            continue
        on = [frame for frame, raised in during if raised & set(alarms)]
        score.staged[event] += 1
        if on and on[0] < during[0][0] + WITHIN:
            score.in_time[event] += 1
        elif on:
            score.late[event] += 1
            score.missed.append(f"late: {name}: {event} from frame {during[0][0]}, raised at {on[0]}")
        else:
            score.missed.append(f"never: {name}: {event} from frame {during[0][0]} to {during[-1][0]}")


def main(arguments: list[str] | None = None) -> int:
    """Play, judge and count; returns 0 where every event that can be told is, within three frames, else 1."""
    parser = argparse.ArgumentParser(prog="python -m sim.checks.alarms", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0:20", metavar="A:B", help="stories from A to before B (0:20)")
    parser.add_argument("--size", type=int, default=768, metavar="PX", help="side of a frame (768)")
    parser.add_argument(
        "--keep", type=Path, required=True, metavar="DIR", help="what was analysed, to be read again"
    )
    options = parser.parse_args(arguments)
    first, end = (int(part) for part in options.seeds.split(":"))
    score = Score()
    for story, frames in kept(options.keep, range(first, end), options.size):
        add(score, frames, f"story {story.seed}")
    print(score.table())
    told = [event for event in EXPECTED if event not in ("off_zone_field", "contamination")]
    return 0 if all(score.in_time[event] == score.staged[event] for event in told) else 1


if __name__ == "__main__":
    raise SystemExit(main())
