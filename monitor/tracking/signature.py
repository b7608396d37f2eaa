"""A small picture of a frame by which it is registered with others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Real = npt.NDArray[np.float32]

STEP_NM = 0.1
"""Pixel size of a signature [nm]. The film's grain is still seen at it. Coarser ones were tried: between frames of
different fields, whose particles are alike, the correlation then rises as high as between frames of one field."""
LARGEST_SIDE = 320
"""Of a signature [px]; a larger field is sampled more coarsely."""
COARSEST_NM = 1.0
"""Standard deviation of the Gaussian whose result, the illumination and the slope of the film, is taken off [nm]."""
CLIP = 2.0
"""Values beyond so many standard deviations are clipped: a few strong particles do not outvote the film."""
LEVELS = 7
"""Steps of grey on each side of 0 that are kept."""


@dataclass(frozen=True, eq=False)
class Signature:
    """A frame without its slow variation, on a coarse grid."""

    image: Real
    """(h, w), mean 0 and standard deviation about 1."""
    step_nm: float
    """Pixel size [nm]."""


def signature(pixels: npt.NDArray[Any], pixel_size_nm: float) -> Signature:
    """The signature of a frame (H, W) of any real type; its pixels are averaged, never skipped."""
    height, width = pixels.shape
    step = max(STEP_NM, pixel_size_nm, max(height, width) * pixel_size_nm / LARGEST_SIDE)
    size = (max(8, round(width * pixel_size_nm / step)), max(8, round(height * pixel_size_nm / step)))
    kept = pixels if pixels.dtype in (np.uint8, np.uint16, np.float32) else pixels.astype(np.float32)
    small = cv2.resize(kept, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    band = cv2.GaussianBlur(small, (0, 0), 0.5) - cv2.GaussianBlur(small, (0, 0), COARSEST_NM / step)
    spread = float(band.std())
    if spread <= 1e-6 * (float(np.abs(small).max()) + 1e-30):
        return Signature(np.zeros_like(band), step)
    band = np.clip(band / spread, -CLIP, CLIP)
    return Signature((band - band.mean()) / max(1e-6, float(band.std())), step)


def to_png(given: Signature) -> bytes:
    """The signature's picture in few shades of grey, for the record."""
    grey = np.rint(given.image * (LEVELS / CLIP)).clip(-LEVELS, LEVELS).astype(np.int16) + 128
    # Noise repeats nothing: codes for its values alone take half the time, and a sixth less room.
    how = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
    done, encoded = cv2.imencode(".png", grey.astype(np.uint8), how)
    assert done
    return encoded.tobytes()


def from_png(data: bytes, frame_side_nm: float) -> Signature | None:
    """What `to_png` wrote, of a frame whose longer side is `frame_side_nm`; None where the bytes hold no picture."""
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        return None
    image = (grey.astype(np.float32) - 128) * (CLIP / LEVELS)
    return Signature(image, frame_side_nm / max(image.shape))
