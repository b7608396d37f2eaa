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
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), dtype=np.float32)


def probability_maps(image: Image, network: Network) -> Image:
    """(2, h, w) probabilities of `particle` and `core` for a standardised frame (h, w) of any size."""
    return probabilities(logit_maps(image, network))


def regions(maps: Image, pixel_size_nm: float, settings: Segmentation) -> Labels:
    """Label image (h, w) from the maps (2, h, w): regions 1, 2, … from the top, touching ones parted by their cores."""
    mask = (maps[0] > settings.threshold).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mask, contours, -1, 1, thickness=cv2.FILLED)
    count, parts = cv2.connectedComponents(mask, connectivity=4)
    cores = ((maps[1] > settings.core_threshold) & (mask > 0)).astype(np.uint8)
    smallest_px = np.pi / 4 * (settings.smallest_nm / pixel_size_nm) ** 2
    core_count, core_parts, core_stats, _ = cv2.connectedComponentsWithStats(cores, connectivity=4)
    large = core_stats[:, cv2.CC_STAT_AREA] >= 0.2 * smallest_px
    large[0] = False
    cores = large[core_parts].astype(np.uint8)
    labels = parts.astype(np.int32)
    owner = np.zeros(core_count, np.int64)  # of each core: the connected part it lies in
    owner[core_parts[cores > 0]] = parts[cores > 0]
    several = np.bincount(owner[large], minlength=count) > 1
    if several.any():
        _, nearest = cv2.distanceTransformWithLabels(
            1 - cores, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
        )
        shared = several[parts] & (parts > 0)
        labels[shared] = count + nearest[shared]
    return _renumbered(labels, maps[0], smallest_px, settings.smallest_mean)


def _renumbered(labels: Labels, probability: Image, smallest_px: float, smallest_mean: float) -> Labels:
    """Drop what is too small or too doubtful, and number the rest from the top of the frame."""
    flat = labels.ravel()
    present, inverse = np.unique(flat, return_inverse=True)
    area = np.bincount(inverse)
    mean = np.bincount(inverse, probability.ravel()) / area
    first = np.full(len(present), flat.size, np.int64)
    np.minimum.at(first, inverse, np.arange(flat.size))
    kept = (present > 0) & (area >= smallest_px) & (mean >= smallest_mean)
    order = np.flatnonzero(kept)[np.argsort(first[kept], kind="stable")]
    renamed = np.zeros(len(present), np.int32)
    renamed[order] = np.arange(1, len(order) + 1)
    return renamed[inverse].reshape(labels.shape)
