"""What names the classes, in scikit-learn: a new forest, or a new boosting, and its two files (skops for refitting and
explaining, ONNX for judging)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


@dataclass(frozen=True)
class _Tree:
    """One tree of N nodes, the first its root: a row goes left where its feature is at most the threshold."""

    leaf: npt.NDArray[np.bool_]
    feature: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float64]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    """(N, classes) what a leaf adds for each class; of other nodes 0."""


def save_forest(forest: Classifier, folder: Path) -> None:
    """Write `forest.skops` and `forest.onnx`, of a forest or of the boosting in its place."""
    skops.io.dump(forest, folder / "forest.skops", compression=8)
    if isinstance(forest, HistGradientBoostingClassifier):
        how: dict[str, Any] = {"base_values": baseline(forest).tolist(), "post_transform": "SOFTMAX"}
        written = _as_onnx(_trees_of_boosting(forest), range(len(CLASSES)), forest.n_features_in_, how)
    else:
        written = _as_onnx(_trees_of_forest(forest), forest.classes_, forest.n_features_in_, {})
    (folder / "forest.onnx").write_bytes(written)


def _trees_of_forest(forest: RandomForestClassifier) -> Iterator[_Tree]:
    """A leaf's weights are its classes' shares over the number of trees, so that their sum is the forest's mean."""
    for one in forest.estimators_:
        tree = one.tree_
        leaf = tree.children_left < 0
        shares = tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True)
        weights = np.where(leaf[:, None], shares / len(forest.estimators_), 0.0)
        yield _Tree(leaf, tree.feature, tree.threshold, tree.children_left, tree.children_right, weights)


def _trees_of_boosting(boosting: HistGradientBoostingClassifier) -> Iterator[_Tree]:
    """A leaf has one weight, for the class that its tree is of."""
    for own, nodes in trees_of(boosting):
        leaf = nodes["is_leaf"].astype(bool)
        weights = np.zeros((len(nodes), len(CLASSES)))
        weights[leaf, own] = nodes["value"][leaf]
        yield _Tree(
            leaf, nodes["feature_idx"], nodes["num_threshold"], nodes["left"], nodes["right"], weights
        )


def _as_onnx(trees: Iterable[_Tree], classes: Iterable[int], features: int, how: dict[str, Any]) -> bytes:
    """Trees as one operator with nothing in it that says nothing: weights of 0 and the operator's own defaults, which
    are more than a third of what a converter writes.

    Parameters
    ----------
    classes : of the columns of weights.
    how : more attributes of the operator.
    """
    from onnx import TensorProto, helper

    nodes: dict[str, Any] = {}

    def add(name: str, values: npt.NDArray[Any]) -> None:
        nodes.setdefault(name, []).extend(values.tolist())

    for number, tree in enumerate(trees):
        own = np.full(len(tree.leaf), number)
        add("nodes_treeids", own)
        add("nodes_nodeids", np.arange(len(own)))
        add("nodes_featureids", np.where(tree.leaf, 0, tree.feature))
        add("nodes_values", _not_above(np.where(tree.leaf, 0.0, tree.threshold)))
        add("nodes_modes", np.where(tree.leaf, "LEAF", "BRANCH_LEQ"))
        add("nodes_truenodeids", np.where(tree.leaf, 0, tree.left))
        add("nodes_falsenodeids", np.where(tree.leaf, 0, tree.right))
        leaves, columns = np.nonzero(tree.weights)
        add("class_treeids", own[leaves])
        add("class_nodeids", leaves)
        add("class_ids", columns)
        add("class_weights", tree.weights[leaves, columns])
    labels = [int(c) for c in classes]
    operator = helper.make_node(
        "TreeEnsembleClassifier",
        ["features"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_int64s=labels,
        **how,
        **nodes,
    )
    graph = helper.make_graph(
        [operator],
        "trees",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, features])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(labels)]),
        ],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=versions, ir_version=8).SerializeToString())


def _not_above(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The largest single-precision numbers that are not above: x ≤ t stays the same for every x in single precision."""
    near = thresholds.astype(np.float32)
    lower = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > thresholds, lower, near)
