"""From a frame's own pixels to the nanometres of the page."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def to_page(
    rows: npt.ArrayLike, cols: npt.ArrayLike, height: int, pixel_size_nm: float
) -> tuple[Floats, Floats]:
    """Turn (row, column) in a frame of `height` rows into (x, y) [nm] with y upwards.

    Row 0 is at the top of a picture and y = 0 at the bottom of a chart: this is the only place that turns one
    into the other. A whole number is the middle of a pixel, so the picture spans -0.5 to height - 0.5 and its
    lower left corner comes to lie at (0, 0).
    """
    x = (np.asarray(cols, dtype=np.float64) + 0.5) * pixel_size_nm
    y = (height - 0.5 - np.asarray(rows, dtype=np.float64)) * pixel_size_nm
    return x, y
