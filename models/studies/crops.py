"""Particles as the truth has them, for judging classifiers alone: region, crop, features and conditions of each.

Regions are the true ones of every scored particle that is whole in its image, and patches of bare background of a
particle's kind of outline as `empty`. The hard set is made of the same images: see `harder`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.examples.rows import background_patch
from models.examples.shards import open_shard, shards_of
from models.examples.strata import EMPTY_PRESETS, preset_of
from models.features.measure import measure
from models.preprocess import Preprocessing, standardise
from models.results import CLASSES

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

SIDE = 96
"""Side of a crop [px]: 4.8 nm at 0.05 nm/px."""
EMPTY_SHARE = 0.35
"""Share of the images that give a patch of background too."""
HARD_DOSE = 30.0
"""Dose of the hard set's images, at most [e⁻/Å²]."""
PIXEL_ERROR = 0.05
"""Of the hard set, relative, to either side."""
BLUR_PX = (0.4, 0.9)
"""Of the hard set's camera, Gaussian [px]."""
FAR_NM = 2.0
"""Regions further apart than this do not count as neighbours [nm]."""
FRINGES_PX = 0.15
"""Lateral frequency of the rows, about [1 / px]: 3 nm⁻¹ at 0.05 nm/px."""
HARD_SEEN = 1.5
"""What a fringe's signal to noise must be after all that for `yes` and `no` to be scored: that of the truth's rule."""


@dataclass(frozen=True)
class Crops:
    """R regions with everything that is known of them."""

    features: npt.NDArray[np.float32]
    """(R, F), in the order of `names`."""
    names: list[str]
    crops: npt.NDArray[np.float16]
    """(R, 96, 96) of the standardised frame about each region's middle."""
    boxes: npt.NDArray[np.float32]
    """(R, 5) `models.studies.baselines.published_features` of each region's box."""
    classes: npt.NDArray[np.int64]
    """(R,) index into `CLASSES`."""
    specimen: npt.NDArray[np.str_]
    about: list[dict[str, Any]]
    """Conditions, carbon [nm], what is true of the particle (nothing for `empty`), and the distance to the next
    region, `gap_nm`, at most `FAR_NM`."""


def true_regions(
    labels: npt.NDArray[np.uint8], particles: list[dict[str, Any]], rng: np.random.Generator
) -> tuple[Labels, list[tuple[int, str, dict[str, Any] | None]]]:
    """(H, W) regions 1, 2, … and (region, class, truth) of those that are scored."""
    by_label = {int(p["label"]): p for p in particles}
    present = [int(n) for n in np.unique(labels) if n]
    lookup = np.zeros(256, np.int32)
    lookup[present] = np.arange(1, len(present) + 1)
    regions = lookup[labels]
    scored: list[tuple[int, str, dict[str, Any] | None]] = [
        (i, str(by_label[n]["class"]), by_label[n])
        for i, n in enumerate(present, 1)
        if n in by_label and by_label[n]["whole"] and by_label[n]["class"]
    ]
    if rng.random() < EMPTY_SHARE:
        added = background_patch(regions, labels, rng)
        if added is not None:
            regions = added
            scored.append((int(added.max()), "empty", None))
    return regions, scored


def gap_to_next(regions: Labels, region: int) -> float:
    """Smallest distance between a region's pixels and another's [px]; infinite where it is alone."""
    others = (regions > 0) & (regions != region)
    if not others.any():
        return float("inf")
    away = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, 5)
    return float(away[regions == region].min())


def harder(
    image: Image, labels: npt.NDArray[np.uint8], dose: float, bare: Image, rng: np.random.Generator
) -> tuple[Image, npt.NDArray[np.uint8], float]:
    """A frame as a poor session gives it: an image (H, W) in units of its mean, and labels to match.

    A second amorphous layer (the relative intensity of a simulated `bare` frame, which thin layers multiply by), the
    pixel size wrong by up to `PIXEL_ERROR`, blur by drift along one direction and by the camera, and the noise that
    `HARD_DOSE` has beyond that of the image's own dose [e⁻/Å²], for pixels of 0.05 nm. The number returned is what is
    left of a fringe's signal to noise, for the blur and the dose.
    """
    image = image * (bare / bare.mean())
    size = image.shape[0]
    matrix = cv2.getRotationMatrix2D(
        (size / 2, size / 2), 0, 1 + float(rng.uniform(-PIXEL_ERROR, PIXEL_ERROR))
    )
    image = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    labels = cv2.warpAffine(labels, matrix, (size, size), flags=cv2.INTER_NEAREST)
    drift, angle = float(rng.uniform(0, 2.0)), float(rng.uniform(0, np.pi))  # [px]
    steps = np.linspace(-0.5, 0.5, 5) * drift
    moved = [
        cv2.warpAffine(
            image,
            np.array([[1, 0, s * np.cos(angle)], [0, 1, s * np.sin(angle)]]),
            (size, size),
            borderMode=cv2.BORDER_REFLECT,
        )
        for s in steps
    ]
    image = cv2.GaussianBlur(np.mean(moved, axis=0), (0, 0), blur := float(rng.uniform(*BLUR_PX)))
    if dose > HARD_DOSE:
        electrons = HARD_DOSE * 0.25  # a pixel of 0.05 nm has 0.25 Å²
        extra = np.sqrt(np.clip(image, 0, None) * (1 / electrons - 1 / (dose * 0.25)))
        image = image + extra * rng.standard_normal(image.shape, dtype=np.float32)
    left = np.exp(-2 * (np.pi * blur * FRINGES_PX) ** 2) * min(1.0, HARD_DOSE / max(dose, 1.0)) ** 0.5
    return np.asarray(image, dtype=np.float32), labels, float(left)


