"""Contrast of a region against its surroundings."""

from __future__ import annotations

from math import log

import cv2
import numpy as np

from models.features.regions import Region
from models.features.spectrum import Image, Labels

RING_NM = 1.0
"""Width of the ring around a region that it is compared with [nm]."""
FEWEST = 20
"""A ring of so few pixels is no surrounding; everything near the region stands for it."""


def contrast(image: Image, labels: Labels, region: Region, pixel_size_nm: float) -> dict[str, float]:
    """Mean and spread inside against a ring around the region, in the ring's standard deviations."""
    pad = round(RING_NM / pixel_size_nm)
    top, left = max(0, region.top - pad), max(0, region.left - pad)
    here = (
        slice(top, region.top + region.soft.shape[0] + pad),
        slice(left, region.left + region.soft.shape[1] + pad),
    )
    near, cut = image[here], labels[here]
    own = (cut == region.label).astype(np.uint8)
    around = cv2.dilate(own, np.ones((2 * pad + 1, 2 * pad + 1), np.uint8))
    around[cut != 0] = 0
    inside_mean, inside_spread = _mean_and_spread(near, own)
    ring = around if cv2.countNonZero(around) > FEWEST else None
    return contrast_figures(inside_mean, inside_spread, *_mean_and_spread(near, ring))


def contrast_figures(
    inside_mean: float, inside_spread: float, ring_mean: float, ring_spread: float
) -> dict[str, float]:
    """`contrast` from means and standard deviations of the region and of its ring."""
    spread = ring_spread + 1e-6
    return {
        "contrast_mean": (inside_mean - ring_mean) / spread,
        "contrast_spread": log(inside_spread / spread + 1e-6),
    }


def _mean_and_spread(image: Image, mask: cv2.typing.MatLike | None) -> tuple[float, float]:
    mean, spread = cv2.meanStdDev(image, mask=mask)
    return float(mean[0, 0]), float(spread[0, 0])
