"""Contrast of a region against its surroundings."""

from __future__ import annotations

import cv2
import numpy as np

from models.features.regions import Region
from models.features.spectrum import Columns, Image, Labels, Real

RING_NM = 1.0
"""Width of the ring around a region that it is compared with [nm]."""
FEWEST = 20
"""A ring of so few pixels is no surrounding; everything near the region stands for it."""


def spreads(image: Image, labels: Labels, region: Region, pixel_size_nm: float) -> tuple[float, ...]:
    """Mean and standard deviation of a frame (h, w) in a region, and of the same in the ring around it."""
    pad = round(RING_NM / pixel_size_nm)
    top, left = max(0, region.top - pad), max(0, region.left - pad)
    here = (
        slice(top, region.top + region.soft.shape[0] + pad),
        slice(left, region.left + region.soft.shape[1] + pad),
    )
    near, cut = image[here], labels[here]
    own = (cut == region.label).view(np.uint8)
    # How many of its own pixels are no further than the ring's width: none are counted beyond the cut.
    reached = cv2.boxFilter(
        own, cv2.CV_16U, (2 * pad + 1, 2 * pad + 1), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    around = ((reached > 0) & (cut == 0)).view(np.uint8)
    ring = around if cv2.countNonZero(around) > FEWEST else None
    return *_mean_and_spread(near, own), *_mean_and_spread(near, ring)


def contrast_features(figures: Real) -> Columns:
    """Mean and spread inside against a ring around the region, in the ring's standard deviations.

    Parameters
    ----------
    figures : (P, 4) from `spreads`.
    """
    inside_mean, inside_spread, ring_mean, ring_spread = figures.T
    spread = ring_spread + 1e-6
    return {
        "contrast_mean": (inside_mean - ring_mean) / spread,
        "contrast_spread": np.log(inside_spread / spread + 1e-6),
    }


def _mean_and_spread(image: Image, mask: cv2.typing.MatLike | None) -> tuple[float, float]:
    mean, spread = cv2.meanStdDev(image, mask=mask)
    return float(mean[0, 0]), float(spread[0, 0])
