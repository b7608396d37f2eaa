"""Contrast of a region against its surroundings."""

from __future__ import annotations

import cv2
import numpy as np

from models.features.regions import Region
from models.features.spectrum import Image, Labels

RING_NM = 1.0
"""Width of the ring around a region that it is compared with [nm]."""


def contrast(image: Image, labels: Labels, region: Region, pixel_size_nm: float) -> dict[str, float]:
    """Mean and spread inside against a ring around the region, in the ring's standard deviations."""
    pad = round(RING_NM / pixel_size_nm)
    top, left = max(0, region.top - pad), max(0, region.left - pad)
    here = (
        slice(top, region.top + region.soft.shape[0] + pad),
        slice(left, region.left + region.soft.shape[1] + pad),
    )
    cut = labels[here]
    own = (cut == region.label).astype(np.uint8)
    around = (cv2.dilate(own, np.ones((2 * pad + 1, 2 * pad + 1), np.uint8)) > 0) & (cut == 0)
    inside = image[here][own > 0]
    ring = image[here][around] if around.sum() > 20 else image[here]
    spread = float(ring.std()) + 1e-6
    return {
        "contrast_mean": float((inside.mean() - ring.mean()) / spread),
        "contrast_spread": float(np.log(inside.std() / spread + 1e-6)),
    }
