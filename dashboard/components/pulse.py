"""The head of the page: the session's state, time since the last frame, delay, rate, bundle."""

from __future__ import annotations

from html import escape
from typing import Any

from bokeh.models import ColumnDataSource, Div

from dashboard.snapshot import BundleState, Pace, Snapshot
from dashboard.state import quiet_after, state_of, status_text
from dashboard.style import milliseconds, number, percent, text_sheet


class Pulse:
    """The head of the page.

    `source` holds one row that the page's own script shows: the script counts the seconds since the last
    frame by itself, so they go on counting when nothing arrives, and when the server is gone.
    """

    def __init__(self) -> None:
        self.source = ColumnDataSource(name="pulse_source", data={})
        self.root = Div(
            name="pulse", text="", margin=0, stylesheets=[text_sheet("pulse")], sizing_mode="stretch_width"
        )
        self.root.tags = [
            self.source
        ]  # only what hangs on a root belongs to a Document and reaches the browser
        self._sent: dict[str, Any] = {}

    def update(self, snapshot: Snapshot, now: float, *, reload: bool = False) -> None:
        """Show the state at `now` [s since 1970 UTC]; sends nothing where nothing is different.

        With `reload` the browser is to fetch the page anew.
        """
        state, figures = state_of(snapshot, now), snapshot.figures
        row = {
            "state": state.word,
            "mark": state.mark,
            "sentence": state.sentence,
            "status": status_text(snapshot, state),
            "last_frame_at": snapshot.pace.last_committed,
            "quiet_after": quiet_after(snapshot.pace),
            "title": _title(snapshot),
            "fraction": None if figures is None or figures.corrected is None else percent(figures.corrected),
            "interval": None if figures is None else _ends("95 %", figures.low, figures.high),
            "always": None
            if figures is None
            else _ends("valid at every look", figures.always_low, figures.always_high),
            "alarms": " ".join(str(alarm.id) for alarm in snapshot.alarms if alarm.urgent),
            "reload": reload,
        }
        if row != self._sent:
            self._sent = row
            self.source.data = {name: [value] for name, value in (row | {"now": now}).items()}
        text = _figures(snapshot)
        if text != self.root.text:
            self.root.text = text


def _ends(what: str, low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{what}: {percent(low)} to {percent(high)}"


def _title(snapshot: Snapshot) -> str:
    figures = snapshot.figures
    fraction = "" if figures is None or figures.corrected is None else f"{percent(figures.corrected)} · "
    return f"{fraction}{snapshot.directory.name} · faultwatch"


def _figures(snapshot: Snapshot) -> str:
    pace, queued = snapshot.pace, snapshot.ledger.queued
    items = [
        ("analysed", f"{snapshot.ledger.analysed:,}", "", ""),
        ("in the queue", f"{queued:,}", "", "warn" if _behind(queued, pace) else ""),
        ("frames/s in · done", f"{number(pace.arrived_per_s)} · {number(pace.analysed_per_s)}", "", ""),
        (
            "delay p50 · p95",
            f"{milliseconds(pace.latency_p50_ms)} · {milliseconds(pace.latency_p95_ms)}",
            f"from a frame being there whole to its result, over the last {pace.frames} frames",
            "",
        ),
        ("bundle", *_bundle(snapshot.bundle)),
    ]
    return (
        "<dl>"
        + "".join(
            f'<div title="{escape(hint)}"><dt>{name}</dt><dd class="{css}">{escape(value)}</dd></div>'
            for name, value, hint, css in items
        )
        + "</dl>"
    )


def _behind(queued: int, pace: Pace) -> bool:
    """The queue holds more than ten seconds of work."""
    return queued > 10 * (pace.analysed_per_s or 1.0)


def _bundle(bundle: BundleState | None) -> tuple[str, str, str]:
    if bundle is None:
        return "—", "no frame has been judged yet", "bundle"
    others = "" if not bundle.others else f" (+{bundle.others})"
    hint = f"{bundle.id}; {bundle.others} other bundles judged earlier frames" if others else bundle.id
    return f"{bundle.id}{others}", hint, "bundle"
