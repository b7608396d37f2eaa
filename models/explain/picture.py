"""The picture of an explanation: the crop, its power spectrum, the stack and the features that counted most."""

from __future__ import annotations

import io
import textwrap
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

from models.explain.explanation import KINDS, Explanation, Spot, Stack, layer_told
from models.features.measure import Seen
from models.features.spectrum import TRANSFORM
from models.results import CLASSES

#: Out of Okabe and Ito's palette, which the colour-blind can tell apart; as on the page.
COLOURS = {"yes": "#e69f00", "no": "#56b4e9", "null": "#cc79a7", "empty": "#8d99a6"}
WORDS = {"yes": "fault seen", "no": "would show, none seen", "null": "would not show", "empty": "no particle"}
DIRECTION, FAULT, SPOT, OUTLINE = "#009e73", "#d55e00", "#f0e442", "#56b4e9"
WIDEST = 7.6
"""The spectrum is shown so far [nm⁻¹]."""
CROWDED = 0.9
"""Spots nearer to one another than this are labelled on opposite sides [nm⁻¹]."""
DPI = 110


def picture(explanation: Explanation, seen: Seen, title: str) -> Figure:
    """All of an explanation on one sheet, on a canvas that needs no display.

    Parameters
    ----------
    seen : the particle that is explained, as it was measured.
    title : which particle of which frame.
    """
    figure = Figure(figsize=(12, 10.4), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    figure.suptitle(_wrapped(f"{title}: {explanation.particle_class}", explanation.why), fontsize=11)
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1))[:, 0]
    crop, spectrum, table = top.subplots(1, 3, width_ratios=(1, 1.06, 0.72))
    _draw_crop(crop, explanation, seen)
    _draw_spectrum(spectrum, explanation, seen)
    _draw_table(table, explanation)
    left, right = bottom.subfigures(1, 2, squeeze=False, width_ratios=(1.35, 1))[0]
    if explanation.stack is None:
        empty = left.subplots()
        empty.set_axis_off()
        empty.text(0.5, 0.5, "no stack to read", ha="center", va="center", color="0.4", fontsize=12)
    else:
        strip, profile = left.subplots(2, 1, sharex=True, height_ratios=(1.1, 1))
        _draw_strip(strip, explanation.stack, seen)
        _draw_profile(profile, explanation.stack)
    chances, counted = right.subplots(2, 1, height_ratios=(1, 1.9))
    _draw_probabilities(chances, explanation)
    _draw_counted(counted, explanation)
    return figure


def as_png(figure: Figure) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _wrapped(title: str, why: str) -> str:
    # What stands in the file's name is no mathematics.
    return title.replace("$", r"\$") + "\n" + textwrap.fill(why, 120)


def _grey(image: npt.NDArray[Any]) -> dict[str, Any]:
    low, high = np.percentile(image, [0.5, 99.5])
    return {"cmap": "gray", "vmin": low, "vmax": max(float(high), float(low) + 1e-6)}


def _draw_crop(axes: Axes, explanation: Explanation, seen: Seen) -> None:
    """The crop [nm] with the outline, the stacking direction and the fault's plane."""
    step = seen.pixel_size_nm
    h, w = seen.crop.shape
    extent = (-step / 2, (w - 0.5) * step, (h - 0.5) * step, -step / 2)
    axes.imshow(seen.crop, extent=extent, interpolation="bicubic", **_grey(seen.crop))
    rows, cols = np.arange(h) * step, np.arange(w) * step
    if min(h, w) > 1:
        axes.contour(cols, rows, seen.mask.astype(float), levels=[0.5], colors=OUTLINE, linewidths=1.2)
    if explanation.stack is not None:
        _draw_direction(axes, explanation.stack, seen)
    length = 1.0 if w * step < 6 else 2.0
    x, y = extent[0] + 0.04 * w * step, extent[2] - 0.05 * h * step
    axes.plot([x, x + length], [y, y], color="white", linewidth=4, solid_capstyle="butt")
    axes.text(
        x + length / 2,
        y - 0.02 * h * step,
        f"{length:g} nm",
        color="white",
        ha="center",
        va="bottom",
        fontsize=9,
    )
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.set_axis_off()
    axes.set_title(f"the particle, {explanation.diameter_nm:.2f} nm across", fontsize=10)


