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

from models.features.axes import other_zones, refine, smoothed, stacking_axes
from models.features.contrast import spreads
from models.features.figures import Figures, features_of
from models.features.ground import Ground, ground_of
from models.features.readings import Pixels, Stacks, stacks_of, telling
from models.features.regions import Box, Region, boxes_of, region_of
from models.features.spectrum import (
    Image,
    Labels,
    Real,
    Spectrum,
    bins,
    bragg_peaks,
    by_bins,
    power_into,
    ring_sums,
    spectrum_of,
)
from models.features.stack import Reading

TOGETHER = 16
"""Spectra of so many regions are held at a time, about 3 MB of them."""

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

    What is done with pixels is done region by region, in the processor's cache; everything that follows of small
    numbers, for all regions together.

    Parameters
    ----------
    layer_frequencies : of the materials that may be there [nm⁻¹]; all known ones if not given.
    keep : with what was seen, to explain it.
    """
    boxes = boxes_of(labels)
    if not boxes:
        return []
    frequencies = sorted(set(layer_frequencies or LAYER_FREQUENCIES.values()))
    ground = ground_of(image, labels, pixel_size_nm, frequencies)
    cuts = [_cut_out(ground, label, box) for label, box in enumerate(boxes, start=1)]
    read = [_read(ground, cuts[first : first + TOGETHER]) for first in range(0, len(cuts), TOGETHER)]
    figures = Figures(*(np.concatenate(each) for each in zip(*(some for some, _ in read), strict=True)))
    places = np.concatenate([some for _, some in read])
    stacks = stacks_of([_pixels(cut, pixel_size_nm, axes) for cut, axes in zip(cuts, places, strict=True)])
    values = features_of(figures, ground.background, ground.bins, stacks)
    seen = [_seen(ground, cut, stack) if keep else None for cut, stack in zip(cuts, stacks, strict=True)]
    return list(map(Measured, values, boxes, stacks, seen))


@cache
def feature_names() -> tuple[str, ...]:
    """The names of all features, in the order in which `measure` gives them."""
    labels = np.zeros((64, 64), np.int32)
    labels[16:48, 16:48] = 1
    (measured,) = measure(np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32), labels, 0.05)
    return tuple(measured.values)


@dataclass(frozen=True)
class _Cut:
    """A region, cut out of its frame."""

    region: Region
    detail: Image
    """(h, w) the frame without its slow variation, within the region's soft window."""


def _cut_out(ground: Ground, label: int, box: Box) -> _Cut:
    region = region_of(ground.labels, label, box, ground.pixel_size_nm)
    return _Cut(region, (ground.image[region.here] - ground.slow(region)) * region.soft)


def _read(ground: Ground, cuts: Sequence[_Cut]) -> tuple[tuple[Real, ...], Real]:
    """The fields of `Figures` of some regions, and (P, `MOST`, 2) the reflections of their layers [nm⁻¹]."""
    step, here = ground.pixel_size_nm, ground.bins
    power, smooth = (np.empty((len(cuts), *here.radius.shape), np.float32) for _ in range(2))
    peaks, edges, contrast = [], [], []
    for i, cut in enumerate(cuts):
        region = cut.region
        power_into(power[i], cut.detail, region.soft)
        ratio = power[i] * ground.over
        smooth[i] = smoothed(ratio)
        peaks.append(bragg_peaks(ratio, here))
        inside = cv2.mean(ground.edges[region.here], mask=region.mask.view(np.uint8))[0]
        edges.append((inside, ground.outside_edges))
        contrast.append(spreads(ground.image, ground.labels, region, step))
    flat = by_bins(smooth)
    axes = stacking_axes(flat, ground.templates)
    places = refine(_inside(cuts), step, axes[:, :, :2])
    fields = (ring_sums(power, here), peaks, axes, other_zones(flat, ground.templates), edges, contrast)
    return tuple(np.asarray(field) for field in fields), places


def _inside(cuts: Sequence[_Cut]) -> Image:
    """(P, h, w) what is inside of each region, 0 elsewhere: as large as the largest crop."""
    shapes = [cut.detail.shape for cut in cuts]
    pictures = np.zeros((len(cuts), max(h for h, _ in shapes), max(w for _, w in shapes)), np.float32)
    for picture, cut, (h, w) in zip(pictures, cuts, shapes, strict=True):
        np.multiply(cut.detail, cut.region.mask, out=picture[:h, :w])
    return pictures


def _pixels(cut: _Cut, pixel_size_nm: float, axes: Real) -> Pixels:
    places = np.flatnonzero(cut.region.mask)
    rows, cols = np.divmod(places, cut.detail.shape[1])
    return Pixels(cut.detail.ravel().take(places), rows * pixel_size_nm, cols * pixel_size_nm, axes)


def _seen(ground: Ground, cut: _Cut, stacks: Stacks) -> Seen:
    region = cut.region
    crop = (ground.image[region.here], cut.detail, region.soft, region.mask)
    return Seen(*crop, ground.background, ground.pixel_size_nm, tuple(stacks.readings))
