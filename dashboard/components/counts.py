"""How many particles of each class there are: bars, numbers, shares and their intervals."""

from __future__ import annotations

from typing import Any

from bokeh.models import ColumnDataSource, FactorRange, Range1d, Title, Whisker
from bokeh.plotting import figure

from dashboard.snapshot import Figures, Snapshot
from dashboard.style import CLASS_STYLES, DIM, LINE, PANEL, SANS, SHOWN_ORDER, TEXT, percent
from models.results import CLASSES
from monitor.statistics.fraction import wilson

EACH_ONCE = "PARTICLES BY CLASS (EACH ONCE)"
SIGHTINGS = "SIGHTINGS BY CLASS (AN OLDER RECORD)"


class Counts:
    """One bar a class, with its number and its share of all particles."""

    def __init__(self) -> None:
        self.source = ColumnDataSource(name="counts_source", data=_data(None))
        self.root = self._chart()
        self._figures: Figures | None = None

    def update(self, snapshot: Snapshot, as_of: int | None = None) -> None:
        """Show the counts as they stand, or stood after the frame `as_of`; sends nothing where nothing is different."""
        if snapshot.figures is self._figures:
            return
        self._figures = snapshot.figures
        self.source.data = _data(snapshot.figures)
        once = snapshot.figures is None or snapshot.figures.tracks is not None
        title = EACH_ONCE if once else SIGHTINGS
        self.root.title.text = (
            title if as_of is None else f"{title.removeprefix('PARTICLES ')}, AS OF FRAME {as_of:,}"
        )
        # Room for the numbers, which stand behind the end of each bar and its whisker.
        self.root.x_range.end = max(1.0, 2.1 * max(self.source.data["high"]))

    def _chart(self) -> Any:
        ticks = [_tick(name) for name in SHOWN_ORDER]
        chart = figure(
            name="counts",
            sizing_mode="stretch_both",
            min_height=120,
            x_range=Range1d(0, 1, name="counts_x"),
            y_range=FactorRange(factors=ticks[::-1], name="counts_y"),
            tools="",
            toolbar_location=None,
        )
        chart.title = Title(
            text=EACH_ONCE, name="counts_title", align="left", text_color=DIM, text_font=SANS,
            text_font_size="11px", text_font_style="normal",
        )  # fmt: skip
        chart.title_location = "above"
        chart.ygrid.visible = False
        chart.xaxis.visible = False
        chart.xgrid.visible = False
        chart.outline_line_color = None
        chart.yaxis.major_label_text_font_size = "14px"
        chart.yaxis.major_label_text_color = TEXT
        chart.yaxis.axis_line_color = LINE
        chart.yaxis.major_tick_line_color = None
        style = {"hatch_pattern": "hatch", "hatch_color": PANEL, "hatch_alpha": 0.35, "hatch_scale": 8}
        chart.hbar("tick", right="count", height=0.62, source=self.source, color="colour", **style)
        whisker = Whisker(
            base="tick",
            lower="low",
            upper="high",
            dimension="width",
            source=self.source,
            line_color="#ffffff",
            line_alpha=0.75,
        )
        for head in (whisker.upper_head, whisker.lower_head):
            head.line_color, head.line_alpha, head.size = "#ffffff", 0.75, 8
        chart.add_layout(whisker)
        text = {"text_color": "#ffffff", "text_font_size": "15px", "text_baseline": "middle", "x_offset": 8}
        chart.text("high", "tick", "words", source=self.source, **text)
        return chart


def _tick(name: str) -> str:
    return f"{CLASS_STYLES[name].letter}  {name}"


def _data(figures: Figures | None) -> dict[str, Any]:
    counts: dict[str, int] = dict(zip(CLASSES, figures.particles if figures else (0, 0, 0, 0), strict=True))
    total = sum(counts.values())
    # The interval of each share, as if every particle stood for itself.
    bounds = [wilson(counts[name], total) or (0.0, 0.0) for name in SHOWN_ORDER]
    return {
        "tick": [_tick(name) for name in SHOWN_ORDER],
        "count": [counts[name] for name in SHOWN_ORDER],
        "low": [low * total for low, _ in bounds],
        "high": [high * total for _, high in bounds],
        "words": [_words(counts[name], total) for name in SHOWN_ORDER],
        "colour": [CLASS_STYLES[name].colour for name in SHOWN_ORDER],
        "hatch": [CLASS_STYLES[name].hatch for name in SHOWN_ORDER],
    }


def _words(count: int, total: int) -> str:
    return f"{count:,}   {percent(count / total, 0)}" if total else "0"
