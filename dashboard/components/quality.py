"""Strip charts over the session: what the frames are like, how late results are, and where alarms were raised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from bokeh.events import Tap
from bokeh.layouts import column, row
from bokeh.models import (
    ColumnDataSource,
    CrosshairTool,
    DataRange1d,
    Div,
    HoverTool,
    NumeralTickFormatter,
    RadioButtonGroup,
    Span,
    Title,
)
from bokeh.plotting import figure

from dashboard.components.fraction import BUTTONS
from dashboard.snapshot import Snapshot
from dashboard.strips import QUANTITIES, Event, Strips
from dashboard.style import BAD, DIM, SANS, TEXT, WARN, text_sheet, widget_sheet
from dashboard.view import RecordView

Go = Callable[[int], None]


@dataclass(frozen=True)
class _Words:
    short: str
    title: str
    unit: str
    digits: str
    """Bokeh's format of a number."""


_WORDS = {
    "drift": _Words("drift", "drift from the frame before", "nm", "0.00"),
    "defocus": _Words("defocus", "defocus, without its sign", "nm", "0.0"),
    "counts": _Words("counts", "counts, mean of the frame", "counts/px", "0.0"),
    "limit": _Words("information limit", "information limit", "nm⁻¹", "0.00"),
    "delay": _Words("delay", "delay until the result", "ms", "0,0"),
    "backlog": _Words("backlog", "backlog: arrived later, but before its result", "frames", "0,0"),
}
_AXES = (
    ("position", "frames analysed, in order of acquisition"),
    ("minutes", "minutes since the first frame"),
)
_SEVERITIES = {"critical": BAD, "warning": WARN, "notice": DIM}
_EVENTS = ("left", "right", "kind", "cause", "bottom", "top")


