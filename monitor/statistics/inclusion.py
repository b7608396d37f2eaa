"""How likely a frame shows a particle of a given size, and the weights that undo it.

The correction of Miles (in Harding and Kendall, Stochastic Geometry, 1974, 228) and Lantuéjoul, for a particle by its
bounding box; see Serra, Image Analysis and Mathematical Morphology, 1982.
"""

from __future__ import annotations


def whole_probability(box: tuple[float, float], frame: tuple[float, float]) -> float:
    """Of the particles whose centre falls into the frame's area: the share that lies whole in it.

    (H − h)(W − w) / (H W) for a bounding box h × w in a frame H × W, in the same units; 0 for a particle larger than
    the frame.
    """
    _check(box, frame)
    return max(0.0, 1 - box[0] / frame[0]) * max(0.0, 1 - box[1] / frame[1])


def whole_weight(box: tuple[float, float], frame: tuple[float, float]) -> float:
    """Weight of a particle where only whole ones count: 1 / `whole_probability`, infinite where that is 0."""
    p = whole_probability(box, frame)
    return 1 / p if p > 0 else float("inf")


def seen_weight(box: tuple[float, float], frame: tuple[float, float]) -> float:
    """Weight of a particle where all that touch the frame are counted: HW / ((H + h)(W + w)), h and w of the whole box.

    Larger ones reach into the frame from farther away. Of a cut one the box is not known; take that of a disc of its
    estimated diameter.
    """
    _check(box, frame)
    return 1 / ((1 + box[0] / frame[0]) * (1 + box[1] / frame[1]))


def _check(box: tuple[float, float], frame: tuple[float, float]) -> None:
    if min(frame) <= 0 or min(box) < 0:
        raise ValueError("a frame has a size above 0, a box none below 0")
