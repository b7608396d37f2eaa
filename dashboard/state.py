"""What the page says of the session in one word and one sentence, for the eye and for a screen reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dashboard.snapshot import Pace, Snapshot
from dashboard.style import clock_time, percent
from monitor.record.rows import AlarmRow

StateWord = Literal[
    "waiting", "starting", "live", "quiet", "stalled", "warning", "alarm", "lost", "ended", "unreadable"
]

#: Shape besides colour: what stands before the word.
MARKS: dict[StateWord, str] = {
    "waiting": "○",
    "starting": "◐",
    "live": "●",
    "quiet": "▲",
    "stalled": "▲",
    "warning": "▲",
    "alarm": "✕",
    "lost": "✕",
    "ended": "■",
    "unreadable": "✕",
}


@dataclass(frozen=True)
class State:
    """The session's state; nothing in it changes merely because time passes, so it is seldom sent."""

    word: StateWord
    sentence: str

    @property
    def mark(self) -> str:
        return MARKS[self.word]


def quiet_after(pace: Pace) -> float:
    """For how long nothing may come unremarked [s]: five times the usual pause, 10 to 120 s."""
    rate = pace.analysed_per_s
    return 30.0 if rate is None else min(120.0, max(10.0, 5 / rate))


def state_of(snapshot: Snapshot, now: float) -> State:
    """The state of the session at time `now` [s since 1970 UTC], the most urgent first.

    A critical alarm that nobody has acknowledged comes before everything but a source that is lost, a warning before
    a session that is well or quiet.
    """
    state = _flow(snapshot, now)
    urgent = [alarm for alarm in snapshot.alarms if alarm.urgent]
    critical = [alarm for alarm in urgent if alarm.severity == "critical"]
    if critical and state.word in ("live", "quiet", "starting", "stalled", "waiting"):
        return State("alarm", _alarmed(critical[0], len(urgent) - 1, now))
    if urgent and state.word in ("live", "quiet", "starting"):
        return State("warning", _alarmed(urgent[0], len(urgent) - 1, now))
    return state


def _alarmed(alarm: AlarmRow, others: int, now: float) -> str:
    more = "" if not others else f" {others} more alarm{'s' if others > 1 else ''}."
    since = "" if alarm.since is None else f" since {clock_time(alarm.since, now)}"
    return f"{alarm.kind[0].upper()}{alarm.kind[1:]}{since}: {alarm.cause}{more}"


def _flow(snapshot: Snapshot, now: float) -> State:
    """How frames come in and results go out."""
    ledger, pace = snapshot.ledger, snapshot.pace
    if snapshot.problem is not None:
        return State("unreadable", snapshot.problem)
    if not snapshot.exists:
        return State(
            "waiting", f"No record in the folder {snapshot.directory.name} yet; it appears here by itself."
        )
    lost = [source for source in snapshot.sources if source.state == "lost"]
    if lost:
        said = f": {lost[0].message.rstrip('.')}." if lost[0].message else "."
        return State("lost", f"{lost[0].address} is lost since {clock_time(lost[0].since, now)}{said}")
    if (
        snapshot.sources
        and all(source.state == "closed" for source in snapshot.sources)
        and not ledger.queued
    ):
        return State("ended", "The session has ended; nothing more will come.")
    if not ledger.arrived:
        return State("waiting", "The session has begun; no frame has arrived yet.")
    limit = quiet_after(pace)
    last = max(pace.last_arrived or 0.0, pace.last_committed or 0.0)
    if ledger.queued:
        waiting = f"{_frames(ledger.queued)} waiting to be analysed"
        if pace.last_committed is None:
            # The workers load their models first.
            if now - last > 60.0:
                return State("stalled", f"{waiting}, and none is done yet.")
            return State("starting", f"{waiting}; the first result is on its way.")
        if now - max(pace.last_committed, _queue_began(pace)) > limit:
            return State(
                "stalled", f"{waiting}; the last result came at {clock_time(pace.last_committed, now)}."
            )
    elif now - last > limit:
        return State("quiet", f"No frame has come since {clock_time(last, now)}.")
    return State("live", f"{_frames(ledger.analysed)} analysed.")


def _queue_began(pace: Pace) -> float:
    """A frame that only just came into an idle session has not been waiting since the last result."""
    return pace.last_arrived or 0.0


def _frames(count: int) -> str:
    return f"{count:,} frame" if count == 1 else f"{count:,} frames"


def status_text(snapshot: Snapshot, state: State) -> str:
    """Everything that matters on the page in a few sentences of plain text."""
    ledger, figures = snapshot.ledger, snapshot.figures
    parts = [state.sentence]
    if ledger.arrived:
        parts.append(
            f"{ledger.arrived:,} arrived = {ledger.analysed:,} analysed + {ledger.queued:,} queued"
            f" + {ledger.rejected:,} rejected + {ledger.dropped:,} dropped."
        )
    if ledger.lost:
        parts.append(f"{ledger.lost:,} lost on the way.")
    if figures is not None and figures.corrected is not None:
        parts.append(
            f"Stacking-fault fraction {percent(figures.corrected)} (95 % interval {percent(figures.low)} to"
            f" {percent(figures.high)}) from {figures.judged:,} judged particles."
        )
        if figures.always_low is not None:
            parts.append(
                f"Valid at every look: {percent(figures.always_low)} to {percent(figures.always_high)}."
            )
    elif figures is not None and figures.counted is not None:
        parts.append(
            f"Stacking-fault fraction as counted {percent(figures.counted)} of {figures.judged:,} judged particles."
        )
    elif figures is not None:
        parts.append("No particle could be judged for a fault yet.")
    return " ".join(parts)
