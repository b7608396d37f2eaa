"""Train the forest on regions as the network finds them, score it on specimens never seen, and write the bundle.

Regions come from the network with its errors. A region takes the class of the true particle that it covers; one that
covers none is `empty`, and so are patches of bare background, cut like any other region. Particles that the truth
does not score, and regions that the image's border cuts, are left out. Every split is by specimen.
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

from models.augment import NEGATIVES
from models.bundle import onnx_network, write_manifest
from models.errors import ModelError
from models.export import export_unet
from models.features import measure
from models.forest import as_rows, new_forest, save_forest, sharpened
from models.preprocess import Preprocessing, standardise
from models.results import CLASSES
from models.segment import Calibration, Image, Network, Segmentation, calibrated, probability_maps, regions
from models.shards import open_shard, shards_of
from models.unet import architecture_of

COVERS = 0.5
"""A region stands for a true particle if their intersection over union is at least this."""
TOUCHES = 0.1
"""A region of which a smaller share lies on true particles is `empty`."""
ABSTAIN_BELOW = 0.6
"""A particle whose likeliest class has a lower probability is marked as abstained."""
REFITS = 5
"""Folds of the cross-validation."""


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

    def regions(self, image: Image, network: Network) -> npt.NDArray[np.int32]:
        """(H, W) standardised image → (H, W) regions."""
        return regions(probability_maps(image, network), self.preprocessing.pixel_size_nm, self.segmentation)


@dataclass(frozen=True)
class Rows:
    """Feature rows with their truth, one a region."""

    features: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    """(R,) index into `CLASSES`."""
    particle: npt.NDArray[np.str_]
    """(R,) specimen and label: the same physical particle in several images."""
    specimen: npt.NDArray[np.str_]
    dose: npt.NDArray[np.float64]
    """(R,) [e⁻/Å²]."""
    microscope: npt.NDArray[np.str_]
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
            self.names,
        )


def truth_of_regions(
    found: npt.NDArray[np.int32], truth: npt.NDArray[np.uint8], particles: Sequence[dict[str, Any]]
) -> Iterator[tuple[int, str, int]]:
    """(region, class, true label) of every region of (h, w) that can be scored; label 0 for `empty`."""
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
        if particle and particle["whole"] and particle["class"] and overlap[label] >= COVERS * union:
            yield region, str(particle["class"]), label


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


def _rows_of_shard(
    task: tuple[Path, Finder, list[str], int, int],
) -> list[tuple[dict[str, float], str, str, str, float, str]]:
    """Every scored region of one shard's chosen images: (features, class, particle, specimen, dose, microscope)."""
    cv2.setNumThreads(1)
    shard_path, finder, splits, draws, seed = task
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
            found = finder.regions(image, network)
            rng = np.random.default_rng([seed, i])
            scored = list(truth_of_regions(found, truth, about["particles"]))
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
                    )
                )
    return out


def _rows_of_negatives(
    finder: Finder, count: int, seed: int
) -> list[tuple[dict[str, float], str, str, str, float, str]]:
    """False regions that the network finds on frames that hold nothing."""
    network, preprocessing = finder.network(), finder.preprocessing
    out = []
    for kind, make in NEGATIVES.items():
        for n in range(count):
            rng = np.random.default_rng([seed, n, list(NEGATIVES).index(kind)])
            image = standardise(make(256, rng), preprocessing)
            found = finder.regions(image, network)
            for region, measured in enumerate(measure(image, found, preprocessing.pixel_size_nm)):
                name = f"negative-{kind}-{seed}-{n}"
                out.append((measured.values, "empty", f"{name}/{region}", name, 0.0, "none"))
    return out


def collect(
    data: Path, finder: Finder, splits: Sequence[str], *, draws: int = 8, seed: int = 1, processes: int = 1
) -> Rows:
    """Rows of all scored regions of the given splits, with a progress bar."""
    from tqdm import tqdm

    tasks = [(shard, finder, list(splits), draws, seed) for shard in shards_of(data)]
    raw = _rows_of_negatives(finder, 30, seed if "train" in splits else seed + 1)
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
        np.array([CLASSES.index(r[1]) for r in raw]),
        np.array([r[2] for r in raw]),
        np.array([r[3] for r in raw]),
        np.array([r[4] for r in raw]),
        np.array([r[5] for r in raw]),
        names,
    )


