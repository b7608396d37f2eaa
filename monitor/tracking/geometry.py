"""Boxes on the specimen [nm]: (first row, first column, last row, last column)."""

from __future__ import annotations

import cv2
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


Outline = npt.NDArray[np.float32]
"""(n, 2) corners (row, column) of a closed polygon [nm]."""

GRID_NM = 0.1
"""On which outlines are compared [nm]."""


def share_within(outline: Outline, other: Outline) -> float:
    """Share of one outline's area that lies within another."""
    low = np.minimum(outline.min(axis=0), other.min(axis=0))
    high = np.maximum(outline.max(axis=0), other.max(axis=0))
    shape = np.maximum(1, np.ceil((high - low) / GRID_NM).astype(int) + 1)
    masks = []
    for corners in (outline, other):
        mask = np.zeros(shape, np.uint8)
        cv2.fillPoly(mask, [np.rint((corners - low) / GRID_NM).astype(np.int32)[:, ::-1]], 1)
        masks.append(mask)
    return float((masks[0] & masks[1]).sum() / max(1, int(masks[0].sum())))
