"""The random forest's two forms: scikit-learn (kept as skops, for refitting) and ONNX (for speed)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

#: What a skops file of ours may hold; nothing else is ever constructed.
TRUSTED = ("numpy.dtype", "sklearn.tree._tree.Tree")


def new_forest(trees: int, seed: int) -> RandomForestClassifier:
    """An untrained forest; its classes are indices into `models.results.CLASSES`."""
    return RandomForestClassifier(
        n_estimators=trees,
        min_samples_leaf=3,
        max_features=0.3,
        class_weight="balanced_subsample",
        random_state=seed,
        n_jobs=1,
    )


def save_forest(forest: RandomForestClassifier, folder: Path) -> None:
    """Write `forest.skops` and `forest.onnx`."""
    import skops.io
    from skl2onnx import to_onnx

    skops.io.dump(forest, folder / "forest.skops", compression=8)
    model = to_onnx(
        forest,
        np.zeros((1, forest.n_features_in_), np.float32),
        options={id(forest): {"zipmap": False}},
        target_opset=17,
    )
    (folder / "forest.onnx").write_bytes(model.SerializeToString())


def load_forest(path: Path) -> RandomForestClassifier:
    """The scikit-learn form, from a skops file that holds nothing but a forest.

    Raises
    ------
    BundleRefused
        It holds something else.
    """
    import skops.io

    from models.errors import BundleRefused

    unknown = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED)
    if unknown:
        raise BundleRefused(f"{path} holds more than a forest: {', '.join(sorted(unknown))}")
    forest = skops.io.load(path, trusted=list(TRUSTED))
    if not isinstance(forest, RandomForestClassifier):
        raise BundleRefused(f"{path} holds a {type(forest).__name__}, not a forest")
    return forest


def sharpened(probabilities: npt.NDArray[Any], exponent: float) -> npt.NDArray[Any]:
    """p^γ, summing to 1 again: a forest's averaged votes are too cautious, and one exponent for all mends it.

    γ is fitted on out-of-fold probabilities (`models.training.forest`), as a temperature is (Guo et al. 2017, ICML).
    """
    powered = np.power(probabilities, exponent)
    return np.asarray(powered / powered.sum(axis=1, keepdims=True))


def as_rows(values: list[dict[str, float]], names: list[str]) -> npt.NDArray[np.float32]:
    """Feature rows (P, F) in the forest's order; what is not finite becomes 0."""
    rows = np.array([[v[name] for name in names] for v in values], dtype=np.float32).reshape(
        len(values), len(names)
    )
    return np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
