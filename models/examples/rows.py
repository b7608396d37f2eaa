"""Rows of features that a forest learns from: one a region as the network finds it, with its true class.

A region takes the class of the true particle that it covers; one that covers none is `empty`, and so are patches of
bare background, cut like any other region. Particles that the truth does not score, and regions that the image's
border cuts, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.bundle import onnx_network
from models.confusion import UNSCORED as UNSCORED
from models.preprocess import Preprocessing
from models.segment import Calibration, Image, Network, Segmentation, calibrated, probability_maps, regions

COVERS = 0.5
"""A region stands for a true particle if their intersection over union is at least this."""
TOUCHES = 0.1
"""A region of which a smaller share lies on true particles is `empty`."""
DOUBTFUL = 0.6
"""Regions that the network would mark with this share of what it asks for, where nothing is, are learnt as `empty` too:
the false regions that it does mark are few, and look like these."""

NEGATIVE = "negative-"
"""What the `specimen` of a frame that holds nothing begins with."""


@dataclass(frozen=True)
class Finder:
    """What finds regions: a network's file and everything that goes with it."""

    onnx: Path
    preprocessing: Preprocessing
    calibration: Calibration
    segmentation: Segmentation

    def network(self) -> Network:
        """Opened in this process; an open one can't be sent to another."""
        return calibrated(onnx_network(self.onnx), self.calibration)

    def regions(
        self, image: Image, network: Network, truth: npt.NDArray[np.uint8] | None = None
    ) -> tuple[npt.NDArray[np.int32], int]:
        """(H, W) standardised image → (H, W) regions, and how many the network marks.

        Given `truth` (H, W), `DOUBTFUL` regions off it come after those.
        """
        maps, step = probability_maps(image, network), self.preprocessing.pixel_size_nm
        found = regions(maps, step, self.segmentation)
        marked = int(found.max(initial=0))
        if truth is None:
            return found, marked
        plain = self.segmentation
        lax = replace(
            plain, threshold=DOUBTFUL * plain.threshold, smallest_mean=DOUBTFUL * plain.smallest_mean
        )
        more = regions(maps, step, lax)
        taken = np.unique(more[(found > 0) | (truth > 0)])
        for count, region in enumerate(np.setdiff1d(more, [0, *taken]), marked + 1):
            found[more == region] = count
        return found, marked


@dataclass(frozen=True)
class Rows:
    """Feature rows with their truth, one a region."""

    features: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    """(R,) index into `CLASSES`, or `UNSCORED`."""
    particle: npt.NDArray[np.str_]
    """(R,) specimen and label: the same physical particle in several images."""
    specimen: npt.NDArray[np.str_]
    dose: npt.NDArray[np.float64]
    """(R,) [e⁻/Å²]."""
    microscope: npt.NDArray[np.str_]
    diameter: npt.NDArray[np.float64]
    """(R,) of a disc of the region's area [nm]."""
    split: npt.NDArray[np.str_]
    """(R,) `train`, `validation` or `test`."""
    marked: npt.NDArray[np.bool_]
    """(R,) whether it is judged by: the network marks it. `DOUBTFUL` regions, patches of background, and what lies on
    the many frames that are made to teach what `empty` is, only teach."""
    names: list[str]

    def of(self, chosen: npt.NDArray[np.bool_]) -> Rows:
        """The chosen rows."""
        return self.map(lambda column: column[chosen])

    def map(self, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Rows:
        """Rows whose columns are changed alike."""
        return Rows(**{name: change(getattr(self, name)) for name in COLUMNS}, names=self.names)


COLUMNS = tuple(column.name for column in fields(Rows) if column.name != "names")
"""Of `Rows`, one value a region."""


def joined(parts: Sequence[Rows]) -> Rows:
    """All rows of several parts, which have the same features."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return Rows(**columns, names=parts[0].names)


def truth_of_regions(
    found: npt.NDArray[np.int32],
    truth: npt.NDArray[np.uint8],
    particles: Sequence[dict[str, Any]],
    unscored: bool = False,
) -> Iterator[tuple[int, str, int]]:
    """(region, class, true label) of every region of (h, w) that can be scored; label 0 for `empty`.

    With `unscored` also of particles that the rule of the truth does not score; their class is then `unscored`.
    """
    border = set(np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]]).tolist())
    areas = np.bincount(truth.ravel(), minlength=256)
    by_label = {int(p["label"]): p for p in particles}
    for region in range(1, int(found.max(initial=0)) + 1):
        if region in border:
            continue
        mask = found == region
        overlap = np.bincount(truth[mask], minlength=256)
        on_particles = int(overlap[1:].sum())
        if on_particles < TOUCHES * mask.sum():
            yield region, "empty", 0
            continue
        label = int(np.argmax(overlap[1:])) + 1
        union = int(mask.sum()) + int(areas[label]) - int(overlap[label])
        particle = by_label.get(label)
        if not particle or not particle["whole"] or overlap[label] < COVERS * union:
            continue
        if particle["class"] or (unscored and particle.get("orientation") != "polycrystal"):
            yield region, str(particle["class"] or "unscored"), label


def background_patch(
    found: npt.NDArray[np.int32], truth: npt.NDArray[np.uint8], rng: np.random.Generator
) -> npt.NDArray[np.int32] | None:
    """One more region where nothing is: a ragged disc of 2 to 6 nm at 0.05 nm/px, or `None` where there is no room."""
    h, w = found.shape
    radius = float(rng.uniform(20, 60))
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for _ in range(6):
        r, c = rng.uniform(radius + 3, h - radius - 3), rng.uniform(radius + 3, w - radius - 3)
        lengths = radius * np.clip(1 + 0.15 * rng.normal(size=24), 0.6, 1.2)
        outline = np.stack([c + lengths * np.cos(angles), r + lengths * np.sin(angles)], axis=1)
        patch = np.zeros((h, w), np.uint8)
        cv2.fillPoly(patch, [outline.astype(np.int32)], 1)
        if not ((found > 0) | (truth > 0))[patch > 0].any():
            added = found.copy()
            added[patch > 0] = int(found.max(initial=0)) + 1
            return added
    return None


def rows_file(bundle: Path) -> Path:
    """Where the training rows of a bundle lie: beside its folder, for refitting."""
    folder = bundle.resolve()
    return folder.with_name(f"{folder.name}.rows.npz")


def save_rows(path: Path, learn: Rows, check: Rows) -> None:
    """Keep rows compactly: features in half precision, of which the forest's scores take no notice."""
    columns: dict[str, Any] = {"names": learn.names}
    for part, rows in (("learn", learn), ("check", check)):
        for name in COLUMNS:
            columns[f"{part}_{name}"] = getattr(rows, name)
        largest = float(np.finfo(np.float16).max)
        columns[f"{part}_features"] = rows.features.clip(-largest, largest).astype(np.float16)
    np.savez_compressed(path, **columns)


def load_rows(path: Path) -> tuple[Rows, Rows]:
    """The rows that `train` kept beside a bundle: (learn, check); nothing in the file is unpickled."""
    with np.load(path, allow_pickle=False) as kept:
        names = [str(n) for n in kept["names"]]
        return _unpack(kept, "learn", names), _unpack(kept, "check", names)


def _unpack(kept: Any, part: str, names: list[str]) -> Rows:
    columns = {name: kept[f"{part}_{name}"] for name in COLUMNS}
    columns["features"] = columns["features"].astype(np.float32)
    return Rows(**columns, names=names)
