"""What is marked where nothing is, along the way that a frame goes: by the network, after the forest, in a session.

A region that the forest calls `empty` is no particle: no session counts it, and no label image shows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.analysis import analyse
from models.bundle import Bundle
from models.evaluation.judge import Labels
from models.examples.augment import NEGATIVES
from models.examples.shards import Examples
from models.examples.strata import EMPTY_PRESETS, preset_of
from models.features.measure import measure
from models.forest import as_rows
from models.preprocess import standardise
from models.results import CLASSES
from models.segment import Image, probability_maps, regions

EMPTY = CLASSES.index("empty")
Areas = dict[str, float]
"""Shares of a frame's area: `marked` by the network, `named` of these something else than `empty`, and `analysed`: what
`models.analysis.analyse` gives, which judges nothing where the beam does not reach."""


def named(bundle: Bundle, image: Image, found: Labels) -> Labels:
    """The regions (h, w) of a standardised frame (h, w) that the forest does not call `empty`; 0 elsewhere."""
    measured = measure(image, found, bundle.preprocessing.pixel_size_nm)
    called = bundle.forest(as_rows([one.values for one in measured], bundle.feature_names)).argmax(axis=1)
    kept = np.concatenate([[False], called != EMPTY])
    return np.where(kept[found], found, 0).astype(np.int32)


@dataclass
class Left:
    """Collects what the forest leaves of the marks on frames that hold nothing, by kind."""

    bundle: Bundle
    _shares: dict[str, list[float]] = field(default_factory=dict)

    def add(self, kind: str, image: Image, found: Labels) -> None:
        """A standardised frame (h, w) and the regions (h, w) on it."""
        share = float((named(self.bundle, image, found) > 0).mean())
        self._shares.setdefault(kind, []).append(share)

    def areas(self) -> dict[str, float]:
        """Mean share of the area, by kind."""
        return {kind: float(np.mean(shares)) for kind, shares in self._shares.items()}


def areas_of(bundle: Bundle, frames: Iterable[npt.NDArray[Any]]) -> Areas:
    """Mean `Areas` of frames (H, W) in counts, at the bundle's sampling, which hold nothing."""
    step, rows = bundle.preprocessing.pixel_size_nm, []
    for frame in frames:
        counts = np.ascontiguousarray(frame, dtype=np.float32)
        image = standardise(counts, bundle.preprocessing)
        found = regions(probability_maps(image, bundle.network), step, bundle.segmentation)
        labels = analyse(counts, step, bundle).labels
        if labels is None:
            raise AssertionError("a label image was asked for")
        rows.append([(each > 0).mean() for each in (found, named(bundle, image, found), labels)])
    means = np.mean(rows, axis=0).tolist()
    return dict(zip(("marked", "named", "analysed"), means, strict=True))


def areas_by_kind(bundle: Bundle, each: int = 40, seed: int = 4242, size: int = 256) -> dict[str, Areas]:
    """`areas_of` frames of every kind of `NEGATIVES`: those of `models.evaluation.judge.false_areas`."""
    return {
        kind: areas_of(bundle, (make(size, np.random.default_rng([seed, number, n])) for n in range(each)))
        for number, (kind, make) in enumerate(NEGATIVES.items())
    }


def empty_areas(
    bundle: Bundle, data: Examples, chosen: Iterable[int], each: int = 40, seed: int = 4242
) -> dict[str, Areas]:
    """`areas_by_kind`, and `areas_of` those of the chosen images that hold no particle, by preset."""
    areas, chosen = areas_by_kind(bundle, each, seed), list(chosen)
    for preset in EMPTY_PRESETS:
        here = [i for i in chosen if preset_of(data.about[i]) == preset]
        if here:
            areas[f"preset {preset}"] = areas_of(bundle, (data.images[i] for i in here))
    return areas
