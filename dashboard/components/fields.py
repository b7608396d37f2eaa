"""The fraction by size and by field, a map of the fields, and another session beside this one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.events import Tap
from bokeh.layouts import column, row
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    Div,
    HoverTool,
    LinearColorMapper,
    NumeralTickFormatter,
    Select,
)
from bokeh.palettes import Cividis256
from bokeh.plotting import figure

from dashboard.comparing import Comparison
from dashboard.divided import Divided, FieldMap
from dashboard.snapshot import Snapshot
from dashboard.style import DIM, STACKED, percent, text_sheet, widget_sheet
from dashboard.view import RecordView
from monitor.record.database import is_session
from monitor.record.strata import Stratum
from monitor.record.summary_text import size_text

Go = Callable[[int], None]
_MAP = ("x", "y", "field", "fraction", "size", "words")
CHOOSE = "compare with …"
AGAIN_S = 30.0
"""A comparison is made anew so long after the last one, where figures changed since."""
LARGEST = 24
"""Diameter of the mark of the field with the most particles [screen px]."""


class Fields:
    """Tables by size and by field, the map, and the comparison."""

    def __init__(self, view: RecordView, go: Go, beside: Path | None) -> None:
        """
        Parameters
        ----------
        go : looks at a frame, by its number.
        beside : the folder with other sessions; None where this one alone is served.
        """
        self._view = view
        self._go = go
        self._beside = beside
        self._divided: Divided | None = None
        self._seen: object = None
        self._compared: tuple[object, float] = (None, -math.inf)
        self.status = _block("fields_status")
        self.tables = _block("fields_tables", ":host { overflow: auto; }")
        self.tables.sizing_mode = "stretch_both"
        self.source = ColumnDataSource(name="fields_source", data={name: [] for name in _MAP})
        self.colours = LinearColorMapper(palette=Cividis256, low=0, high=1, name="fields_colours")
        self.map = self._map()
        self.no_map = _block("fields_no_map")
        self.choice = Select(
            name="fields_choice", title="", options=[CHOOSE], value=CHOOSE, sizing_mode="stretch_width",
            html_attributes={"data-label": "another session to compare with"},
            stylesheets=[widget_sheet("fields_choice", _SELECT)],
        )  # fmt: skip
        self.choice.on_change("value", self._choose)
        self.comparison = Comparison(view.directory.parent)
        self.comparison.root.stylesheets.append(
            widget_sheet("fields_comparison", ".pair td { white-space: normal; }")
        )
        self.alone = _block("fields_alone")
        self.alone.text = (
            '<h3>two sessions side by side</h3><p class="dim">This session alone is served. With'
            " <code>faultwatch dashboard FOLDER</code> on the sessions' folder another one can be chosen here.</p>"
        )
        left = column(self.status, self.tables, name="fields_left", sizing_mode="stretch_both")
        # A block of text that is not to be seen is left out: its style sheet says how it is displayed.
        pair = [self.alone] if beside is None else [self.choice, self.comparison.root]
        right = column(
            self.no_map, self.map, *pair, name="fields_right",
            sizing_mode="stretch_both", stylesheets=[widget_sheet("fields_right", ":host { overflow: hidden auto; }")],
        )  # fmt: skip
        self.root = row(
            left, right, name="fields", sizing_mode="stretch_both", spacing=10,
            stylesheets=[widget_sheet("fields", STACKED)],
        )  # fmt: skip
        self._show()

    def update(self, snapshot: Snapshot, now: float) -> None:
        """Have the tables worked out for the record as it stands, and show what there is."""
        figures = snapshot.figures
        self._seen = None if figures is None else (snapshot.epoch, figures)
        self._offer()
        self.go_on(now)

    def go_on(self, now: float) -> None:
        """Show what was worked out meanwhile, and begin again where it is out of date."""
        if self._seen is not None:
            self._view.divider.ask(self._seen)
        if self._compared[0] is not None and self._compared[0] != self._seen:
            began = time.monotonic()
            if began - self._compared[1] > AGAIN_S:
                self._compared = self._seen, began
                self.comparison.again()
        self.comparison.update()
        self._show()

    def go(self, value: str) -> None:
        """Look at a field's first frame; what is no number is passed over."""
        if value.isdecimal():
            self._go(int(value))

    def _show(self) -> None:
        divider = self._view.divider
        _put(self.status, status(divider.found, divider.working, divider.problem))
        if divider.found is self._divided:
            return
        self._divided = divider.found
        _put(self.tables, "" if divider.found is None else tables(divider.found))
        if divider.found is not None:
            self._draw(divider.found)

    def _draw(self, found: Divided) -> None:
        where = found.map
        self.map.visible = bool(len(where.field))
        _put(self.no_map, map_words(where))
        self.source.data = map_columns(found)
        self.colours.high = max(
            0.1, math.ceil(10 * max([0.0, *np.nan_to_num(self.source.data["fraction"])])) / 10
        )

    def _offer(self) -> None:
        """The other sessions of the folder."""
        if self._beside is None:
            return
        try:
            others = sorted(
                one.name for one in self._beside.iterdir() if one != self._view.directory and is_session(one)
            )
        except OSError:
            others = []
        options = [CHOOSE, *others]
        if options != self.choice.options:
            self.choice.options = options

    def _choose(self, _attr: str, _old: object, new: str) -> None:
        self.comparison.chosen = []
        # What a browser sends may be anything: only names that were offered are looked up.
        if new != CHOOSE and new in self.choice.options:
            self.comparison.chosen = [self._view.directory.name]
            self.comparison.choose(new)
            self._compared = self._seen, time.monotonic()
        else:
            self._compared = None, -math.inf
            self.comparison.update()

    def _tapped(self, x: float | None, y: float | None) -> None:
        data = self.source.data
        if x is None or y is None or not len(data["field"]):
            return
        nearest = int(np.hypot(np.subtract(data["x"], x), np.subtract(data["y"], y)).argmin())
        self._go(int(data["field"][nearest]))

    def _map(self) -> Any:
        chart = figure(
            name="fields_map", sizing_mode="stretch_both", min_height=220, match_aspect=True, toolbar_location="right",
            tools="pan,wheel_zoom,reset", active_scroll="wheel_zoom", x_axis_label="stage x [µm]",
            y_axis_label="stage y [µm]",
        )  # fmt: skip
        chart.visible = False
        chart.toolbar.logo = None
        chart.toolbar.autohide = True
        marks = chart.scatter(
            "x", "y", size="size", source=self.source, line_color=DIM,
            fill_color={"field": "fraction", "transform": self.colours}, fill_alpha=0.9,
        )  # fmt: skip
        chart.add_tools(
            HoverTool(renderers=[marks], tooltips=[("field", "@field{0,0}"), ("fraction", "@words")])
        )
        chart.add_layout(
            ColorBar(
                color_mapper=self.colours, formatter=NumeralTickFormatter(format="0 %"), width=10, padding=4,
                major_label_text_color=DIM, background_fill_color=None, name="fields_bar",
            ),
            "right",
        )  # fmt: skip
        chart.on_event(Tap, lambda event: self._tapped(event.x, event.y))
        return chart


