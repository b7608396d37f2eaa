"""A frame on a coarser grid, for its preview and its signature."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt


def reduced(pixels: npt.NDArray[Any], width: int, height: int) -> npt.NDArray[Any]:
    """The means of blocks of 2ⁿ × 2ⁿ pixels of a frame (H, W) of any real type; `height` and `width` are left at least.

    Halving is what OpenCV does fastest. In single precision: rounded, the means of few electrons would tell little.
    """
    found = np.asarray(pixels, dtype=np.float32)
    while all(n % 2 == 0 and n // 2 >= left for n, left in zip(found.shape, (height, width), strict=True)):
        found = cv2.resize(found, (found.shape[1] // 2, found.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return found
