"""Bundles with the same network, whose forests differ, on the same regions: `python -m models.studies.forests --help`.

The regions are those that the network marks on the test specimens of one or several data sets; nothing was learnt from
or chosen by them. Intervals are 95 % of a bootstrap over specimens.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import load_bundle
from models.errors import ModelError
from models.evaluation.class_scores import by_stratum, calibration_error_by_chance, strata_of
from models.evaluation.null_scores import ENOUGH, LEAKY
from models.evaluation.tables import Table, shown
from models.examples.collecting import Source, collect
from models.examples.rows import UNSCORED, Rows
from models.results import CLASSES
from models.studies.classifiers import HEADINGS, figures, leaked, resampled
from models.studies.output import add_outputs, show, write
from models.training.forest import finder_of


@dataclass(frozen=True)
class Judged:
    """What one bundle says of the regions."""

    bundle: str
    probabilities: npt.NDArray[np.float64]


def regions_of(bundle: Path, data: list[Path], keep: Path | None) -> list[tuple[str, Rows]]:
    """The scored regions of the test specimens of each data set, by its folder's name."""
    finder = finder_of(bundle)
    found = []
    for folder in data:
        rows = collect(Source((folder,), finder, keep=keep))
        found.append((folder.name, rows.of((rows.split == "test") & (rows.classes != UNSCORED))))
    return found


def compare(rows: Rows, judged: list[Judged], seed: int = 0) -> dict[str, Any]:
    """Figures of every bundle on the same regions, with intervals, by stratum, and the `null` of every specimen."""
    again = list(resampled(rows, [one.probabilities for one in judged], seed))
    result: dict[str, Any] = {"regions": len(rows.classes), "specimens": len(np.unique(rows.specimen))}
    for k, one in enumerate(judged):
        plain = figures(rows.classes, one.probabilities)
        told = {
            name: [value, *(float(q) for q in np.quantile([each[k][name] for each in again], [0.025, 0.975]))]
            for name, value in plain.items()
        }
        strata: dict[str, Any] = {}
        for what, name, here in strata_of(rows):
            label = np.where(here, name, "").tolist()
            strata |= {
                f"{what}, {name}": each
                for each in by_stratum(rows.classes, one.probabilities, label).values()
            }
        result[one.bundle] = {
            "figures": told,
            "by_chance": calibration_error_by_chance(one.probabilities),
            "strata": strata,
            "specimens": null_of_specimens(rows, one.probabilities),
        }
    return result


def null_of_specimens(rows: Rows, probabilities: npt.NDArray[np.floating]) -> dict[str, Any]:
    """Of specimens with at least `ENOUGH` regions of `null`: how many, how many leak more than `LEAKY`, the most."""
    leak = leaked(rows.classes, probabilities.argmax(axis=1))
    null = rows.classes == CLASSES.index("null")
    shares = [
        float(leak[null & (rows.specimen == name)].mean())
        for name in np.unique(rows.specimen[null])
        if (null & (rows.specimen == name)).sum() >= ENOUGH
    ]
    return {
        "specimens": len(shares),
        "over": sum(share > LEAKY for share in shares),
        "most": max(shares, default=0.0),
    }


def tables_of(name: str, result: dict[str, Any], bundles: list[str]) -> list[Table]:
    """What is printed of one data set."""
    rows = tuple(
        (
            bundle,
            *("{:.3f} ({:.3f} to {:.3f})".format(*value) for value in result[bundle]["figures"].values()),
            f"{result[bundle]['by_chance']:.3f}",
        )
        for bundle in bundles
    )
    title = f"{name}: {result['regions']} regions of {result['specimens']} specimens"
    null = tuple(
        (bundle, *(f"{value:.3g}" for value in result[bundle]["specimens"].values())) for bundle in bundles
    )
    heads = ("specimens", f"leak more than {LEAKY:g}", "largest share")
    strata = tuple(
        (
            stratum,
            str(told["regions"]),
            *(
                shown(result[bundle]["strata"][stratum][key], ".3f")
                for key in ("calibration_error", "by_chance", "leaks", "macro_f1")
                for bundle in bundles
            ),
        )
        for stratum, told in result[bundles[0]]["strata"].items()
    )
    means = ("calibration error", "by chance", "null leaks", "macro-F1")
    return [
        Table(title, (*HEADINGS, "calibration error by chance alone"), rows),
        Table(f"{name}: specimens with {ENOUGH} or more null regions", heads, null),
        Table(
            f"{name}, by stratum",
            ("regions", *(f"{mean}, {bundle}" for mean in means for bundle in bundles)),
            strata,
        ),
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.forests", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--data", type=Path, action="append", required=True, metavar="DIR", help="several")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="what is measured is kept here")
    add_outputs(parser)
    options = parser.parse_args(arguments)
    try:
        loaded = [load_bundle(path, "cpu") for path in options.bundles]
        if len({one.details["sha256"]["unet.safetensors"] for one in loaded}) > 1:
            parser.exit(1, "the bundles have different networks, so that their regions are not the same\n")
        everything: dict[str, Any] = {}
        for name, rows in regions_of(options.bundles[0], options.data, options.keep):
            judged = [
                Judged(str(one.details["name"]), np.asarray(one.forest(rows.features), np.float64))
                for one in loaded
            ]
            everything[name] = compare(rows, judged)
            show(tables_of(name, everything[name], [one.bundle for one in judged]), options)
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    write(everything, options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
