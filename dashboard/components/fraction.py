"""The running stacking-fault fraction: corrected with its 95 % interval, and as counted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import (
    ColumnDataSource,
    CrosshairTool,
    Div,
    HoverTool,
    NumeralTickFormatter,
    RadioButtonGroup,
    Range1d,
)
from bokeh.plotting import figure

from dashboard.snapshot import BundleState, Figures, Series, Snapshot
from dashboard.style import CLASS_STYLES, DIM, PANEL, TEXT, percent, text_sheet, widget_sheet
from monitor.statistics.estimate_course import ESTIMAND
from monitor.statistics.fraction import wilson

_COLUMNS = ("position", "minutes", "counted", "corrected", "low", "high")
_AXES = {
    "frame": ("position", "frames analysed, in order of acquisition"),
    "time": ("minutes", "minutes since the first frame"),
}


class Fraction:
    """The fraction as a large number, with its interval and its course."""

    def __init__(self) -> None:
        self.source = ColumnDataSource(name="fraction_source", data={name: [] for name in (*_COLUMNS, "x")})
        self.headline = Div(
            name="fraction_headline", margin=(0, 12, 8, 4), stylesheets=[text_sheet("fraction_headline")]
        )
        self.headline.text = _headline(None, None)
        self.axis_choice = RadioButtonGroup(
            name="fraction_axis",
            labels=["by frame", "by time"],
            active=0,
            height=26,
            width=180,
            stylesheets=[_buttons()],
        )
        self.axis_choice.on_change("active", self._choose_axis)
        self.chart = self._chart()
        self.root = row(
            column(
                self.headline, self.axis_choice, width=258, sizing_mode="stretch_height", name="fraction_text"
            ),
            self.chart,
            name="fraction",
            sizing_mode="stretch_both",
        )
        self._series = Series.empty()
        self._figures: Figures | None = None
        self._bundle: BundleState | None = None

    def update(self, snapshot: Snapshot) -> None:
        """Show the fraction as it stands; sends nothing where nothing is different."""
        if snapshot.series is not self._series:
            self._series = snapshot.series
            self._draw()
        if snapshot.figures is not self._figures or snapshot.bundle != self._bundle:
            self._figures, self._bundle = snapshot.figures, snapshot.bundle
            self.headline.text = _headline(snapshot.figures, snapshot.bundle)

    def _draw(self) -> None:
        series = self._series
        minutes = (series.at - series.at[0]) / 60 if len(series.at) else series.at
        columns = (series.position, minutes, series.counted, series.corrected, series.low, series.high)
        data: dict[str, Any] = dict(zip(_COLUMNS, columns, strict=True))
        self.source.data = data | {"x": data[self._axis[0]]}
        self.chart.y_range.end = ceiling(series)

    @property
    def _axis(self) -> tuple[str, str]:
        return _AXES["time" if self.axis_choice.active == 1 else "frame"]

    def _choose_axis(self, _attr: str, _old: object, _new: object) -> None:
        self.chart.xaxis.axis_label = self._axis[1]
        self._draw()

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
                    ("counted", "@counted{0.0 %}"),
                ],
            ),
            CrosshairTool(dimensions="height", line_color=DIM),
        )
        chart.legend.location = "top_right"
        chart.legend.orientation = "horizontal"
        chart.legend.spacing = 16
        return chart


def ceiling(series: Series) -> float:
    """The top of the chart: above the interval as it stands, whatever the first few frames looked like."""
    later = series.high[len(series.high) // 4 :]
    top = np.nanmax(
        np.concatenate([later[np.isfinite(later)], series.corrected[-1:], series.counted[-1:], [0.0]])
    )
    return min(1.0, max(0.1, math.ceil(float(top) * 10 + 0.5) / 10))


def _headline(figures: Figures | None, bundle: BundleState | None) -> str:
    note = f'<div class="note">{ESTIMAND[0].upper()}{ESTIMAND[1:]}.</div>'
    if figures is None or figures.counted is None:
        why = "no frame yet" if figures is None else "no particle judged yes or no yet"
        return f'<div class="big none">—</div><div class="interval">{why}</div>{note}'
    yes, judged = figures.particles[3], figures.judged
    counted = f"counted <b>{percent(figures.counted)}</b>: {yes:,} of {judged:,} {_unit(figures)}"
    note += f'<div class="note">{_corrected_by(bundle)}</div>'
    if figures.corrected is None:
        low, high = wilson(yes, judged) or (None, None)
        value, interval = figures.counted, f"95 %: {_bare(low)} – {percent(high)}"
        counted = f"as counted, not corrected: {yes:,} of {judged:,} {_unit(figures)}"
    else:
        value, interval = figures.corrected, f"95 %: {_bare(figures.low)} – {percent(figures.high)}"
    return (
        f'<div class="big">{100 * value:.1f}<small> %</small></div><div class="interval">{interval}</div>'
        f'<div class="counted">{counted}</div>{note}'
    )


def _unit(figures: Figures) -> str:
    if figures.tracks is None:
        return "sightings (an older record: particles were not followed)"
    if figures.effective is not None and round(figures.effective) < figures.judged:
        return f"particles, worth {figures.effective:,.0f} independent ones"
    return "particles"


def _bare(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f}"


def _corrected_by(bundle: BundleState | None) -> str:
    if bundle is None or bundle.rates is None:
        return "The bundle gives no rates of error to correct for."
    se, sp = bundle.rates.sensitivity, bundle.rates.specificity
    return (
        f"Corrected for sensitivity {se.value:.2f} ({se.k}/{se.n})"
        f" and specificity {sp.value:.2f} ({sp.k}/{sp.n})."
    )


def _buttons() -> Any:
    return widget_sheet(
        "fraction_axis",
        f"""
.bk-btn {{ background: {PANEL}; color: {DIM}; border-color: #35404c; padding: 2px 10px; font-size: 12px; }}
.bk-btn.bk-active {{ background: #2a333d; color: #fff; border-color: #56616d; box-shadow: none; }}
""",
    )
