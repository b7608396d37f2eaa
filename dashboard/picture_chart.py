"""A chart of one picture: a frame, or its spectrum."""

from __future__ import annotations

from typing import Any

from bokeh.models import ColumnDataSource, DataRange1d
from bokeh.plotting import figure


def picture_chart(of: str, unit: str, source: ColumnDataSource, **more: Any) -> Any:
    """A figure with square pixels that shows the picture in `source` (url, x, y, w, h); its ranges follow that alone.

    Parameters
    ----------
    of : the beginning of the names of its models.
    unit : of both axes.
    more : further properties of the figure.
    """
    chart = figure(
        name=f"{of}_chart",
        sizing_mode="stretch_both",
        min_height=200,
        match_aspect=True,
        x_range=DataRange1d(range_padding=0, name=f"{of}_x"),
        y_range=DataRange1d(range_padding=0, name=f"{of}_y"),
        tools="pan,wheel_zoom,box_zoom,reset",
        active_scroll="wheel_zoom",
        x_axis_label=unit,
        y_axis_label=unit,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        **more,
    )
    chart.toolbar.logo = None
    chart.toolbar.autohide = True
    chart.grid.visible = False
    picture = chart.image_url("url", "x", "y", "w", "h", anchor="top_left", source=source, level="image")
    for ends in (chart.x_range, chart.y_range):
        ends.renderers = [picture]
    return chart
