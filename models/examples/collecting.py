"""Collect rows of features from a data set: every region as a network finds it, measured, with its true class.

What was collected from a shard can be kept in a folder, so that an interrupted collection goes on, and a study can look
at the same regions again. Such a file holds the columns of `models.examples.rows.Rows` and `crops`: (R, 96, 96) int8,
each region's surroundings in steps of `CROP_STEP`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.bundle import file_hash
from models.confusion import UNSCORED
from models.errors import ModelError
from models.examples.augment import BORDERS, NEGATIVES, half_dark_frame
from models.examples.rows import (
    COLUMNS,
    NEGATIVE,
    Finder,
    Rows,
    background_patch,
    joined,
    truth_of_regions,
)
from models.examples.shards import open_shard, shards_of
from models.features.measure import feature_names, measure
from models.forest import as_rows
from models.preprocess import standardise
from models.results import CLASSES
from models.segment import Image

SIDE = 96
"""Side of a crop [px]: 4.8 nm at 0.05 nm/px."""
CROP_STEP = 0.05
"""Of a crop's values, which are those of the standardised frame."""
PATCHES = 0.25
"""Share of the training's images that give a patch of background too."""
OFTEN_MARKED = ("fringes", "edge", "half-dark")
"""Kinds of `NEGATIVES` on which networks mark regions: the forest is taught what these look like. Contamination is
marked too, but looks as real particles without a lattice do: with as many patches of it, 29 instead of 18 of 307
real particles were called `empty`."""
MORE = 10
"""Of these kinds the training sees so many times as many frames as of the others: few hold a region at all."""
LARGE_PX = 512
"""Side of every fourth of those frames [px]; of the others it is `NEGATIVE_PX`. Flattening reaches further there."""
NEGATIVE_PX = 256
VERSION = 1
"""Of the files that are kept; another one makes them anew."""


@dataclass(frozen=True)
class Source:
    """From where rows come and how."""

    data: tuple[Path, ...]
    """Data sets; without any, frames that hold nothing alone."""
    finder: Finder
    draws: int = 8
    """Images of each specimen."""
    seed: int = 1
    keep: Path | None = None
    """Folder of what was collected, if it is kept."""
    negatives: int = 60
    """Frames that hold nothing, of each kind, for the training and again for the others."""

    def kept(self, name: str, *, shard: Path | None = None) -> Path | None:
        """The file of one part, which another network, setting or shard does not share."""
        if self.keep is None:
            return None
        f = self.finder
        told: list[Any] = [VERSION, file_hash(f.onnx), self.draws, self.seed]
        told += [s.as_dict() for s in (f.preprocessing, f.calibration, f.segmentation)]
        if shard is not None:
            told += [shard.stat().st_size, shard.stat().st_mtime_ns]
        code = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
        return self.keep / f"{name}-{code}.npz"


@dataclass
class _Collected:
    """Rows and crops, while they are collected."""

    rows: list[tuple[dict[str, float], tuple[Any, ...]]]
    """Features, and the other columns in the order of `COLUMNS`."""
    crops: list[npt.NDArray[np.int8]]

    def arrays(self, names: list[str]) -> dict[str, npt.NDArray[Any]]:
        """The columns of `Rows`, `names` and `crops`."""
        kinds = {"dose": np.float64, "diameter": np.float64, "classes": np.int64, "marked": np.bool_}
        columns: dict[str, npt.NDArray[Any]] = {
            name: np.array([told[k] for _, told in self.rows], dtype=kinds.get(name, np.str_))
            for k, name in enumerate(COLUMNS[1:])
        }
        columns["features"] = as_rows([values for values, _ in self.rows], names)
        columns["names"] = np.array(names, np.str_)
        columns["crops"] = np.array(self.crops, np.int8).reshape(-1, SIDE, SIDE)
        return columns


def crop(frame: Image, mask: npt.NDArray[np.bool_]) -> Image:
    """(96, 96) of a standardised frame (H, W) about a region's middle, mirrored beyond the frame."""
    rows, cols = np.nonzero(mask)
    half = SIDE // 2
    padded = np.pad(frame, half, mode="symmetric")
    r, c = round(float(rows.mean())), round(float(cols.mean()))
    return padded[r : r + SIDE, c : c + SIDE]


