"""Sobel edges of a region, as the method of 2019 takes them."""

from __future__ import annotations

import cv2
import numpy as np

from models.features.spectrum import Image, Real

BLUR_PX = 1.0
"""Blur before the edges are taken [px]."""


def sobel(image: Image) -> tuple[Image, Image]:
    """Sobel gradients (h, w) along rows and along columns of a slightly blurred image (h, w)."""
    smooth = cv2.GaussianBlur(image, (0, 0), BLUR_PX)
    return np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 0, 1)), np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 1, 0))


def strength(image: Image) -> Image:
    """Magnitude (h, w) of the Sobel gradient."""
    rows, cols = sobel(image)
    return np.asarray(np.hypot(cols, rows))


def edge_features(magnitude: Image, rows: Real, cols: Real, outside_gradient: float) -> dict[str, float]:
    """Sobel edges: their strength over the frame's ground, their evenness, and how far they share a direction.

    Parameters
    ----------
    magnitude, rows, cols : (P,) of the region's pixels.
    """
    aligned = np.abs(((rows + 1j * cols) ** 2).sum()) / ((rows**2 + cols**2).sum() + 1e-9)
    return {
        "sobel_mean": float(np.log(magnitude.mean() / (outside_gradient + 1e-6) + 1e-6)),
        "sobel_spread": float(magnitude.std() / (magnitude.mean() + 1e-6)),
        "sobel_aligned": float(aligned),
    }
