"""Sobel edges of a region: one value, because the method of 2019 names them. They add nothing measurable."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.features.spectrum import Columns, Image, Real

BLUR_PX = 1.0
"""Blur before the edges are taken [px]."""
STRIP = 128
"""A frame is taken in strips of so many rows: what is between two steps then stays in the processor's cache [px]."""
REACH = 5
"""Blur and gradient together reach so far [px]."""


def strength(image: Image) -> Image:
    """Magnitude (h, w) of the Sobel gradient of a slightly blurred image (h, w)."""
    found = np.empty_like(image)
    smooth, down, right = np.empty((3, STRIP + 2 * REACH, image.shape[1]), np.float32)
    for top in range(0, len(image), STRIP):
        above = min(top, REACH)
        strip = image[top - above : top + STRIP + REACH]
        cv2.GaussianBlur(strip, (0, 0), BLUR_PX, dst=smooth[: len(strip)])
        for into, order in ((down, (0, 1)), (right, (1, 0))):
            cv2.Sobel(smooth[: len(strip)], cv2.CV_32F, *order, dst=into[: len(strip)])
        own = slice(above, above + len(found[top : top + STRIP]))
        cv2.magnitude(right[own], down[own], magnitude=found[top : top + STRIP])
    return found


def median_outside(magnitude: Image, taken: npt.NDArray[np.bool_]) -> float:
    """Median of the edges where nothing is `taken` (h, w); of all of them where everything is."""
    values = magnitude.copy()
    count = values.size - int(np.count_nonzero(taken))
    if count == 0:
        count = values.size
    else:
        np.copyto(values, np.inf, where=taken)
    ordered = values.ravel()
    # One place in the order is found much faster than the two that NumPy's median asks for at once.
    ordered.partition(count // 2)
    upper = float(ordered[count // 2])
    return upper if count % 2 else (float(ordered[: count // 2].max()) + upper) / 2


def edge_features(mean: Real, outside: Real) -> Columns:
    """Mean strength of the edges over the frame's.

    Parameters
    ----------
    mean : (P,) over each region's pixels.
    outside : (P,) their median outside of all regions of the frame.
    """
    return {"sobel_mean": np.log(mean / (outside + 1e-6) + 1e-6)}