def _small_crop(frame: Image, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    return np.asarray(np.clip(np.rint(crop(frame, mask) / CROP_STEP), -127, 127), dtype=np.int8)


def _add(
    collected: _Collected,
    image: Image,
    found: npt.NDArray[np.int32],
    scored: list[tuple[int, str, str]],
    step: float,
    told: tuple[str, float, str, str],
    marked: int,
) -> None:
    """Measure the regions `scored` (region, class, particle); `told`: specimen, dose, microscope, split."""
    specimen, dose, microscope, split = told
    measured = measure(image, found, step)
    for region, name, particle in scored:
        mask = found == region
        true_class = UNSCORED if name == "unscored" else CLASSES.index(name)
        diameter = float(2 * np.sqrt(mask.sum() / np.pi) * step)
        row = (true_class, particle, specimen, dose, microscope, diameter, split, region <= marked)
        collected.rows.append((measured[region - 1].values, row))
        collected.crops.append(_small_crop(image, mask))


def _of_shard(path: Path, source: Source) -> _Collected:
    """Every region of one shard's chosen images, also of particles that the truth does not score."""
    finder, collected = source.finder, _Collected([], [])
    network = finder.network()
    with open_shard(path) as shard:
        step = float(shard.attrs["pixel_size_nm"])
        taken: dict[str, int] = {}
        for i, text in enumerate(shard["about"].asstr()[:]):
            about = json.loads(text)
            specimen, split = str(about["specimen"]), str(about["split"])
            taken[specimen] = taken.get(specimen, 0) + 1
            if taken[specimen] > source.draws:
                continue
            image = standardise(shard["images"][i].astype(np.float32), finder.preprocessing)
            truth = shard["labels"][i]
            found, marked = finder.regions(image, network, truth if split == "train" else None)
            regions = list(truth_of_regions(found, truth, about["particles"], True))
            rng = np.random.default_rng([source.seed, i])
            if split == "train" and rng.random() < PATCHES:
                added = background_patch(found, truth, rng)
                if added is not None:
                    found = added
                    regions.append((int(found.max()), "empty", 0))
            if not regions:
                continue
            scored = [
                (region, name, f"{specimen}/{label}" if label else f"{specimen}/empty-{i}-{region}")
                for region, name, label in regions
            ]
            conditions = about["conditions"]
            told = (
                specimen,
                float(conditions["dose_e_per_A2"]),
                str(conditions["microscope"]),
                split,
            )
            _add(collected, image, found, scored, step, told, marked)
    return collected


def _often(kind: str) -> int:
    """So many times as many frames of a kind that hold nothing teach as are judged by."""
    return MORE if kind in OFTEN_MARKED else 1


def _negative(kind: str, number: int, more: bool, rng: np.random.Generator) -> Image:
    """A frame that holds nothing; of those there are `more` of, some are large, and steps are of every kind in turn."""
    size = LARGE_PX if more and number % 4 == 0 else NEGATIVE_PX
    if more and kind == "half-dark":
        return half_dark_frame(size, rng, list(BORDERS.values())[number // 4 % len(BORDERS)])
    return NEGATIVES[kind](size, rng)


def _of_negatives(kind: str, source: Source) -> _Collected:
    """False regions on frames of a kind that hold nothing, of every split; `DOUBTFUL` ones for the training.

    What comes of the frames that there are more of only teaches, so that it does not outnumber what is judged.
    """
    finder, collected = source.finder, _Collected([], [])
    network, step = finder.network(), finder.preprocessing.pixel_size_nm
    number = list(NEGATIVES).index(kind)
    for learnt in (True, False):
        for n in range(source.negatives * (_often(kind) if learnt else 1)):
            seed, more = source.seed + (not learnt), n >= source.negatives
            frame = _negative(kind, n, more, np.random.default_rng([seed, n, number]))
            image = standardise(frame, finder.preprocessing)
            off = np.zeros(image.shape, np.uint8) if learnt else None
            found, marked = finder.regions(image, network, off)
            name = f"{NEGATIVE}{kind}-{seed}-{n}"
            scored = [(r, "empty", f"{name}/{r - 1}") for r in range(1, int(found.max(initial=0)) + 1)]
            if scored:
                split = "train" if learnt else ("validation", "test")[n % 2]
                told = (name, 0.0, "none", split)
                _add(collected, image, found, scored, step, told, 0 if more else marked)
    return collected


def _rows(kept: Any) -> Rows:
    return Rows(**{name: kept[name] for name in COLUMNS}, names=[str(n) for n in kept["names"]])


def read_kept(folder: Path) -> tuple[Rows, npt.NDArray[np.int8]]:
    """All rows that were kept in a folder, and the crop of each (R, 96, 96).

    Raises
    ------
    ModelError
        There are none.
    """
    rows, crops = [], []
    for path in sorted(folder.glob("*.npz")):
        if not path.stem.endswith(".partial"):
            with np.load(path, allow_pickle=False) as kept:
                rows.append(_rows(kept))
                crops.append(kept["crops"])
    if not rows:
        raise ModelError(f"{folder} holds no rows; they are kept there by: faultwatch train forest --keep")
    return joined(rows), np.concatenate(crops)


def _part(task: tuple[Path | str, Source, list[str]]) -> Rows:
    """The rows of one shard, or of the frames of one kind that hold nothing."""
    cv2.setNumThreads(1)
    what, source, names = task
    if isinstance(what, Path):
        file = source.kept(what.stem, shard=what)
    else:
        file = source.kept(f"negatives-{what}-{source.negatives}-{_often(what)}")
    if file is not None and file.is_file():
        with np.load(file, allow_pickle=False) as kept:
            return _rows(kept)
    collected = _of_shard(what, source) if isinstance(what, Path) else _of_negatives(what, source)
    arrays: dict[str, Any] = collected.arrays(names)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npz")
        np.savez_compressed(partial, **arrays)
        partial.replace(file)
    return _rows(arrays)


def collect(source: Source, *, processes: int = 1) -> Rows:
    """Rows of all regions of all splits, `UNSCORED` ones among them, with a progress bar."""
    from tqdm import tqdm

    names = list(feature_names())
    shards = [path for folder in source.data for path in shards_of(folder)]
    parts_of: list[Path | str] = [*NEGATIVES, *shards]
    tasks = [(what, source, names) for what in parts_of]
    with tqdm(total=len(tasks), unit="part", desc="features", disable=None) as bar:
        parts = []
        for part in _mapped(tasks, processes):
            parts.append(part)
            bar.update()
    return joined(parts)


def _mapped(tasks: list[tuple[Path | str, Source, list[str]]], processes: int) -> Iterator[Rows]:
    if processes <= 1:
        yield from map(_part, tasks)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_part, tasks)
