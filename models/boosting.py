"""Gradient boosting in the forest's place: its trees as plain tables, and what each feature adds to a call.

The four classes have a tree each in every round; a class's score is its baseline and the values of the leaves that a
row reaches, and the probabilities are the softmax of the scores (Friedman 2001, Ann. Statist. 29, 1189).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.results import CLASSES

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

Real = npt.NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
"""Of the quadrature along the straight way between two scores."""


def trees_of(boosting: HistGradientBoostingClassifier) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Every tree as (class, nodes): its nodes as scikit-learn keeps them, with the fields `value`, `count`,
    `feature_idx`, `num_threshold`, `left`, `right`, `gain` and `is_leaf`."""
    own = [int(c) for c in boosting.classes_]
    for one_round in boosting._predictors:
        for number, tree in zip(own, one_round, strict=True):
            yield number, tree.nodes


def baseline(boosting: HistGradientBoostingClassifier) -> Real:
    """(4,) the scores before any tree; of a class that it does not know -inf."""
    scores = np.full(len(CLASSES), -np.inf)
    scores[np.asarray(boosting.classes_, int)] = np.asarray(boosting._baseline_prediction).ravel()
    return scores


def importances(boosting: HistGradientBoostingClassifier) -> Real:
    """(F,) the share of each feature in what all splits gain, the weight that a forest's impurity gives as well."""
    gained = np.zeros(boosting.n_features_in_)
    for _, nodes in trees_of(boosting):
        inner = nodes[nodes["is_leaf"] == 0]
        np.add.at(gained, inner["feature_idx"], inner["gain"])
    return gained / max(float(gained.sum()), 1e-30)


def contributions(
    boosting: HistGradientBoostingClassifier, row: npt.NDArray[np.float32]
) -> tuple[Real, Real]:
    """Contribution of every feature to the probabilities: (4,) those before any feature is looked at and (F, 4) the
    features'; they sum to the probabilities of the row (F,).

    At each split on the row's way through a tree the mean value of the leaves below changes; the change of the class's
    score is the split feature's (Saabas 2014). From scores to probabilities they are carried along the straight way
    from the scores before to those after (Aumann and Shapley 1974), so that the sum is kept.
    """
    parts = np.zeros((len(row), len(CLASSES)))
    before = baseline(boosting)
    for number, nodes in trees_of(boosting):
        means = _means(nodes)
        before[number] += means[0]
        at = 0
        while not nodes[at]["is_leaf"]:
            feature = int(nodes[at]["feature_idx"])
            below = int(nodes[at]["left" if row[feature] <= nodes[at]["num_threshold"] else "right"])
            parts[feature, number] += means[below] - means[at]
            at = below
    after = before + parts.sum(axis=0)
    carried = np.zeros_like(parts)
    for place, weight in zip((_NODES + 1) / 2, _WEIGHTS / 2, strict=True):
        p = _softmax(np.where(np.isfinite(before), before + place * (after - before), -np.inf))
        carried += weight * p * (parts - (parts @ p)[:, None])
    return _softmax(before), carried


def _means(nodes: npt.NDArray[Any]) -> Real:
    """(N,) the mean value of the leaves below each node, by how many rows taught them.

    A node's children stand behind it.
    """
    means = nodes["value"].astype(np.float64)
    for at in range(len(nodes) - 1, -1, -1):
        if not nodes[at]["is_leaf"]:
            left, right = int(nodes[at]["left"]), int(nodes[at]["right"])
            counts = float(nodes[left]["count"]), float(nodes[right]["count"])
            means[at] = (means[left] * counts[0] + means[right] * counts[1]) / max(sum(counts), 1.0)
    return means


def _softmax(scores: Real) -> Real:
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())
