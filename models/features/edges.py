"""Sobel edges of a region: one value, because the method of 2019 names them. They add nothing measurable."""

from __future__ import annotations

import cv2
import numpy as np

from models.features.spectrum import Image

BLUR_PX = 1.0
"""Blur before the edges are taken [px]."""


def strength(image: Image) -> Image:
    """Magnitude (h, w) of the Sobel gradient of a slightly blurred image (h, w)."""
    smooth = cv2.GaussianBlur(image, (0, 0), BLUR_PX)
    return np.asarray(np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)))


def edge_features(magnitude: Image, outside: float) -> dict[str, float]:
    """Mean strength of the edges over the frame's.

    Parameters
    ----------
    magnitude : (P,) of the region's pixels.
    outside : median outside of all regions.
    """
    return {"sobel_mean": float(np.log(magnitude.mean() / (outside + 1e-6) + 1e-6))}