class Quality:
    """Six strip charts with one axis; a click goes to the frame that stands out there."""

    def __init__(self, view: RecordView, go: Go) -> None:
        """
        Parameters
        ----------
        go : looks at a frame, by its number.
        """
        self._view = view
        self._go = go
        self._strips = Strips.empty()
        self._events: tuple[Event, ...] = ()
        self.source = ColumnDataSource(name="quality_source", data=_columns(self._strips, 0))
        self.events = {
            name: ColumnDataSource(name=f"quality_{name}", data={key: [] for key in _EVENTS})
            for name in _SEVERITIES
        }
        self.words = Div(
            name="quality_words", margin=0, sizing_mode="stretch_width",
            stylesheets=[text_sheet("quality_words")],
        )  # fmt: skip
        self.axis_choice = RadioButtonGroup(
            name="quality_axis", labels=["by frame", "by time"], active=0, height=26, width=150,
            stylesheets=[widget_sheet("quality_axis", BUTTONS)],
        )  # fmt: skip
        self.axis_choice.on_change("active", self._choose_axis)
        self._x_range = DataRange1d(range_padding=0.01, name="quality_x")
        self.lane = self._lane()
        self.charts = {name: self._chart(name) for name in QUANTITIES}
        top = row(self.words, self.axis_choice, name="quality_top", sizing_mode="stretch_width", spacing=8)
        self.root = column(
            top, self.lane, *self.charts.values(), name="quality", sizing_mode="stretch_both", spacing=0
        )
        self._describe()

    def update(self, snapshot: Snapshot, now: float) -> None:
        """Show the course as it stands; sends nothing where nothing is different."""
        strips, events = self._view.strips()
        if strips is self._strips and events == self._events:
            return
        self._strips, self._events = strips, events
        self._draw()

    def go_on(self, now: float) -> None:
        """Go on reading a long record."""
        if self._view.strips_pending:
            self.update(self._view.poll(), now)
            self._describe()  # it may be done by now

    def _draw(self) -> None:
        axis = self.axis_choice.active or 0
        self.source.data = _columns(self._strips, axis)
        for name, source in self.events.items():
            source.data = event_columns(self._events, self._strips, axis, name)
        for name, chart in self.charts.items():
            # What no camera or specimen tells (defocus without carbon) takes no room; the last chart has the axis.
            chart.visible = name != "defocus" or bool(np.isfinite(self._strips.of[name].mean).any())
        self._describe()

    def _choose_axis(self, _attr: str, _old: object, _new: object) -> None:
        self.charts[QUANTITIES[-1]].xaxis.axis_label = _AXES[self.axis_choice.active or 0][1]
        self._draw()

    def _describe(self) -> None:
        text = words(self._strips, self._events, self._view.strips_pending)
        if text != self.words.text:
            self.words.text = text

    def _tapped(self, name: str | None, x: float | None) -> None:
        """Look at the frame that stands out where somebody clicked."""
        strips = self._strips
        if x is None or not len(strips.position):
            return
        index = int(np.abs(_x(strips, self.axis_choice.active or 0) - x).argmin())
        frame = 0 if name is None else int(strips.of[name].worst_frame[index])
        found = frame or self._view.frame_at(int(strips.position[index]))
        if found is not None:
            self._go(found)

    def _lane(self) -> Any:
        """The alarms themselves, one below the other where they overlap."""
        lane = figure(
            name="quality_lane", height=34, sizing_mode="stretch_width", x_range=self._x_range, y_range=(0, 1),
            tools="", toolbar_location=None,
        )  # fmt: skip
        lane.title = _title("quality_lane", "alarms")
        lane.axis.visible = lane.grid.visible = False
        lane.yaxis.visible = True
        lane.yaxis.major_label_text_alpha = 0
        lane.yaxis.major_tick_line_color = lane.yaxis.axis_line_color = None
        drawn = [
            lane.quad(
                left="left", right="right", bottom="bottom", top="top", source=source,
                fill_color=_SEVERITIES[name], line_color=_SEVERITIES[name], fill_alpha=0.7,
            )
            for name, source in self.events.items()
        ]  # fmt: skip
        lane.add_tools(HoverTool(renderers=drawn, tooltips=[("alarm", "@kind"), ("why", "@cause")]))
        lane.on_event(Tap, lambda event: self._tapped(None, event.x))
        _align(lane)
        return lane

    def _chart(self, name: str) -> Any:
        told, last = _WORDS[name], name == QUANTITIES[-1]
        height = 116 if last else 74  # the last one has the axis of all
        chart = figure(
            name=f"quality_{name}", sizing_mode="stretch_both", min_height=height, x_range=self._x_range, tools="",
            toolbar_location=None,
        )  # fmt: skip
        chart.title = _title(f"quality_{name}", f"{told.title} [{told.unit}]")
        if name in ("drift", "delay", "backlog"):
            chart.y_range.start = 0
        chart.yaxis.ticker.desired_num_ticks = 3
        chart.yaxis.formatter = NumeralTickFormatter(format="0,0[.]00")
        chart.xaxis.formatter = NumeralTickFormatter(format="0,0[.]0")
        chart.xaxis.visible = last
        if last:
            chart.xaxis.axis_label = _AXES[0][1]
        for severity, source in self.events.items():
            marks = chart.vstrip(
                x0="left", x1="right", source=source, fill_color=_SEVERITIES[severity], fill_alpha=0.18,
                line_color=_SEVERITIES[severity], line_alpha=0.6,
            )  # fmt: skip
            marks.level = "underlay"
        band = chart.varea("x", f"{name}_low", f"{name}_high", source=self.source)
        band.glyph.fill_color, band.glyph.fill_alpha = DIM, 0.3
        chart.line("x", name, source=self.source, color=TEXT, line_width=1.5)
        points = chart.scatter("x", name, source=self.source, color=TEXT, size=3)
        chart.y_range.renderers = [band, points]
        chart.add_tools(
            HoverTool(
                renderers=[points],
                mode="vline",
                tooltips=[
                    ("frames", "@span"),
                    (told.short, f"@{name}{{{told.digits}}} {told.unit}"),
                    ("from", f"@{name}_low{{{told.digits}}} to @{name}_high{{{told.digits}}}"),
                ],
            ),
            CrosshairTool(overlay=Span(dimension="height", line_color=DIM, name=f"quality_{name}_cross")),
        )
        chart.on_event(Tap, lambda event: self._tapped(name, event.x))
        _align(chart)
        return chart


