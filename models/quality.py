"""Figures of the frame itself, by which blank and overexposed frames are recognised."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

from models.preprocess import robust_surface

SATURATED_SHARE = 0.2
"""A frame of which more stands at the largest value is saturated."""


def frame_quality(
    image: npt.NDArray[Any], standardised: npt.NDArray[np.float32], pixel_size_nm: float
) -> dict[str, float | bool | str]:
    """Figures of one frame.

    `mean_counts`, `relative_spread` (standard deviation over mean), `illumination_range` (largest over smallest value
    of the smooth ground, as a share of the mean), `saturated_share` (pixels at the largest value), `lattice`
    (strongest ring of the power spectrum from 2.3 to 5.5 nm⁻¹ over its surroundings, 1 for none), and a `verdict`:
    `ok`, `saturated` or `constant`.

    Parameters
    ----------
    image : (H, W) native counts.
    standardised : (h, w) at canonical sampling.
    pixel_size_nm : canonical [nm].
    """
    sample = image[::2, ::2].astype(np.float32)
    mean, spread = float(sample.mean()), float(sample.std())
    highest = float(sample.max())
    saturated = float((sample >= highest).mean()) if spread > 0 else 1.0
    coarse = cv2.resize(sample, (64, 64), interpolation=cv2.INTER_AREA)
    ground = robust_surface(coarse, 2, block=4)
    scale = abs(mean) + 1e-9
    constant = spread <= 1e-9 * scale
    verdict = "constant" if constant else "saturated" if saturated > SATURATED_SHARE else "ok"
    return {
        "mean_counts": mean,
        "relative_spread": spread / scale,
        "illumination_range": float(np.ptp(ground)) / scale,
        "saturated_share": saturated,
        "lattice": _lattice(standardised, pixel_size_nm),
        "verdict": verdict,
    }


def _lattice(image: npt.NDArray[np.float32], pixel_size_nm: float) -> float:
    """Highest pixel of the averaged power spectrum of 128² tiles over the median at its radius, 2.3 to 5.5 nm⁻¹."""
    size = 128
    if min(image.shape) < size:
        return 1.0
    window = np.outer(np.hanning(size), np.hanning(size)).astype(np.float32)
    power = np.zeros((size, size // 2 + 1), np.float64)
    for r in range(0, image.shape[0] - size + 1, size):
        for c in range(0, image.shape[1] - size + 1, size):
            power += np.abs(fft.rfft2(image[r : r + size, c : c + size] * window)) ** 2
    radius = np.hypot(fft.fftfreq(size, pixel_size_nm)[:, None], fft.rfftfreq(size, pixel_size_nm)[None])
    best = 1.0
    for low in np.arange(2.3, 5.5, 0.2):
        ring = power[(radius >= low) & (radius < low + 0.2)]
        if ring.size > 8:
            best = max(best, float(ring.max() / (np.median(ring) + 1e-12)))
    return best