def scores(truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.floating]) -> dict[str, Any]:
    """Macro-F1, precision, recall and F1 of every class, confusion matrix (rows: truth), expected calibration error."""
    called = probabilities.argmax(axis=1)
    matrix = np.zeros((4, 4), int)
    np.add.at(matrix, (truth, called), 1)
    hit = np.diag(matrix).astype(float)
    recall = hit / np.maximum(matrix.sum(axis=1), 1)
    precision = hit / np.maximum(matrix.sum(axis=0), 1)
    f1 = 2 * hit / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1), 1)
    return {
        "regions": len(truth),
        "macro_f1": float(f1.mean()),
        "accuracy": float(hit.sum() / max(1, matrix.sum())),
        "recall": dict(zip(CLASSES, recall.tolist(), strict=True)),
        "precision": dict(zip(CLASSES, precision.tolist(), strict=True)),
        "f1": dict(zip(CLASSES, f1.tolist(), strict=True)),
        "confusion": matrix.tolist(),
        "calibration_error": calibration_error(truth, probabilities),
    }


def calibration_error(
    truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.floating], bins: int = 10
) -> float:
    """Expected calibration error of the likeliest class: |share right - mean probability|, weighted over the bins."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    total = 0.0
    for b in range(bins):
        here = which == b
        if here.any():
            total += here.mean() * abs(float(right[here].mean()) - float(confidence[here].mean()))
    return float(total)


def best_sharpening(truth: npt.NDArray[np.int64], votes: npt.NDArray[np.floating]) -> float:
    """The exponent of `models.forest.sharpened` with the least calibration error, to a tenth."""
    exponents = np.arange(10, 31) / 10
    return float(min(exponents, key=lambda g: calibration_error(truth, sharpened(votes, g))))


def abstention(truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.floating]) -> dict[str, float]:
    """What abstaining below `ABSTAIN_BELOW` buys: share abstained, accuracy of what is left and of what is not."""
    kept = probabilities.max(axis=1) >= ABSTAIN_BELOW
    right = probabilities.argmax(axis=1) == truth
    return {
        "below": ABSTAIN_BELOW,
        "share": float(1 - kept.mean()),
        "accuracy_kept": float(right[kept].mean()) if kept.any() else 0.0,
        "accuracy_abstained": float(right[~kept].mean()) if (~kept).any() else 0.0,
    }


def rates(rows: Rows, probabilities: npt.NDArray[np.floating]) -> dict[str, list[int]]:
    """Sensitivity and specificity as [k, n] over physical particles, of those called `yes` or `no`.

    The images of one particle are not independent: each particle counts once, by the share of its images that were
    called rightly, so that n is the number of particles and the uncertainty is that of specimens.
    """
    called = probabilities.argmax(axis=1)
    yes, no = CLASSES.index("yes"), CLASSES.index("no")
    result = {}
    for name, true_class in (("sensitivity", yes), ("specificity", no)):
        chosen = (rows.classes == true_class) & np.isin(called, [yes, no])
        particles, inverse = np.unique(rows.particle[chosen], return_inverse=True)
        right = np.bincount(inverse, called[chosen] == true_class, len(particles))
        share = right / np.maximum(np.bincount(inverse, minlength=len(particles)), 1)
        result[name] = [round(float(share.sum())), len(particles)]
    return result


def cross_validate(rows: Rows, trees: int, seed: int) -> npt.NDArray[np.float64]:
    """Out-of-fold probabilities (R, 4); no specimen stands on both sides of a fold."""
    from sklearn.model_selection import GroupKFold

    out = np.zeros((len(rows.classes), len(CLASSES)))
    for learn, check in GroupKFold(REFITS, shuffle=True, random_state=seed).split(
        rows.features, groups=rows.specimen
    ):
        forest = new_forest(trees, seed).fit(rows.features[learn], rows.classes[learn])
        out[np.ix_(check, forest.classes_)] = forest.predict_proba(rows.features[check])
    return out


def train(
    data: Path,
    unet: Path,
    out: Path,
    *,
    name: str,
    trees: int = 100,
    seed: int = 1,
    processes: int = 1,
    draws: int = 8,
) -> dict[str, Any]:
    """Train the forest on the regions of a trained network and write the bundle; returns its manifest.

    The network is calibrated first, on the validation split (`models.calibrate`): outlines follow from that.

    Parameters
    ----------
    data : labelled data set with all three splits.
    unet : folder left by `models.train_unet.train`, or a bundle, whose network is kept.
    out : the bundle's folder; made anew.

    Raises
    ------
    ModelError
        No network in `unet`, no usable data set, or a class without any example in it.
    """
    training = _training_of(unet)
    out.mkdir(parents=True, exist_ok=True)
    export_unet(unet / "unet.safetensors", architecture_of(training), out)
    finder = calibrated_finder(out / "unet.onnx", Preprocessing(**training["preprocessing"]), data)
    learn, check = (
        collect(data, finder, splits, draws=draws, seed=seed, processes=processes)
        for splits in (["train"], ["validation", "test"])
    )
    save_rows(rows_file(out), learn, check)
    return fit(learn, check, training, finder, out, name=name, trees=trees, seed=seed)


def calibrated_finder(onnx: Path, preprocessing: Preprocessing, data: Path, most: int = 600) -> Finder:
    """A network calibrated on the validation split of a data set, marking from where Dice is largest there."""
    from models.calibrate import fit as calibrate
    from models.judge import Judge, choose
    from models.shards import examples_by_split

    check = examples_by_split(data, ["validation"])
    plain = Segmentation()
    try:
        found = calibrate(Judge(onnx_network(onnx), preprocessing, plain), check, choose(check, most, 0))
    except ModelError:  # a data set too small, or a network too young, to tell
        return Finder(onnx, preprocessing, Calibration(), plain)
    return Finder(onnx, preprocessing, found.calibration, replace(plain, threshold=found.threshold))


def _training_of(unet: Path) -> dict[str, Any]:
    """What is known of how the network in a folder was trained."""
    for name in ("training.json", "bundle.json"):
        if (unet / name).is_file():
            details: dict[str, Any] = json.loads((unet / name).read_text())
            return details if name == "training.json" else details["unet"]["training"]
    raise ModelError(f"{unet} holds no trained network; make one with: faultwatch train unet --out {unet}")


def fit(
    learn: Rows,
    check: Rows,
    training: dict[str, Any],
    finder: Finder,
    out: Path,
    *,
    name: str,
    trees: int,
    seed: int,
) -> dict[str, Any]:
    """Fit the forest, score it on `check` and complete the bundle in `out`."""
    missing = [name for i, name in enumerate(CLASSES) if not (learn.classes == i).any()]
    if missing:
        raise ModelError(f"the data set has no example of {', '.join(missing)}; simulate more specimens")
    votes = cross_validate(learn, trees, seed)
    sharpening = best_sharpening(learn.classes, votes)
    folds = sharpened(votes, sharpening)
    forest = new_forest(trees, seed).fit(learn.features, learn.classes)
    save_forest(forest, out)
    probabilities = sharpened(forest.predict_proba(check.features), sharpening)
    by_dose = {}
    for low, high in ((30, 100), (100, 300), (300, 1500)):
        here = (check.dose >= low) & (check.dose < high)
        if here.sum() >= 20:
            by_dose[f"{low}-{high} e/Å²"] = scores(check.classes[here], probabilities[here])
    importance = dict(zip(learn.names, forest.feature_importances_.tolist(), strict=True))
    details = {
        "licence": "GPL-3.0-or-later",
        "unet": {"architecture": architecture_of(training).as_dict(), "training": training},
        "preprocessing": finder.preprocessing.as_dict(),
        "calibration": finder.calibration.as_dict(),
        "segmentation": finder.segmentation.as_dict(),
        "features": learn.names,
        "abstain_below": ABSTAIN_BELOW,
        "sharpening": sharpening,
        "forest": {"trees": trees, "seed": seed, "regions": len(learn.classes), "importance": importance},
        "rates": rates(check, probabilities),
        "metrics": {
            "cross_validation": scores(learn.classes, folds),
            "abstention": abstention(learn.classes, folds),
            "held_out": scores(check.classes, probabilities),
            "held_out_by_dose": by_dose,
        },
    }
    write_manifest(out, name, details)
    return details


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
