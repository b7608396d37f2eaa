"""Which classifier, and what keeps `null` from leaking: `python -m models.studies.classifiers KEPT --help`.

`KEPT` is the folder in which `train forest --keep` left what it measured, features and crops of the same regions; or a
bundle, beside which lie the rows of its training, without crops.
Everything learns from the training specimens. What is chosen is chosen on the validation specimens, and the test
specimens are looked at once, for what was chosen. Intervals are of a bootstrap over specimens; differences are of the
same resamples.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.evaluation.class_scores import best_sharpening, scores
from models.evaluation.tables import Table
from models.examples.collecting import CROP_STEP, read_kept
from models.examples.rows import UNSCORED, Rows
from models.forest import sharpened, votes_of
from models.results import CLASSES
from models.studies.output import add_outputs, show, write
from models.training.forest import rows_beside
from models.training.forest_file import BOOSTING, FOREST, NULL_WEIGHS, Grower

Classes = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float64]

NULL = CLASSES.index("null")
RESOLVED = [CLASSES.index("yes"), CLASSES.index("no")]
FOLDS = 3
RESAMPLED = 400
THRESHOLDS = tuple(np.arange(0.05, 0.5, 0.05).round(2).tolist())
"""From such a probability of `null` a region may be called `null`, whatever else is likelier."""
AT_RECALL = 0.95
"""Classifiers that recall different shares of `null` are compared at this one: the bar."""
MAY_LOSE = 0.01
"""Of the ways to lower the leak those stay that lose no more macro-F1 than this on validation."""


@dataclass(frozen=True)
class Way:
    """One way to name the classes of regions."""

    name: str
    boosting: bool = False
    threshold: float | None = None
    """Probability from which a region is called `null`."""


PLAIN, BOOSTED = Way("forest"), Way("boosting", boosting=True)
WAYS = (
    PLAIN,
    BOOSTED,
    *(Way(f"forest, null from p = {t:g}", threshold=t) for t in THRESHOLDS),
)


def fitted(way: Way, learn: Rows, weights: Weights, *, trees: int, seed: int) -> Any:
    """A classifier that has learnt from weighted rows; it has scikit-learn's `predict_proba`."""
    grower = Grower(BOOSTING, seed=seed) if way.boosting else Grower(FOREST, trees, seed)
    return (
        grower.new().set_params(class_weight=None).fit(learn.features, learn.classes, sample_weight=weights)
    )


def out_of_fold(way: Way, learn: Rows, weights: Weights, *, trees: int, seed: int) -> Probabilities:
    """(R, 4) votes for each row by a classifier that has not seen its specimen."""
    from sklearn.model_selection import GroupKFold

    votes = np.zeros((len(learn.classes), len(CLASSES)))
    splitter = GroupKFold(FOLDS, shuffle=True, random_state=seed)
    for some, rest in splitter.split(learn.features, groups=learn.specimen):
        chosen, left = (np.isin(np.arange(len(learn.classes)), part) for part in (some, rest))
        classifier = fitted(way, learn.of(chosen), weights[chosen], trees=trees, seed=seed)
        votes[left] = votes_of(classifier, learn.features[left])
    return votes


def leaked(truth: Classes, called: Classes) -> npt.NDArray[np.bool_]:
    """Which regions are `null` and called `yes` or `no`."""
    return np.asarray((truth == NULL) & np.isin(called, RESOLVED))


def probabilities(way: Way, judged: Probabilities) -> Probabilities:
    """The probabilities by which a way calls: where it says `null`, that is made the likeliest by a hair."""
    if way.threshold is None:
        return judged
    said = (judged[:, NULL] >= way.threshold) & np.isin(judged.argmax(axis=1), RESOLVED)
    called = judged.copy()
    called[said, NULL] = called[said].max(axis=1) + 1e-6
    return called


