"""The running stacking-fault fraction: corrected with its 95 % interval, and as counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
from bokeh.events import Tap
from bokeh.layouts import column, row
from bokeh.models import (
    ColumnDataSource,
    CrosshairTool,
    Div,
    HoverTool,
    NumeralTickFormatter,
    RadioButtonGroup,
    Range1d,
    Span,
    Spinner,
)
from bokeh.plotting import figure

from dashboard.components.audit import NUMBER
from dashboard.snapshot import BundleState, Figures, Series, Snapshot
from dashboard.style import CLASS_STYLES, DIM, STACKED, TEXT, WARN, percent, text_sheet, widget_sheet
from monitor.statistics.estimate_course import estimand
from monitor.statistics.fraction import wilson
from monitor.statistics.sequence import Goal

_COLUMNS = ("position", "minutes", "counted", "corrected", "low", "high", "always_low", "always_high")
_AXES = {
    "frame": ("position", "frames analysed, in order of acquisition"),
    "time": ("minutes", "minutes since the first frame"),
}
#: Half width of the interval that a viewer aims at first [%].
GOAL = 5


class Fraction:
    """The fraction as a large number, with its interval, its course, and how far it is from a goal."""

    def __init__(
        self,
        goal: Callable[[float], Goal | None] = lambda half_width: None,
        go: Callable[[int], None] = lambda position: None,
    ) -> None:
        """
        Parameters
        ----------
        goal : how far the fraction is from a half width (as 0.05); None where that is not known.
        go : looks at the frame at a place in the order of acquisition.
        """
        self._goal_of = goal
        self._go = go
        self._as_of: int | None = None
        self._goal: Goal | None = None
        self._set_goal: float | None = None
        self._drawn = 0
        self.source = ColumnDataSource(name="fraction_source", data={name: [] for name in (*_COLUMNS, "x")})
        self.headline = Div(
            name="fraction_headline", margin=(0, 12, 0, 4), sizing_mode="stretch_both",
            stylesheets=[text_sheet("fraction_headline", ":host { overflow: hidden auto; }")],
        )  # fmt: skip
        self.headline.text = headline(None, None, 0)
        self.axis_choice = RadioButtonGroup(
            name="fraction_axis", labels=["by frame", "by time"], active=0, height=26, width=150,
            stylesheets=[widget_sheet("fraction_axis", BUTTONS)],
        )  # fmt: skip
        self.axis_choice.on_change("active", self._choose_axis)
        self.goal = Spinner(
            name="fraction_goal", low=1, high=50, step=1, value=GOAL, mode="int", width=62, height=28,
            styles={"align-self": "center"}, stylesheets=[widget_sheet("fraction_goal", _SPINNER)],
            html_attributes={"data-label": "goal: half width of the interval [%]"},
        )  # fmt: skip
        self.goal.on_change("value", self._choose_goal)
        self.goal_label = _words("fraction_goal_label", "may I stop? goal ± %", ":host { width: auto; }")
        self.goal_words = _words("fraction_goal_words", "", ":host { flex: 1 1 150px; min-width: 0; }")
        self.goal_line = Span(name="fraction_goal_low", dimension="width", **_GOAL_LINE)
        self.goal_line_above = Span(name="fraction_goal_high", dimension="width", **_GOAL_LINE)
        self.marker = Span(
            name="fraction_marker", dimension="height", line_color=WARN, line_width=2, location=None
        )
        self.chart = self._chart()
        controls = row(
            self.goal_label, self.goal, self.goal_words, self.axis_choice, name="fraction_controls", spacing=8,
            sizing_mode="stretch_width", stylesheets=[widget_sheet("fraction_controls", _CONTROLS)],
        )  # fmt: skip
        text = column(self.headline, name="fraction_text", stylesheets=[widget_sheet("fraction_text", _TEXT)])
        drawn = column(controls, self.chart, name="fraction_course", sizing_mode="stretch_both")
        self.root = row(
            text,
            drawn,
            name="fraction",
            sizing_mode="stretch_both",
            stylesheets=[widget_sheet("fraction", STACKED)],
        )
        self._series = Series.empty()
        self._figures: Figures | None = None
        self._bundle: BundleState | None = None

    def update(self, snapshot: Snapshot, as_of: int | None = None) -> None:
        """Show the fraction as it stands; sends nothing where nothing is different.

        Parameters
        ----------
        as_of : the frame after which the figures stood so; None: they are those of now.
        """
        if snapshot.goal != self._set_goal:
            self._set_goal = snapshot.goal
            if snapshot.goal is not None:
                self.goal.value = round(100 * snapshot.goal)
        if snapshot.series is not self._series:
            self._series = snapshot.series
            self._draw()
        before = self._figures, self._bundle, self._drawn, self._as_of
        if (snapshot.figures, snapshot.bundle, snapshot.drawn, as_of) != before:
            self._figures, self._bundle, self._drawn = snapshot.figures, snapshot.bundle, snapshot.drawn
            self._as_of = as_of
            text = headline(snapshot.figures, snapshot.bundle, snapshot.drawn)
            self.headline.text = text if as_of is None else looking_back(text, as_of)
            self._draw_goal()
            self._mark()

    def tick(self) -> None:
        """Bring the goal up to date, which follows some seconds behind the fraction."""
        found = self._goal_of(self._half_width)
        if found != self._goal:
            self._goal = found
            text = (
                "" if found is None else f'<span class="{_goal_class(found)}">{goal_sentence(found)}</span>'
            )
            if text != self.goal_words.text:
                self.goal_words.text = text

    @property
    def _half_width(self) -> float:
        return round(self.goal.value if self.goal.value is not None else GOAL) / 100

    def _choose_goal(self, _attr: str, _old: object, _new: object) -> None:
        self._draw_goal()
        self.tick()

    def _draw_goal(self) -> None:
        """Between these lines the sequence lies once the goal is reached."""
        figures = self._figures
        if figures is None or figures.always_low is None or figures.always_high is None:
            self.goal_line.location = self.goal_line_above.location = None
            return
        # Not about the estimate, which need not lie in the middle of the sequence.
        middle = (figures.always_low + figures.always_high) / 2
        self.goal_line.location = max(0.0, middle - self._half_width)
        self.goal_line_above.location = min(1.0, middle + self._half_width)

    def _mark(self) -> None:
        """The line at the frame that is looked back at."""
        figures = self._figures
        if self._as_of is None or figures is None or not len(self._series.at):
            self.marker.location = None
        elif self.axis_choice.active == 1:
            self.marker.location = (figures.at - self._series.at[0]) / 60
        else:
            self.marker.location = figures.position

    def _tapped(self, x: float | None) -> None:
        series = self._series
        if x is not None and len(series.position):
            nearest = int(np.abs(np.asarray(self.source.data["x"]) - x).argmin())
            self._go(int(series.position[nearest]))

    def _draw(self) -> None:
        series = self._series
        minutes = (series.at - series.at[0]) / 60 if len(series.at) else series.at
        columns = (
            series.position, minutes, series.counted, series.corrected, series.low, series.high,
            series.always_low, series.always_high,
        )  # fmt: skip
        data: dict[str, Any] = dict(zip(_COLUMNS, columns, strict=True))
        self.source.data = data | {"x": data[self._axis[0]]}
        self.chart.y_range.end = ceiling(series)

    @property
    def _axis(self) -> tuple[str, str]:
        return _AXES["time" if self.axis_choice.active == 1 else "frame"]

    def _choose_axis(self, _attr: str, _old: object, _new: object) -> None:
        self.chart.xaxis.axis_label = self._axis[1]
        self._draw()
        self._mark()

    def _chart(self) -> Any:
        chart = figure(
            name="fraction_chart",
            sizing_mode="stretch_both",
            min_height=140,
            y_range=Range1d(0, 1, name="fraction_y"),
            tools="",
            toolbar_location=None,
            x_axis_label=_AXES["frame"][1],
        )
        chart.x_range.range_padding = 0.01
        chart.yaxis.formatter = NumeralTickFormatter(format="0 %")
        chart.xaxis.formatter = NumeralTickFormatter(format="0,0[.]0")
        colour = CLASS_STYLES["yes"].colour
        band = {"fill_color": colour, "fill_alpha": 0.2, "legend_label": "95 % interval"}
        chart.varea("x", "low", "high", source=self.source, **band)
        always = {"color": colour, "line_width": 1, "legend_label": "valid at every look"}
        chart.line("x", "always_low", source=self.source, **always)
        chart.line("x", "always_high", source=self.source, **always)
        line = chart.line(
            "x", "corrected", source=self.source, color=colour, line_width=3, legend_label="corrected"
        )
        counted = {"color": TEXT, "line_dash": "dotted", "line_width": 2, "legend_label": "as counted"}
        chart.line("x", "counted", source=self.source, **counted)
        chart.add_tools(
            HoverTool(
                renderers=[line],
                mode="vline",
                tooltips=[
                    ("after frame", "@position{0,0}"),
                    ("corrected", "@corrected{0.0 %}"),
                    ("95 % interval", "@low{0.0 %} to @high{0.0 %}"),
                    ("at every look", "@always_low{0.0 %} to @always_high{0.0 %}"),
                    ("counted", "@counted{0.0 %}"),
                ],
            ),
            CrosshairTool(dimensions="height", line_color=DIM),
        )
        chart.on_event(Tap, lambda event: self._tapped(event.x))
        chart.add_layout(self.marker)
        chart.add_layout(self.goal_line)
        chart.add_layout(self.goal_line_above)
        chart.legend.location = "top_right"
        chart.legend.orientation = "horizontal"
        chart.legend.spacing = 12
        return chart


def ceiling(series: Series) -> float:
    """The top of the chart: above the interval as it stands, whatever the first few frames looked like."""
    later = series.high[len(series.high) // 4 :]
    top = np.nanmax(
        np.concatenate(
            [
                later[np.isfinite(later)],
                *(a[-1:] for a in (series.corrected, series.counted, series.always_high)),
                [0.0],
            ]
        )
    )
    return min(1.0, max(0.1, math.ceil(float(top) * 10 + 0.5) / 10))


def looking_back(text: str, frame_id: int) -> str:
    """The headline of an earlier moment: nobody may take it for the one of now."""
    return (
        f'<div class="as-of">as of frame {frame_id:,}, not now <button data-ask="live" data-value="">return to now'
        f'</button></div><div class="then">{text}</div>'
    )


def goal_sentence(goal: Goal) -> str:
    """How far the fraction is from the goal, in a sentence."""
    sentence = goal.sentence
    return f"✓ {sentence}: you may stop" if goal.reached else sentence


def _goal_class(goal: Goal) -> str:
    if goal.reached:
        return "good"
    return "warn" if goal.particles is None else ""


def headline(figures: Figures | None, bundle: BundleState | None, drawn: int) -> str:
    """The fraction and what it stands on, or why there is no interval."""
    note = f'<div class="note" title="{_corrected_by(bundle)}">{_meaning(figures)}</div>'
    if figures is None or (figures.counted is None and figures.corrected is None):
        why = "no frame yet" if figures is None else "no particle judged yes or no yet"
        return f'<div class="big none">—</div><div class="interval">{why}</div>{note}'
    yes, judged = figures.particles[3], figures.judged
    if figures.corrected is None and figures.tracks is not None:
        why = figures.reason or "the session has not worked it out yet"
        return (
            f'<div class="big counts">{yes:,}<small> of {judged:,} yes</small></div>'
            f'<div class="why">no interval: {escape(why)}</div>{_audit(figures, drawn, urgent=True)}'
            f'<div class="counted">as counted <b>{percent(figures.counted)}</b>, not corrected</div>{note}'
        )
    counted = f"counted <b>{percent(figures.counted)}</b>: {yes:,} of {judged:,} {_unit(figures)}"
    if figures.corrected is None:
        low, high = wilson(yes, judged) or (None, None)
        value, interval = figures.counted, f"95 %: {_bare(low)} – {percent(high)}"
        counted = f"as counted, not corrected: {yes:,} of {judged:,} {_unit(figures)}"
    else:
        value, interval = figures.corrected, f"95 %: {_bare(figures.low)} – {percent(figures.high)}"
    always = (
        f'<div class="always">valid at every look: {_bare(figures.always_low)} – {percent(figures.always_high)}</div>'
        if figures.always_low is not None
        else ""
    )
    labels = f", {figures.labels:,} labelled" if figures.labels else ""
    return (
        f'<div class="big">{100 * (value or 0.0):.1f}<small> %</small></div><div class="interval">{interval}</div>'
        f'{always}<div class="counted">{counted}{labels}</div>{_audit(figures, drawn)}{note}'
    )


def _audit(figures: Figures, drawn: int, *, urgent: bool = False) -> str:
    """The button that begins an audit, or goes on with one."""
    if figures.tracks is None:
        return ""
    style = ' class="urgent"' if urgent else ""
    if drawn:
        words = f"Audit: {figures.labels:,} of {drawn:,} labelled"
        return f'<div class="audit"><button{style} data-open="audit">{words}</button></div>'
    return (
        f'<div class="audit"><button{style} data-open="audit" data-ask="audit" data-value="{NUMBER}">'
        f"Audit {NUMBER}</button></div>"
    )


def _unit(figures: Figures) -> str:
    if figures.tracks is None:
        return "sightings (an older record: particles were not followed)"
    if figures.effective is not None and round(figures.effective) < figures.judged:
        return f"particles, worth {figures.effective:,.0f} independent ones"
    return "particles"


def _meaning(figures: Figures | None) -> str:
    text = estimand(None if figures is None else figures.sizes_nm)
    return f"{text[0].upper()}{text[1:]}."


def _bare(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f}"


def _corrected_by(bundle: BundleState | None) -> str:
    if bundle is None or bundle.rates is None:
        return "The bundle gives no rates of error."
    se, sp = bundle.rates.sensitivity, bundle.rates.specificity
    return (
        f"The bundle's sensitivity is {se.value:.2f} ({se.k}/{se.n})"
        f" and its specificity {sp.value:.2f} ({sp.k}/{sp.n})."
    )


def _words(name: str, text: str, css: str) -> Div:
    css = f":host {{ margin: 0; align-self: center; font-size: 12px; }} {css}"
    return Div(name=name, text=text, margin=0, stylesheets=[text_sheet(name, css)])


BUTTONS = """
.bk-btn { background: var(--panel); color: var(--dim); border-color: var(--rim); padding: 2px 10px; font-size: 12px; }
.bk-btn.bk-active { background: var(--line); color: var(--bright); border-color: var(--edge); box-shadow: none; }
"""
_SPINNER = """
.bk-input { background: var(--button); color: var(--bright); border: 1px solid var(--rim); }
.bk-input { font-size: 13px; padding: 0 4px; height: 26px; }
.bk-spin-btn { background: var(--button); border-color: var(--rim); }
.bk-spin-btn::before { border-top-color: var(--text) !important; border-bottom-color: var(--text) !important; }
"""
_CONTROLS = ":host { align-items: center; flex-wrap: wrap; }"
_TEXT = """
:host { width: 268px; height: 100%; }
@media (max-width: 900px) { :host { width: 100% !important; height: 250px !important; flex: none; } }
"""
_GOAL_LINE: dict[str, Any] = {
    "line_color": TEXT, "line_dash": [2, 6], "line_width": 1, "line_alpha": 0.8, "location": None,
}  # fmt: skip
