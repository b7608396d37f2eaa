"""A frame as its regions are measured against it: what is computed once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from models.features import edges
from models.features.axes import Templates, templates
from models.features.regions import Region
from models.features.spectrum import TRANSFORM, Bins, Image, Labels, Real, background_profile, bins

SLOW_NM = 0.5
"""Variation slower than this is taken off a frame before the stack is read [nm]."""


@dataclass(frozen=True)
class Ground:
    """A frame as its regions are measured against it."""

    image: Image
    """(h, w) the standardised frame."""
    labels: Labels
    """(h, w)."""
    pixel_size_nm: float
    background: Real
    """Mean power of the frame outside of all regions in each of the `RINGS`."""
    bins: Bins
    over: Image
    """One over the background at each of the bins."""
    templates: Templates
    """Of the layer frequencies that may be there."""
    edges: Image
    """(h, w) strength of the Sobel edges."""
    outside_edges: float
    """Their median outside of all regions."""

    def slow(self, region: Region) -> Image:
        """The frame's slow variation in a region's crop (h, w): what `cv2.GaussianBlur` of the whole frame gives there.

        Both passes of the blur are products with a matrix that has the kernel in every row, of the crop alone.
        """
        kernel = _kernel_rows(self.pixel_size_nm)
        reach = (kernel.shape[1] - kernel.shape[0]) // 2
        (top, bottom), (left, right) = ((side.start - reach, side.stop + reach) for side in region.here)
        cut = self.image[max(0, top) : bottom, max(0, left) : right]
        # Where it would reach beyond the frame, the frame is mirrored.
        h, w = self.image.shape
        above, below, before, after = (max(0, n) for n in (-top, bottom - h, -left, right - w))
        if above or below or before or after:
            cut = cv2.copyMakeBorder(cut, above, below, before, after, cv2.BORDER_REFLECT_101)
        rows, cols = (kernel[: n - 2 * reach, :n] for n in cut.shape)
        return np.asarray(rows @ cut @ cols.T)


@lru_cache(maxsize=4)
def _kernel_rows(pixel_size_nm: float) -> Image:
    """(`TRANSFORM`, `TRANSFORM` + K - 1) a Gaussian kernel of K values in every row, each a place further."""
    sigma = SLOW_NM / pixel_size_nm
    kernel = cv2.getGaussianKernel(_taps(sigma), sigma, cv2.CV_32F).ravel()
    rows = np.zeros((TRANSFORM, TRANSFORM + len(kernel) - 1), np.float32)
    for i in range(TRANSFORM):
        rows[i, i : i + len(kernel)] = kernel
    return rows


def _taps(sigma: float) -> int:
    """The length of the kernel that OpenCV takes for a blur of single precision."""
    return round(sigma * 8 + 1) | 1


def ground_of(image: Image, labels: Labels, pixel_size_nm: float, frequencies: Sequence[float]) -> Ground:
    """What is measured once for all regions of a frame.

    Parameters
    ----------
    frequencies : layer frequencies that may be there [nm⁻¹].
    """
    strength, taken = edges.strength(image), labels > 0
    background = background_profile(image, labels, pixel_size_nm)
    here = bins(pixel_size_nm)
    return Ground(
        image,
        labels,
        pixel_size_nm,
        background,
        here,
        here.over(background),
        templates(tuple(frequencies), 1 / (TRANSFORM * pixel_size_nm), here.reach),
        strength,
        edges.median_outside(strength, taken),
    )
