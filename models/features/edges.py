"""Sobel edges of a region: one value, because the method of 2019 names them. They add nothing measurable."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.features.spectrum import Image

BLUR_PX = 1.0
"""Blur before the edges are taken [px]."""


def strength(image: Image) -> Image:
    """Magnitude (h, w) of the Sobel gradient of a slightly blurred image (h, w)."""
    smooth = cv2.GaussianBlur(image, (0, 0), BLUR_PX)
    return np.asarray(cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)))


def median_outside(magnitude: Image, taken: npt.NDArray[np.bool_]) -> float:
    """Median of the edges where nothing is `taken` (h, w); of all of them where everything is."""
    values = magnitude.copy()
    count = values.size - int(np.count_nonzero(taken))
    if count == 0:
        count = values.size
    else:
        values[taken] = np.inf
    # One place in the order is found much faster than the two that NumPy's median asks for at once.
    ordered = np.partition(values.ravel(), count // 2)
    upper = float(ordered[count // 2])
    return upper if count % 2 else (float(ordered[: count // 2].max()) + upper) / 2


def edge_features(mean: float, outside: float) -> dict[str, float]:
    """Mean strength of the edges over the frame's.

    Parameters
    ----------
    mean : over the region's pixels.
    outside : median outside of all regions.
    """
    return {"sobel_mean": float(np.log(mean / (outside + 1e-6) + 1e-6))}
