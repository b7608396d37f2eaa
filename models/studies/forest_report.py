"""The forest's scores on particles whose outline is known: `python -m models.studies.forest_report --help`.

Cross-validated by specimen, on true regions, beside the published recipe, the forest without its reading of the stack,
and a small convolutional network on the same crops and folds; intervals are of a bootstrap over specimens. The hard
set is made of the specimens that a fold left out (`models.studies.crops.harder`). The whole chain,
with regions and false regions of the network, is scored where the bundle is made (`models.training.forest`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.evaluation.class_scores import abstention, best_sharpening, scores
from models.examples.strata import DOSE_RANGE, MICROSCOPES, in_conditions
from models.features.readings import SIGNS
from models.forest import sharpened
from models.results import CLASSES
from models.studies.baselines import cnn_probabilities, published_forest
from models.studies.by_condition import by_condition
from models.studies.crops import Crops, collect
from models.studies.forest_tables import picture, tables_of
from models.studies.importance import importance
from models.training.forest_file import new_forest

Probabilities = npt.NDArray[np.float64]
Folds = list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]
"""(learn, check) rows of each fold."""

FOLDS = 5
RESAMPLED = 400
YES = CLASSES.index("yes")
STACK = ("first_", "second_", "axis_", "zone_", *SIGNS)
"""Features that come from reading the stack, and from looking for where it could be."""
PROFILE = ("ring_", "uneven_", "peak_", "sobel_")
"""Features of the ablation that SCIENCE calls radial profile, peaks and Sobel."""


def folds(crops: Crops, seed: int) -> Folds:
    """(learn, check) rows, no specimen on both sides."""
    from sklearn.model_selection import GroupKFold

    splitter = GroupKFold(FOLDS, shuffle=True, random_state=seed)
    return list(splitter.split(crops.features, groups=crops.specimen))


def compare(crops: Crops, hard: Crops | None, *, trees: int, epochs: int, seed: int) -> dict[str, Any]:
    """Figures of every classifier on the same folds, and of the forest by condition.

    Parameters
    ----------
    hard : the same specimens under poor conditions; rows of a fold's specimens are judged by the forest without them.
    epochs : of the convolutional network; 0 leaves it out.
    """
    parts = folds(crops, seed)
    votes = _forest_on(crops, parts, lambda name: True, trees, seed)
    sharpening = best_sharpening(crops.classes, votes)
    ours = sharpened(votes, sharpening)
    inside = in_range(crops)
    result: dict[str, Any] = {
        "specimens": len(np.unique(crops.specimen)),
        "regions": len(crops.classes),
        "dose_range_e_per_A2": list(DOSE_RANGE),
        "microscopes": list(MICROSCOPES),
        "sharpening": sharpening,
        "classifiers": {
            name: figures(crops.classes[inside], p[inside], crops.specimen[inside], seed)
            for name, p in ({"forest": ours} | _others(crops, parts, trees, epochs, seed)).items()
        },
        "importance": importance(
            crops.features, crops.names, crops.classes, parts, inside, trees=trees, seed=seed
        ),
        "abstention": abstention(crops.classes[inside], ours[inside]),
        "by_condition": by_condition(crops, ours),
    }
    if hard is not None:
        rows, judged = _on_hard(crops, hard, parts, trees, seed)
        judged = sharpened(judged, sharpening)
        result["hard"] = figures(hard.classes[rows], judged, hard.specimen[rows], seed)
    return result


def _forest_on(
    crops: Crops, parts: Folds, chosen: Callable[[str], bool], trees: int, seed: int
) -> Probabilities:
    """(R, 4) out-of-fold votes of a forest that is told the chosen features."""
    columns = [i for i, name in enumerate(crops.names) if chosen(name)]
    out = np.zeros((len(crops.classes), len(CLASSES)))
    for learn, check in parts:
        forest = new_forest(trees, seed).fit(crops.features[learn][:, columns], crops.classes[learn])
        out[np.ix_(check, forest.classes_)] = forest.predict_proba(crops.features[check][:, columns])
    return out


def _others(crops: Crops, parts: Folds, trees: int, epochs: int, seed: int) -> dict[str, Probabilities]:
    """(R, 4) out-of-fold probabilities of what the forest is compared with, by name."""
    recipe = np.zeros((len(crops.classes), len(CLASSES)))
    for learn, check in parts:
        published = published_forest(seed).fit(crops.boxes[learn], crops.classes[learn])
        recipe[np.ix_(check, published.classes_)] = published.predict_proba(crops.boxes[check])
    found = {
        "forest without the stack": _forest_on(
            crops, parts, lambda name: not name.startswith(STACK), trees, seed
        ),
        "radial profile, peaks, Sobel": _forest_on(
            crops, parts, lambda name: name.startswith(PROFILE), trees, seed
        ),
        "published recipe": recipe,
    }
    if epochs:
        found["small CNN"] = network = np.zeros_like(recipe)
        for learn, check in parts:
            network[check] = cnn_probabilities(
                crops.crops[learn], crops.classes[learn], crops.crops[check], epochs=epochs, seed=seed
            )
    return found


def _on_hard(
    crops: Crops, hard: Crops, parts: Folds, trees: int, seed: int
) -> tuple[npt.NDArray[np.bool_], Probabilities]:
    """Rows of the hard set that a forest without their specimen can judge, and its votes (rows, 4)."""
    judged = np.zeros((len(hard.classes), len(CLASSES)))
    for learn, check in parts:
        rows = np.flatnonzero(np.isin(hard.specimen, np.unique(crops.specimen[check])))
        forest = new_forest(trees, seed).fit(crops.features[learn], crops.classes[learn])
        judged[np.ix_(rows, forest.classes_)] = forest.predict_proba(hard.features[rows])
    # A specimen that is in no fold was not learnt by any forest, so no forest is the one without it.
    known = np.array([about["conditions"]["microscope"] in MICROSCOPES for about in hard.about])
    seen = (judged.sum(axis=1) > 0) & known
    return seen, judged[seen]


def in_range(crops: Crops) -> npt.NDArray[np.bool_]:
    """(R,) rows of images taken as the bars suppose (`models.examples.strata.in_conditions`)."""
    return np.array([in_conditions(about) for about in crops.about], dtype=bool)


def figures(
    truth: npt.NDArray[np.int64], probabilities: Probabilities, specimen: npt.NDArray[np.str_], seed: int
) -> dict[str, Any]:
    """Scores with a bootstrap interval over specimens, and the recall of `yes` at precision .90 and .95."""
    found = scores(truth, probabilities)
    rng = np.random.default_rng(seed)
    groups, member = np.unique(specimen, return_inverse=True)
    rows_of = [np.flatnonzero(member == g) for g in range(len(groups))]
    f1, recall = [], []
    for _ in range(RESAMPLED):
        rows = np.concatenate([rows_of[g] for g in rng.integers(0, len(groups), len(groups))])
        again = scores(truth[rows], probabilities[rows])
        f1.append(again["macro_f1"])
        recall.append(again["recall"]["yes"])
    return {
        **found,
        "macro_f1_interval": np.quantile(f1, [0.025, 0.975]).tolist(),
        "yes_recall_interval": np.quantile(recall, [0.025, 0.975]).tolist(),
        "yes_recall_at_precision": {
            f"{bound:.2f}": recall_at(truth == YES, probabilities[:, YES], bound) for bound in (0.90, 0.95)
        },
    }


def recall_at(true: npt.NDArray[np.bool_], probability: npt.NDArray[np.floating], precision: float) -> float:
    """The largest recall that any threshold reaches at this precision or a better one; 0 where none does."""
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(true[order])
    called = np.arange(1, len(order) + 1)
    last = np.append(np.diff(probability[order]) != 0, True)  # thresholds lie between different values
    good = last & (hits / called >= precision)
    return float(hits[good].max(initial=0) / max(1, int(true.sum())))


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.forest_report",
        description="The forest and its baselines on true regions.",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="a simulated data set")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="gets report.json and .png")
    parser.add_argument("--draws", type=int, default=8, help="images of each specimen (8)")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=30, help="of the small CNN, 0 leaves it out (30)")
    parser.add_argument("--no-hard", action="store_true", help="without the hard set")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        crops = collect(options.data, draws=options.draws, seed=options.seed)
        hard = None
        if not options.no_hard:
            hard = collect(options.data, draws=max(1, options.draws // 4), seed=options.seed, hard=True)
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    how = {"trees": options.trees, "epochs": options.epochs, "seed": options.seed}
    result = compare(crops, hard, **how)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "report.json").write_text(json.dumps(result, indent=2))
    picture(result).savefig(options.out / "report.png", dpi=90)
    print("\n\n".join(table.as_text() for table in tables_of(result)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
