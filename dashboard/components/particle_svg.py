"""Drawings on a particle's pictures: the stack on the crop, spots on the spectrum, and the layers' lateral places."""

from __future__ import annotations

from html import escape

import numpy as np

from dashboard.crops import Box
from dashboard.inspecting import Inspected
from models.explain.explanation import EXPLAINED, Explanation, Spot, Stack
from monitor.workers.explained import Explained

#: The spectrum is shown so far from its middle [nm⁻¹].
SPECTRUM_PER_NM = 7.6
RINGS_PER_NM = (2.0, 4.0, 6.0)
#: Spots nearer to one another than this are labelled on opposite sides [nm⁻¹].
CROWDED_PER_NM = 0.9
#: Layers lie nearer on the screen than letters can, where a picture shows more than this many.
LETTERED = 40


def is_read(stack: Stack) -> bool:
    """Whether a sequence is read from the layers; else they are seen, and their letters would say nothing."""
    return stack.faulted or max(stack.explained["hexagonal"], stack.explained["cubic"]) > EXPLAINED


def crop_overlay(shown: Inspected, found: Explained | None, box: Box) -> str:
    """The outline, and where a stack was read its layers with their letters, its direction and the fault's place."""
    top, left, bottom, right = box
    height, width = bottom - top, right - left
    points = " ".join(f"{col + 0.5 - left:.1f},{row + 0.5 - top:.1f}" for row, col in shown.outline)
    inside = f'<polygon points="{points}"/>'
    if found is not None and found.explanation.stack is not None:
        inside += _stack(found, found.explanation.stack, shown.frame.pixel_size_nm, box)
    said = "the outline" if found is None else "the outline and what was read along the stacking direction"
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{said}">{inside}</svg>'


def _stack(found: Explained, stack: Stack, pixel_nm: float, box: Box) -> str:
    """A scale of the layers beside the particle, their planes through it, and the fault's place."""
    place = _Placed(found, stack, pixel_nm, box)
    size = 0.82 * min(stack.d_nm / pixel_nm, max(box[2] - box[0], box[3] - box[1]) / 14)
    aside = place.room(found.reach_nm + 0.25, 0.4 + 1.2 * size * pixel_nm)
    out = 1.0 if aside > 0 else -1.0
    drawn = ""
    for layer in stack.layers:
        drawn += _line(place.at(layer.at_nm, -aside), place.at(layer.at_nm, aside), "plane")
        drawn += _line(place.at(layer.at_nm, aside), place.at(layer.at_nm, aside + out * 0.3), "layer")
        if is_read(stack) and len(stack.layers) <= LETTERED:
            x, y = place.at(layer.at_nm, aside + out * (0.3 + 0.6 * size * pixel_nm))
            where = f'x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}"'
            drawn += f'<text class="letter {layer.letter}" {where}>{layer.letter}</text>'
    drawn += _line(place.at(-0.3, aside), place.at(stack.layers[-1].at_nm + 0.3, aside), "direction")
    if stack.fault_nm is not None:
        reach = found.reach_nm + 0.25
        drawn += _line(place.at(stack.fault_nm, -reach), place.at(stack.fault_nm, reach), "fault")
    return drawn


class _Placed:
    """Places along and across the stacking direction in the crop."""

    def __init__(self, found: Explained, stack: Stack, pixel_nm: float, box: Box) -> None:
        self._stack, self._pixel_nm, self._box = stack, pixel_nm, box
        self._origin = found.origin
        a, b = stack.along
        row, col = (m - o for m, o in zip(found.middle, found.origin, strict=True))
        self._across = (-row * b + col * a) * pixel_nm

    def at(self, along_nm: float, across_nm: float) -> tuple[float, float]:
        """(x, y) in the crop [px] of a place told from the first layer's middle and the region's."""
        a, b = self._stack.along
        along, aside = self._stack.first_nm + along_nm, self._across + across_nm
        row = self._origin[0] + (along * a - aside * b) / self._pixel_nm
        col = self._origin[1] + (along * b + aside * a) / self._pixel_nm
        return col + 0.5 - self._box[1], row + 0.5 - self._box[0]

    def room(self, reach_nm: float, more_nm: float) -> float:
        """How far across a scale may stand that needs `more_nm` beyond: beside the particle, else over it [nm]."""
        ends = 0.0, self._stack.layers[-1].at_nm
        for share in (1.0, 0.6, 0.2):
            for side in (1, -1):
                across = side * share * reach_nm
                if all(self._inside(self.at(end, across + side * more_nm)) for end in ends):
                    return across
        return reach_nm

    def _inside(self, point: tuple[float, float]) -> bool:
        top, left, bottom, right = self._box
        return 0 <= point[0] <= right - left and 0 <= point[1] <= bottom - top


