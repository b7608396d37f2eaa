"""Which particle is looked at: picked by a click or by the arrow keys, drawn brighter, kept until it is cleared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from bokeh.models import ColumnDataSource

from dashboard.geometry import to_page
from dashboard.snapshot import ShownFrame, ShownParticle

#: A key's direction as (down, right).
DIRECTIONS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}

Key = tuple[int, int]
"""Number of the frame, number of the particle in it: they outlive the row of a particle that is judged anew."""


class Selection:
    """The particle that is looked at, and its outline on the frame that is shown."""

    def __init__(self, changed: Callable[[Key | None], None] = lambda key: None) -> None:
        """
        Parameters
        ----------
        changed : told of every other particle, None of none.
        """
        self.key: Key | None = None
        self.changed = changed
        self.source = ColumnDataSource(name="frame_selected_source", data={"xs": [], "ys": [], "key": []})

    def set(self, key: Key | None, frame: ShownFrame | None) -> None:
        """Look at a particle, or at none."""
        if key == self.key:
            return
        self.key = key
        self.draw(frame)
        self.changed(key)

    def draw(self, frame: ShownFrame | None) -> None:
        """Draw its outline where it is in this frame, nothing where it is in another."""
        data: dict[str, list[object]] = {"xs": [], "ys": [], "key": []}
        found = self.within(frame)
        if found is not None and frame is not None:
            x, y = to_page(found.rows, found.cols, frame.height, frame.pixel_size_nm)
            data = {"xs": [x], "ys": [y], "key": [f"{frame.id}:{found.label}"]}
        if data["key"] or self.source.data["key"]:
            self.source.data = data

    def within(self, frame: ShownFrame | None) -> ShownParticle | None:
        """The particle, where it is in this frame and drawn."""
        if self.key is None or frame is None or frame.id != self.key[0]:
            return None
        return next((each for each in frame.particles if each.label == self.key[1]), None)


def at_point(frame: ShownFrame, x_nm: float, y_nm: float) -> ShownParticle | None:
    """The smallest particle around a point of the page; None where there is none."""
    col = x_nm / frame.pixel_size_nm - 0.5
    row = frame.height - 0.5 - y_nm / frame.pixel_size_nm
    around = []
    for particle in frame.particles:
        corners = np.column_stack((particle.cols, particle.rows)).astype(np.float32)
        if len(corners) > 2 and cv2.pointPolygonTest(corners, (col, row), False) >= 0:
            around.append(particle)
    return min(around, key=lambda each: each.diameter_nm, default=None)


def beside(particles: Sequence[ShownParticle], label: int | None, direction: str) -> ShownParticle | None:
    """The next particle in a direction: the nearest that lies more that way than to the side of it.

    Where none does, it is the nearest of those that lie that way at all, and where there is none either, the particle
    itself. Without a particle to begin from it is the first.
    """
    here = next((each for each in particles if each.label == label), None)
    if here is None:
        return particles[0] if particles else None
    down, right = DIRECTIONS[direction]
    row, col = _middle(here)
    best: tuple[bool, float] | None = None
    found = here
    for each in particles:
        there = _middle(each)
        ahead = (there[0] - row) * down + (there[1] - col) * right
        aside = abs((there[0] - row) * right) + abs((there[1] - col) * down)
        if each is here or ahead <= 0:
            continue
        rank = aside > ahead, ahead * ahead + aside * aside
        if best is None or rank < best:
            best, found = rank, each
    return found


def _middle(particle: ShownParticle) -> tuple[float, float]:
    row0, col0, row1, col1 = particle.bbox
    return (row0 + row1) / 2, (col0 + col1) / 2
