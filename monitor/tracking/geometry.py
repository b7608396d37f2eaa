"""Boxes on the specimen [nm]: (first row, first column, last row, last column)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]
"""(n, 4) boxes [nm]."""


def as_boxes(boxes: list[tuple[float, float, float, float]]) -> Boxes:
    """Boxes in one array, also where there is none."""
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def clipped(boxes: Boxes, to: Boxes) -> Boxes:
    """Each box's part within another, broadcast; a box that lies outside gets no area."""
    low = np.maximum(boxes[..., :2], to[..., :2])
    return np.concatenate([low, np.maximum(low, np.minimum(boxes[..., 2:], to[..., 2:]))], axis=-1)


def area(boxes: Boxes) -> npt.NDArray[np.float64]:
    """Of each box [nm²]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def overlap(first: Boxes, second: Boxes) -> npt.NDArray[np.float64]:
    """The common area of boxes, broadcast [nm²]."""
    return area(clipped(first, second))
