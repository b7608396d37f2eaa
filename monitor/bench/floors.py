"""The least that each stage can take: the bytes that it must move and the operations that it must do, at full speed.

A floor counts what the method needs and not how the program does it: inputs read once, results written once, and the
operations of its transforms, convolutions and products. Nothing is counted for files that wait for a disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2
from typing import Any

from monitor.bench.plan import PIXEL_NM

GROWTH = (1, 2, 4, 6, 8)
"""Channels of each level of the network, in widths, as in `models.unet`."""
TRANSFORM = 256
"""Side of the transform of one particle [px], as in `models.features.spectrum`."""
TEMPLATES = 700_000
"""Values that the templates of one particle read, each a multiplication and an addition; about."""


@dataclass(frozen=True)
class Peaks:
    """What the computer can do."""

    flop_per_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Floor:
    """The least work of one stage for one frame."""

    bytes: float
    operations: float

    def ms(self, peaks: Peaks) -> float:
        """The time that it takes at the least: moving and computing overlap."""
        return 1e3 * max(self.bytes / peaks.bytes_per_s, self.operations / peaks.flop_per_s)


def network_operations(pixels: float, architecture: Mapping[str, Any]) -> float:
    """Operations of the network for an image of so many pixels, a multiplication and an addition being two."""
    width, levels = int(architecture["width"]), int(architecture["levels"])
    half, kernel = architecture["stem"] == "half", int(architecture["kernel"]) ** 2
    channels = [width * growth for growth in GROWTH[:levels]]
    first = pixels / 4 if half else pixels
    total = 2 * first * 25 * channels[0] + 2 * first * 2 * channels[0]
    for level, out in enumerate(channels):
        here = first / 4**level
        total += 2 * here * kernel * (channels[max(level - 1, 0)] * out + out * out)
        if level < levels - 1:
            total += 2 * here * kernel * ((channels[level + 1] + out) * out + out * out)
    return total


def transform_operations(values: float) -> float:
    """Of a Fourier transform of so many real values: 2.5 N log₂ N."""
    return 2.5 * values * log2(max(2.0, values))


def floors(side: int, particles: float, details: Mapping[str, Any]) -> dict[str, Floor]:
    """The floor of every stage for a frame (side, side) of uint16.

    Parameters
    ----------
    details : `bundle.json`.
    """
    own = float(side * side)
    scale = PIXEL_NM / float(details["preprocessing"]["pixel_size_nm"])
    seen = own * scale**2
    spectra = particles * (transform_operations(TRANSFORM**2) + 2 * TEMPLATES)
    return {
        "read": Floor(2 * own + 2 * own, 0),
        "preprocess": Floor(2 * own + 4 * seen, transform_operations(own) + transform_operations(seen)),
        "network": Floor(4 * seen + 8 * seen, network_operations(seen, details["unet"]["architecture"])),
        "regions": Floor(8 * seen + 4 * seen, 0),
        "measure": Floor(8 * seen, spectra + 20 * seen),
        "classify": Floor(particles * 4 * len(details["features"]), particles * 500 * 20),
        "labels": Floor(4 * seen + 4 * own, 0),
        "likeness": Floor(8 * seen, 20 * seen),
        "preview": Floor(2 * own, 0),
        "commit": Floor(particles * 4000.0, 0),
    }
