"""What a device tells of a frame and of its regions. Nothing here needs torch: it is read where no device is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.features.figures import Figures, features_of
from models.features.layers import Summed
from models.features.measure import LAYER_FREQUENCIES, Measured, measure
from models.features.readings import Cut, stacks_of
from models.features.regions import Box, boxes_of, crop_of
from models.features.spectrum import Real, background_profile, bins
from models.illumination import Light
from models.preprocess import Canonical
from models.quality.frame import Sampled
from models.quality.likeness import Shape

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

DIRECT = ("uint8", "uint16", "float32")
"""Types of counts that a device takes as they are."""


@dataclass(frozen=True)
class Sight:
    """One frame as a device sees it."""

    prepared: Canonical
    """The standardised frame."""
    maps: Image
    """(2, h, w) probabilities of `particle` and `core`."""
    light: Light
    sample: Sampled
    shape: Shape
    """How the standardised frame's values are distributed."""


def sight_of(prepared: Canonical, maps: Image, figures: list[Image], powers: tuple[Image, Image]) -> Sight:
    """A sight from the figures of a frame and its averaged spectra, as `models.device.chain.Seen` has them."""
    level, noise, row_noise, row_level, col_noise, col_level, ground, places, steps, single, spread = figures
    black, mean, deviation, at_highest = single.tolist()
    third, fourth, slow_third, slow_fourth, sureness, marked = spread.tolist()
    return Sight(
        prepared,
        maps,
        Light(level, noise, black, ((row_noise, row_level), (col_noise, col_level))),
        Sampled(mean, deviation, at_highest if deviation > 0 else 1.0, ground, places, steps, powers),
        Shape((third, fourth), (slow_third, slow_fourth), sureness, marked),
    )


@dataclass(frozen=True)
class Crops:
    """What is sent of a frame's regions: where they are, and what they are compared with."""

    labels: Labels
    """(h, w) regions 1, 2, …"""
    boxes: npt.NDArray[np.int32]
    """(P, 4) first row, first column, rows and columns of each region's crop."""
    pixel_size_nm: float
    background: Real
    """(rings,) mean power of the frame's ground."""
    frequencies: tuple[float, ...]
    """Layer frequencies that may be there [nm⁻¹]."""


@dataclass(frozen=True)
class Numbers:
    """What comes back of P regions."""

    rings: npt.NDArray[np.float32]
    """(P, 2, rings) mean and mean square of the power."""
    peaks: npt.NDArray[np.float32]
    """(P, 6, 2) strength of each Bragg spot and its place in the half plane; a strength of -1 where there is none."""
    axes: npt.NDArray[np.float32]
    """(P, 3, 5) as of `models.features.axes.stacking_axes`."""
    zones: npt.NDArray[np.float32]
    """(P, zones) in the order of `models.features.axes.OTHER_ZONES`."""
    places: npt.NDArray[np.float32]
    """(P, 3, 2) the axes' reflections, refined [nm⁻¹]."""
    edges: npt.NDArray[np.float32]
    """(P, 2) mean strength of the edges in the region, and their median outside of all."""
    contrast: npt.NDArray[np.float32]
    """(P, 4) mean and standard deviation inside, and in the ring around."""
    counts: npt.NDArray[np.float32]
    """(P, 3, L) pixels of each half layer along each axis."""
    sums: npt.NDArray[np.float32]
    """(P, 3, F, L, 2) real and imaginary part of the sum of its values at each of the `LATERAL` frequencies."""
    origins: npt.NDArray[np.float32]
    """(P, 3, 2) the number that was taken off the half layers', and where the first layer lies [layers]."""


class Device(Protocol):
    """What runs the chain in torch, in this process or in another one."""

    backend: str
    """As in `Analysis.backend`."""

    def see(self, image: npt.NDArray[Any], pixel_size_nm: float) -> Sight | None:
        """Prepare and segment a frame (H, W) of one of the `DIRECT` types; its image stays on the device.

        `None` where the device can't do it: the CPU has to.
        """

    def numbers(self, crops: Crops) -> Numbers | None:
        """Of the regions of the frame that was seen last; `None` as of `see`."""


def crops_of(
    image: Image,
    labels: Labels,
    boxes: Sequence[Box],
    pixel_size_nm: float,
    frequencies: Sequence[float] | None,
) -> Crops:
    """What is sent of the regions 1, 2, … of a standardised frame (h, w).

    Parameters
    ----------
    boxes : rows and columns of each region.
    frequencies : layer frequencies that may be there [nm⁻¹]; all known ones if not given.
    """
    cuts = [crop_of(labels, label, box, pixel_size_nm) for label, box in enumerate(boxes, start=1)]
    told = [(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start) for rows, cols in cuts]
    return Crops(
        labels,
        np.array(told, np.int32).reshape(-1, 4),
        pixel_size_nm,
        background_profile(image, labels, pixel_size_nm),
        tuple(sorted(set(frequencies or LAYER_FREQUENCIES.values()))),
    )


def measured(crops: Crops, numbers: Numbers, boxes: Sequence[Box]) -> list[Measured]:
    """Every region's features, as `models.features.measure.measure` gives them, from a device's numbers.

    Parameters
    ----------
    boxes : rows and columns of each region.
    """
    fields = (numbers.rings, numbers.peaks, numbers.axes, numbers.zones, numbers.edges, numbers.contrast)
    stacks = stacks_of([_cut(numbers, p) for p in range(len(boxes))])
    figures = Figures(*(field.astype(float) for field in fields))
    values = features_of(figures, crops.background, bins(crops.pixel_size_nm), stacks)
    return list(map(Measured, values, boxes, stacks))


def _cut(numbers: Numbers, p: int) -> Cut:
    """One region's half layers."""
    sums = numbers.sums[p].view(np.complex64)[..., 0].astype(complex)
    each = zip(numbers.places[p].tolist(), sums, numbers.counts[p], numbers.origins[p].tolist(), strict=True)
    return Cut(
        [
            Summed((row, col), along, count.astype(np.intp), int(shift), origin)
            for (row, col), along, count, (shift, origin) in each
        ]
    )


def measure_on(
    device: Device, image: Image, labels: Labels, pixel_size_nm: float, frequencies: Sequence[float] | None
) -> list[Measured]:
    """`models.features.measure.measure` of the frame that a device saw last; the stacks are read here.

    All of it is done here where the device can't.
    """
    boxes = boxes_of(labels)
    if not boxes:
        return []
    crops = crops_of(image, labels, boxes, pixel_size_nm, frequencies)
    numbers = device.numbers(crops)
    if numbers is None:
        return measure(image, labels, pixel_size_nm, frequencies)
    return measured(crops, numbers, boxes)
