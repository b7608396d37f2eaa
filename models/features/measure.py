"""The features of a region: Fourier transform, Sobel edges, contrast and stacking sequence.

All come from the frame at canonical sampling, with frequencies in nm⁻¹. None changes with the crop's size, with gain or
offset of the counts, or with the region's orientation in the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from models.features import edges
from models.features.axes import axis_features, other_zones, refine, smoothed, stacking_axes
from models.features.contrast import contrast
from models.features.readings import stack_features, telling
from models.features.regions import Region, region_of
from models.features.spectrum import (
    TRANSFORM,
    Image,
    Labels,
    Real,
    Spectrum,
    background_profile,
    bins,
    peak_features,
    ring_features,
    spectrum_of,
)
from models.features.stack import Reading, read_stack

#: Known close-packed layer frequencies [nm⁻¹] by material; the window around each covers the pixel size's error.
LAYER_FREQUENCIES: dict[str, float] = {
    "CdSe": 2.850, "PbS": 2.918, "Au": 4.247, "Ag": 4.240, "Pt": 4.414,
}  # fmt: skip
SLOW_NM = 0.5
"""Variation slower than this is taken off a frame before the stack is read [nm]."""


@dataclass(frozen=True)
class Measured:
    """A region's features and what they were read from."""

    values: dict[str, float]
    reading: Reading | None
    """The stack along the best axis; `None` where no axis was found."""
    seen: Seen | None = None
    """What all of it was read from, where that is asked for."""


@dataclass(frozen=True)
class Seen:
    """One region as it is measured."""

    crop: Image
    """(h, w) of the standardised frame."""
    detail: Image
    """(h, w) the same without its slow variation, within the region's soft window."""
    soft: Image
    """(h, w) that window."""
    mask: npt.NDArray[np.bool_]
    background: npt.NDArray[np.float64]
    """Mean power of the frame's ground in each of the `RINGS`."""
    pixel_size_nm: float
    readings: tuple[Reading, ...]
    """The stack along every axis that was tried."""

    def spectrum(self) -> Spectrum:
        """The spectrum from which the features were taken."""
        return spectrum_of(self.detail, self.soft, self.background, self.pixel_size_nm)


@dataclass(frozen=True)
class Ground:
    """A frame as its regions are measured against it."""

    image: Image
    """(h, w) the standardised frame."""
    labels: Labels
    """(h, w)."""
    pixel_size_nm: float
    frequencies: list[float]
    """Layer frequencies that may be there [nm⁻¹]."""
    background: Real
    """Mean power of the frame outside of all regions in each of the `RINGS`."""
    slow: Image
    """(h, w) the frame's slow variation."""
    edges: Image
    """(h, w) strength of the Sobel edges."""
    outside_edges: float
    """Their median outside of all regions."""


def ground_of(image: Image, labels: Labels, pixel_size_nm: float, frequencies: list[float]) -> Ground:
    """What is measured once for all regions of a frame."""
    strength, outside = edges.strength(image), labels == 0
    return Ground(
        image,
        labels,
        pixel_size_nm,
        frequencies,
        background_profile(image, labels, pixel_size_nm),
        cv2.GaussianBlur(image, (0, 0), SLOW_NM / pixel_size_nm),
        strength,
        float(np.median(strength[outside])) if outside.any() else float(np.median(strength)),
    )


def measure(
    image: Image,
    labels: Labels,
    pixel_size_nm: float,
    layer_frequencies: Sequence[float] | None = None,
    keep: bool = False,
) -> list[Measured]:
    """Features of every region 1, 2, … of a label image (h, w), from the standardised frame (h, w).

    Parameters
    ----------
    layer_frequencies : of the materials that may be there [nm⁻¹]; all known ones if not given.
    keep : with what was seen, to explain it.
    """
    if labels.max(initial=0) == 0:
        return []
    frequencies = sorted(set(layer_frequencies or LAYER_FREQUENCIES.values()))
    ground = ground_of(image, labels, pixel_size_nm, frequencies)
    boxes = ndimage.find_objects(labels)
    regions = (region_of(labels, label, box, pixel_size_nm) for label, box in enumerate(boxes, start=1))
    return [_measure_one(ground, region, keep) for region in regions]


@cache
def feature_names() -> tuple[str, ...]:
    """The names of all features, in the order in which `measure` gives them."""
    labels = np.zeros((64, 64), np.int32)
    labels[16:48, 16:48] = 1
    (measured,) = measure(np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32), labels, 0.05)
    return tuple(measured.values)


def _measure_one(ground: Ground, region: Region, keep: bool) -> Measured:
    """Features of one region."""
    here, step = region.here, ground.pixel_size_nm
    detail = (ground.image[here] - ground.slow[here]) * region.soft
    spectrum = spectrum_of(detail, region.soft, ground.background, step)
    values = ring_features(spectrum.power, ground.background, bins(step))
    values |= peak_features(spectrum.peaks)
    pixels = np.nonzero(region.mask)
    values |= edges.edge_features(ground.edges[here][pixels], ground.outside_edges)
    values |= contrast(ground.image, ground.labels, region, step)

    smooth, bin_per_nm = smoothed(spectrum.ratio), 1 / (TRANSFORM * step)
    axes = stacking_axes(smooth, bin_per_nm, ground.frequencies)
    zones = other_zones(smooth, bin_per_nm, ground.frequencies)
    values |= {f"zone_{name}": power for name, power in zones.items()}
    readings: list[Reading] = []
    levels = detail[pixels].astype(np.float64)
    rows_nm, cols_nm = (place.astype(np.float64) * step for place in pixels)
    for axis in axes:
        refined = refine(detail, region.mask, step, (axis.row, axis.col))
        reading = read_stack(levels, rows_nm, cols_nm, refined)
        if reading is not None:
            readings.append(reading)
    values |= axis_features(axes) | stack_features(readings)
    seen = None
    if keep:
        crop = (ground.image[here], detail, region.soft, region.mask)
        seen = Seen(*crop, ground.background, step, tuple(readings))
    return Measured(values, telling(readings), seen)
