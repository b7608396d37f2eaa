"""Scores of a segmentation: Dice, instances found, calibration of the probabilities.

Instances are counted twice. *Plain*: every region and every particle of at least `LEAST_PX` counts, slivers that the
border cuts and remnants that other particles cover included. *Fair*: what nobody could outline is neither hit nor
miss, as crowds are in COCO (Lin et al. 2014):

- a true particle is not judged if the border cuts it or another particle adjoins it, and less than `VISIBLE` of its
  whole area is seen; nor if it reaches less than `REACH_NM` in from the border;
- a found region that is no hit is not judged if at least half of it lies on particles that are not judged, or if it
  reaches less than `REACH_NM` in from the border.

A hit is an intersection over union of at least 0.5 with a particle; no two regions can hit the same particle then.
Simulated fields go on at their opposite side: what lies over the border are two particles here, each with its piece.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Pieces = npt.NDArray[np.int32]

LEAST_PX = 50
"""Smaller particles do not count [px]: a disc 0.4 nm across at 0.05 nm/px."""
VISIBLE = 0.5
REACH_NM = 1.0
BINS = 10
"""Of the reliability diagram, and of the calibration error that goes with it."""


def dice(marked: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """2 |A ∩ B| / (|A| + |B|); 1 where both are empty."""
    total = int(marked.sum()) + int(truth.sum())
    return 2 * int((marked & truth).sum()) / total if total else 1.0


@dataclass(frozen=True)
class Matching:
    """The regions of one image against its true particles."""

    labels: dict[int, int]
    """True particle, numbered from 1 with the pieces of one told apart → its label in the truth."""
    overlaps: dict[int, float]
    """Of every true particle that counts: its largest intersection over union with a region."""
    hits: dict[int, int]
    """True particle → the region that hits it."""
    found: tuple[int, ...]
    """Every region."""
    hidden: frozenset[int]
    """True particles that are not judged."""
    slivers: frozenset[int]
    """Regions that are not judged."""
    merged: int
    """Regions that hold more than half of two or more judged particles."""
    split: int
    """Judged particles that hold more than half of two or more regions."""

    def plain(self) -> tuple[int, int, int]:
        """(hits, regions, particles), all of them."""
        return len(self.hits), len(self.found), len(self.overlaps)

    def fair(self) -> tuple[int, int, int]:
        """(hits, regions, particles) of those that are judged."""
        return (
            len(self.hits.keys() - self.hidden),
            len(self.found) - len(self.slivers),
            len(self.overlaps.keys() - self.hidden),
        )


def pieces(truth: npt.NDArray[np.uint8]) -> tuple[Pieces, dict[int, int]]:
    """Instances (H, W) from 1, those pieces of a label told apart that touch the border; and the label of each."""
    out = np.zeros(truth.shape, np.int32)
    names: dict[int, int] = {}
    for label in np.unique(truth[truth > 0]).tolist():
        mask = truth == label
        parts, count = ndimage.label(mask, np.ones((3, 3)))
        border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
        outer = np.unique(border[border > 0])
        if count == 1 or len(outer) < 2:
            names[len(names) + 1] = label
            out[mask] = len(names)
            continue
        # What touches no border belongs to the largest piece: another particle lies across it.
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        largest = int(outer[sizes[outer].argmax()])
        inner = np.setdiff1d(np.arange(1, count + 1), outer)
        parts[np.isin(parts, inner)] = largest
        for part in outer.tolist():
            names[len(names) + 1] = label
            out[parts == part] = len(names)
    return out, names


def match(
    found: npt.NDArray[np.int32],
    truth: npt.NDArray[np.uint8],
    pixel_size_nm: float = 0.05,
    diameters_nm: Mapping[int, float] | None = None,
) -> Matching:
    """Match the regions of an image (H, W) to its true particles.

    Parameters
    ----------
    diameters_nm : of each true particle as a whole, by its label; where it is not known, a particle is judged by its
        reach alone.
    """
    parts, names = pieces(truth)
    count, labels = int(found.max(initial=0)), len(names)
    joint = np.bincount(
        found.ravel().astype(np.int64) * (labels + 1) + parts.ravel(), minlength=(count + 1) * (labels + 1)
    ).reshape(count + 1, labels + 1)
    areas, true_areas = joint.sum(axis=1), joint.sum(axis=0)
    union = areas[:, None] + true_areas[None, :] - joint
    overlap = joint / np.maximum(union, 1)
    counted = [n for n in range(1, labels + 1) if true_areas[n] >= LEAST_PX]
    hits = {}
    for n in counted:
        best = int(overlap[1:, n].argmax()) + 1 if count else 0
        if best and overlap[best, n] >= 0.5:
            hits[n] = best
    known = diameters_nm or {}
    hidden = {n for n in counted if _is_hidden(parts, n, pixel_size_nm, known.get(names[n]))}
    judged = [n for n in counted if n not in hidden]
    aside = [n for n in range(1, labels + 1) if n not in judged and true_areas[n] > 0]
    on_aside = joint[:, aside].sum(axis=1) >= 0.5 * np.maximum(areas, 1)
    good = {hits[n] for n in judged if n in hits}
    boxes = ndimage.find_objects(found, max_label=count) if count else []
    slivers = {
        region
        for region in range(1, count + 1)
        if region not in good
        and (on_aside[region] or _reach_px(boxes[region - 1], found.shape) * pixel_size_nm < REACH_NM)
    }
    held = joint[1:, judged] > 0.5 * true_areas[judged]
    holding = joint[1:, judged] > 0.5 * areas[1:, None]
    return Matching(
        names,
        {n: float(overlap[1:, n].max(initial=0.0)) for n in counted},
        hits,
        tuple(range(1, count + 1)),
        frozenset(hidden),
        frozenset(slivers),
        int((held.sum(axis=1) > 1).sum()),
        int((holding.sum(axis=0) > 1).sum()),
    )


def _reach_px(box: tuple[slice, slice] | None, shape: tuple[int, ...]) -> float:
    """How far something reaches in from the border that it touches [px]; endless where it touches none."""
    if box is None:
        return 0.0
    rows, cols = box
    reach = float("inf")
    if rows.start == 0 or rows.stop == shape[0]:
        reach = min(reach, rows.stop - rows.start)
    if cols.start == 0 or cols.stop == shape[1]:
        reach = min(reach, cols.stop - cols.start)
    return reach


def _is_hidden(truth: Pieces, number: int, pixel_size_nm: float, diameter_nm: float | None) -> bool:
    mask = truth == number
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    reach = _reach_px(box, truth.shape)
    if reach * pixel_size_nm < REACH_NM:
        return True
    around = (slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, cols[0] - 1), cols[-1] + 2))
    beside = truth[around][ndimage.binary_dilation(mask[around])]
    free = np.isinf(reach) and bool(((beside == 0) | (beside == number)).all())
    if free or diameter_nm is None:
        return False
    whole = np.pi / 4 * (diameter_nm / pixel_size_nm) ** 2
    return bool(mask.sum() < VISIBLE * whole)


def f1(hits: float, found: float, true: float) -> float:
    """2 hits / (found + true); 1 where there is nothing to find and nothing was found."""
    return 2 * hits / (found + true) if found + true else 1.0


@dataclass
class Reliability:
    """Calibration of the pixels' probabilities, in `BINS` bins of equal width."""

    sums: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((BINS, 3)))
    """(BINS, 3): pixels, sum of their probabilities, how many were inside a particle."""

    def add(self, probability: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> None:
        """Count an image's pixels in."""
        level = np.minimum((probability * BINS).astype(np.int64), BINS - 1).ravel()
        for column, values in enumerate((None, probability.ravel(), inside.ravel())):
            self.sums[:, column] += np.bincount(level, values, BINS)

    @property
    def error(self) -> float:
        """Expected calibration error: |mean probability - share inside| over the bins, weighted by their pixels."""
        total = float(self.sums[:, 0].sum())
        return float(np.abs(self.sums[:, 1] - self.sums[:, 2]).sum() / total) if total else 0.0

    def diagram(self) -> list[dict[str, float]]:
        """A row a bin that holds anything: pixels, mean probability, share of them inside a particle."""
        return [
            {"pixels": float(n), "probability": float(p / n), "inside": float(t / n)}
            for n, p, t in self.sums
            if n > 0
        ]


def interval_of_pooled_dice(
    overlap: npt.NDArray[np.float64],
    areas: npt.NDArray[np.float64],
    group: npt.NDArray[Any],
    seed: int = 0,
    draws: int = 1000,
) -> tuple[float, float]:
    """95 % interval of Σ overlap / Σ areas by drawing whole specimens anew (a cluster bootstrap).

    Parameters
    ----------
    overlap, areas : 2 |A ∩ B| and |A| + |B| of each image.
    group : the specimen of each image: its images are not independent.
    """
    names, inverse = np.unique(group, return_inverse=True)
    tops = np.bincount(inverse, overlap, len(names))
    bottoms = np.bincount(inverse, areas, len(names))
    drawn = np.random.default_rng(seed).integers(0, len(names), (draws, len(names)))
    pooled = tops[drawn].sum(axis=1) / np.maximum(bottoms[drawn].sum(axis=1), 1)
    low, high = np.percentile(pooled, [2.5, 97.5])
    return float(low), float(high)
