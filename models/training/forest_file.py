"""The scikit-learn forest: a new one, and its two files (skops for refitting and explaining, ONNX for judging)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skops.io
from sklearn.ensemble import RandomForestClassifier

from models.results import CLASSES

NULL_WEIGHS = 2.0
"""A `null` region weighs so much against one of another class, unless a bundle says otherwise: most particles of a
session are `null`, so that each that is called `yes` or `no` costs the fraction more than a `yes` or `no` that is
called `null`."""
EMPTY_WEIGHS = 1.0
"""The same of an `empty` region."""


def new_forest(
    trees: int, seed: int, null_weighs: float = NULL_WEIGHS, empty_weighs: float = EMPTY_WEIGHS
) -> RandomForestClassifier:
    """An untrained forest; its classes are indices into `models.results.CLASSES`."""
    weighs = {"null": null_weighs, "empty": empty_weighs}
    return RandomForestClassifier(
        n_estimators=trees,
        min_samples_leaf=3,
        max_features=0.3,
        class_weight={i: weighs.get(name, 1.0) for i, name in enumerate(CLASSES)},
        random_state=seed,
        n_jobs=1,
    )


def save_forest(forest: RandomForestClassifier, folder: Path) -> None:
    """Write `forest.skops` and `forest.onnx`."""
    from skl2onnx import to_onnx

    skops.io.dump(forest, folder / "forest.skops", compression=8)
    model = to_onnx(
        forest,
        np.zeros((1, forest.n_features_in_), np.float32),
        options={id(forest): {"zipmap": False}},
        target_opset=17,
    )
    (folder / "forest.onnx").write_bytes(model.SerializeToString())
