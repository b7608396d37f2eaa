"""The plots of a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from markupsafe import Markup

from dashboard.report.facts import Course, Floats, Particles
from dashboard.report.svg import DIM, INK, LINE, SIZE, Plot, drawing, plain, share, tag, thinned, ticks
from dashboard.style import CLASS_STYLES, SHOWN_ORDER
from monitor.record.strata import Stratum

WIDTH = 720
FAULT = CLASS_STYLES["yes"].colour
BARS = 32
"""Bars of a histogram at most."""


def hatches() -> str:
    """Patterns of the classes' bars, so that they differ without colours too."""
    lines = {"no": "M0 6L6 0", "null": "M0 0L6 6M0 6L6 0", "empty": "M3 2.5h1v1h-1z"}
    return tag("defs", "".join(
        tag("pattern", tag("rect", width=6, height=6, fill=CLASS_STYLES[name].colour)
            + tag("path", d=lines.get(name, ""), stroke="#fff", stroke_width="0.9", stroke_opacity="0.8"),
            id=f"class-{name}", width=6, height=6, patternUnits="userSpaceOnUse")
        for name in SHOWN_ORDER
    ))  # fmt: skip


def course_plot(course: Course) -> Markup:
    """The fraction as counted and corrected, its interval and its confidence sequence, over the frames."""
    known = np.isfinite(course["corrected"])
    top = _ceiling(course)
    plot = Plot(
        WIDTH,
        270,
        (1, max(2, len(course))),
        (0, top),
        about="the fraction over the session",
        margins=(28, 12, 40, 58),
    )
    plot.axes("frames, in order of acquisition", "fraction", y_format=share)
    at = np.flatnonzero(known)
    if len(at):
        at = at[np.unique(np.linspace(0, len(at) - 1, min(500, len(at))).round().astype(int))]
        place = at + 1.0
        plot.band(place, course["low"][at], course["high"][at], FAULT)
        for name in ("always_low", "always_high"):
            plot.line(place, course[name][at], DIM, stroke_dasharray="2 3", stroke_width="1.2")
        plot.line(place, course["corrected"][at], "#b36b00", stroke_width="2.4")
    place, _, middle, _ = thinned(course["counted"], 500)
    plot.line(place + 1, middle, INK, stroke_dasharray="6 3", stroke_width="1.2")
    _legend(plot, [("corrected", "#b36b00", None, 2.4), ("95 % interval", FAULT, None, 8),
                   ("holds at every look", DIM, "2 3", 1.2), ("as counted", INK, "6 3", 1.2)])  # fmt: skip
    return plot.svg()


