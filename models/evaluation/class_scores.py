"""Scores of the classes: confusion matrix, calibration, and the rates for the running statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.confusion import confusion as counted
from models.examples.rows import Rows
from models.examples.strata import DOSES, SIZES, band, row_order
from models.forest import sharpened
from models.results import CLASSES, sure

ABSTAIN_BELOW = 0.6
"""A particle whose likeliest class has a lower probability is marked as abstained."""

REDRAWN = 20
"""Times that a truth is drawn from the probabilities to see what calibration error chance alone gives."""


def scores(truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.floating]) -> dict[str, Any]:
    """Macro-F1, precision, recall and F1 of every class, confusion matrix (rows: truth), expected calibration error."""
    called = probabilities.argmax(axis=1)
    matrix = np.zeros((4, 4), int)
    np.add.at(matrix, (truth, called), 1)
    hit = np.diag(matrix).astype(float)
    recall = hit / np.maximum(matrix.sum(axis=1), 1)
    precision = hit / np.maximum(matrix.sum(axis=0), 1)
    f1 = 2 * hit / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1), 1)
    return {
        "regions": len(truth),
        "macro_f1": float(f1.mean()),
        "accuracy": float(hit.sum() / max(1, matrix.sum())),
        "recall": dict(zip(CLASSES, recall.tolist(), strict=True)),
        "precision": dict(zip(CLASSES, precision.tolist(), strict=True)),
        "f1": dict(zip(CLASSES, f1.tolist(), strict=True)),
        "confusion": matrix.tolist(),
        "calibration_error": calibration_error(truth, probabilities),
    }


def calibration_error(
    truth: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.floating],
    bins: int = 10,
    null_weighs: float = 1.0,
) -> float:
    """Expected calibration error of the likeliest class: |share right - mean probability|, weighted over the bins.

    Parameters
    ----------
    null_weighs : how much a `null` region counts: of a population that holds so many times as many of them.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    weights = np.where(truth == CLASSES.index("null"), null_weighs, 1.0)
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    excess = np.bincount(which, weights * (right - confidence), bins)
    return float(np.abs(excess).sum() / max(weights.sum(), 1e-12))


def calibration_error_by_chance(probabilities: npt.NDArray[np.floating], seed: int = 0) -> float:
    """The calibration error that so many regions would show on average if their probabilities were exact.

    It is not 0, because the share that is right in a bin varies: with a hundred regions it is about .05.
    """
    if len(probabilities) == 0:
        return 0.0
    upto = np.cumsum(probabilities / probabilities.sum(axis=1, keepdims=True), axis=1)[:, :-1]
    rng = np.random.default_rng(seed)
    drawn = [(rng.random((len(upto), 1)) > upto).sum(axis=1) for _ in range(REDRAWN)]
    return float(np.mean([calibration_error(truth, probabilities) for truth in drawn]))


def by_stratum(
    truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.floating], strata: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """For every stratum by name: `regions`, `macro_f1`, `calibration_error`, what it would be `by_chance`, and the
    share of `null` that `leaks` into `no` and `yes`. Regions of no stratum ("") are left out."""
    label, called = np.array(strata, dtype=np.str_), probabilities.argmax(axis=1)
    null, leaked = truth == CLASSES.index("null"), called >= CLASSES.index("no")
    result = {}
    for name in sorted(set(strata) - {""}, key=row_order):
        here = label == name
        figures = scores(truth[here], probabilities[here])
        result[name] = {
            "regions": figures["regions"],
            "macro_f1": figures["macro_f1"],
            "calibration_error": figures["calibration_error"],
            "by_chance": calibration_error_by_chance(probabilities[here]),
            "leaks": float(leaked[here & null].mean()) if (here & null).any() else None,
        }
    return result


def best_sharpening(
    truth: npt.NDArray[np.int64], votes: npt.NDArray[np.floating], null_weighs: float = 1.0
) -> float:
    """The exponent of `models.forest.sharpened` with the least calibration error, to a tenth.

    How often a call is right depends on how frequent `null` is. A data set holds fewer than sessions do, and the weight
    of `null` with which a forest is grown stands for the difference. So the error is the largest of three populations:
    the one of the rows, one with `null_weighs` times as many `null`, and one between.
    """
    exponents = np.arange(5, 31) / 10
    mixes = sorted({1.0, float(null_weighs) ** 0.5, float(null_weighs)})

    def worst(exponent: float) -> float:
        p = sharpened(votes, exponent)
        return max(calibration_error(truth, p, null_weighs=weighs) for weighs in mixes)

    return float(min(exponents, key=worst))


def abstention(truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.floating]) -> dict[str, float]:
    """Abstaining below `ABSTAIN_BELOW`: share abstained, and accuracy of the others and of the abstained."""
    kept = sure(probabilities, ABSTAIN_BELOW)
    right = probabilities.argmax(axis=1) == truth
    return {
        "below": ABSTAIN_BELOW,
        "share": float(1 - kept.mean()),
        "accuracy_kept": float(right[kept].mean()) if kept.any() else 0.0,
        "accuracy_abstained": float(right[~kept].mean()) if (~kept).any() else 0.0,
    }


def rates(rows: Rows, probabilities: npt.NDArray[np.floating]) -> dict[str, list[int]]:
    """Sensitivity and specificity as [k, n] over physical particles, of those called `yes` or `no`.

    The images of one particle are not independent: each particle counts once, by the share of its images that were
    called rightly, so that n is the number of particles and the uncertainty is that of specimens.
    """
    called = probabilities.argmax(axis=1)
    yes, no = CLASSES.index("yes"), CLASSES.index("no")
    result = {}
    for name, true_class in (("sensitivity", yes), ("specificity", no)):
        chosen = (rows.classes == true_class) & np.isin(called, [yes, no])
        particles, inverse = np.unique(rows.particle[chosen], return_inverse=True)
        right = np.bincount(inverse, called[chosen] == true_class, len(particles))
        share = right / np.maximum(np.bincount(inverse, minlength=len(particles)), 1)
        result[name] = [round(float(share.sum())), len(particles)]
    return result


def strata_of(rows: Rows) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """(condition, stratum, rows) by dose, by microscope, and by what a session knows: the region's diameter."""
    strata: dict[str, list[str | None]] = {
        "dose": [band(float(dose), DOSES, "e/Å²") for dose in rows.dose],
        "microscope": [str(name) if name != "none" else None for name in rows.microscope],
        "diameter": [band(float(d), SIZES, "nm") for d in rows.diameter],
    }
    for condition, names in strata.items():
        label = np.array([name or "" for name in names])
        for stratum in sorted(set(label.tolist()) - {""}, key=row_order):
            yield condition, stratum, label == stratum


def rates_by_condition(
    rows: Rows, probabilities: npt.NDArray[np.floating]
) -> dict[str, dict[str, dict[str, list[int]]]]:
    """{condition: {stratum: `rates`}} over `strata_of`."""
    result: dict[str, dict[str, dict[str, list[int]]]] = {}
    for condition, stratum, here in strata_of(rows):
        result.setdefault(condition, {})[stratum] = rates(rows.of(here), probabilities[here])
    return result


def confusion(rows: Rows, probabilities: npt.NDArray[np.floating]) -> dict[str, Any]:
    """The confusion matrix as data (`models.confusion`), with the strata of `strata_of`; sure from `ABSTAIN_BELOW`."""
    return counted(rows.classes, probabilities, rows.particle, ABSTAIN_BELOW, strata_of(rows))
