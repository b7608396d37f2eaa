"""Train the forest on regions as the network finds them, score it on specimens never seen, and write the bundle.

Every split is by specimen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import INT8, describe, file_hash, load_bundle, onnx_network
from models.errors import BundleRefused, ModelError
from models.evaluation.class_scores import (
    ABSTAIN_BELOW,
    abstention,
    best_sharpening,
    confusion,
    rates,
    rates_by_condition,
    scores,
    strata_of,
)
from models.examples.collecting import Source, collect
from models.examples.rows import NEGATIVE, UNSCORED, Finder, Rows, joined, load_rows, rows_file, save_rows
from models.examples.shards import shards_of
from models.forest import importances, sharpened, votes_of
from models.preprocess import Preprocessing
from models.results import CLASSES
from models.segment import Calibration, Segmentation
from models.training.derive import derive, training_of, write_manifest
from models.training.export import export_unet
from models.training.forest_file import A_FOREST, EMPTY_WEIGHS, NULL_WEIGHS, Grower, save_forest
from models.training.refit import CORRECTED
from models.training.weights import empty_weight, null_weight
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


def cross_validate(
    rows: Rows,
    grower: Grower,
    null_weighs: float = NULL_WEIGHS,
    empty_weighs: float = EMPTY_WEIGHS,
) -> npt.NDArray[np.float64]:
    """Out-of-fold probabilities (R, 4); no specimen stands on both sides of a fold."""
    out = np.zeros((len(rows.classes), len(CLASSES)))
    for learn, check in _folds(rows, grower.seed):
        forest = grower.new(null_weighs, empty_weighs)
        forest.fit(rows.features[learn], rows.classes[learn])
        out[check] = votes_of(forest, rows.features[check])
    return out


def train(
    data: Sequence[Path],
    unet: Path,
    out: Path,
    *,
    name: str,
    grower: Grower = A_FOREST,
    processes: int = 1,
    draws: int = 8,
    keep: Path | None = None,
    negatives: int = 60,
) -> dict[str, Any]:
    """Train the forest on the regions of a trained network and write the bundle; returns its manifest.

    The network is calibrated first, on the validation split (`models.training.calibrate`): outlines follow from that.

    Parameters
    ----------
    data : labelled data sets; the first has all three splits, and calibrates.
    unet : folder left by `models.training.unet.train`, or a bundle, whose network is kept.
    out : the bundle's folder; made anew.
    keep : folder for what is collected from each shard (`models.examples.collecting`).
    negatives : frames that hold nothing, of each kind.

    Raises
    ------
    ModelError
        No network in `unet`, no usable data set, or a class without any example in it.
    """
    training = training_of(unet)
    out.mkdir(parents=True, exist_ok=True)
    export_unet(unet / "unet.safetensors", architecture_of(training), out)
    finder = calibrated_finder(out / "unet.onnx", Preprocessing(**training["preprocessing"]), data[0])
    rows = collect(Source(tuple(data), finder, draws, grower.seed, keep, negatives), processes=processes)
    details = {
        "licence": "GPL-3.0-or-later",
        "unet": {"architecture": architecture_of(training).as_dict(), "training": training},
        "preprocessing": finder.preprocessing.as_dict(),
        "calibration": finder.calibration.as_dict(),
        "segmentation": finder.segmentation.as_dict(),
        **grow(rows, out, grower),
    }
    keep_rows(rows, out)
    write_manifest(out, name, details)
    return details


def regrow(
    bundle: Path,
    data: Sequence[Path],
    out: Path,
    *,
    name: str,
    grower: Grower = A_FOREST,
    processes: int = 1,
    draws: int = 8,
    keep: Path | None = None,
    negatives: int = 60,
) -> dict[str, Any]:
    """A bundle with a new forest, grown on the regions of its own network as it judges; returns its manifest.

    Everything of the network stays as it is: its files, calibration, outlines and the reference of likeness.

    Parameters
    ----------
    data : labelled data sets with all three splits between them; none: the rows that the bundle's training kept
        beside it. They hold no unscored particles, so that the confusion matrix has none. Frames that hold nothing are
        made anew in either case.
    bundle, out, name, keep, negatives : as in `train`.

    Raises
    ------
    BundleRefused, ModelError
        No such bundle, something is at `out` already, no rows or those of an operator's corrections beside it, or the
        data set lacks an example of a class.
    """
    parent, details = describe(bundle)
    if out.exists():
        raise BundleRefused(f"{out} is there already; a bundle is never overwritten")
    kept = None if data else rows_beside(bundle)
    rows = collect(
        Source(tuple(data), finder_of(bundle), draws, grower.seed, keep, negatives), processes=processes
    )
    if kept is not None:
        rows = joined([kept.of(~np.char.startswith(kept.specimen, NEGATIVE)), rows])
    with TemporaryDirectory() as working:
        figures = grow(rows, Path(working), grower)
        figures["metrics"]["backends"] = details["metrics"].get("backends", {})
        told = {"made_by": "growing the forest anew", "parent": parent, **_made_of(bundle, data)}
        derive(bundle, out, forest=Path(working), figures=figures, provenance=told, name=name)
    keep_rows(rows, out)
    return describe(out)[1]


def rows_beside(bundle: Path) -> Rows:
    """The rows that a bundle's training kept beside it, of all splits.

    Raises
    ------
    BundleRefused
        There are none, or some are an operator's corrections, which weigh more than others.
    """
    path = rows_file(bundle)
    if not path.is_file():
        raise BundleRefused(
            f"{path} is not there; give the data set on whose regions the forest shall be grown"
        )
    rows = joined(load_rows(path))
    if np.char.startswith(rows.specimen, CORRECTED).any():
        raise BundleRefused(f"{path} holds corrections: refit {bundle.name} with them (--corrections)")
    return rows


def _made_of(bundle: Path, data: Sequence[Path]) -> dict[str, Any]:
    """What a manifest says of the rows that a forest learnt from: shards by preset, or the hash of the kept ones."""
    if not data:
        return {"rows": file_hash(rows_file(bundle))}
    shards = [path.name.rsplit("-", 1)[0] for folder in data for path in shards_of(folder)]
    return {"shards": {preset: shards.count(preset) for preset in sorted(set(shards))}}


def finder_of(bundle: Path) -> Finder:
    """The network of a bundle, in the form in which it judges on a processor.

    Raises
    ------
    BundleRefused
        No such bundle.
    """
    loaded = load_bundle(bundle, "cpu")
    network = INT8 if loaded.backend == "onnx-int8" else "unet.onnx"
    return Finder(bundle / network, loaded.preprocessing, loaded.calibration, loaded.segmentation)


def keep_rows(rows: Rows, bundle: Path) -> None:
    """Keep the scored rows beside a bundle, for refitting."""
    scored = rows.classes != UNSCORED
    learnt = rows.split == "train"
    save_rows(rows_file(bundle), rows.of(scored & learnt), rows.of(scored & ~learnt))


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


def grow(rows: Rows, out: Path, grower: Grower) -> dict[str, Any]:
    """Grow the forest, or the boosting in its place, into `out` and score it; returns what a manifest says of it.

    It learns from the training specimens. What a `null` and an `empty` region weigh is chosen on the validation
    specimens, the sharpening on votes of forests without a region's specimen; the scores are of validation and test
    specimens.

    Parameters
    ----------
    rows : of all splits, `UNSCORED` ones among them, which are in the confusion matrix alone.

    Raises
    ------
    ModelError
        A class without any example.
    """
    scored, learnt = rows.classes != UNSCORED, rows.split == "train"
    learn, check, every = rows.of(scored & learnt), rows.of(scored & ~learnt), rows.of(~learnt)
    missing = [name for i, name in enumerate(CLASSES) if not (learn.classes == i).any()]
    if missing:
        raise ModelError(f"the data set has no example of {', '.join(missing)}; simulate more specimens")
    validation = rows.of(scored & (rows.split == "validation"))
    null_weighs, leaks = null_weight(learn, validation, grower)
    empty_weighs, lost = empty_weight(learn, validation, grower, null_weighs)
    votes = cross_validate(learn, grower, null_weighs, empty_weighs)
    sharpening = best_sharpening(learn.classes[learn.marked], votes[learn.marked], null_weighs)
    folds = sharpened(votes, sharpening)
    forest = grower.new(null_weighs, empty_weighs).fit(learn.features, learn.classes)
    save_forest(forest, out)
    probabilities = sharpened(forest.predict_proba(check.features), sharpening)
    importance = dict(zip(learn.names, importances(forest).tolist(), strict=True))
    return {
        "features": learn.names,
        "abstain_below": ABSTAIN_BELOW,
        "sharpening": sharpening,
        "forest": {
            **grower.as_dict(),
            "null_weighs": null_weighs,
            "null_leaks_on_validation": leaks,
            "empty_weighs": empty_weighs,
            "particles_lost_on_validation": lost,
            "regions": len(learn.classes),
            "importance": importance,
        },
        "confusion": confusion(every, sharpened(forest.predict_proba(every.features), sharpening)),
        "rates": rates(check, probabilities),
        "rates_by_condition": rates_by_condition(check, probabilities),
        "metrics": {
            "cross_validation": scores(learn.classes, folds)
            | {"fold_macro_f1": fold_macro_f1(learn, folds, grower.seed)},
            "abstention": abstention(learn.classes, folds),
            "held_out": scores(check.classes, probabilities),
            "held_out_by": _scores_by(check, probabilities),
        },
    }


def _scores_by(rows: Rows, probabilities: npt.NDArray[np.floating]) -> dict[str, dict[str, Any]]:
    """{condition: {stratum: `scores`}} over `strata_of`."""
    strata: dict[str, dict[str, Any]] = {}
    for what, name, here in strata_of(rows):
        strata.setdefault(what, {})[name] = scores(rows.classes[here], probabilities[here])
    return strata