def _middle(seen: Seen, stack: Stack) -> tuple[float, float]:
    """Where the region's middle lies: along the stacking direction and across it [nm]."""
    row, col = np.argwhere(seen.mask).mean(axis=0) * seen.pixel_size_nm
    a, b = stack.along
    return float(row * a + col * b), float(-row * b + col * a)


def _draw_direction(axes: Axes, stack: Stack, seen: Seen) -> None:
    a, b = stack.along
    _, across = _middle(seen, stack)
    thickness = stack.layers[-1].at_nm

    def at(along_nm: float, across_nm: float) -> tuple[float, float]:
        """(column, row) [nm] of a place told from the first layer's middle and the region's."""
        along = stack.first_nm + along_nm
        return along * b + (across + across_nm) * a, along * a - (across + across_nm) * b

    ends = at(-0.3, 0), at(thickness + 0.3, 0)
    arrow = FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=14, color=DIRECTION, linewidth=1.8)
    axes.add_patch(arrow)
    if stack.fault_nm is not None:
        reach = 0.5 * float(np.sqrt(seen.mask.sum())) * seen.pixel_size_nm + 0.35
        (x0, y0), (x1, y1) = at(stack.fault_nm, -reach), at(stack.fault_nm, reach)
        axes.plot([x0, x1], [y0, y1], color=FAULT, linewidth=1.6, linestyle=(0, (5, 3)))


