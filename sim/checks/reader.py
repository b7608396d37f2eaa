"""How much of a forest's error is the image's own: `python -m sim.checks.reader --help`.

The specimens and images of `sim.checks.observer`. The truth is that of the image as it was recorded; the forest then
names the class from the network's outlines on that image, from the true outlines, and from the true outlines on the
same image taken with many electrons and without any noise. What is still called wrongly there is no matter of outlines
or electrons: the fault is not in the image, or the forest can't read it.

`yes` stands in two rows more. Where the plane that resolves the stacking is not that of the fault (`hidden`), as in a
cubic crystal with four {111}, the fault shows in no sequence of layers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle, load_bundle
from models.errors import ModelError
from models.evaluation.class_scores import scores
from models.evaluation.evaluate import judge_of
from models.evaluation.judge import Judge
from models.evaluation.tables import Table
from models.examples.rows import truth_of_regions
from models.examples.strata import band
from models.features.measure import measure
from models.forest import as_rows
from models.results import CLASSES
from models.runtime import one_opencv_thread
from sim.checks.observer import MANY, Exposed, exposures
from sim.specimen.truth import UNRESOLVED

Labels = npt.NDArray[np.int32]

WAYS = ("network's outlines", "true outlines", f"true, at {MANY:g} e/Å²", "true, noise-free image")
SIGNALS = tuple(pairwise((1.5, 3.0, 5.0, 8.0, 12.0, inf)))
"""Signal to noise of a layer's fringe (`sim.specimen.truth.fringe_signal_to_noise`)."""
DEPTHS = tuple(pairwise((0.0, 3.0, 6.0, inf)))
"""Whole layers between the deepest fault and the nearer cap."""
TRUE = ("null", "no", "yes")


@dataclass(frozen=True)
class Read:
    """One particle in one image, with what the forest says of it (4,) in each of `WAYS`; `None`: no region."""

    truth: dict[str, Any]
    probabilities: tuple[npt.NDArray[np.float64] | None, ...]

    @property
    def rows(self) -> Iterator[str]:
        """Of the table, those in which it counts."""
        name, snr = str(self.truth["class"]), float(self.truth["snr"])
        yield name
        if name == "null":
            geometry = self.truth["resolved_weight"] <= UNRESOLVED
            yield "null by its orientation" if geometry else "null by noise"
            return
        if name == "yes":
            shown = self.truth["resolved_plane"] == "own"
            yield f"yes, {'shown' if shown else 'hidden'}"
            if shown:
                depth = max(float(fault["depth_layers"]) for fault in self.truth["faults"])
                yield f"yes, layers {band(depth, DEPTHS, '')}".strip()
        yield f"{name}, signal {band(snr, SIGNALS, '')}".strip()


def whole_ones(image: Exposed) -> Labels:
    """(H, W) the scored particles that the border does not cut, with the labels of the truth."""
    cut = np.concatenate([image.labels[0], image.labels[-1], image.labels[:, 0], image.labels[:, -1]])
    scored = [t["label"] for t in image.truth if t["class"] and t["label"] not in cut]
    return np.where(np.isin(image.labels, scored), image.labels, 0).astype(np.int32)


def read(bundle: Bundle, images: Iterable[Exposed]) -> list[Read]:
    """What the forest of a bundle says of every scored particle of the images, in each of `WAYS`."""
    by, found = judge_of(bundle), []
    for image in images:
        true, told = whole_ones(image), {t["label"]: t for t in image.truth}
        marked = by.regions(image.counts[0])
        particles = [{**t, "whole": bool((true == t["label"]).any())} for t in image.truth]
        of_network = {label: region for region, _, label in truth_of_regions(marked, image.labels, particles)}
        ways = [(image.counts[0], marked, of_network)]
        regions, labels = _numbered(true)
        ways += [(counts, regions, labels) for counts in image.counts]
        said = [_said(bundle, by, counts, regions, numbers) for counts, regions, numbers in ways]
        found += [Read(told[label], tuple(each.get(label) for each in said)) for label in labels]
    return found


