"""How true a forest's probabilities are, and of which population: `python -m models.studies.calibration --help`.

A call is right more often where its class is more frequent, so probabilities are those of a population. A data set
holds fewer `null` particles than sessions do. Errors are told of the regions as they are, and as if each `null` region
were there several times. The rows are those that a bundle's training kept beside it: the training's, each judged by a
forest that has not seen its specimen, and the validation's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import describe
from models.errors import ModelError
from models.evaluation.class_scores import calibration_error, calibration_error_by_chance, strata_of
from models.evaluation.tables import Table
from models.examples.rows import Rows, load_rows, rows_file
from models.forest import load_forest, sharpened, votes_of
from models.results import CLASSES
from models.studies.output import add_outputs, show, write
from models.training.forest import cross_validate
from models.training.forest_file import EMPTY_WEIGHS, NULL_WEIGHS, Grower

NULL = CLASSES.index("null")
EXPONENTS = (1.0, 1.1, 1.2, 1.3, 1.5)
NULL_TIMES = (1.0, 2.0, 4.0, 8.0)
"""So many times as many `null` regions."""
LEAST = 700
"""Regions of a stratum from which its error is held against a bar: with fewer, chance alone comes near to .03."""
DRAWS = 100
"""Of specimens, to see what a set of another size would show."""
Votes = npt.NDArray[np.float64]


def errors(rows: Rows, probabilities: Votes, times: float, least: int = LEAST) -> dict[str, Any]:
    """Of a population with so many `times` as many `null`: the calibration error, how much more often calls are right
    than they say (`more`), and the largest error of a stratum of at least so many regions, with its name."""
    truth = rows.classes
    weights = np.where(truth == NULL, times, 1.0)
    more = (probabilities.argmax(axis=1) == truth) - probabilities.max(axis=1)
    strata = [
        (calibration_error(truth[here], probabilities[here], null_weighs=times), name)
        for _, name, here in strata_of(rows)
        if here.sum() >= least
    ]
    worst, where = max(strata, default=(0.0, ""))
    return {
        "null_share": float(weights[truth == NULL].sum() / weights.sum()),
        "error": calibration_error(truth, probabilities, null_weighs=times),
        "more": float(np.average(more, weights=weights)),
        "largest": worst,
        "where": where,
    }


def by_class(rows: Rows, probabilities: Votes, times: float) -> dict[str, float]:
    """How much more often the calls of each class are right than they say."""
    called, weights = probabilities.argmax(axis=1), np.where(rows.classes == NULL, times, 1.0)
    more = (called == rows.classes) - probabilities.max(axis=1)
    return {
        name: float(np.average(more[called == k], weights=weights[called == k]))
        for k, name in enumerate(CLASSES)
        if (called == k).any()
    }


def smaller_sets(rows: Rows, probabilities: Votes, specimens: int, least: int, seed: int) -> dict[str, Any]:
    """What sets of so many of the specimens, drawn whole, show: `regions`, and 5, 50 and 95 % of their calibration
    `error` and of the `largest` of a stratum of at least so many regions."""
    rng = np.random.default_rng(seed)
    names, member = np.unique(rows.specimen, return_inverse=True)
    found, regions = [], []
    for _ in range(DRAWS):
        here = np.isin(member, rng.choice(len(names), min(specimens, len(names)), replace=False))
        told = errors(rows.of(here), probabilities[here], 1.0, least)
        found.append((told["error"], told["largest"]))
        regions.append(int(here.sum()))
    quantiles = np.quantile(np.array(found), [0.05, 0.5, 0.95], axis=0)
    return {
        "specimens": min(specimens, len(names)),
        "regions": float(np.mean(regions)),
        "error": quantiles[:, 0].tolist(),
        "largest": quantiles[:, 1].tolist(),
    }


def study(bundle: Path, least: int = LEAST, seed: int = 1) -> dict[str, Any]:
    """Every figure: `sets` by name (`trained out of fold`, `validation`), each by exponent and by `NULL_TIMES`.

    Raises
    ------
    BundleRefused, ModelError
        No such bundle, or no rows beside it.
    """
    identity, details = describe(bundle)
    if not rows_file(bundle).is_file():
        raise ModelError(f"{bundle} has no rows beside it")
    learn, check = load_rows(rows_file(bundle))
    told = details["forest"]
    weighs = (float(told.get("null_weighs", NULL_WEIGHS)), float(told.get("empty_weighs", EMPTY_WEIGHS)))
    votes = cross_validate(learn, replace(Grower.of(told), seed=seed), *weighs)[learn.marked]
    learn, check = learn.of(learn.marked), check.of(check.split == "validation")
    votes_of_check = votes_of(load_forest(bundle / "forest.skops"), check.features)
    sharpening = float(details["sharpening"])
    exponents = sorted({*EXPONENTS, sharpening})
    sets = {"trained, out of fold": (learn, votes), "validation": (check, votes_of_check)}
    result: dict[str, Any] = {"bundle": identity, "sharpening": sharpening, "least": least, "sets": {}}
    for name, (rows, p) in sets.items():
        result["sets"][name] = {
            "regions": len(rows.classes),
            "by_chance": calibration_error_by_chance(sharpened(p, sharpening)),
            "by_exponent": {
                f"{g:g}": {f"{t:g}": errors(rows, sharpened(p, g), t, least) for t in NULL_TIMES}
                for g in exponents
            },
            "by_class": {f"{t:g}": by_class(rows, sharpened(p, sharpening), t) for t in NULL_TIMES},
        }
    few = len(np.unique(check.specimen))
    result["smaller"] = smaller_sets(learn, sharpened(votes, sharpening), few, max(1, least // 9), seed)
    return result


def tables_of(result: dict[str, Any]) -> list[Table]:
    """What is printed."""
    tables = []
    for name, told in result["sets"].items():
        title = f"{name}: {told['regions']} regions, by chance alone {told['by_chance']:.3f}"
        rows = tuple(
            (
                f"exponent {g}{' (in use)' if float(g) == result['sharpening'] else ''}, null × {t}",
                f"{f['null_share']:.2f}",
                f"{f['error']:.3f}",
                f"{f['more']:+.3f}",
                f"{f['largest']:.3f}",
                f["where"],
            )
            for g, mixes in told["by_exponent"].items()
            for t, f in mixes.items()
        )
        heads = (
            "share of null",
            "calibration error",
            "more often right than said",
            "largest in a stratum",
            "",
        )
        tables.append(Table(title, heads, rows))
        shares = tuple(
            (f"null × {t}", *(f"{classes[c]:+.3f}" if c in classes else "–" for c in CLASSES))
            for t, classes in told["by_class"].items()
        )
        tables.append(Table(f"{name}, more often right than said, by the class called", CLASSES, shares))
    few = result["smaller"]
    row = (
        f"{few['specimens']} specimens",
        f"{few['regions']:.0f}",
        _spread(few["error"]),
        _spread(few["largest"]),
    )
    columns = ("regions", "calibration error", "largest in a stratum")
    return [*tables, Table("what a smaller set shows (5 to 95 %)", columns, (row,))]


def _spread(quantiles: Sequence[float]) -> str:
    low, middle, high = quantiles
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.calibration", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--least", type=int, default=LEAST, help=f"regions of a stratum that counts ({LEAST})"
    )
    add_outputs(parser)
    options = parser.parse_args(arguments)
    try:
        result = study(options.bundle, options.least)
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    write(result, options)
    show(tables_of(result), options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