def _draw_spectrum(axes: Axes, explanation: Explanation, seen: Seen) -> None:
    """The power over the ground's [nm⁻¹] with the spots circled, and the stacking direction."""
    ratio = cv2.GaussianBlur(seen.spectrum().plane(), (0, 0), 0.8)
    half = 0.5 / seen.pixel_size_nm
    bin_width = 2 * half / TRANSFORM
    extent = (-half - bin_width / 2, half - bin_width / 2, half - bin_width / 2, -half - bin_width / 2)
    top = float(np.log10(max(30.0, ratio.max())))
    level = np.log10(np.maximum(ratio, 1e-3))
    drawn = axes.imshow(level, extent=extent, cmap="magma", vmin=-0.3, vmax=top, interpolation="bilinear")
    axes.figure.colorbar(drawn, ax=axes, shrink=0.72, pad=0.02, label="log₁₀ power over the ground")
    for radius in (2.0, 4.0, 6.0):
        axes.add_patch(Circle((0, 0), radius, fill=False, color="white", linewidth=0.4, alpha=0.4))
    if explanation.stack is not None:
        a, b = explanation.stack.along
        axes.plot(
            [-b * WIDEST, b * WIDEST],
            [-a * WIDEST, a * WIDEST],
            color=DIRECTION,
            linewidth=1.2,
            alpha=0.8,
        )
    placed: list[npt.NDArray[np.float64]] = []
    for number, spot in enumerate(explanation.spots, start=1):
        for side in (1, -1):
            centre = (side * spot.at_per_nm[1], side * spot.at_per_nm[0])
            axes.add_patch(Circle(centre, 0.3, fill=False, color=SPOT, linewidth=1.4))
        here = np.array([spot.at_per_nm[1], spot.at_per_nm[0]])
        if any(np.hypot(*(here - other)) < CROWDED for other in placed):
            here = -here
        placed.append(here)
        _label(axes, number, spot, here)
    axes.set_xlim(-WIDEST, WIDEST)
    axes.set_ylim(WIDEST, -WIDEST)
    axes.set_xlabel("nm⁻¹", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.set_title("its power spectrum", fontsize=10)


def _label(axes: Axes, number: int, spot: Spot, here: npt.NDArray[np.float64]) -> None:
    """Its index, else its number in the list, beside its circle."""
    x, y = here / max(float(np.hypot(*here)), 1e-6)
    if abs(here[0]) > WIDEST - 1.6:  # no room outside
        x, y = -x, -y
    axes.text(
        float(here[0] + 0.42 * x),
        float(here[1] + 0.42 * y),
        spot.index or str(number),
        color=SPOT,
        fontsize=9,
        fontweight="bold",
        ha="left" if x > 0.4 else "right" if x < -0.4 else "center",
        va="top" if y > 0.4 else "bottom" if y < -0.4 else "center",
        clip_on=True,
    )


def _draw_table(axes: Axes, explanation: Explanation) -> None:
    """The spots as a list, the strongest first."""
    axes.set_axis_off()
    axes.set_title("spots found", fontsize=10)
    lines = [f"{'':2s} {'nm⁻¹':>5s} {'d [nm]':>7s} {'to stack':>8s}  index"]
    for number, spot in enumerate(explanation.spots, start=1):
        angle = "" if spot.from_stacking_deg is None else f"{spot.from_stacking_deg:.0f}°"
        name = spot.index or "–"
        lines.append(f"{number:2d} {spot.frequency_per_nm:5.2f} {spot.d_nm:7.4f} {angle:>8s}  {name}")
    if not explanation.spots:
        lines = ["none"]
    axes.text(0, 0.97, "\n".join(lines), family="monospace", fontsize=8.5, va="top", linespacing=1.6)
    if explanation.material is None:
        told = _possible(explanation.spots)
        said = (
            f"By their spacing alone they may be\n{told}" if told else "No known material has these spacings."
        )
        said += "\n\nGive --material for indices."
        said = said if explanation.spots else ""
    else:
        by = "spacing alone" if explanation.stack is None else "spacing and angle to the stack"
        said = f"Indexed for {explanation.material}\nby {by}."
        said = said if explanation.spots else ""
    axes.text(0, 0.97 - 0.05 * (len(lines) + 1), said, fontsize=8.5, va="top", color="0.35", linespacing=1.5)


def _possible(spots: tuple[Spot, ...]) -> str:
    """What each spot may be, a line each."""
    told = []
    for number, spot in enumerate(spots, start=1):
        if spot.may_be:
            told.append(f"{number}: " + ", ".join(spot.may_be[:2]) + (", …" if len(spot.may_be) > 2 else ""))
    return "\n".join(told)


def _draw_strip(axes: Axes, stack: Stack, seen: Seen) -> None:
    """The crop turned so that the stacking direction runs to the right, at about equal scales."""
    a, b = stack.along
    step = seen.pixel_size_nm / 2
    _, middle = _middle(seen, stack)
    x = np.arange(-0.5, stack.layers[-1].at_nm + 0.5, step)
    half = (x[-1] - x[0]) / 6
    y = np.arange(-half, half, step) + middle
    along, across = np.meshgrid(x + stack.first_nm, y)
    rows = ((along * a - across * b) / seen.pixel_size_nm).astype(np.float32)
    cols = ((along * b + across * a) / seen.pixel_size_nm).astype(np.float32)
    turned = cv2.remap(seen.crop, cols, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    extent = (float(x[0]), float(x[-1]), -half, half)
    axes.imshow(
        turned, extent=extent, origin="lower", aspect="auto", interpolation="bicubic", **_grey(turned)
    )
    if stack.fault_nm is not None:
        axes.axvline(stack.fault_nm, color=FAULT, linewidth=1.6, linestyle=(0, (5, 3)))
    axes.set_yticks([])
    axes.set_ylabel("the rows across", fontsize=9)
    axes.tick_params(labelbottom=False, length=0)
    axes.set_title(
        f"the stack along {stack.direction_deg:.0f}°, {len(stack.layers)} layers of {stack.d_nm:.4f} nm, "
        f"whose reflection is {stack.strength:.0f} times the ground",
        fontsize=10,
    )


def _draw_profile(axes: Axes, stack: Stack) -> None:
    """Every layer's lateral place against its place in the stack; the word's letters are the three levels."""
    x = np.array([layer.at_nm for layer in stack.layers])
    # Places wrap round: the levels A, B, C are shown at 0, 1/3, 2/3 with half a level's room below and above.
    place = (np.array([layer.place for layer in stack.layers]) + 1 / 6) % 1.0 - 1 / 6
    expected = np.array(["ABC".index(letter) / 3 for letter in stack.word])
    for level in range(3):
        axes.axhline(level / 3, color="0.85", linewidth=0.8, zorder=0)
    if stack.fault_nm is not None and stack.fault is not None and stack.fault_layer is not None:
        axes.axvspan(
            stack.fault_nm - 0.5 * stack.d_nm,
            stack.fault_nm + 0.5 * stack.d_nm,
            color=FAULT,
            alpha=0.18,
            linewidth=0,
        )
        axes.axvline(stack.fault_nm, color=FAULT, linewidth=1.6, linestyle=(0, (5, 3)))
        told = f"{KINDS[stack.fault]}\n{layer_told(stack.fault_layer)}"
        late = stack.fault_nm > 0.5 * x[-1]
        axes.annotate(
            told,
            (stack.fault_nm, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-6 if late else 6, -4),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            color=FAULT,
            fontsize=9,
            fontweight="bold",
        )
    axes.plot(x, expected, color="0.6", linewidth=1.2, zorder=1)
    sizes = 16 + 60 * np.clip([layer.size for layer in stack.layers], 0, 1.5)
    axes.scatter(x, place, s=sizes, color=DIRECTION, edgecolor="black", linewidth=0.6, zorder=3)
    for at, letter in zip(x, stack.word, strict=True):
        axes.text(float(at), -0.262, letter, ha="center", va="center", fontsize=9, fontweight="bold")
    axes.set_xlim(-0.5, float(x[-1]) + 0.5)
    axes.set_ylim(-0.34, 1.02)
    axes.set_yticks([0, 1 / 3, 2 / 3], ["A", "B", "C"])
    axes.set_xlabel("along the stacking direction [nm]", fontsize=9)
    axes.set_ylabel("lateral place of the layer", fontsize=9)
    axes.tick_params(labelsize=9)
    shares = ", ".join(f"{name} {max(0.0, share):.0%}" for name, share in stack.explained.items())
    axes.set_title(f"dots: what is seen, line: the best sequence; explained: {shares}", fontsize=9)


def _draw_probabilities(axes: Axes, explanation: Explanation) -> None:
    names = list(CLASSES)
    chances = [explanation.probabilities[name] for name in names]
    axes.barh(names, chances, color=[COLOURS[name] for name in names], edgecolor="0.3", linewidth=0.6)
    for at, (name, p) in enumerate(zip(names, chances, strict=True)):
        axes.text(0.015 + (p if p <= 0.55 else 0.0), at, f"{p:.0%}  {WORDS[name]}", va="center", fontsize=9)
    axes.set_xlim(0, 1)
    axes.tick_params(labelsize=9)
    unsure = ", too close to call" if explanation.abstained else ""
    axes.set_title(f"probability{unsure}", fontsize=10)
    _bare(axes)


def _draw_counted(axes: Axes, explanation: Explanation) -> None:
    """Bars of the features that moved the votes most, the largest on top."""
    counted = explanation.counted[::-1]
    colours = [COLOURS[explanation.particle_class] if c.contribution > 0 else "0.75" for c in counted]
    names = [f"{c.feature} = {c.value:.3g}" for c in counted]
    axes.barh(range(len(counted)), [c.contribution for c in counted], color=colours, edgecolor="0.3", lw=0.6)
    axes.set_yticks(range(len(counted)), names)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.tick_params(labelsize=8.5)
    axes.set_xlabel(
        f"share of the votes, added to the {explanation.expected:.0%} before any is looked at{_axes_told(explanation)}",
        fontsize=8.5,
        loc="right",
    )
    name = explanation.particle_class
    axes.set_title(
        f"what counted for or against {name}: {explanation.votes:.0%} of the votes", fontsize=10, loc="right"
    )
    _bare(axes)


def _axes_told(explanation: Explanation) -> str:
    """Which axes the features are of, where there are two."""
    stack, fault = explanation.stack_axis_deg, explanation.fault_axis_deg
    if stack is None or fault is None or abs(stack - fault) < 0.05:
        return ""
    return f"\nstack_…: along {stack:.0f}°; fault_…: along {fault:.0f}°, where a fault is best attested"


def _bare(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
