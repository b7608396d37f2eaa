"""The features of a region: Fourier transform, Sobel edges, contrast and stacking sequence.

All come from the frame at canonical sampling, with frequencies in nm⁻¹. None changes with the crop's size, with gain or
offset of the counts, or with the region's orientation in the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from models.features import edges
from models.features.axes import axis_features, other_zones, refine, smoothed, stacking_axes
from models.features.contrast import contrast
from models.features.ground import Ground, ground_of
from models.features.readings import Stacks, stack_features, telling
from models.features.regions import Region, region_of
from models.features.spectrum import (
    Image,
    Labels,
    Spectrum,
    bins,
    peak_features,
    ring_features,
    spectrum_of,
)
from models.features.stack import Reading

#: Known close-packed layer frequencies [nm⁻¹] by material; the window around each covers the pixel size's error.
LAYER_FREQUENCIES: dict[str, float] = {
    "CdSe": 2.850, "PbS": 2.918, "Au": 4.247, "Ag": 4.240, "Pt": 4.414,
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A region's features and what they were read from."""

    values: dict[str, float]
    box: tuple[slice, slice]
    """The region's rows and columns in the standardised frame."""
    stacks: Stacks
    seen: Seen | None = None
    """What all of it was read from, where that is asked for."""

    @property
    def reading(self) -> Reading | None:
        """The stack along the best axis; `None` where no axis was found."""
        return telling(self.stacks.readings)


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
        over = bins(self.pixel_size_nm).over(self.background)
        return spectrum_of(self.detail, self.soft, over, self.pixel_size_nm)


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
    return [
        _measure_one(ground, region_of(labels, label, box, pixel_size_nm), box, keep)
        for label, box in enumerate(boxes, start=1)
    ]


@cache
def feature_names() -> tuple[str, ...]:
    """The names of all features, in the order in which `measure` gives them."""
    labels = np.zeros((64, 64), np.int32)
    labels[16:48, 16:48] = 1
    (measured,) = measure(np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32), labels, 0.05)
    return tuple(measured.values)


def _measure_one(ground: Ground, region: Region, box: tuple[slice, slice], keep: bool) -> Measured:
    """Features of one region, whose rows and columns in the frame are `box`."""
    here, step = region.here, ground.pixel_size_nm
    detail = (ground.image[here] - ground.slow(region)) * region.soft
    spectrum = spectrum_of(detail, region.soft, ground.over, step)
    values = ring_features(spectrum.power, ground.background, ground.bins)
    values |= peak_features(spectrum.peaks)
    values |= edges.edge_features(float(ground.edges[here][region.mask].mean()), ground.outside_edges)
    values |= contrast(ground.image, ground.labels, region, step)

    smooth = smoothed(spectrum.ratio)
    axes = stacking_axes(smooth, ground.templates)
    zones = other_zones(smooth, ground.templates)
    values |= {f"zone_{name}": power for name, power in zones.items()}
    places = refine(region.inside(detail), step, np.array([(axis.row, axis.col) for axis in axes]))
    rows_nm, cols_nm = region.places_nm(step)
    stacks = Stacks(detail[region.mask], rows_nm, cols_nm, places)
    values |= axis_features(axes) | stack_features(stacks.counted)
    seen = None
    if keep:
        crop = (ground.image[here], detail, region.soft, region.mask)
        seen = Seen(*crop, ground.background, step, tuple(stacks.readings))
    return Measured(values, box, stacks, seen)
