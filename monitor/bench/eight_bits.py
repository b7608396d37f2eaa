"""The network in eight bits beside the same one in float32, on frames whose particles are known. Runs in a `Lane`.

What each marks (`models.segment.regions`) is compared in the frame's own pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.bundle import INT8, Bundle, load_bundle, onnx_network
from models.preprocess import Canonical, canonical
from models.segment import Network, calibrated, probability_maps, regions
from monitor.read import open_frames

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Overlap:
    """Two masks of one frame [px]."""

    both: int
    areas: int
    """Of the one and of the other together."""


@dataclass(frozen=True)
class Compared:
    """One frame as both networks mark it."""

    to_float32: Overlap
    """Eight bits to float32."""
    to_truth: Overlap
    """Eight bits to the truth."""
    float32_to_truth: Overlap


def dice(overlaps: Sequence[Overlap]) -> float | None:
    """2 |A ∩ B| / (|A| + |B|) over all frames together; `None` where nothing is marked in any."""
    areas = sum(each.areas for each in overlaps)
    return 2 * sum(each.both for each in overlaps) / areas if areas else None


def compared(path: Path, mask: Path, bundle: Path | None, threads: int) -> Compared | None:
    """One frame; `None` where the bundle has no network in eight bits.

    Parameters
    ----------
    mask : a picture (H, W) of the frame's particles, 0 where there is none.
    threads : of the networks.
    """
    judge, networks = _networks(bundle, threads)
    if networks is None:
        return None
    with open_frames(path, "frames") as file:
        frame = file.frame(0)
    assert frame.pixel_size_nm is not None
    prepared = canonical(frame.pixels, frame.pixel_size_nm, judge.preprocessing)
    small, full = (_marked(prepared, network, judge) for network in networks)
    truth: Mask = np.asarray(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)) > 0
    return Compared(_overlap(small, full), _overlap(small, truth), _overlap(full, truth))


@lru_cache(maxsize=1)
def _networks(bundle: Path | None, threads: int) -> tuple[Bundle, tuple[Network, Network] | None]:
    """The bundle, and its network in eight bits and in float32."""
    judge = load_bundle(bundle, "cpu", threads)
    if not (judge.path / INT8).is_file():
        return judge, None
    small, full = (
        calibrated(onnx_network(judge.path / name, threads), judge.calibration)
        for name in (INT8, "unet.onnx")
    )
    return judge, (small, full)


def _marked(prepared: Canonical, network: Network, judge: Bundle) -> Mask:
    maps = probability_maps(prepared.image, network)
    labels = regions(maps, judge.preprocessing.pixel_size_nm, judge.segmentation)
    rows, cols = prepared.nearest()
    return np.asarray(labels[np.ix_(rows, cols)] > 0)


def _overlap(one: Mask, other: npt.NDArray[Any]) -> Overlap:
    return Overlap(int((one & other).sum()), int(one.sum()) + int(other.sum()))