def at_equal_recall(truth: Classes, judged: Probabilities) -> Probabilities:
    """The probabilities with that of `null` times a number, for all regions alike, with which `AT_RECALL` of the `null`
    are called so; as they are where there is none."""
    null = truth == NULL
    if not null.any():
        return judged
    others = np.delete(judged, NULL, axis=1).max(axis=1)
    needed = others[null] / np.maximum(judged[null, NULL], 1e-9)
    scaled = judged.copy()
    scaled[:, NULL] *= np.quantile(needed, AT_RECALL, method="higher") * (1 + 1e-9)
    return scaled


def figures(truth: Classes, judged: Probabilities) -> dict[str, float]:
    """Macro-F1, recall of `null`, the share of `null` that leaks, recall of `yes` and `no`, calibration error; and leak
    and macro-F1 at equal recall of `null`."""
    found, called = scores(truth, judged), judged.argmax(axis=1)
    equal = at_equal_recall(truth, judged)
    nulls = max(1, (truth == NULL).sum())
    return {
        "macro_f1": found["macro_f1"],
        "null_recall": found["recall"]["null"],
        "null_leaks": float(leaked(truth, called).sum() / nulls),
        "yes_recall": found["recall"]["yes"],
        "no_recall": found["recall"]["no"],
        "calibration_error": found["calibration_error"],
        "leaks_at_recall": float(leaked(truth, equal.argmax(axis=1)).sum() / nulls),
        "f1_at_recall": scores(truth, equal)["macro_f1"],
    }


def resampled(rows: Rows, judged: list[Probabilities], seed: int) -> Iterator[list[dict[str, float]]]:
    """The figures of several ways, again and again, on specimens drawn with replacement: the same for all of them."""
    rng = np.random.default_rng(seed)
    groups, member = np.unique(rows.specimen, return_inverse=True)
    rows_of = [np.flatnonzero(member == g) for g in range(len(groups))]
    for _ in range(RESAMPLED):
        drawn = np.concatenate([rows_of[g] for g in rng.integers(0, len(groups), len(groups))])
        yield [figures(rows.classes[drawn], each[drawn]) for each in judged]


def chosen_way(on_validation: dict[str, dict[str, float]]) -> str:
    """The forest that leaks least, of those that lose at most `MAY_LOSE` of the plain forest's macro-F1."""
    least = on_validation[PLAIN.name]["macro_f1"] - MAY_LOSE
    forests = [way.name for way in WAYS if not way.boosting]
    good = [name for name in forests if on_validation[name]["macro_f1"] >= least]
    return min(good, key=lambda name: (on_validation[name]["null_leaks"], -on_validation[name]["macro_f1"]))


def compare(
    learn: Rows,
    check: Rows,
    *,
    trees: int,
    seed: int,
    null_weighs: float,
    tell: Callable[[str], None],
    others: dict[str, Probabilities] | None = None,
) -> dict[str, Any]:
    """Figures of every way on validation, and of the forest, boosting, the chosen way and others on the test.

    Parameters
    ----------
    null_weighs : what a `null` region weighs for the forest and for boosting.
    others : what other classifiers say of the rows `check` (C, 4), by name.
    """
    on = {name: check.split == name for name in ("validation", "test")}
    validation, test = check.of(on["validation"]), check.of(on["test"])
    weights = np.where(learn.classes == NULL, null_weighs, 1.0)
    judges: dict[str, Callable[[Rows], Probabilities]] = {}
    models: dict[bool, tuple[Any, float]] = {}
    for way in WAYS:
        if way.boosting not in models:
            tell(way.name)
            votes = out_of_fold(way, learn, weights, trees=trees, seed=seed)[learn.marked]
            sharpening = best_sharpening(learn.classes[learn.marked], votes)
            models[way.boosting] = fitted(way, learn, weights, trees=trees, seed=seed), sharpening
        judges[way.name] = partial(_judged, way, *models[way.boosting])
    others = others or {}
    on_validation = {name: figures(validation.classes, judge(validation)) for name, judge in judges.items()}
    on_validation |= {name: figures(validation.classes, p[on["validation"]]) for name, p in others.items()}
    chosen = chosen_way(on_validation)
    reported = list(dict.fromkeys([PLAIN.name, BOOSTED.name, chosen, *others]))
    judged = [others[name][on["test"]] if name in others else judges[name](test) for name in reported]
    again = list(resampled(test, judged, seed))
    on_test = {
        name: {
            figure: [value, *_interval([one[k][figure] for one in again])]
            for figure, value in figures(test.classes, judged[k]).items()
        }
        for k, name in enumerate(reported)
    }
    more = {
        name: {
            figure: [
                on_test[name][figure][0] - on_test[PLAIN.name][figure][0],
                *_interval([one[k][figure] - one[0][figure] for one in again]),
            ]
            for figure in on_test[name]
        }
        for k, name in enumerate(reported)
        if k > 0
    }
    counts = {"learnt": len(learn.classes), "validation": len(validation.classes), "test": len(test.classes)}
    told = {"regions": counts, "validation": on_validation, "chosen": chosen, "test": on_test}
    return told | {"more_than_the_forest": more}