def status(found: Divided | None, working: bool, problem: str | None) -> str:
    """What is being done, and what the tables are of."""
    said = ""
    if problem is not None:
        said = f'<span class="warn">▲ This can\'t be worked out just now: {escape(problem)}</span> '
    elif found is None and not working:
        said = '<span class="dim">no frame is settled yet</span>'
    return said + ("<b>working …</b>" if working else "")


def tables(found: Divided) -> str:
    """The tables by size and by field."""
    if not found.sizes:
        return '<p class="dim">no particle is followed yet</p>'
    sizes = [
        _row(escape(size_text(low, None if math.isinf(high) else high)), one)
        for (low, high), one in found.sizes
    ]
    fields = [_row(_field(one), one) for one in found.fields]
    return (
        f"<h3>by size</h3>{_table('diameter', sizes)}"
        f"<h3>by field, named after its first frame</h3>{_table('field', fields)}"
        '<p class="dim">Each particle counts once. The intervals are of one part looked at alone; the smallest and the'
        " largest of many parts lie apart by chance too.</p>"
    )


def map_words(where: FieldMap) -> str:
    """What stands above the map, or in its place."""
    if not len(where.field):
        why = (
            "The frames' metadata tell no stage position, so the fields have no place on a map."
            if where.unknown
            else "There is no field yet."
        )
        return f'<h3>map of the fields</h3><p class="dim">{why}</p>'
    without = (
        f" · {where.unknown:,} field{'s' * (where.unknown > 1)} without a stage position"
        if where.unknown
        else ""
    )
    return (
        f'<h3>map of the fields</h3><span class="dim">colour: fraction as counted · size: particles'
        f"{without}</span>"
    )


def map_columns(found: Divided) -> dict[str, Any]:
    """A row a field on the map."""
    where = found.map
    by_field = {one.key: one for one in found.fields}
    most = max([1, *where.judged])
    fraction = np.where(where.judged > 0, where.yes / np.maximum(where.judged, 1), np.nan)
    words = []
    for number, yes, judged in zip(where.field, where.yes, where.judged, strict=True):
        told = f"{yes:,} of {judged:,} particles"
        one = by_field.get(int(number))
        if one is not None and one.estimate.interval is not None:
            low, high = one.estimate.interval
            told += f"; corrected {percent(one.estimate.corrected)} ({percent(low)} to {percent(high)})"
        words.append(told)
    return {
        "x": where.x_um, "y": where.y_um, "field": where.field, "fraction": fraction,
        "size": np.maximum(7.0, LARGEST * np.sqrt(where.judged / most)), "words": words,
    }  # fmt: skip


def _field(one: Stratum) -> str:
    if one.key < 0:
        return f"{one.parts:,} other fields"
    return f'<button data-ask="field" data-value="{one.key}" title="look at its first frame">{one.key:,}</button>'


def _row(name: str, one: Stratum) -> str:
    found = one.estimate
    if found.interval is None:
        interval = f'<td colspan="2" class="dim why">{escape(found.reason or "not corrected")}</td>'
    else:
        low, high = found.interval
        interval = (
            f'<td class="n"><b>{percent(found.corrected)}</b></td>'
            f'<td class="n">{percent(low)} – {percent(high)}</td>'
        )
    labels = f" ({found.labels:,} labelled)" if found.labels else ""
    return (
        f'<tr><th scope="row">{name}</th><td class="n">{sum(one.tracks):,}</td>'
        f'<td class="n">{one.tracks[3]:,} of {one.judged:,}{labels}</td><td class="n">{percent(found.counted)}</td>'
        f"{interval}</tr>"
    )


def _table(first: str, rows: Sequence[str]) -> str:
    heads = (first, "particles", "yes, of judged", "counted", "corrected", "95 % interval")
    head = "".join(f'<th scope="col"{" class=n" if i else ""}>{name}</th>' for i, name in enumerate(heads))
    return f'<table class="parts"><tr>{head}</tr>{"".join(rows)}</table>'


def _block(name: str, css: str = "") -> Div:
    return Div(name=name, text="", margin=0, sizing_mode="stretch_width", stylesheets=[text_sheet(name, css)])


def _put(block: Div, text: str) -> None:
    if text != block.text:
        block.text = text


_SELECT = """
.bk-input { background: var(--button); color: var(--bright); border: 1px solid var(--rim); font-size: 13px; }
"""
