"""The tools on the frame: outlines by class, contrast and gamma, full resolution, spectrum, distances.

All of them are this viewer's alone and work in the browser (`templates/frame.js`); the server renders pictures.
"""

from __future__ import annotations

from html import escape
from typing import Any

from bokeh.events import MouseMove, Tap
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    CustomJSFilter,
    Div,
    MetricLength,
    ScaleBar,
)

from dashboard.picture_chart import picture_chart
from dashboard.snapshot import ShownFrame
from dashboard.style import ACCENT, CHALK, CLASS_STYLES, INK, SHOWN_ORDER, text_sheet
from monitor.workers.worker import PREVIEW_SIDE

#: `preview`: how many pixels its longest side has at most [px]; 0 where there is none.
_SHOWN = ("id", "stamp", "height", "width", "pixel_nm", "preview")
_LINES = ("xs", "ys")
#: Name, words, least, most and step of each slider of the picture's grey.
LEVELS = (
    ("brightness", "brightness", -0.5, 0.5, 0.01, 0),
    ("contrast", "contrast ×", 0.25, 6, 0.05, 1),
    ("gamma", "gamma", 0.2, 4, 0.05, 1),
)


class FrameTools:
    """The bar of tools, and what they draw."""

    def __init__(self, addresses: dict[str, str]) -> None:
        """
        Parameters
        ----------
        addresses : of parts at full resolution and of spectra, by `region` and `spectrum`.
        """
        self.shown = ColumnDataSource(name="frame_shown_source", data={name: [] for name in _SHOWN})
        self.part = _picture("frame_part_source")
        self.measured = _measured("frame_measured_source")
        self.classes = CustomJSFilter(
            name="frame_classes", code="return faultwatch.frame.drawn(source.data.name)"
        )
        self.bar = Div(name="frame_tools", text=bar(addresses), sizing_mode="stretch_width", margin=0)
        self.bar.stylesheets = [text_sheet("frame_tools")]
        self.spectrum_picture = _picture("spectrum_picture_source")
        self.spectrum_measured = _measured("spectrum_measured_source")
        self.spectrum = self._spectrum()
        # Only what hangs on a root reaches the browser.
        self.bar.tags = [self.shown]
        self.shown.js_on_change("data", CustomJS(code="faultwatch.frame.shown()"))

    def show(self, frame: ShownFrame | None) -> None:
        """Tell the browser which frame it shows."""
        row: tuple[Any, ...] = ()
        if frame is not None:
            row = (
                frame.id, frame.stamp, frame.height, frame.width, frame.pixel_size_nm,
                PREVIEW_SIDE if frame.has_preview else 0,
            )  # fmt: skip
        data = {name: list(row[n : n + 1]) for n, name in enumerate(_SHOWN)}
        if data != self.shown.data:
            self.shown.data = data

    def on_frame(self, chart: Any) -> None:
        """Put what the tools draw onto the frame's chart, above its picture."""
        chart.image_url("url", "x", "y", "w", "h", anchor="top_left", source=self.part, level="image")
        _draw_measured(chart, self.measured)
        look = CustomJS(code="faultwatch.frame.looked()")
        for ends in (chart.x_range, chart.y_range):
            ends.js_on_change("start", look)
            ends.js_on_change("end", look)
        _listen(chart, "frame")

    def _spectrum(self) -> Any:
        chart = picture_chart("spectrum", "nm⁻¹", self.spectrum_picture, visible=False)
        chart.axis.level = "overlay"
        _draw_measured(chart, self.spectrum_measured)
        lengths = MetricLength(ticks=[0.1, 0.2, 0.5, 1, 2, 5], include=["nm"])
        chart.add_layout(
            ScaleBar(
                range=chart.x_range, unit="nm", label="@{value} @{unit}⁻¹", dimensional=lengths,
                location="bottom_left", bar_length=0.12, bar_line_width=4, bar_line_color=CHALK,
                label_text_color=CHALK, label_text_font_size="15px", background_fill_color=INK,
                background_fill_alpha=0.6, border_line_color=None, margin=8, padding=8, level="overlay",
            )
        )  # fmt: skip
        _listen(chart, "spectrum")
        return chart


def bar(addresses: dict[str, str]) -> str:
    """The HTML of the bar; the addresses are read from it by the script."""
    where = "".join(f' data-{kind}="{escape(address)}"' for kind, address in addresses.items())
    classes = "".join(
        f'<button class="class" data-class="{name}" aria-pressed="true" style="--own: {CLASS_STYLES[name].colour}"'
        f' aria-label="outlines: {name}, {CLASS_STYLES[name].words}" title="outlines: {name},'
        f' {CLASS_STYLES[name].words}">{CLASS_STYLES[name].letter}</button>'
        for name in SHOWN_ORDER
    )
    sliders = "".join(
        f'<label>{words} <input type="range" data-level="{name}" aria-label="{name}" min="{least}" max="{most}"'
        f' step="{step}" value="{value}"><output>{value}</output></label>'
        for name, words, least, most, step, value in LEVELS
    )
    return (
        f'<div class="tools" role="toolbar" aria-label="tools on the frame"{where}>'
        f'<span role="group" aria-label="outlines by class">{classes}</span>'
        '<button data-tool="levels" aria-expanded="false" aria-label="contrast and gamma" title="contrast and gamma">'
        "◐</button>"
        '<button data-tool="spectrum" aria-pressed="false" title="power spectrum of the whole frame">spectrum</button>'
        '<button data-tool="measure" aria-pressed="false" title="two clicks; or arrow keys move the end, Enter changes'
        ' the end">measure</button>'
        '<span class="told" role="status"></span></div>'
        f'<div class="levels" role="group" aria-label="contrast and gamma" hidden>{sliders}'
        '<button data-tool="reset-levels">reset</button></div>'
    )


def _picture(name: str) -> ColumnDataSource:
    return ColumnDataSource(name=name, data={each: [] for each in ("url", "x", "y", "w", "h")})


def _measured(name: str) -> ColumnDataSource:
    return ColumnDataSource(name=name, data={each: [] for each in (*_LINES, "x", "y", "text")})


def _draw_measured(chart: Any, source: ColumnDataSource) -> None:
    for colour, width in ((INK, 6), (ACCENT, 2.5)):
        chart.multi_line("xs", "ys", source=source, line_color=colour, line_width=width, level="overlay")
    chart.text(
        "x", "y", "text", source=source, level="overlay", anchor="bottom_center", y_offset=-6, text_color=INK,
        text_font_size="13px", text_font_style="bold", background_fill_color=ACCENT, background_fill_alpha=0.92,
        padding=2, border_radius=3,
    )  # fmt: skip


def _listen(chart: Any, name: str) -> None:
    chart.js_on_event(Tap, CustomJS(code=f"faultwatch.frame.tapped('{name}', cb_obj)"))
    chart.js_on_event(MouseMove, CustomJS(code=f"faultwatch.frame.moved('{name}', cb_obj)"))
