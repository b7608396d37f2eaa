"""Particles in a standardised frame: the network's two maps, calibrated, and the regions made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice]

#: (1, 1, H, W) standardised image → (1, 2, H, W) logits; H and W are multiples of 16.
Network = Callable[[Image], Image]

STRIDE = 16
TILE = 1280
"""Frames larger than this are judged in tiles, so that memory stays bounded [px]."""
OVERLAP = 160
"""Tiles overlap by so much on every side: half the receptive field [px]."""


@dataclass(frozen=True)
class Segmentation:
    """How the maps become regions; stored in the bundle."""

    threshold: float = 0.5
    """Probability from which a pixel belongs to a particle."""
    core_threshold: float = 0.5
    smallest_nm: float = 0.9
    """Regions of a smaller equivalent diameter are dropped [nm]."""
    smallest_mean: float = 0.65
    """Regions whose mean probability is lower are dropped."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Calibration:
    """A rising straight line for each output's logit, z ↦ scale · z + bias (Platt 1999); stored in the bundle.

    It is fitted on the validation split (`models.training.calibrate`), so that of the pixels that are given a
    probability p a
    share p lies inside a particle.
    """

    scale: tuple[float, ...] = (1.0, 1.0)
    """Of the logits of `particle` and `core`."""
    bias: tuple[float, ...] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Lists, as JSON gives them, become tuples; raises ValueError where the map does not rise."""
        object.__setattr__(self, "scale", tuple(float(x) for x in self.scale))
        object.__setattr__(self, "bias", tuple(float(x) for x in self.bias))
        if len(self.scale) != 2 or len(self.bias) != 2 or not np.isfinite([*self.scale, *self.bias]).all():
            raise ValueError(f"a calibration of {self.scale} and {self.bias} is not two finite pairs")
        if min(self.scale) <= 0:
            raise ValueError(f"a calibration of scale {self.scale} does not rise")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"scale": list(self.scale), "bias": list(self.bias)}

    def undone(self, logits: Image) -> Image:
        """(2, h, w) logits before calibration from those after it."""
        scale, bias = (np.array(x, np.float32)[:, None, None] for x in (self.scale, self.bias))
        return np.asarray((logits - bias) / scale, dtype=np.float32)


def calibrated(network: Network, calibration: Calibration) -> Network:
    """The network with calibrated logits; itself where there is nothing to change."""
    if calibration == Calibration():
        return network
    scale, bias = (
        np.array(x, np.float32)[None, :, None, None] for x in (calibration.scale, calibration.bias)
    )

    def run(image: Image) -> Image:
        return network(image) * scale + bias

    return run


def _padded(image: Image) -> Image:
    h, w = image.shape
    return np.pad(image, ((0, (-h) % STRIDE), (0, (-w) % STRIDE)), mode="symmetric")


def logit_maps(image: Image, network: Network) -> Image:
    """(2, h, w) logits of `particle` and `core` for a standardised frame (h, w) of any size."""
    h, w = image.shape
    if max(h, w) <= TILE:
        return network(_padded(image)[None, None])[0, :, :h, :w]
    maps = np.zeros((2, h, w), np.float32)
    step = TILE - 2 * OVERLAP
    for r in range(0, max(1, h - 2 * OVERLAP), step):
        for c in range(0, max(1, w - 2 * OVERLAP), step):
            tile = image[r : r + TILE, c : c + TILE]
            logits = network(_padded(tile)[None, None])[0, :, : tile.shape[0], : tile.shape[1]]
            # Each tile gives its middle, and its border too where the frame ends there.
            top, left = (0 if r == 0 else OVERLAP), (0 if c == 0 else OVERLAP)
            bottom = tile.shape[0] if r + TILE >= h else TILE - OVERLAP
            right = tile.shape[1] if c + TILE >= w else TILE - OVERLAP
            maps[:, r + top : r + bottom, c + left : c + right] = logits[:, top:bottom, left:right]
    return maps


def probabilities(logits: Image) -> Image:
    """The logistic function of logits of any shape."""
    p = np.clip(logits, -30, 30, dtype=np.float32)
    np.negative(p, out=p)
    np.exp(p, out=p)
    p += 1
    np.reciprocal(p, out=p)
    return np.asarray(p)


def probability_maps(image: Image, network: Network) -> Image:
    """(2, h, w) probabilities of `particle` and `core` for a standardised frame (h, w) of any size."""
    return probabilities(logit_maps(image, network))


def regions(maps: Image, pixel_size_nm: float, settings: Segmentation) -> Labels:
    """Label image (h, w) from the maps (2, h, w): regions 1, 2, … from the top, touching ones parted by their cores.

    Holes are filled. A connected part (4 neighbours) with several cores is parted: each pixel goes to the nearest of
    its own cores. The whole frame is looked at once, for outlines; the rest is done in their boxes.
    """
    smallest_px = np.pi / 4 * (settings.smallest_nm / pixel_size_nm) ** 2
    mask = (maps[0] > settings.threshold).view(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found: list[tuple[int, Box, Mask]] = []
    for contour in contours:
        left, top, width, height = cv2.boundingRect(contour)
        if width * height < smallest_px:
            continue
        box = slice(top, top + height), slice(left, left + width)
        filled = np.zeros((height, width), np.uint8)
        cv2.drawContours(filled, [contour], 0, 1, cv2.FILLED, offset=(-left, -top))
        for region in _regions_of(filled, maps[1][box] > settings.core_threshold, smallest_px):
            if cv2.countNonZero(region.view(np.uint8)) < smallest_px:
                continue
            if cv2.mean(maps[0][box], mask=region.view(np.uint8))[0] < settings.smallest_mean:
                continue
            row, col = divmod(int(region.argmax()), width)
            found.append(((top + row) * maps.shape[2] + left + col, box, region))
    labels = np.zeros(maps.shape[1:], np.int32)
    for number, (_, box, region) in enumerate(sorted(found, key=lambda one: one[0]), start=1):
        np.copyto(labels[box], number, where=region)
    return labels


def _regions_of(filled: npt.NDArray[np.uint8], cores: Mask, smallest_px: float) -> Iterator[Mask]:
    """The regions (h, w) of what lies within one outline.

    Parameters
    ----------
    filled : (h, w) 1 within the outline: parts that touch at corners alone are several.
    cores : (h, w) where the network sees a core. One of less than a fifth of `smallest_px` is none.
    smallest_px : parts with fewer pixels are left out.
    """
    for inside in [filled.view(np.bool_)] if not _touch_at_corners(filled) else _parts(filled, smallest_px):
        seen = (cores & inside).view(np.uint8)
        outlines, _ = cv2.findContours(seen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if len(outlines) < 2 and not _touch_at_corners(seen):
            yield inside
            continue
        _, core_of, stats, _ = cv2.connectedComponentsWithStats(seen, connectivity=4)
        own = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= 0.2 * smallest_px) + 1
        if len(own) < 2:
            yield inside
            continue
        away = (~np.isin(core_of, own)).view(np.uint8)
        _, nearest = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
        for core in range(1, int(nearest.max()) + 1):
            yield inside & (nearest == core)


def _parts(filled: npt.NDArray[np.uint8], smallest_px: float) -> list[Mask]:
    """The connected parts (4 neighbours) of a mask (h, w) that have enough pixels."""
    count, part_of, parts, _ = cv2.connectedComponentsWithStats(filled, connectivity=4)
    return [part_of == part for part in range(1, count) if parts[part, cv2.CC_STAT_AREA] >= smallest_px]


def _touch_at_corners(mask: npt.NDArray[np.uint8]) -> bool:
    """Whether two pixels of a mask (h, w) of 0 and 1 touch at a corner that nothing else fills.

    Where none do, an outline, which goes round corners too, holds one connected part: it is found much faster.
    """
    a, b, c, d = mask[:-1, :-1], mask[:-1, 1:], mask[1:, :-1], mask[1:, 1:]
    return bool((((a & d) > (b | c)) | ((b & c) > (a | d))).any())
