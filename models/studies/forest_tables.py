"""What `models.studies.forest_report` found, as tables and as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from models.evaluation.tables import Table, shown
from models.results import CLASSES

CLASSIFIERS = (
    "regions", "macro-F1", "95 %", "yes recall", "precision", "recall at .90", "at .95", "calibration error",
)  # fmt: skip
RECALLS = ("yes", "recalled", "no", "recalled", "null", "recalled")
SHOWN = {"yes": "tab:red", "no": "tab:blue", "null": "tab:gray"}
"""Classes whose recall is shown, and their colours."""
FEWEST = 5
"""A stratum with fewer regions of a class has no point in the picture."""


def tables_of(result: dict[str, Any]) -> list[Table]:
    """What is printed: the classifiers, abstaining, the worth of the features, then recall by condition."""
    rows = dict(result["classifiers"])
    if "hard" in result:
        rows["forest, hard set"] = result["hard"]
    band = result["abstention"]
    abstaining = (
        ("share that abstains", f"{band['share']:.1%}"),
        ("right of the others", f"{band['accuracy_kept']:.1%}"),
        ("right of those that abstain", f"{band['accuracy_abstained']:.1%}"),
    )
    worth = sorted(result["importance"].items(), key=lambda item: -item[1])
    return [
        Table("on true regions", CLASSIFIERS, tuple(_classifier(name, f) for name, f in rows.items())),
        Table(f"abstaining below a probability of {band['below']:.2f}", ("",), abstaining),
        Table(
            "features", ("macro-F1 lost when permuted",), tuple((group, f"{f1:.3f}") for group, f1 in worth)
        ),
        *(
            Table(condition, RECALLS, tuple(_stratum(name, figures) for name, figures in strata.items()))
            for condition, strata in result["by_condition"].items()
        ),
    ]


def _classifier(name: str, f: dict[str, Any]) -> tuple[str, ...]:
    """A row of `CLASSIFIERS`."""
    return (
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


def _stratum(name: str, figures: dict[str, dict[str, int]]) -> tuple[str, ...]:
    """A row of `RECALLS`."""
    counts = [figures[name] for name in SHOWN]
    return (name, *(cell for one in counts for cell in (str(one["regions"]), shown(_share(one), ".2f"))))


def _share(figures: dict[str, int]) -> float | None:
    return figures["right"] / figures["regions"] if figures["regions"] else None


def picture(result: dict[str, Any]) -> Figure:
    """The forest's confusion matrix, and recall against every condition with the interval of its count."""
    figure = Figure(figsize=(16, 10), layout="constrained")
    axes = figure.subplots(3, 4).ravel()
    _draw_matrix(axes[0], np.array(result["classifiers"]["forest"]["confusion"], float))
    for axis, (condition, strata) in zip(axes[1:], result["by_condition"].items(), strict=False):
        _draw_recall(axis, condition, strata)
    handles = {line.get_label(): line for axis in axes[1:] for line in axis.containers}
    axes[1].legend(handles.values(), handles.keys(), fontsize=8, loc="lower left")
    for axis in axes[1 + len(result["by_condition"]) :]:
        axis.set_axis_off()
    return figure


def _draw_matrix(axis: Axes, matrix: npt.NDArray[np.float64]) -> None:
    """Shares of each true class, by called class."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(4), CLASSES)
    axis.set_yticks(range(4), CLASSES)
    axis.set(xlabel="called", ylabel="true", title="true regions, by specimen")
    for i in range(4):
        for j in range(4):
            ink = "white" if shares[i, j] > 0.5 else "black"
            axis.text(j, i, f"{shares[i, j]:.2f}", ha="center", va="center", color=ink)


def _draw_recall(axis: Axes, condition: str, strata: dict[str, dict[str, dict[str, int]]]) -> None:
    """Recall of each class in every stratum that has at least `FEWEST` of it."""
    for name, colour in SHOWN.items():
        points = [(k, stratum[name]) for k, stratum in enumerate(strata.values())]
        points = [(k, f) for k, f in points if f["regions"] >= FEWEST]
        if not points:
            continue
        recall = [f["right"] / f["regions"] for _, f in points]
        ends = [binomtest(f["right"], f["regions"]).proportion_ci(method="wilson") for _, f in points]
        below = [max(0.0, r - low) for r, (low, _) in zip(recall, ends, strict=True)]
        above = [max(0.0, high - r) for r, (_, high) in zip(recall, ends, strict=True)]
        x = [k for k, _ in points]
        axis.errorbar(x, recall, [below, above], fmt="o-", color=colour, label=name, ms=4, capsize=2)
    axis.set_xticks(range(len(strata)), list(strata), rotation=30, ha="right", fontsize=7)
    axis.set(title=condition, ylim=(0, 1.02), ylabel="recall")
    axis.grid(alpha=0.3)
