"""What names the classes, in scikit-learn: a new forest, or a new boosting, and its two files (skops for refitting and
explaining, ONNX for judging)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from models.boosting import baseline, trees_of
from models.results import CLASSES

if TYPE_CHECKING:
    from models.forest import Classifier

NULL_WEIGHS = 2.0
"""A `null` region weighs so much against one of another class, unless a bundle says otherwise: most particles of a
session are `null`, so that each that is called `yes` or `no` costs the fraction more than a `yes` or `no` that is
called `null`."""
EMPTY_WEIGHS = 1.0
"""The same of an `empty` region."""
FOREST, BOOSTING = "forest", "boosting"
"""What may name the classes: a random forest, the published method's, or gradient boosting."""
TREES, ROUNDS = 100, 150
"""Trees of a forest; rounds of boosting, each with a tree for each class."""


def new_forest(
    trees: int, seed: int, null_weighs: float = NULL_WEIGHS, empty_weighs: float = EMPTY_WEIGHS
) -> RandomForestClassifier:
    """An untrained forest; its classes are indices into `models.results.CLASSES`."""
    return RandomForestClassifier(
        n_estimators=trees,
        min_samples_leaf=3,
        max_features=0.3,
        class_weight=_weights(null_weighs, empty_weighs),
        random_state=seed,
        n_jobs=1,
    )


def new_boosting(
    rounds: int, seed: int, null_weighs: float = NULL_WEIGHS, empty_weighs: float = EMPTY_WEIGHS
) -> HistGradientBoostingClassifier:
    """Untrained gradient boosting, with the forest's classes and weights."""
    return HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=0.05,
        max_leaf_nodes=15,
        max_features=0.5,
        l2_regularization=1.0,
        early_stopping=False,
        class_weight=_weights(null_weighs, empty_weighs),
        random_state=seed,
    )


@dataclass(frozen=True)
class Grower:
    """What is grown, before its classes have their weights."""

    kind: str = FOREST
    """`FOREST` or `BOOSTING`."""
    size: int | None = None
    """Trees of a forest (100), rounds of boosting (150)."""
    seed: int = 1

    @classmethod
    def of(cls, told: dict[str, Any]) -> Grower:
        """That of a bundle's manifest (its `forest`)."""
        return cls(str(told.get("kind", FOREST)), int(told["trees"]), int(told["seed"]))

    @property
    def trees(self) -> int:
        """How many trees of a forest, or rounds of boosting."""
        return self.size or (ROUNDS if self.kind == BOOSTING else TREES)

    def smaller(self, trees: int) -> Grower:
        """For trials: a forest of fewer trees. What boosting says depends on its rounds, so it stays as it is."""
        return self if self.kind == BOOSTING else replace(self, size=min(self.trees, trees))

    def new(self, null_weighs: float = NULL_WEIGHS, empty_weighs: float = EMPTY_WEIGHS) -> Classifier:
        """Untrained."""
        new = new_boosting if self.kind == BOOSTING else new_forest
        return new(self.trees, self.seed, null_weighs, empty_weighs)

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {"kind": self.kind, "trees": self.trees, "seed": self.seed}


def _weights(null_weighs: float, empty_weighs: float) -> dict[int, float]:
    weighs = {"null": null_weighs, "empty": empty_weighs}
    return {i: weighs.get(name, 1.0) for i, name in enumerate(CLASSES)}


A_FOREST = Grower()
"""The published method's, of the usual size."""


def save_forest(forest: Classifier, folder: Path) -> None:
    """Write `forest.skops` and `forest.onnx`, of a forest or of the boosting in its place."""
    skops.io.dump(forest, folder / "forest.skops", compression=8)
    if isinstance(forest, HistGradientBoostingClassifier):
        (folder / "forest.onnx").write_bytes(_boosting_as_onnx(forest))
        return
    from skl2onnx import to_onnx

    model = to_onnx(
        forest,
        np.zeros((1, forest.n_features_in_), np.float32),
        options={id(forest): {"zipmap": False}},
        target_opset=17,
    )
    (folder / "forest.onnx").write_bytes(model.SerializeToString())


def _boosting_as_onnx(boosting: HistGradientBoostingClassifier) -> bytes:
    """Its trees as one operator, with the inputs and outputs of a forest's file: skl2onnx 1.20 writes numbers for it
    that ONNX does not take."""
    from onnx import TensorProto, helper

    nodes: dict[str, Any] = {}

    def add(name: str, values: list[Any]) -> None:
        nodes.setdefault(name, []).extend(values)

    for number, (own, tree) in enumerate(trees_of(boosting)):
        count, leaf = len(tree), tree["is_leaf"].astype(bool)
        add("nodes_treeids", [number] * count)
        add("nodes_nodeids", list(range(count)))
        add("nodes_featureids", np.where(leaf, 0, tree["feature_idx"]).tolist())
        add("nodes_values", _not_above(np.where(leaf, 0.0, tree["num_threshold"])).tolist())
        add("nodes_modes", np.where(leaf, "LEAF", "BRANCH_LEQ").tolist())
        add("nodes_truenodeids", np.where(leaf, 0, tree["left"]).tolist())
        add("nodes_falsenodeids", np.where(leaf, 0, tree["right"]).tolist())
        leaves = np.flatnonzero(leaf)
        add("class_treeids", [number] * len(leaves))
        add("class_nodeids", leaves.tolist())
        add("class_ids", [own] * len(leaves))
        add("class_weights", tree["value"][leaves].tolist())
    operator = helper.make_node(
        "TreeEnsembleClassifier",
        ["features"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        base_values=baseline(boosting).tolist(),
        classlabels_int64s=list(range(len(CLASSES))),
        post_transform="SOFTMAX",
        **nodes,
    )
    graph = helper.make_graph(
        [operator],
        "boosting",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, boosting.n_features_in_])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(CLASSES)]),
        ],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=versions, ir_version=8).SerializeToString())


def _not_above(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The largest single-precision numbers that are not above: x ≤ t stays the same for every x in single precision."""
    near = thresholds.astype(np.float32)
    lower = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > thresholds, lower, near)