def _judged(way: Way, classifier: Any, sharpening: float, rows: Rows) -> Probabilities:
    return probabilities(way, sharpened(votes_of(classifier, rows.features), sharpening))


def _interval(values: list[float]) -> list[float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return [float(low), float(high)]


HEADINGS = (
    "macro-F1",
    "null recalled",
    "null leaks",
    "yes recalled",
    "no recalled",
    "calibration error",
    f"null leaks at {AT_RECALL:g} recall",
    f"macro-F1 at {AT_RECALL:g} recall",
)


def tables_of(result: dict[str, Any]) -> list[Table]:
    """What is printed."""

    def told(values: list[float]) -> str:
        return "{:.3f} ({:.3f} to {:.3f})".format(*values)

    rows = tuple((name, *(f"{x:.3f}" for x in f.values())) for name, f in result["validation"].items())
    test = tuple((name, *map(told, f.values())) for name, f in result["test"].items())
    more = tuple((name, *map(told, f.values())) for name, f in result["more_than_the_forest"].items())
    return [
        Table(f"validation, {result['regions']['validation']} regions", HEADINGS, rows),
        Table(f"test, {result['regions']['test']} regions", HEADINGS, test),
        Table("more than the forest, test", HEADINGS, more),
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.classifiers",
        description="The forest, boosting, and ways to keep null from being called yes or no.",
    )
    parser.add_argument(
        "kept", type=Path, metavar="KEPT", help="folder of what train forest --keep measured, or a bundle"
    )
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument(
        "--null-weighs", type=float, default=NULL_WEIGHS, metavar="W", help="against other regions"
    )
    parser.add_argument(
        "--epochs", type=int, default=0, help="of a small CNN on crops of the same regions (0: none)"
    )
    parser.add_argument("--seed", type=int, default=1)
    add_outputs(parser)
    options = parser.parse_args(arguments)
    try:
        if (options.kept / "bundle.json").is_file():
            rows, crops = rows_beside(options.kept), None
        else:
            rows, crops = read_kept(options.kept)
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    scored, learnt = rows.classes != UNSCORED, rows.split == "train"
    others = {}
    if options.epochs and crops is None:
        parser.exit(1, f"there are no crops beside {options.kept}; give the folder of train forest --keep\n")
    if options.epochs and crops is not None:
        from models.studies.baselines import cnn_probabilities

        images = [
            crops[scored & here].astype(np.float16) * np.float16(CROP_STEP) for here in (learnt, ~learnt)
        ]
        classes = rows.classes[scored & learnt]
        told = cnn_probabilities(images[0], classes, images[1], epochs=options.epochs, seed=options.seed)
        others["small CNN"] = np.asarray(told, np.float64)
    result = compare(
        rows.of(scored & learnt), rows.of(scored & ~learnt), trees=options.trees, seed=options.seed,
        null_weighs=options.null_weighs, tell=print, others=others,
    )  # fmt: skip
    write(result, options)
    show(tables_of(result), options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