def _ceiling(course: Course) -> float:
    late = slice(len(course) // 4, None)
    values = np.concatenate(
        [course["high"][late], course["corrected"][late], course["counted"][late], [0.05]]
    )
    return min(1.0, math.ceil(float(np.nanmax(values)) * 10 + 0.5) / 10)


def _legend(plot: Plot, entries: Sequence[tuple[str, str, str | None, float]]) -> None:
    at = plot.left
    for name, colour, dash, width in entries:
        faint = "0.35" if width > 4 else None
        plot.add("line", x1=at, x2=at + 22, y1=14, y2=14, stroke=colour, stroke_width=str(width),
                 stroke_dasharray=dash, stroke_opacity=faint)  # fmt: skip
        plot.text(at + 28, 18, name)
        at += 28 + 6.4 * len(name) + 22


def strata_plot(rows: Sequence[tuple[str, Stratum]], whole: tuple[float, float] | None, about: str) -> Markup:
    """A line for each part: its fraction as counted and corrected, with the interval.

    Parameters
    ----------
    rows : name and figures of each part.
    whole : the interval of all, shaded.
    """
    step = 22
    plot = Plot(WIDTH, 56 + step * len(rows), (0, 1), (0, 1), about=about, margins=(6, 26, 40, 150))
    plot.axes("fraction", x_format=share, y_format=None, most=(10, 1))
    if whole is not None:
        low, high = plot.x(whole[0]), plot.x(whole[1])
        plot.add("rect", x=low, y=plot.top, width=high - low, height=plot.bottom - plot.top, fill=FAULT,
                 fill_opacity="0.13")  # fmt: skip
    for i, (name, stratum) in enumerate(rows):
        at = plot.top + step * (i + 0.5)
        plot.text(plot.left - 8, at + 4, f"{name} ({stratum.judged})", text_anchor="end", fill=INK)
        found = stratum.estimate
        if found.interval is not None:
            plot.whisker(at, *found.interval)
        if found.corrected is not None:
            plot.add("circle", cx=plot.x(found.corrected), cy=at, r=4.2, fill="#b36b00", stroke="#fff")
        if found.counted is not None:
            x = plot.x(found.counted)
            plot.add("path", d=f"M{x - 4:.1f} {at - 4:.1f}l8 8m0 -8l-8 8", stroke=INK, stroke_width="1.4")
    return plot.svg()


def sizes_plot(particles: Particles) -> Markup:
    """How many particles of each class have which diameter, as stacked bars."""
    sizes = particles.diameters_nm
    most = float(np.percentile(sizes, 99.5)) if len(sizes) else 1.0
    step = next((s for s in (0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10) if most / s <= BARS), 20.0)
    edges = np.arange(0, math.ceil(most / step + 1e-9) + 1) * step
    classes = np.array(particles.classes)
    counts = {
        name: np.histogram(np.minimum(sizes[classes == name], edges[-1] - step / 2), edges)[0]
        for name in SHOWN_ORDER
    }
    total = np.sum([*counts.values()], axis=0)
    first = max(0, int(np.flatnonzero(total)[0]) - 1) if total.any() else 0
    top = max(1.0, float(total.max(initial=0)) * 1.06)
    plot = Plot(
        WIDTH, 240, (edges[first], edges[-1]), (0, top), about="sizes by class", margins=(28, 12, 40, 58)
    )
    whole = [value for value in ticks(0, top, 5) if value == int(value)]
    plot.axes("diameter [nm]", "particles", y_format=lambda v: plain(v) if v in whole else "")
    base = np.zeros(len(total))
    for name in SHOWN_ORDER:
        for i in np.flatnonzero(counts[name]):
            x, y = plot.x(edges[i]), plot.y(base[i] + counts[name][i])
            plot.add("rect", x=x + 0.5, y=y, width=plot.x(edges[i + 1]) - x - 1, height=plot.y(base[i]) - y,
                     fill=f"url(#class-{name})", stroke="#fff", stroke_width="0.5")  # fmt: skip
        base = base + counts[name]
    at = plot.left
    for name in SHOWN_ORDER:
        plot.add("rect", x=at, y=8, width=16, height=12, fill=f"url(#class-{name})")
        said = f"{CLASS_STYLES[name].letter} {name}: {int(counts[name].sum()):,}"
        plot.text(at + 22, 18, said)
        at += 22 + 6.4 * len(said) + 22
    return plot.svg()


def map_plot(
    particles: Particles, chosen: np.ndarray, views: Sequence[tuple[float, float, float, float]], name: str
) -> Markup:
    """Particles of one map where they lie, with the frames that were taken of it; lengths are to scale.

    Parameters
    ----------
    chosen : (N,) which particles lie on it.
    views : top, left, height and width of its frames [nm].
    """
    boxes = np.array(views, np.float64).reshape(-1, 4)
    # A particle may reach beyond every frame that was taken.
    rows, cols, radii = (
        particles.rows_nm[chosen],
        particles.cols_nm[chosen],
        particles.diameters_nm[chosen] / 2,
    )
    top = min(boxes[:, 0].min(), (rows - radii).min())
    left = min(boxes[:, 1].min(), (cols - radii).min())
    height = max((boxes[:, 0] + boxes[:, 2]).max(), (rows + radii).max()) - top
    width = max((boxes[:, 1] + boxes[:, 3]).max(), (cols + radii).max()) - left
    side, head = 228.0, 18.0
    zoom = (side - 4) / max(height, width, 1e-9)
    parts = [tag("text", escape(name), x=2, y=12, font_size=SIZE, fill=INK)]
    for r, c, h, w in boxes[
        np.unique(np.linspace(0, len(boxes) - 1, min(30, len(boxes))).round().astype(int))
    ]:
        parts.append(tag("rect", x=2 + (c - left) * zoom, y=head + (r - top) * zoom, width=w * zoom,
                         height=h * zoom, fill="#f2f4f6", fill_opacity="0.35", stroke=LINE))  # fmt: skip
    for i in chosen:
        style = CLASS_STYLES[particles.classes[i]]
        filled = particles.classes[i] == "yes"
        parts.append(tag(
            "circle", cx=2 + (particles.cols_nm[i] - left) * zoom, cy=head + (particles.rows_nm[i] - top) * zoom,
            r=max(1.5, particles.diameters_nm[i] / 2 * zoom), fill=style.colour,
            fill_opacity="0.85" if filled else "0.12", stroke="#7a4d00" if filled else style.colour,
            stroke_width="1.3", stroke_dasharray={"null": "3 2", "empty": "1 2"}.get(particles.classes[i]),
        ))  # fmt: skip
    bar_nm = next((b for b in (100, 50, 20, 10, 5, 2, 1) if b * zoom < side / 3), 1)
    base = head + height * zoom + 8
    parts += [
        tag("rect", x=2, y=base, width=bar_nm * zoom, height=2.5, fill=INK),
        tag("text", f"{bar_nm} nm", x=8 + bar_nm * zoom, y=base + 6, font_size=SIZE - 1, fill=DIM),
    ]
    return drawing(side, base + 12, name, parts)


def strip_plot(
    values: Floats, name: str, spans: Sequence[tuple[int, int, str]], uncounted: Sequence[int], last: bool
) -> Markup:
    """One figure over the frames: its median, and from least to most where frames are drawn together.

    Parameters
    ----------
    spans : first and last place of each alarm, from 1, and its colour.
    uncounted : places of the frames that are not counted, from 1.
    last : the axis is named below it.
    """
    known = values[np.isfinite(values)]
    low, high = (float(v) for v in np.percentile(known, (0.5, 99.5)))
    room = 0.08 * (high - low) or 0.05 * (abs(high) or 1.0)
    low = 0.0 if 0 <= low < 0.4 * high else low - room
    count = len(values)
    below = 38 if last else 20
    plot = Plot(
        WIDTH, 80 + below, (1, max(2, count)), (low, high + room), about=name, margins=(20, 12, below, 58)
    )
    for first, end, colour in spans:
        x = plot.x(first - 0.5)
        plot.add("rect", x=x, y=plot.top, width=max(1.5, plot.x(end + 0.5) - x), height=plot.bottom - plot.top,
                 fill=colour, fill_opacity="0.13")  # fmt: skip
    plot.axes("frames, in order of acquisition" if last else "", most=(8, 4))
    plot.text(plot.left, 13, name, fill=INK)
    place, least, middle, most = thinned(values)
    if count > len(place):
        plot.band(place + 1, least, most, "#3b82c4", 0.25)
    plot.line(place + 1, middle, "#1f5f99", stroke_width="1.3")
    for at in uncounted[:: max(1, len(uncounted) // 400)]:
        x = plot.x(at)
        plot.add("line", x1=x, x2=x, y1=plot.bottom - 5, y2=plot.bottom, stroke=INK, stroke_width="1.5")
    return plot.svg()


def alarms_plot(rows: Sequence[tuple[str, Sequence[tuple[int, int, str]]]], count: int) -> Markup:
    """When which alarm was on.

    Parameters
    ----------
    rows : each kind, with first and last place of its alarms, from 1, and their colour.
    count : frames of the session.
    """
    step = 19
    height = 46 + step * len(rows)
    plot = Plot(
        WIDTH, height, (1, max(2, count)), (0, 1), about="alarms over the session", margins=(4, 12, 40, 150)
    )
    plot.axes("frames, in order of acquisition", y_format=None)
    for i, (kind, spans) in enumerate(rows):
        at = plot.top + step * i
        plot.text(plot.left - 8, at + 13, kind, text_anchor="end", fill=INK)
        for first, end, colour in spans:
            x = plot.x(first - 0.5)
            plot.add(
                "rect", x=x, y=at + 3, width=max(2.0, plot.x(end + 0.5) - x), height=step - 6, fill=colour
            )
    return plot.svg()
