"""How well the forest names a particle whose outline is known: `python -m models.studies.forest_report --help`.

Cross-validated by specimen, on true regions, beside the published recipe, the forest without its reading of the stack,
and a small convolutional network on the same crops and folds; intervals are of a bootstrap over specimens. The hard
set is made of the specimens that a fold left out (`models.studies.crops.harder`). The whole chain, with
regions and false
regions of the network, is scored where the bundle is made (`models.training.forest`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from models.errors import ModelError
from models.evaluation.class_scores import abstention, best_sharpening, scores
from models.evaluation.tables import Table, shown
from models.examples.strata import DOSE_RANGE, MICROSCOPES, in_conditions
from models.features.readings import SIGNS
from models.forest import sharpened
from models.results import CLASSES
from models.studies.baselines import cnn_probabilities, published_forest
from models.studies.crops import Crops, collect
from models.studies.importance import importance
from models.training.forest_file import new_forest

Probabilities = npt.NDArray[np.float64]

FOLDS = 5
RESAMPLED = 400
YES = CLASSES.index("yes")
STACK = ("first_", "second_", "axis_", "zone_", *SIGNS)
"""Features that come from reading the stack, and from looking for where it could be."""
PROFILE = ("ring_", "uneven_", "peak_", "sobel_")
"""Features of the ablation that SCIENCE calls radial profile, peaks and Sobel."""


def folds(crops: Crops, seed: int) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
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

    def forest_on(chosen: Callable[[str], bool]) -> Probabilities:
        columns = [i for i, name in enumerate(crops.names) if chosen(name)]
        out = np.zeros((len(crops.classes), len(CLASSES)))
        for learn, check in parts:
            forest = new_forest(trees, seed).fit(crops.features[learn][:, columns], crops.classes[learn])
            out[np.ix_(check, forest.classes_)] = forest.predict_proba(crops.features[check][:, columns])
        return out

    votes = forest_on(lambda name: True)
    sharpening = best_sharpening(crops.classes, votes)
    ours = sharpened(votes, sharpening)
    found = {
        "forest": ours,
        "forest without the stack": forest_on(lambda name: not name.startswith(STACK)),
        "radial profile, peaks, Sobel": forest_on(lambda name: name.startswith(PROFILE)),
        "published recipe": np.zeros_like(ours),
    }
    for learn, check in parts:
        recipe = published_forest(seed).fit(crops.boxes[learn], crops.classes[learn])
        found["published recipe"][np.ix_(check, recipe.classes_)] = recipe.predict_proba(crops.boxes[check])
    if epochs:
        found["small CNN"] = np.zeros_like(ours)
        for learn, check in parts:
            found["small CNN"][check] = cnn_probabilities(
                crops.crops[learn], crops.classes[learn], crops.crops[check], epochs=epochs, seed=seed
            )
    inside = in_range(crops)
    result: dict[str, Any] = {
        "specimens": len(np.unique(crops.specimen)),
        "regions": len(crops.classes),
        "dose_range_e_per_A2": list(DOSE_RANGE),
        "microscopes": list(MICROSCOPES),
        "sharpening": sharpening,
        "classifiers": {
            name: figures(crops.classes[inside], p[inside], crops.specimen[inside], seed)
            for name, p in found.items()
        },
        "importance": importance(
            crops.features, crops.names, crops.classes, parts, inside, trees=trees, seed=seed
        ),
        "abstention": abstention(crops.classes[inside], ours[inside]),
        "by_condition": by_condition(crops, ours),
    }
    if hard is not None:
        judged = np.zeros((len(hard.classes), len(CLASSES)))
        for learn, check in parts:
            rows = np.flatnonzero(np.isin(hard.specimen, np.unique(crops.specimen[check])))
            forest = new_forest(trees, seed).fit(crops.features[learn], crops.classes[learn])
            judged[np.ix_(rows, forest.classes_)] = forest.predict_proba(hard.features[rows])
        # Specimens that no fold left out were never learnt, but then nothing says which forest is theirs.
        known = np.array([about["conditions"]["microscope"] in MICROSCOPES for about in hard.about])
        seen = (judged.sum(axis=1) > 0) & known
        judged = sharpened(judged[seen], sharpening)
        result["hard"] = figures(hard.classes[seen], judged, hard.specimen[seen], seed)
    return result


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


def conditions_of(crops: Crops) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """(condition, stratum, rows) of every table."""
    about = crops.about

    def number(of: Callable[[dict[str, Any]], float | None]) -> npt.NDArray[np.float64]:
        return np.array([np.nan if (v := of(a)) is None else float(v) for a in about])

    def particle(key: str) -> Callable[[dict[str, Any]], float | None]:
        return lambda a: a["particle"].get(key) if a["particle"] else None

    def depth(a: dict[str, Any]) -> float | None:
        faults = [f for f in (a["particle"] or {}).get("faults", []) if f["kind"] != "polytype"]
        return max((f["depth_layers"] for f in faults), default=None)

    tables: list[tuple[str, npt.NDArray[np.float64], tuple[float, ...]]] = [
        (
            "dose [e/Å²]",
            number(lambda a: a["conditions"]["dose_e_per_A2"]),
            (20, 60, 120, 250, 500, 1000, inf),
        ),
        ("carbon [nm]", number(lambda a: a["carbon_nm"]), (0, 2, 4, 6, 8, inf)),
        ("diameter [nm]", number(particle("diameter_nm")), (2, 2.5, 3, 4, 5, 7, inf)),
        ("tilt off the zone [°]", number(particle("zone_tilt_deg")), (0, 2, 4, 6, 10, 90)),
        ("depth of the fault [layers]", number(depth), (2, 3, 4, 6, 9, inf)),
        (
            "defocus, absolute [nm]",
            np.abs(number(lambda a: a["conditions"]["defocus_nm"])),
            (0, 5, 10, 20, 50, inf),
        ),
        ("distance to the next region [nm]", number(lambda a: a["gap_nm"]), (0, 0.2, 1, 2, inf)),
        ("signal to noise of a layer's fringe", number(particle("snr")), (1.5, 3, 5, 8, 12, 20, inf)),
    ]
    for name, values, edges in tables:
        for low, high in pairwise(edges):
            stratum = f"{low:g} to {high:g}" if high < inf else f"from {low:g}"
            yield name, stratum, (values >= low) & (values < high)
    for name, of in (
        ("microscope", lambda a: a["conditions"]["microscope"]),
        ("material", lambda a: (a["particle"] or {}).get("material")),
        ("kind of the fault", _only_kind),
    ):
        labels = np.array([str(of(a)) for a in about])
        for label in np.unique(labels):
            if label != "None":
                yield name, str(label), labels == label


def _only_kind(about: dict[str, Any]) -> str | None:
    kinds = {f["kind"] for f in (about["particle"] or {}).get("faults", []) if f["kind"] != "polytype"}
    return kinds.pop() if len(kinds) == 1 else "several" if kinds else None


def by_condition(crops: Crops, probabilities: Probabilities) -> dict[str, dict[str, Any]]:
    """Recall of `yes`, `no` and `null`, and how many of each there are, by condition and stratum."""
    called = probabilities.argmax(axis=1)
    result: dict[str, dict[str, Any]] = {}
    for condition, stratum, rows in conditions_of(crops):
        figures: dict[str, Any] = {}
        for name in ("yes", "no", "null"):
            here = rows & (crops.classes == CLASSES.index(name))
            right = int((called[here] == CLASSES.index(name)).sum())
            figures[name] = {"regions": int(here.sum()), "right": right}
        if any(f["regions"] for f in figures.values()):
            result.setdefault(condition, {})[stratum] = figures
    return result


def tables_of(result: dict[str, Any]) -> list[Table]:
    """What is printed: the classifiers, then recall by condition."""
    rows = dict(result["classifiers"])
    if "hard" in result:
        rows["forest, hard set"] = result["hard"]
    tables = [
        Table(
            "on true regions",
            (
                "regions",
                "macro-F1",
                "95 %",
                "yes recall",
                "precision",
                "recall at .90",
                "at .95",
                "calibration error",
            ),
            tuple(
                (
                    name,
                    str(f["regions"]),
                    shown(f["macro_f1"], ".3f"),
                    "{:.3f} to {:.3f}".format(*f["macro_f1_interval"]),
                    shown(f["recall"]["yes"], ".3f"),
                    shown(f["precision"]["yes"], ".3f"),
                    shown(f["yes_recall_at_precision"]["0.90"], ".3f"),
                    shown(f["yes_recall_at_precision"]["0.95"], ".3f"),
                    shown(f["calibration_error"], ".3f"),
                )
                for name, f in rows.items()
            ),
        )
    ]
    band = result["abstention"]
    tables.append(
        Table(
            f"abstaining below a probability of {band['below']:.2f}",
            ("",),
            (
                ("share that abstains", f"{band['share']:.1%}"),
                ("right of the others", f"{band['accuracy_kept']:.1%}"),
                ("right of those that abstain", f"{band['accuracy_abstained']:.1%}"),
            ),
        )
    )
    tables.append(
        Table(
            "features",
            ("macro-F1 lost when permuted",),
            tuple(
                (group, f"{loss:.3f}")
                for group, loss in sorted(result["importance"].items(), key=lambda item: -item[1])
            ),
        )
    )
    for condition, strata in result["by_condition"].items():
        tables.append(
            Table(
                condition,
                ("yes", "recalled", "no", "recalled", "null", "recalled"),
                tuple(
                    (
                        stratum,
                        *(
                            cell
                            for name in ("yes", "no", "null")
                            for cell in (
                                str(figures[name]["regions"]),
                                shown(_share(figures[name]), ".2f"),
                            )
                        ),
                    )
                    for stratum, figures in strata.items()
                ),
            )
        )
    return tables


def _share(figures: dict[str, int]) -> float | None:
    return figures["right"] / figures["regions"] if figures["regions"] else None


def picture(result: dict[str, Any]) -> Figure:
    """The forest's confusion matrix, and recall against every condition with the interval of its count."""
    shown_conditions = list(result["by_condition"])
    figure = Figure(figsize=(16, 10), layout="constrained")
    axes = figure.subplots(3, 4).ravel()
    matrix = np.array(result["classifiers"]["forest"]["confusion"], float)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes[0].imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes[0].set_xticks(range(4), CLASSES)
    axes[0].set_yticks(range(4), CLASSES)
    axes[0].set(xlabel="called", ylabel="true", title="true regions, by specimen")
    for i in range(4):
        for j in range(4):
            ink = "white" if shares[i, j] > 0.5 else "black"
            axes[0].text(j, i, f"{shares[i, j]:.2f}", ha="center", va="center", color=ink)
    for axis, condition in zip(axes[1:], shown_conditions, strict=False):
        strata = result["by_condition"][condition]
        for name, colour in (("yes", "tab:red"), ("no", "tab:blue"), ("null", "tab:gray")):
            x, y, below, above = [], [], [], []
            for k, figures in enumerate(strata.values()):
                n, right = figures[name]["regions"], figures[name]["right"]
                if n < 5:
                    continue
                low, high = wilson(right, n)
                x.append(k)
                y.append(right / n)
                below.append(max(0.0, right / n - low))
                above.append(max(0.0, high - right / n))
            if x:
                axis.errorbar(x, y, [below, above], fmt="o-", color=colour, label=name, ms=4, capsize=2)
        axis.set_xticks(range(len(strata)), list(strata), rotation=30, ha="right", fontsize=7)
        axis.set(title=condition, ylim=(0, 1.02), ylabel="recall")
        axis.grid(alpha=0.3)
    handles = {line.get_label(): line for axis in axes[1:] for line in axis.containers}
    axes[1].legend(handles.values(), handles.keys(), fontsize=8, loc="lower left")
    for axis in axes[1 + len(shown_conditions) :]:
        axis.set_axis_off()
    return figure


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927)."""
    z, p = 1.959964, right / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return float(middle - half), float(middle + half)


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