def _line(begin: tuple[float, float], end: tuple[float, float], name: str) -> str:
    return (
        f'<line class="{name}" x1="{begin[0]:.1f}" y1="{begin[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
    )


def spectrum_overlay(found: Explanation) -> str:
    """Rings, the stacking direction and the spots with their indices, in nm⁻¹ from the middle."""
    side = 2 * SPECTRUM_PER_NM
    drawn = "".join(f'<circle class="ring" r="{radius:g}"/>' for radius in RINGS_PER_NM)
    drawn += "".join(
        f'<text class="tick" x="{radius / 2**0.5:.2f}" y="{radius / 2**0.5:.2f}">{radius:g}</text>'
        for radius in RINGS_PER_NM
    )
    if found.stack is not None:
        a, b = (each * SPECTRUM_PER_NM for each in found.stack.along)
        drawn += f'<line class="direction" x1="{-b:.2f}" y1="{-a:.2f}" x2="{b:.2f}" y2="{a:.2f}"/>'
    placed: list[tuple[float, float]] = []
    for number, spot in enumerate(found.spots, 1):
        row, col = spot.at_per_nm
        drawn += "".join(
            f'<circle class="spot" cx="{sign * col:.2f}" cy="{sign * row:.2f}" r="0.34"/>' for sign in (1, -1)
        )
        crowded = any(np.hypot(col - x, row - y) < CROWDED_PER_NM for x, y in placed)
        x, y = (-col, -row) if crowded else (col, row)
        placed.append((x, y))
        drawn += _spot_label(number, spot, x, y)
    return (
        f'<svg viewBox="{-SPECTRUM_PER_NM} {-SPECTRUM_PER_NM} {side} {side}" role="img"'
        f' aria-label="{len(found.spots)} indexed spots">{drawn}</svg>'
    )


def _spot_label(number: int, spot: Spot, x: float, y: float) -> str:
    length = max(float(np.hypot(x, y)), 1e-6)
    out = 1 if abs(x) < SPECTRUM_PER_NM - 1.8 and abs(y) < SPECTRUM_PER_NM - 0.8 else -1
    dx, dy = out * 0.85 * x / length, out * 0.85 * y / length
    return f'<text class="index" x="{x + dx:.2f}" y="{y + dy:.2f}">{escape(spot.index or str(number))}</text>'


def profile(stack: Stack) -> str:
    """Every layer's lateral place (dots) and the word that is read from them (line), the first layer on the left."""
    step, height = 16.0, 76.0
    width = step * (len(stack.layers) + 1)

    def level(place: float) -> float:
        return height - 20 - 44 * place

    lines = "".join(
        f'<line class="grid" x1="0" x2="{width:g}" y1="{level(n / 3):.1f}" y2="{level(n / 3):.1f}"/>'
        for n in range(3)
    )
    x = [step * (n + 1) for n in range(len(stack.layers))]
    read = is_read(stack)
    word = " ".join(
        f"{at:g},{level('ABC'.index(layer.letter) / 3):.1f}"
        for at, layer in zip(x, stack.layers if read else (), strict=read)
    )
    dots = letters = ""
    for at, layer in zip(x, stack.layers, strict=True):
        place = (layer.place + 1 / 6) % 1.0 - 1 / 6
        radius = 2 + 3 * min(layer.size, 1.2)
        dots += f'<circle class="seen" cx="{at:g}" cy="{level(place):.1f}" r="{radius:.1f}"/>'
        if read:
            letters += (
                f'<text class="letter {layer.letter}" x="{at:g}" y="{height - 4:g}">{layer.letter}</text>'
            )
    fault = ""
    if stack.fault_layer is not None:
        at = step * (stack.fault_layer + 1)
        fault = f'<line class="fault" x1="{at:g}" x2="{at:g}" y1="0" y2="{height:g}"/>'
    shares = ", ".join(f"{name} {max(0.0, share):.0%}" for name, share in stack.explained.items())
    label = f"read as {stack.word}" if read else "no sequence is read"
    said = "line: the best sequence" if read else "no sequence explains enough of them to be read"
    return (
        f'<div class="profile"><svg width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-label="{label}">{lines}{fault}<polyline points="{word}"/>{dots}{letters}</svg></div>'
        f'<p class="dim">{len(stack.layers)} layers of {stack.d_nm:.4f} nm along {stack.direction_deg:.0f}°. Dots: the'
        f" lateral place that is seen, A, B or C; {said}. Explained: {shares}.</p>"
    )