def collect(data: Path, *, draws: int, seed: int = 0, hard: bool = False) -> Crops:
    """Regions of the first `draws` images of every specimen with particles, with a progress bar."""
    from tqdm import tqdm

    from models.studies.baselines import published_features

    preprocessing = Preprocessing()
    bare = bare_frames(data) if hard else []
    rows: list[dict[str, float]] = []
    crops, boxes, classes, specimens, told = [], [], [], [], []
    for path in tqdm(shards_of(data), unit="shard", disable=None):
        for number, image, labels, about in _frames(path, draws):
            rng = np.random.default_rng([seed, number, len(rows)])
            left = 1.0
            if hard:
                dose = float(about["conditions"]["dose_e_per_A2"])
                image, labels, left = harder(image, labels, dose, bare[int(rng.integers(len(bare)))], rng)
            regions, scored = true_regions(labels, about["particles"], rng)
            if not scored:
                continue
            frame = standardise(image, preprocessing)
            measured = measure(frame, regions, preprocessing.pixel_size_nm)
            for region, name, truth in scored:
                mask = regions == region
                if mask.sum() < 50 or (name in ("yes", "no") and truth and truth["snr"] * left < HARD_SEEN):
                    continue
                rows.append(measured[region - 1].values)
                crops.append(_crop(frame, mask))
                boxes.append(published_features(_box(image, mask)))
                classes.append(CLASSES.index(name))
                specimens.append(about["specimen"])
                gap = gap_to_next(regions, region) * preprocessing.pixel_size_nm
                told.append(
                    {
                        "conditions": about["conditions"],
                        "carbon_nm": about["carbon_nm"],
                        "particle": truth,
                        "gap_nm": min(gap, FAR_NM),
                    }
                )
    names = list(rows[0])
    return Crops(
        np.nan_to_num(np.array([[row[name] for name in names] for row in rows], np.float32)),
        names,
        np.array(crops, np.float16),
        np.array(boxes, np.float32),
        np.array(classes),
        np.array(specimens),
        told,
    )


def _frames(path: Path, draws: int) -> Iterator[tuple[int, Image, npt.NDArray[np.uint8], dict[str, Any]]]:
    """(number, image, labels, about) of a shard's images with particles, `draws` of each specimen."""
    with open_shard(path) as shard:
        taken: dict[str, int] = {}
        for number, text in enumerate(shard["about"].asstr()[:]):
            about = json.loads(text)
            taken[about["specimen"]] = taken.get(about["specimen"], 0) + 1
            if taken[about["specimen"]] <= draws and any(p["class"] for p in about["particles"]):
                yield number, shard["images"][number].astype(np.float32), shard["labels"][number], about


def bare_frames(data: Path, most: int = 60) -> list[Image]:
    """The cleanest frames (H, W) of bare film in a data set; even ones where it has none."""
    frames: list[Image] = []
    for path in shards_of(data):
        with open_shard(path) as shard:
            about = json.loads(shard["about"].asstr()[0])
            if preset_of(about) not in EMPTY_PRESETS or preset_of(about) == "soot":
                continue
            doses = [json.loads(text)["conditions"]["dose_e_per_A2"] for text in shard["about"].asstr()[:]]
            clean = list(np.argsort(doses)[::-1][:12])
            frames += [shard["images"][int(i)].astype(np.float32) for i in clean]
        if len(frames) >= most:
            break
    return frames[:most] or [np.ones((256, 256), np.float32)]


def _crop(frame: Image, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float16]:
    """(96, 96) about the region's middle, mirrored beyond the frame."""
    rows, cols = np.nonzero(mask)
    half = SIDE // 2
    padded = np.pad(frame, half, mode="symmetric")
    r, c = round(float(rows.mean())), round(float(cols.mean()))
    return np.clip(padded[r : r + SIDE, c : c + SIDE], -12, 12).astype(np.float16)


def _box(image: Image, mask: npt.NDArray[np.bool_]) -> Image:
    rows, cols = np.nonzero(mask)
    return image[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
