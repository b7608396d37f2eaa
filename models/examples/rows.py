"""Rows of features that a forest learns from: one a region as the network finds it, with its true class.

A region takes the class of the true particle that it covers; one that covers none is `empty`, and so are patches of
bare background, cut like any other region. Particles that the truth does not score, and regions that the image's
border cuts, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.bundle import onnx_network
from models.confusion import UNSCORED as UNSCORED
from models.examples.augment import NEGATIVES
from models.examples.shards import open_shard, shards_of
from models.features.measure import measure
from models.forest import as_rows
from models.preprocess import Preprocessing, standardise
from models.results import CLASSES
from models.segment import Calibration, Image, Network, Segmentation, calibrated, probability_maps, regions

COVERS = 0.5
"""A region stands for a true particle if their intersection over union is at least this."""
TOUCHES = 0.1
"""A region of which a smaller share lies on true particles is `empty`."""
DOUBTFUL = 0.6
"""Regions that the network would mark with this share of what it asks for, where nothing is, are learnt as `empty` too:
the false regions that it does mark are few, and look like these."""


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
    ) -> npt.NDArray[np.int32]:
        """(H, W) standardised image → (H, W) regions; given `truth` (H, W), `DOUBTFUL` ones off it too, last."""
        maps, step = probability_maps(image, network), self.preprocessing.pixel_size_nm
        found = regions(maps, step, self.segmentation)
        if truth is None:
            return found
        plain = self.segmentation
        lax = replace(
            plain, threshold=DOUBTFUL * plain.threshold, smallest_mean=DOUBTFUL * plain.smallest_mean
        )
        more = regions(maps, step, lax)
        taken = np.unique(more[(found > 0) | (truth > 0)])
        count = int(found.max(initial=0))
        for region in np.setdiff1d(more, [0, *taken]):
            count += 1
            found[more == region] = count
        return found


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
    names: list[str]

    def of(self, chosen: npt.NDArray[np.bool_]) -> Rows:
        """The chosen rows."""
        return Rows(
            self.features[chosen],
            self.classes[chosen],
            self.particle[chosen],
            self.specimen[chosen],
            self.dose[chosen],
            self.microscope[chosen],
            self.diameter[chosen],
            self.names,
        )


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


#: Features, class, particle, specimen, dose, microscope, diameter.
Row = tuple[dict[str, float], str, str, str, float, str, float]


def _diameter(regions: npt.NDArray[np.int32], region: int, pixel_size_nm: float) -> float:
    return float(2 * np.sqrt((regions == region).sum() / np.pi) * pixel_size_nm)


def _rows_of_shard(
    task: tuple[Path, Finder, list[str], int, int, bool, bool],
) -> list[Row]:
    """Every scored region of one shard's chosen images."""
    cv2.setNumThreads(1)
    shard_path, finder, splits, draws, seed, doubtful, unscored = task
    network = finder.network()
    out = []
    with open_shard(shard_path) as shard:
        step = float(shard.attrs["pixel_size_nm"])
        taken: dict[str, int] = {}
        for i, text in enumerate(shard["about"].asstr()[:]):
            about = json.loads(text)
            specimen = about["specimen"]
            taken[specimen] = taken.get(specimen, 0) + 1
            if about["split"] not in splits or taken[specimen] > draws:
                continue
            image = standardise(shard["images"][i].astype(np.float32), finder.preprocessing)
            truth = shard["labels"][i]
            found = finder.regions(image, network, truth if doubtful else None)
            rng = np.random.default_rng([seed, i])
            scored = list(truth_of_regions(found, truth, about["particles"], unscored))
            if rng.random() < 0.25:
                added = background_patch(found, truth, rng)
                if added is not None:
                    found = added
                    scored.append((int(found.max()), "empty", 0))
            if not scored:
                continue
            measured = measure(image, found, step)
            conditions = about["conditions"]
            for region, name, label in scored:
                particle = f"{specimen}/{label}" if label else f"{specimen}/empty-{i}-{region}"
                out.append(
                    (
                        measured[region - 1].values,
                        name,
                        particle,
                        specimen,
                        float(conditions["dose_e_per_A2"]),
                        str(conditions["microscope"]),
                        _diameter(found, region, step),
                    )
                )
    return out


