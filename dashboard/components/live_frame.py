"""The frame that is looked at: its preview with the particles' outlines, live or looking back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from html import escape
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    CDSView,
    ColumnDataSource,
    CustomJS,
    Div,
    HoverTool,
    MetricLength,
    ScaleBar,
    Slider,
    Toggle,
)

from dashboard.components.frame_tools import FrameTools
from dashboard.components.selection import Selection, at_point, beside
from dashboard.geometry import to_page
from dashboard.picture_chart import picture_chart
from dashboard.snapshot import Place, ShownFrame, Snapshot
from dashboard.style import (
    CHALK,
    CLASS_STYLES,
    INK,
    SHOWN_ORDER,
    clock_time,
    milliseconds,
    text_sheet,
    widget_sheet,
)
from dashboard.view import RecordView
from models.results import CLASSES

_PICTURE = ("url", "x", "y", "w", "h")
_OUTLINES = ("xs", "ys", "colour", "dash", "label", "label_x", "label_y", "words", "diameter", "name")
_PROBABILITIES = tuple(f"p_{name}" for name in CLASSES)
WIDGET_CSS = """
.bk-btn { background: var(--button); color: var(--text); border: 1px solid var(--rim); font-size: 14px; }
.bk-btn:hover { background: var(--line); }
.bk-btn.bk-active, .bk-btn.bk-active:hover { background: #11694f; color: #fff; border-color: #2fbf91; }
.bk-input-group { padding: 8px 10px 0; }
.noUi-connect { background: var(--edge) !important; }
.noUi-target { background: var(--line); border: none; box-shadow: none; }
.noUi-handle { background: var(--text); border: none; box-shadow: none; }
"""


LEAST_BLIND = 0.005
"""Share of a frame that is not judged from which it is said."""


class LiveFrame:
    """The newest analysed frame while live, any other when looking back."""

    def __init__(
        self,
        view: RecordView,
        address: str = "preview/{id}.jpg?v={stamp}",
        pictures: dict[str, str] | None = None,
    ) -> None:
        """
        Parameters
        ----------
        address : of previews.
        pictures : addresses of parts at full resolution and of spectra, by `region` and `spectrum`.
        """
        self._view = view
        self._address = address
        self._epoch: int | None = None
        self._newest: int | None = None
        self._now = 0.0
        self._setting = False
        self.shown: ShownFrame | None = None
        self.looked: list[Callable[[], None]] = []
        """Called after a person, or playing back, chose what is looked at."""
        self.picture = ColumnDataSource(name="frame_picture_source", data={name: [] for name in _PICTURE})
        self.outlines = ColumnDataSource(
            name="frame_outlines_source", data={name: [] for name in (*_OUTLINES, *_PROBABILITIES)}
        )
        self.selection = Selection()
        self.selection.source.js_on_change(
            "data", CustomJS(code="faultwatch.frame.selected(cb_obj.data.key)")
        )
        self._follow_again = False
        self.tools = FrameTools(pictures or {})
        self.caption = Div(name="frame_caption", sizing_mode="stretch_width", height=56, margin=0)
        self.caption.stylesheets = [text_sheet("frame_caption")]
        self.chart = self._chart()
        self.live = Toggle(name="frame_live", label="● live", active=True, width=84)
        self.back = Button(name="frame_back", label="◀", width=40)
        self.forward = Button(name="frame_forward", label="▶", width=40)
        # The number of the frame stands in the caption.
        self.slider = Slider(
            name="frame_slider", start=0, end=1, value=0, step=1, title="", show_value=False, tooltips=True,
            disabled=True, sizing_mode="stretch_width", bar_color="#56616d",
            html_attributes={"data-label": "frame"},
        )  # fmt: skip
        for widget in (self.live, self.back, self.forward, self.slider):
            widget.stylesheets = [widget_sheet(str(widget.name), WIDGET_CSS)]
        self.live.on_change("active", self._switch)
        self.slider.on_change("value", self._slide)
        self.back.on_click(self.step_back)
        self.forward.on_click(self.step_forward)
        self.controls = row(self.live, self.back, self.forward, self.slider, name="frame_controls", height=40)
        self.controls.sizing_mode = "stretch_width"
        parts = (self.caption, self.tools.bar, self.chart, self.tools.spectrum, self.controls)
        self.root = column(*parts, name="frame", sizing_mode="stretch_both")
        self._describe()

    def update(self, snapshot: Snapshot, now: float) -> None:
        """Follow the newest frame where live; sends nothing where nothing is different."""
        self._now = now
        if snapshot.epoch != self._epoch:  # another record: its frames have the same numbers
            self._epoch, self.shown, self._newest = snapshot.epoch, None, None
            self._follow_again = False
            self.selection.set(None, None)
            self._show(None)
            self.live.active = True
        # A file that is written again is analysed again, under its old number.
        if self.shown is not None and self._view.stamp(self.shown.id) not in (None, self.shown.stamp):
            self._show(self.shown.id)
        # Its place is settled a little after its result.
        if self.shown is not None and (place := self._view.place(self.shown.id)) != self.shown.place:
            self.shown = replace(self.shown, place=place)
            self._describe()
        if snapshot.newest == self._newest:
            return
        self._newest = snapshot.newest
        self.slider.update(end=max(2, snapshot.newest or 2), start=1, disabled=snapshot.newest is None)
        if self.live.active:
            self._show(snapshot.newest)
        else:
            self._describe()

    @property
    def looked_back_at(self) -> int | None:
        """The number of the frame that was chosen; None while live, and where only a particle holds the frame."""
        held = self.live.active or self._follow_again
        return None if held or self.shown is None else self.shown.id

    def select(self, frame_id: int, label: int) -> None:
        """Look at one particle of one frame; a page that is live stops following until `clear`."""
        if self.shown is None or self.shown.id != frame_id:
            if self._view.frame(frame_id) is None:
                return
            self._show(frame_id)
        if self.live.active:
            self._follow_again = True
            self._set(self.live, active=False)
            self._describe()
        self.selection.set((frame_id, label), self.shown)
        self._tell()

    def pick(self, frame_id: int, x_nm: float, y_nm: float) -> None:
        """Look at the particle around a point of a frame as it is drawn, if there is one."""
        frame = self._view.frame(frame_id)
        found = None if frame is None else at_point(frame, x_nm, y_nm)
        if found is not None:
            self.select(frame_id, found.label)

    def move(self, direction: str, classes: Collection[str] = CLASSES) -> None:
        """Look at the next particle in a direction, of those of these classes."""
        if self.shown is None:
            return
        here = self.selection.within(self.shown)
        drawn = [each for each in self.shown.particles if each is here or each.particle_class in classes]
        found = beside(drawn, None if here is None else here.label, direction)
        if found is not None:
            self.select(self.shown.id, found.label)

    def clear(self) -> None:
        """Look at no particle any more, and follow again where the particle alone held the frame."""
        self.selection.set(None, self.shown)
        if self._follow_again:
            self.live.active = True

    def step_back(self) -> None:
        """Look at the analysed frame before this one."""
        self.look_at((self.shown.id if self.shown else 0) - 1, after=False)

    def step_forward(self) -> None:
        """Look at the analysed frame after this one."""
        self.look_at((self.shown.id if self.shown else 0) + 1, after=True)

    def _slide(self, _attr: str, _old: object, new: float) -> None:
        if not self._setting:
            self.look_at(round(new), after=False)

    def look_at(self, number: int, *, after: bool = False) -> None:
        """Look at an analysed frame, or the nearest one before (after) it."""
        frame_id = self._view.neighbour(number, after=after)
        if frame_id is not None:
            self._follow_again = False
            self._set(self.live, active=False)
            self._show(frame_id)
            self._tell()

    def _switch(self, _attr: str, _old: object, new: bool) -> None:
        if self._setting:
            return
        self._follow_again = False
        if new:
            self._show(self._newest)
        else:
            self._describe()
        self._tell()

    def _tell(self) -> None:
        for listener in self.looked:
            listener()

    def _set(self, model: Any, **properties: Any) -> None:
        """Set a widget without hearing of it as if a person had."""
        self._setting = True
        try:
            model.update(**properties)
        finally:
            self._setting = False

    def _show(self, frame_id: int | None) -> None:
        frame = None if frame_id is None else self._view.frame(frame_id)
        if frame is not None:
            frame = replace(frame, place=self._view.place(frame.id))
        self.shown = frame
        self.outlines.data = outline_columns(frame)
        self.picture.data = picture_columns(frame, self._address)
        self.selection.draw(frame)
        self.tools.show(frame)
        if frame is not None:
            self._set(self.slider, value=frame.id)
        self._describe()

    def _describe(self) -> None:
        text = caption(self.shown, self._newest if not self.live.active else None, self._now)
        if text != self.caption.text:
            self.caption.text = text

    def _chart(self) -> Any:
        chart = picture_chart("frame", "nm", self.picture, toolbar_location="right")
        # Contrast and gamma change all that lies below `overlay`: the pictures alone.
        self.tools.on_frame(chart)
        lines = self._draw_outlines(chart)
        chart.axis.level = "overlay"
        chart.add_tools(
            HoverTool(
                renderers=[lines],
                tooltips=[
                    ("particle", "@words"),
                    ("diameter", "@diameter{0.00} nm"),
                    *((f"p({name})", f"@p_{name}{{0.00}}") for name in SHOWN_ORDER),
                ],
            )
        )
        lengths = MetricLength(ticks=[1, 2, 5, 10, 20, 50, 100, 200, 500])
        chart.add_layout(
            ScaleBar(
                range=chart.x_range, unit="nm", dimensional=lengths, location="bottom_left",
                bar_length=0.12, bar_line_width=4, bar_line_color=CHALK, label_text_color=CHALK,
                label_text_font_size="15px", background_fill_color=INK, background_fill_alpha=0.6,
                border_line_color=None, margin=8, padding=8, level="overlay",
            )
        )  # fmt: skip
        return chart

    def _draw_outlines(self, chart: Any) -> Any:
        """The particles' outlines and letters, and the selected one; gives what is hovered over."""
        drawn = CDSView(filter=self.tools.classes)
        outlines = {
            "source": self.outlines, "view": drawn, "fill_color": None, "line_join": "round", "level": "overlay",
        }  # fmt: skip
        chart.patches("xs", "ys", line_color=INK, line_alpha=0.55, line_width=5, **outlines)
        chart.patches(
            "xs", "ys", source=self.selection.source, line_color=CHALK, line_width=7, fill_color=CHALK,
            fill_alpha=0.08, line_join="round", level="overlay",
        )  # fmt: skip
        lines = chart.patches(
            "xs", "ys", line_color="colour", line_dash="dash", line_width=2.5, hover_line_width=4, **outlines
        )
        chart.text(
            "label_x", "label_y", "label", source=self.outlines, view=drawn, level="overlay", anchor="bottom_center",
            y_offset=-3, text_color=INK, text_font_size="13px", text_font_style="bold", padding=2, border_radius=3,
            background_fill_color="colour", background_fill_alpha=0.92,
        )  # fmt: skip
        return lines


def picture_columns(frame: ShownFrame | None, address: str) -> dict[str, Any]:
    """The one row of the picture's source; none where there is nothing to show."""
    if frame is None or not frame.has_preview:
        return {name: [] for name in _PICTURE}
    width, height = frame.width * frame.pixel_size_nm, frame.height * frame.pixel_size_nm
    url = address.format(id=frame.id, stamp=frame.stamp)
    x, y = to_page(-0.5, -0.5, frame.height, frame.pixel_size_nm)  # the outer corner of pixel (0, 0)
    return {"url": [url], "x": [float(x)], "y": [float(y)], "w": [width], "h": [height]}


def outline_columns(frame: ShownFrame | None) -> dict[str, Any]:
    """A row a particle: its outline, how it is drawn, and what hovering says."""
    data: dict[str, Any] = {name: [] for name in (*_OUTLINES, *_PROBABILITIES)}
    for particle in frame.particles if frame is not None else ():
        assert frame is not None
        style = CLASS_STYLES[particle.particle_class]
        x, y = to_page(particle.rows, particle.cols, frame.height, frame.pixel_size_nm)
        top, middle = particle.bbox[0], (particle.bbox[1] + particle.bbox[3]) / 2
        # The label stands above its particle, or inside it where the frame ends there.
        label_x, label_y = to_page(
            max(top - 0.5, 0.07 * frame.height), middle, frame.height, frame.pixel_size_nm
        )
        doubt = " (too close to call)" if particle.abstained else ""
        values = (
            x, y, style.colour, style.dash, style.letter + ("~" if particle.abstained else ""),
            float(label_x), float(label_y),
            f"{particle.label}: {particle.particle_class}, {style.words}{doubt}",
            particle.diameter_nm, particle.particle_class, *particle.probabilities,
        )  # fmt: skip
        for name, value in zip((*_OUTLINES, *_PROBABILITIES), values, strict=True):
            data[name].append(value)
    return data


def caption(frame: ShownFrame | None, newest: int | None, now: float) -> str:
    """What is looked at, in two lines; `newest` is given when looking back."""
    if frame is None:
        return '<div class="line"><span class="number dim">no frame analysed yet</span></div>'
    past = f'<span class="past">looking back · newest is {newest:,}</span>' if newest is not None else ""
    taken, what = (frame.acquired, "taken") if frame.acquired is not None else (frame.arrived, "arrived")
    about = f"{what} {clock_time(taken, now)} · {frame.width} × {frame.height} px · {frame.pixel_size_nm:.4g} nm/px"
    if frame.place is not None:
        about = f"{_where(frame.place)} · {about}"
    delay = f"result after {milliseconds(frame.latency_ms)}"
    counts = Counter(particle.particle_class for particle in frame.particles)
    classes = "".join(
        f'<span title="{style.words}"><span class="badge" style="background:{style.colour}">{style.letter}'
        f"</span>{counts[name]} {name}</span>"
        for name, style in CLASS_STYLES.items()
    )
    if frame.hidden:
        classes += f'<span class="warn">{frame.hidden:,} smaller ones not drawn</span>'
    return (
        f'<div class="line"><span class="number">frame {frame.id:,}</span>{past}'
        f'<span class="name clip" title="{escape(frame.name)}">{escape(frame.name)}</span>'
        f'<span class="dim clip" title="{delay}">{about}</span></div>'
        f'<div class="classes">{_uncounted(frame.place)}{classes}{_flags(frame)}</div>'
    )


def _where(place: Place) -> str:
    drift = "" if place.drift_nm is None else f" · drift {place.drift_nm:.2f} nm"
    return f"field {place.field:,}{drift}"


def _uncounted(place: Place | None) -> str:
    """What stands before the classes of a frame whose particles are not counted."""
    if place is None or place.uncounted is None:
        return ""
    why = escape(place.uncounted)
    return f'<span class="uncounted clip" title="{why}">not counted: {why}</span>'


def _flags(frame: ShownFrame) -> str:
    """The quality flags of the whole frame."""
    flags = [str(name).replace("_", " ") for name, value in frame.quality.items() if value is True]
    blind = frame.quality.get("unjudged_share")
    if isinstance(blind, int | float) and blind >= LEAST_BLIND:
        flags.append(f"{blind:.0%} dark or filled in, not judged")
    return "".join(f'<span class="warn">▲ {escape(flag)}</span>' for flag in flags)