def words(strips: Strips, events: tuple[Event, ...], pending: bool) -> str:
    """The last values in a sentence, for those who can't see the charts, and what is being done."""
    if not len(strips.position):
        return '<span class="dim">no frame is settled yet</span>'
    last = []
    for name in QUANTITIES:
        known = strips.of[name].mean[np.isfinite(strips.of[name].mean)]
        said = f"<b>{known[-1]:,.4g}</b> {_WORDS[name].unit}" if len(known) else "not known"
        last.append(f"{_WORDS[name].short} {said}")
    several = (
        f" · a point stands for {strips.frames:,} frames, the band for the range" if strips.frames > 1 else ""
    )
    working = " · <b>working …</b>" if pending else ""
    on = sum(event.until is None for event in events)
    alarms = (
        f" · {len(events):,} alarm{'s' * (len(events) > 1)}, {on:,} on" if events else " · no alarm so far"
    )
    return f'<span class="last">last: {", ".join(last)}</span><span class="dim">{several}{alarms}</span>{working}'


def event_columns(events: tuple[Event, ...], strips: Strips, axis: int, severity: str) -> dict[str, Any]:
    """The alarms of one severity on an axis (0: by frame, 1: by time)."""
    data: dict[str, Any] = {key: [] for key in _EVENTS}
    if not len(strips.position):
        return data
    rank = {"critical": 0, "warning": 1, "notice": 2}[severity]
    for event in events:
        if event.severity == severity:
            left = _place(event.since, strips, axis)
            right = float(_x(strips, axis)[-1]) if event.until is None else _place(event.until, strips, axis)
            values = (
                left, max(left, right), event.kind, event.cause, (2 - rank) / 3, (3 - rank) / 3
            )  # fmt: skip
            for key, value in zip(_EVENTS, values, strict=True):
                data[key].append(value)
    return data


def _place(moment: tuple[float | None, float | None], strips: Strips, axis: int) -> float:
    """Where a moment lies on the axis; one that is before everything lies at its begin."""
    position, at = moment
    if axis == 0:
        if position is not None:
            return float(position)
        return 1.0 if at is None else float(np.interp(at, strips.at, strips.position))
    if at is None:
        at = strips.began if position is None else float(np.interp(position, strips.position, strips.at))
    return max(0.0, at - strips.began) / 60


def _x(strips: Strips, axis: int) -> Any:
    return (strips.at - strips.began) / 60 if axis else strips.position


def _columns(strips: Strips, axis: int) -> dict[str, Any]:
    first = np.concatenate([[0.0], strips.position[:-1]]) + 1 if len(strips.position) else strips.position
    data: dict[str, Any] = {
        "x": _x(strips, axis),
        "span": [
            f"{last:,.0f}" if begin == last else f"{begin:,.0f} to {last:,.0f}"
            for begin, last in zip(first, strips.position, strict=True)
        ],
    }
    for name in QUANTITIES:
        strip = strips.of[name]
        data |= {name: strip.mean, f"{name}_low": strip.low, f"{name}_high": strip.high}
    return data


def _title(name: str, text: str) -> Title:
    return Title(
        text=escape(text, quote=False), name=f"{name}_title", align="left", text_color=DIM, text_font=SANS,
        text_font_size="11px", text_font_style="normal", standoff=2,
    )  # fmt: skip


def _align(chart: Any) -> None:
    """The charts' left edges are one line, however wide their numbers are."""
    chart.min_border_left = 62
    chart.min_border_right = 12
    chart.min_border_top, chart.min_border_bottom = 0, 5
