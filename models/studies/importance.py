"""Permutation importance of each group of features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.evaluation.class_scores import scores
from models.results import CLASSES
from models.training.forest_file import new_forest

Rows = npt.NDArray[np.int64]

PERMUTED = 3
"""Permutations of each group of features."""
GROUPS = {
    "ring_": "radial profile",
    "uneven_": "unevenness of the rings",
    "peak_": "peaks",
    "sobel_": "Sobel edges",
    "contrast_": "contrast",
    "axis_": "template of a close packing",
    "zone_": "templates of other zones",
    "first_": "stack, first axis",
    "second_": "stack, second axis",
    "streak_": "streaking of the row",
    "twin_spots_": "spots of a twin",
}
"""Groups of features, by the beginning of their names."""


def group_of(name: str) -> str:
    """The group of a feature: what it was read from."""
    for prefix, group in GROUPS.items():
        if name.startswith(prefix):
            return group
    raise ValueError(f"{name} belongs to no group of features")


def importance(
    features: npt.NDArray[np.float32],
    names: list[str],
    classes: npt.NDArray[np.int64],
    parts: list[tuple[Rows, Rows]],
    chosen: npt.NDArray[np.bool_],
    *,
    trees: int,
    seed: int,
) -> dict[str, float]:
    """What macro-F1 loses on the `chosen` rows (R,) when a group's features are permuted together among those left out.

    Permutation importance (Breiman, *Machine Learning* 45, 2001), a group at a time, because features of a group
    stand in for one another; mean of `PERMUTED` permutations.

    Parameters
    ----------
    features, names, classes : (R, F) rows, their columns' names, and (R,) indices into `CLASSES`.
    parts : (learn, check) rows of every fold.
    """
    groups = sorted({group_of(name) for name in names})
    columns = {g: [i for i, name in enumerate(names) if group_of(name) == g] for g in groups}
    rng = np.random.default_rng(seed)
    rows, plain = [], []
    shuffled: dict[str, list[list[npt.NDArray[np.int64]]]] = {
        g: [[] for _ in range(PERMUTED)] for g in groups
    }
    for learn, check in parts:
        check = check[chosen[check]]
        forest = new_forest(trees, seed).fit(features[learn], classes[learn])
        rows.append(check)
        plain.append(forest.predict(features[check]))
        for g in groups:
            for again in range(PERMUTED):
                x = features[check].copy()
                x[:, columns[g]] = x[rng.permutation(len(check))][:, columns[g]]
                shuffled[g][again].append(forest.predict(x))
    truth = classes[np.concatenate(rows)]

    def macro_f1(called: list[npt.NDArray[np.int64]]) -> float:
        return float(scores(truth, np.eye(len(CLASSES))[np.concatenate(called)])["macro_f1"])

    whole = macro_f1(plain)
    return {g: whole - float(np.mean([macro_f1(called) for called in shuffled[g]])) for g in groups}
