"""Train the forest on regions as the network finds them, score it on specimens never seen, and write the bundle.

Every split is by specimen.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import onnx_network
from models.errors import ModelError
from models.evaluation.class_scores import (
    ABSTAIN_BELOW,
    abstention,
    best_sharpening,
    confusion,
    rates,
    rates_by_condition,
    scores,
)
from models.examples.rows import UNSCORED, Finder, Rows, collect, rows_file, save_rows
from models.forest import sharpened
from models.preprocess import Preprocessing
from models.results import CLASSES
from models.segment import Calibration, Segmentation
from models.training.derive import write_manifest
from models.training.export import export_unet
from models.training.forest_file import new_forest, save_forest
from models.unet import architecture_of

REFITS = 5
"""Folds of the cross-validation."""


def fold_macro_f1(rows: Rows, probabilities: npt.NDArray[np.floating], seed: int) -> list[float]:
    """Macro-F1 of every fold of `cross_validate` by itself."""
    return [
        float(scores(rows.classes[check], probabilities[check])["macro_f1"])
        for _, check in _folds(rows, seed)
    ]


def _folds(rows: Rows, seed: int) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(learn, check) rows, no specimen on both sides."""
    from sklearn.model_selection import GroupKFold

    splitter = GroupKFold(REFITS, shuffle=True, random_state=seed)
    return list(splitter.split(rows.features, groups=rows.specimen))


def cross_validate(rows: Rows, trees: int, seed: int) -> npt.NDArray[np.float64]:
    """Out-of-fold probabilities (R, 4); no specimen stands on both sides of a fold."""
    out = np.zeros((len(rows.classes), len(CLASSES)))
    for learn, check in _folds(rows, seed):
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

    The network is calibrated first, on the validation split (`models.training.calibrate`): outlines follow from that.

    Parameters
    ----------
    data : labelled data set with all three splits.
    unet : folder left by `models.training.unet.train`, or a bundle, whose network is kept.
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
    collected = partial(collect, data, finder, draws=draws, seed=seed, processes=processes)
    learn, every = collected(["train"]), collected(["validation", "test"], unscored=True)
    save_rows(rows_file(out), learn, every.of(every.classes != UNSCORED))
    return fit(learn, every, training, finder, out, name=name, trees=trees, seed=seed)


def calibrated_finder(onnx: Path, preprocessing: Preprocessing, data: Path, most: int = 600) -> Finder:
    """A network calibrated on the validation split of a data set, marking from where Dice is largest there."""
    from models.evaluation.judge import Judge, choose
    from models.examples.shards import examples_by_split
    from models.training.calibrate import fit as calibrate

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
    every: Rows,
    training: dict[str, Any],
    finder: Finder,
    out: Path,
    *,
    name: str,
    trees: int,
    seed: int,
) -> dict[str, Any]:
    """Fit the forest, score it and complete the bundle in `out`.

    Parameters
    ----------
    learn : rows to learn from.
    every : rows to score it on, `UNSCORED` ones among them, which are in the confusion matrix alone.
    """
    missing = [name for i, name in enumerate(CLASSES) if not (learn.classes == i).any()]
    if missing:
        raise ModelError(f"the data set has no example of {', '.join(missing)}; simulate more specimens")
    votes = cross_validate(learn, trees, seed)
    sharpening = best_sharpening(learn.classes, votes)
    folds = sharpened(votes, sharpening)
    forest = new_forest(trees, seed).fit(learn.features, learn.classes)
    save_forest(forest, out)
    check = every.of(every.classes != UNSCORED)
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
        "confusion": confusion(every, sharpened(forest.predict_proba(every.features), sharpening)),
        "rates": rates(check, probabilities),
        "rates_by_condition": rates_by_condition(check, probabilities),
        "metrics": {
            "cross_validation": scores(learn.classes, folds)
            | {"fold_macro_f1": fold_macro_f1(learn, folds, seed)},
            "abstention": abstention(learn.classes, folds),
            "held_out": scores(check.classes, probabilities),
            "held_out_by_dose": by_dose,
        },
    }
    write_manifest(out, name, details)
    return details