def _rows_of_negatives(finder: Finder, count: int, seed: int, doubtful: bool) -> list[Row]:
    """False regions that the network finds on frames that hold nothing."""
    network, preprocessing = finder.network(), finder.preprocessing
    out = []
    for kind, make in NEGATIVES.items():
        for n in range(count):
            rng = np.random.default_rng([seed, n, list(NEGATIVES).index(kind)])
            image = standardise(make(256, rng), preprocessing)
            found = finder.regions(image, network, np.zeros((256, 256), np.uint8) if doubtful else None)
            for region, measured in enumerate(measure(image, found, preprocessing.pixel_size_nm)):
                name = f"negative-{kind}-{seed}-{n}"
                diameter = _diameter(found, region + 1, preprocessing.pixel_size_nm)
                out.append((measured.values, "empty", f"{name}/{region}", name, 0.0, "none", diameter))
    return out


def collect(
    data: Path,
    finder: Finder,
    splits: Sequence[str],
    *,
    draws: int = 8,
    seed: int = 1,
    processes: int = 1,
    unscored: bool = False,
) -> Rows:
    """Rows of all scored regions of the given splits, with a progress bar; `DOUBTFUL` ones where it is `train`.

    Parameters
    ----------
    draws : images of each specimen.
    unscored : also of particles that the rule of the truth does not score (`UNSCORED`).
    """
    from tqdm import tqdm

    learnt = "train" in splits
    tasks = [(shard, finder, list(splits), draws, seed, learnt, unscored) for shard in shards_of(data)]
    raw = _rows_of_negatives(finder, 30, seed if learnt else seed + 1, learnt)
    with tqdm(total=len(tasks), unit="shard", desc="features", disable=None) as bar:
        if processes <= 1:
            for task in tasks:
                raw += _rows_of_shard(task)
                bar.update()
        else:
            with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
                for part in pool.map(_rows_of_shard, tasks):
                    raw += part
                    bar.update()
    names = list(raw[0][0])
    return Rows(
        as_rows([r[0] for r in raw], names),
        np.array([UNSCORED if r[1] == "unscored" else CLASSES.index(r[1]) for r in raw]),
        np.array([r[2] for r in raw]),
        np.array([r[3] for r in raw]),
        np.array([r[4] for r in raw]),
        np.array([r[5] for r in raw]),
        np.array([r[6] for r in raw]),
        names,
    )


def rows_file(bundle: Path) -> Path:
    """Where the training rows of a bundle lie: beside its folder, for refitting."""
    folder = bundle.resolve()
    return folder.with_name(f"{folder.name}.rows.npz")


def save_rows(path: Path, learn: Rows, check: Rows) -> None:
    """Keep rows compactly: features in half precision, of which the forest's scores take no notice."""
    columns: dict[str, Any] = {"names": learn.names}
    for part, rows in (("learn", learn), ("check", check)):
        for column in fields(Rows):
            if column.name != "names":
                columns[f"{part}_{column.name}"] = getattr(rows, column.name)
        largest = float(np.finfo(np.float16).max)
        columns[f"{part}_features"] = rows.features.clip(-largest, largest).astype(np.float16)
    np.savez_compressed(path, **columns)


def load_rows(path: Path) -> tuple[Rows, Rows]:
    """The rows that `train` kept beside a bundle: (learn, check); nothing in the file is unpickled."""
    with np.load(path, allow_pickle=False) as kept:
        names = [str(n) for n in kept["names"]]
        return _unpack(kept, "learn", names), _unpack(kept, "check", names)


def _unpack(kept: Any, part: str, names: list[str]) -> Rows:
    columns = {f.name: kept[f"{part}_{f.name}"] for f in fields(Rows) if f.name != "names"}
    columns["features"] = columns["features"].astype(np.float32)
    return Rows(**columns, names=names)