def _numbered(true: Labels) -> tuple[Labels, dict[int, int]]:
    """Regions numbered from 1 without gaps, and the number of each label."""
    labels = {label: n for n, label in enumerate(np.unique(true[true > 0]).tolist(), start=1)}
    regions = np.zeros_like(true)
    for label, n in labels.items():
        regions[true == label] = n
    return regions, labels


def _said(
    bundle: Bundle, by: Judge, counts: npt.NDArray[Any], regions: Labels, numbers: dict[int, int]
) -> dict[int, npt.NDArray[np.float64]]:
    """{label: probabilities (4,)} of the regions that stand for a particle."""
    if not numbers:
        return {}
    measured = measure(by.prepare(counts), regions, by.pixel_size_nm)
    rows = as_rows([one.values for one in measured], bundle.feature_names)
    probabilities = np.asarray(bundle.forest(rows), np.float64)
    return {label: probabilities[number - 1] for label, number in numbers.items()}


def figures(particles: Sequence[Read]) -> dict[str, Any]:
    """Particles and the share called right by row and way; macro-F1 of `TRUE` by way.

    A particle without a region counts as called `empty`.
    """
    truth = np.array([CLASSES.index(one.truth["class"]) for one in particles])
    called = np.zeros((len(particles), len(WAYS)), int)
    for n, one in enumerate(particles):
        nothing = np.eye(len(CLASSES))[CLASSES.index("empty")]
        called[n] = [int(np.argmax(nothing if p is None else p)) for p in one.probabilities]
    rows = [set(one.rows) for one in particles]
    names = sorted({name for some in rows for name in some}, key=_order)
    right = called == truth[:, None]
    shares = {}
    for name in names:
        here = np.array([name in some for some in rows])
        shares[name] = {"particles": int(here.sum()), "right": right[here].mean(axis=0).tolist()}
    f1 = [scores(truth, np.eye(len(CLASSES))[called[:, way]])["f1"] for way in range(len(WAYS))]
    return {"right": shares, "macro_f1": [float(np.mean([one[name] or 0.0 for name in TRUE])) for one in f1]}


def _order(name: str) -> tuple[int, int, float, str]:
    """Classes in the order of `TRUE`: each whole, then its kinds, then layers and signal by their bands."""
    kinds = ("layers", "signal")
    kind = next((k for k, word in enumerate(kinds, start=2) if word in name), int(name not in TRUE))
    first = name.replace("from ", "").split(f"{kinds[kind - 2]} ")[-1].split(" ")[0] if kind > 1 else "0"
    return TRUE.index(name.split(",")[0].split(" ")[0]), kind, float(first), name


def table_of(result: dict[str, Any]) -> Table:
    """What is printed."""
    rows = [
        (name, str(told["particles"]), *(f"{share:.3f}" for share in told["right"]))
        for name, told in result["right"].items()
    ]
    macro = (f"macro-F1 of {', '.join(TRUE)}", "", *(f"{value:.3f}" for value in result["macro_f1"]))
    return Table("called right", ("particles", *WAYS), (*rows, macro))


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.checks.reader", description="Which of a forest's errors are the image's own."
    )
    parser.add_argument(
        "bundles", type=Path, nargs="+", metavar="BUNDLE", help="one or several, on the same images"
    )
    parser.add_argument(
        "--slabs", type=Path, metavar="DIR", required=True, help="folder of carbon, made there"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="gets reader.json and reader.md"
    )
    parser.add_argument("--specimens", type=int, default=60)
    parser.add_argument("--draws", type=int, default=5, help="images of each specimen (5)")
    parser.add_argument("--seed", type=int, default=31)
    options = parser.parse_args(arguments)
    try:
        bundles = [load_bundle(path, "cpu") for path in options.bundles]
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    with one_opencv_thread():
        images = list(exposures(options.slabs, options.seed, options.specimens, options.draws))
        results = {bundle.id: figures(read(bundle, images)) for bundle in bundles}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "reader.json").write_text(json.dumps(results, indent=1))
    tables = {name: table_of(result) for name, result in results.items()}
    (options.out / "reader.md").write_text(
        "\n\n".join(f"{name}\n\n{table.as_markdown()}" for name, table in tables.items()) + "\n"
    )
    print("\n\n".join(f"{name}\n{table.as_text()}" for name, table in tables.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
