"""Particles in a standardised frame: the network's two maps, calibrated, and the regions made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

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
    """Label image (h, w) from the maps (2, h, w): regions 1, 2, … from the top, touching ones parted by their cores."""
    mask = (maps[0] > settings.threshold).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mask, contours, -1, 1, thickness=cv2.FILLED)
    count, labels, parts, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    smallest_px = np.pi / 4 * (settings.smallest_nm / pixel_size_nm) ** 2
    cores = ((maps[1] > settings.core_threshold) & (mask > 0)).astype(np.uint8)
    _part_by_cores(labels, count, parts, cores, 0.2 * smallest_px)
    return _renumbered(labels, mask, maps[0], smallest_px, settings.smallest_mean)


def _part_by_cores(
    labels: Labels, count: int, parts: Labels, cores: npt.NDArray[np.uint8], smallest_px: float
) -> None:
    """Give each pixel of a connected part with several cores to the nearest of its cores, under a label of its own.

    Parameters
    ----------
    labels : (h, w) number of the part, changed in place; labels from `count` on are free.
    parts : (count, 5) statistics of OpenCV.
    cores : (h, w) where there is a core; those of fewer pixels than `smallest_px` are none.
    """
    _, core_of, stats, _ = cv2.connectedComponentsWithStats(cores, connectivity=4)
    owned: dict[int, list[int]] = {}  # of each part: its cores
    for core in np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= smallest_px) + 1:
        left, top, width = stats[core, : cv2.CC_STAT_WIDTH + 1]
        col = left + int(np.argmax(core_of[top, left : left + width] == core))
        owned.setdefault(int(labels[top, col]), []).append(int(core))
    for part, own in owned.items():
        if len(own) < 2:
            continue
        left, top, width, height = parts[part, : cv2.CC_STAT_HEIGHT + 1]
        here = (slice(top, top + height), slice(left, left + width))
        inside = labels[here] == part
        away = (~np.isin(core_of[here], own)).astype(np.uint8)
        _, nearest = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
        labels[here][inside] = count + nearest[inside]
        count += int(nearest.max()) + 1


def _renumbered(
    labels: Labels, mask: npt.NDArray[np.uint8], probability: Image, smallest_px: float, smallest_mean: float
) -> Labels:
    """Drop what is too small or too doubtful, and number the rest from the top of the frame.

    Parameters
    ----------
    mask : (h, w) where a label is not 0: only these pixels are looked at.
    """
    inside = np.flatnonzero(mask.view(bool))
    own = labels.ravel()[inside]
    area = np.bincount(own)
    mean = np.bincount(own, probability.ravel()[inside]) / np.maximum(area, 1)
    first = np.full(len(area), labels.size)
    first[own[::-1]] = inside[::-1]  # what is written last stays
    kept = (area > 0) & (area >= smallest_px) & (mean >= smallest_mean)
    order = np.flatnonzero(kept)[np.argsort(first[kept])]
    renamed = np.zeros(len(area), np.int32)
    renamed[order] = np.arange(1, len(order) + 1)
    numbered = np.zeros(labels.shape, np.int32)
    numbered.ravel()[inside] = renamed[own]
    return numbered
