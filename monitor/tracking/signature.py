"""A small picture of a frame by which it is registered with others."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from monitor.reduced import reduced

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
_WIDE_PX = 4.0
"""A Gaussian from this width on is computed on a coarser grid [px]."""
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
    # Of a frame that was reduced by a whole number before, as long as it keeps more pixels than the signature has.
    small = cv2.resize(reduced(pixels, *size), size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    band = cv2.GaussianBlur(small, (0, 0), 0.5) - _slow(small, COARSEST_NM / step)
    spread = float(band.std())
    if spread <= 1e-6 * (float(np.abs(small).max()) + 1e-30):
        return Signature(np.zeros_like(band), step)
    band = np.clip(band / spread, -CLIP, CLIP)
    return Signature((band - band.mean()) / max(1e-6, float(band.std())), step)


def _slow(image: Real, width: float) -> Real:
    """An image (h, w) blurred by a Gaussian of `width` [px]: a wide one on a picture of a quarter of the size."""
    if width < _WIDE_PX:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), width))
    height, across = image.shape
    coarse = cv2.resize(image, (-(-across // 4), -(-height // 4)), interpolation=cv2.INTER_AREA)
    # The means of 4 pixels have the variance of so wide a box already.
    coarse = cv2.GaussianBlur(coarse, (0, 0), sqrt(width**2 - 15 / 12) / 4)
    return np.asarray(cv2.resize(coarse, (across, height), interpolation=cv2.INTER_CUBIC))


def to_png(given: Signature) -> bytes:
    """The signature's picture in few shades of grey, for the record."""
    grey = np.rint(given.image * (LEVELS / CLIP)).clip(-LEVELS, LEVELS).astype(np.int16) + 128
    # Noise repeats nothing: codes for its values alone, not for differences, take the least time and room.
    how = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
    how += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
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
