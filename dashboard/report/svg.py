"""Plots as SVG: axes with ticks, and what is drawn on them. Every text is escaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

Floats = npt.NDArray[np.float64]
Format = Callable[[float], str]

INK, DIM, LINE = "#1d242c", "#5b6672", "#d9dee4"
SIZE = 11
"""Of text [px of the drawing]; a page is 720 px wide."""


def plain(value: float) -> str:
    """A number as on an axis: no more digits than it needs."""
    return f"{value:,.10g}".replace("-", "−")


def share(value: float) -> str:
    """A share as on an axis."""
    return f"{100 * value:.3g} %"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most so many steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low] if math.isfinite(low) else []
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(k * power for k in (1, 2, 5, 10, 20) if span / (k * power) <= most)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def tag(name: str, text: str | None = None, **attributes: Any) -> str:
    """One element; `_` in an attribute's name stands for `-`, and None leaves it out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{said}/>" if text is None else f"<{name}{said}>{text}</{name}>"


def _short(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


class Plot:
    """A frame with two axes. Values outside of it are cut off at its border."""

    def __init__(
        self,
        width: float,
        height: float,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        about: str,
        margins: tuple[float, float, float, float] = (10, 12, 40, 58),
    ) -> None:
        """
        Parameters
        ----------
        width, height : of the whole drawing [px].
        x, y : the ranges shown.
        about : what the plot shows, for those who can't see it.
        margins : above, to the right, below, to the left of the frame [px].
        """
        self.width, self.height, self.about = width, height, about
        self.top, right, below, self.left = margins
        self.right, self.bottom = width - right, height - below
        self._x, self._y = _open(x), _open(y)
        self._parts: list[str] = []

    def x(self, value: float) -> float:
        """Where a value lies [px], held within the frame."""
        return self.left + (self.right - self.left) * _within(value, self._x)

    def y(self, value: float) -> float:
        """The same on the other axis, whose values rise upwards."""
        return self.bottom - (self.bottom - self.top) * _within(value, self._y)

    def add(self, name: str, text: str | None = None, **attributes: Any) -> None:
        """Draw one element, in px."""
        self._parts.append(tag(name, text, **attributes))

    def text(self, x: float, y: float, said: str, **attributes: Any) -> None:
        """Write at a place [px]."""
        style: dict[str, Any] = {"font_size": SIZE, "fill": DIM} | attributes
        self._parts.append(tag("text", escape(said), x=float(x), y=float(y), **style))

    def axes(
        self,
        x_label: str = "",
        y_label: str = "",
        *,
        x_format: Format | None = plain,
        y_format: Format | None = plain,
        most: tuple[int, int] = (8, 5),
    ) -> None:
        """Draw grid, ticks and labels; None for a format: no ticks on that axis."""
        if y_format is not None:
            for value in ticks(*self._y, most[1]):
                at = self.y(value)
                self.add("line", x1=self.left, x2=self.right, y1=at, y2=at, stroke=LINE)
                self.text(self.left - 6, at + 4, y_format(value), text_anchor="end")
        if x_format is not None:
            for value in ticks(*self._x, most[0]):
                at = self.x(value)
                self.add("line", x1=at, x2=at, y1=self.bottom, y2=self.bottom + 4, stroke=DIM)
                self.text(at, self.bottom + 16, x_format(value), text_anchor="middle")
        self.add("line", x1=self.left, x2=self.right, y1=self.bottom, y2=self.bottom, stroke=DIM)
        if x_label:
            middle = (self.left + self.right) / 2
            self.text(middle, self.bottom + 33, x_label, text_anchor="middle", fill=INK)
        if y_label:
            at = (self.top + self.bottom) / 2
            turn = f"rotate(-90 13 {at:.1f})"
            self.text(13, at, y_label, text_anchor="middle", fill=INK, transform=turn)

    def line(self, xs: Iterable[float], ys: Iterable[float], colour: str, **attributes: Any) -> None:
        """Draw a line; it is broken where a value is NaN, and a value alone is a dot."""
        for run in _runs(xs, ys):
            points = [(self.x(a), self.y(b)) for a, b in run]
            if len(points) == 1:
                self.add("circle", cx=points[0][0], cy=points[0][1], r=1.6, fill=colour)
            else:
                style: dict[str, Any] = {
                    "fill": "none",
                    "stroke": colour,
                    "stroke_width": 1.6,
                    "stroke_linejoin": "round",
                }
                self._parts.append(tag("polyline", points=_points(points), **style | attributes))

    def band(
        self, xs: Sequence[float] | Floats, low: Floats, high: Floats, colour: str, opacity: float = 0.25
    ) -> None:
        """Fill between two lines, where neither is NaN."""
        for run in _runs(xs, low, high):
            upper = [(self.x(a), self.y(c)) for a, _, c in run]
            lower = [(self.x(a), self.y(b)) for a, b, _ in reversed(run)]
            self.add("polygon", points=_points(upper + lower), fill=colour, fill_opacity=str(opacity))

    def whisker(self, at: float, low: float, high: float, colour: str = INK) -> None:
        """An interval that lies along x, at a height [px]."""
        ends = self.x(low), self.x(high)
        self.add("line", x1=ends[0], x2=ends[1], y1=at, y2=at, stroke=colour, stroke_width="1.6")
        for end in ends:
            self.add("line", x1=end, x2=end, y1=at - 4, y2=at + 4, stroke=colour, stroke_width="1.6")

    def svg(self) -> Markup:
        """The drawing."""
        return drawing(self.width, self.height, self.about, self._parts)


def drawing(width: float, height: float, about: str, parts: Iterable[str], defs: str = "") -> Markup:
    """An SVG element of given parts, which scales with the page."""
    head = f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(about)}"'
    # Markup: every part was made by `tag`, which escapes attributes, and by `Plot.text`, which escapes text.
    return Markup(f'<svg xmlns="http://www.w3.org/2000/svg" {head}>{defs}{"".join(parts)}</svg>')


def thinned(values: Floats, most: int = 400) -> tuple[Floats, Floats, Floats, Floats]:
    """Place, smallest, median and largest of at most so many stretches of a series; NaN where all of one is.

    Places are those of the middle of each stretch in the series, from 0.
    """
    parts = np.array_split(np.arange(len(values)), min(most, len(values))) if len(values) else []
    rows = []
    for part in parts:
        known = values[part][np.isfinite(values[part])]
        figures = (known.min(), np.median(known), known.max()) if len(known) else (np.nan,) * 3
        rows.append((part.mean(), *figures))
    table = np.array(rows, np.float64).reshape(-1, 4)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def _open(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = ends
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _within(value: float, ends: tuple[float, float]) -> float:
    return min(1.0, max(0.0, (value - ends[0]) / (ends[1] - ends[0])))


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _runs(*columns: Iterable[float]) -> list[list[tuple[float, ...]]]:
    """Rows of finite numbers, parted where one is not."""
    runs: list[list[tuple[float, ...]]] = [[]]
    for row in zip(*columns, strict=True):
        if all(math.isfinite(value) for value in row):
            runs[-1].append(row)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
