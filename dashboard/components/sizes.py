"""The particles' diameters by class, as a stacked histogram."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, NumeralTickFormatter
from bokeh.plotting import figure

from dashboard.snapshot import Sizes, Snapshot
from dashboard.style import CLASS_STYLES, PANEL, SHOWN_ORDER
from models.results import CLASSES

#: Bars are widened until no more than this many are needed.
_BARS = 32
DIAMETER = "diameter [nm]"


class SizeHistogram:
    """The histogram of diameters, each bar divided by class."""

    def __init__(self) -> None:
        self.source = ColumnDataSource(name="sizes_source", data=stacked(None))
        self.root = self._chart()
        self._sizes: Sizes | None = None

    def update(self, snapshot: Snapshot, words: str = "") -> None:
        """Show the histogram as it stands; sends nothing where nothing is different.

        Parameters
        ----------
        words : of which moment the sizes are, where it is not now.
        """
        self.root.xaxis.axis_label = f"{DIAMETER} · {words}" if words else DIAMETER
        if snapshot.sizes is self._sizes:
            return
        self._sizes = snapshot.sizes
        self.source.data = stacked(snapshot.sizes)

    def _chart(self) -> Any:
        chart = figure(
            name="sizes",
            sizing_mode="stretch_both",
            min_height=120,
            tools="",
            toolbar_location=None,
            x_axis_label=DIAMETER,
            y_axis_label="sightings",
        )
        chart.y_range.start = 0
        chart.x_range.range_padding = 0.02
        chart.xgrid.visible = False
        chart.yaxis.ticker = BasicTicker(min_interval=1)  # there are no half particles
        chart.yaxis.formatter = NumeralTickFormatter(format="0,0")
        bottom = "zero"
        for name in SHOWN_ORDER:
            style = CLASS_STYLES[name]
            chart.quad(
                left="left",
                right="right",
                bottom=bottom,
                top=f"top_{name}",
                source=self.source,
                fill_color=style.colour,
                line_color=PANEL,
                hatch_pattern=style.hatch,
                hatch_color=PANEL,
                hatch_alpha=0.35,
                hatch_scale=8,
                name=f"sizes_{name}",
                legend_label=name,
            )
            bottom = f"top_{name}"
        counts = [(name, f"@n_{name}") for name in SHOWN_ORDER]
        chart.add_tools(
            HoverTool(mode="vline", tooltips=[("diameter", "@words"), *counts], renderers=chart.renderers[:1])
        )
        chart.legend.location = "top_right"
        return chart


def stacked(sizes: Sizes | None) -> dict[str, Any]:
    """Columns of a stacked histogram in bars of 0.25 nm or wider, just over the sizes there are."""
    names = [*(f"top_{name}" for name in SHOWN_ORDER), *(f"n_{name}" for name in SHOWN_ORDER)]
    used = np.flatnonzero(sizes.counts.sum(axis=0)) if sizes is not None else np.empty(0)
    if sizes is None or not len(used):
        return {name: [] for name in ("left", "right", "zero", "words", *names)}
    merge = next(k for k in (1, 2, 4, 8, 16, 32) if used[-1] // k - used[0] // k < _BARS)
    first, last = used[0] // merge, used[-1] // merge + 1
    padded = np.pad(sizes.counts, ((0, 0), (0, -sizes.counts.shape[1] % merge)))
    merged = padded.reshape(len(CLASSES), -1, merge).sum(axis=2)[:, first:last]  # (4, bars)
    left = np.arange(first, last) * merge * sizes.bin_nm
    right = left + merge * sizes.bin_nm
    data: dict[str, Any] = {"left": left, "right": right, "zero": np.zeros(len(left))}
    data["words"] = [f"{a:g} to {b:g} nm" for a, b in zip(left, right, strict=True)]
    top = np.zeros(len(left))
    for name in SHOWN_ORDER:
        counts = merged[CLASSES.index(name)]
        top = top + counts
        data[f"n_{name}"], data[f"top_{name}"] = counts.astype(np.float64), top
    return data
