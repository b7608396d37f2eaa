"""The alarms: those that are on, with what to do, and those that were cleared lately."""

from __future__ import annotations

from html import escape

from bokeh.models import Div

from dashboard.asking import Asking
from dashboard.snapshot import Snapshot
from dashboard.style import clock_time, text_sheet
from monitor.record.rows import AlarmRow

#: Shape besides colour, by severity.
ICONS = {"critical": "✕", "warning": "▲", "notice": "ℹ"}


class Alarms:
    """A list of alarms, each that is on with a button to acknowledge it."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._answers: dict[int, str] = {}
        """What became of acknowledging an alarm, until the record itself shows it."""
        self._alarms: tuple[AlarmRow, ...] = ()
        self._now = 0.0
        self._begun = False
        asking.on("acknowledge", self._acknowledge)
        self.root = Div(name="alarms", text="", sizing_mode="stretch_both", margin=0)
        self.root.stylesheets = [text_sheet("alarms", ":host { overflow: hidden auto; padding: 0 8px 4px; }")]
        self._draw()

    def update(self, snapshot: Snapshot, now: float) -> None:
        """Show the alarms as they stand; sends nothing where nothing is different."""
        self._alarms, self._now, self._begun = snapshot.alarms, now, snapshot.figures is not None
        done = {alarm.id for alarm in snapshot.alarms if alarm.acknowledged is not None}
        known = {alarm.id for alarm in snapshot.alarms}
        self._answers = {n: said for n, said in self._answers.items() if n in known and n not in done}
        self._draw()

    def _acknowledge(self, value: str) -> None:
        number = int(value) if value.isdigit() else -1
        if number not in {alarm.id for alarm in self._alarms}:
            return

        def answered(accepted: bool | None, said: str) -> None:
            self._answers[number] = said
            self._draw()

        self._answers[number] = "asked …"
        self._asking.command("acknowledge", {"alarm": number}, answered)
        self._draw()

    def _draw(self) -> None:
        on = [alarm for alarm in self._alarms if alarm.until is None]
        over = [alarm for alarm in self._alarms if alarm.until is not None]
        text = "".join(_on(alarm, self._answers.get(alarm.id), self._now) for alarm in on)
        if not on:
            text = f'<div class="dim">{"✓ no alarm is on" if self._begun else "no frame yet"}</div>'
        if over:
            text += "<h3>cleared lately</h3>" + "".join(_over(alarm, self._now) for alarm in over)
        if text != self.root.text:
            self.root.text = text


def _on(alarm: AlarmRow, answer: str | None, now: float) -> str:
    if alarm.acknowledged is not None:
        state = f'<span class="dim">✓ acknowledged {clock_time(alarm.acknowledged, now)}</span>'
    else:
        said = "" if answer is None else f'<span class="said">{escape(answer)}</span>'
        waits = " disabled" if answer == "asked …" else ""
        state = (
            f'{said}<button data-ask="acknowledge" data-value="{alarm.id}"{waits}'
            f' aria-label="acknowledge: {escape(alarm.kind)}">acknowledge</button>'
        )
    seen = " seen" if alarm.acknowledged is not None else ""
    return (
        f'<div class="alarm {escape(alarm.severity)}{seen}">'
        f'<div class="top"><span class="icon" title="{escape(alarm.severity)}">{ICONS.get(alarm.severity, "▲")}</span>'
        f"<b>{escape(alarm.kind)}</b>"
        f'<span class="dim">{escape(alarm.severity)} · since {clock_time(alarm.since, now)}</span>'
        f'<span class="state">{state}</span></div>'
        f'<div>{escape(alarm.cause)}<span class="dim">{_concerned(alarm)}</span></div>'
        f'<div class="todo">→ {escape(alarm.action)}</div></div>'
    )


def _over(alarm: AlarmRow, now: float) -> str:
    until = clock_time(alarm.until, now)[-8:]
    return (
        f'<div class="over clip" title="{escape(alarm.cause)}">{ICONS.get(alarm.severity, "▲")} {escape(alarm.kind)}'
        f' <span class="dim">{clock_time(alarm.since, now)} – {until}{_concerned(alarm)}</span></div>'
    )


def _concerned(alarm: AlarmRow) -> str:
    """Which frames."""
    if alarm.since_frame is None or not alarm.frames:
        return ""
    if alarm.frames == 1:
        return f" · frame {alarm.since_frame:,}"
    return f" · {alarm.frames:,} frames, {alarm.since_frame:,} to {alarm.last_frame or alarm.since_frame:,}"
