"""The reference of likeness of a bundle: `python -m models.training.likeness BUNDLE --data DIR`.

Made of a data set like the one that the bundle was trained on: where frame statistics lie is learnt from its train
split, where features lie from the rows that are kept beside the bundle; how far frames that were not learnt from
are from there is measured on the validation split. `models.quality.likeness` compares frames with it. The test
split then says how often a frame like the training is called unlike.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle, load_bundle
from models.errors import ModelError
from models.examples.rows import load_rows, rows_file
from models.examples.shards import examples_by_split
from models.features.measure import measure
from models.preprocess import standardise
from models.quality.likeness import UNLIKE, Likeness, Reference, frame_statistics
from models.quality.spectrum import spectrum_of
from models.segment import probability_maps, regions

AXES = 16
"""Directions of the largest variance that are kept; what is left over is noise of single features."""
QUANTILES = 201
"""Of the distances; with them the likeness is known to half a per cent."""


@dataclass(frozen=True)
class Judged:
    """One image of a data set as it is compared."""

    statistics: dict[str, float]
    features: list[dict[str, float]]
    """Of the regions that the border does not cut."""


def judged(bundle: Bundle, data: Path, splits: Sequence[str], most: int, seed: int) -> Iterator[Judged]:
    """At most so many images of these splits, drawn at random, as the bundle sees them."""
    examples = examples_by_split(data, splits)
    rng = np.random.default_rng(seed)
    step = bundle.preprocessing.pixel_size_nm
    for i in rng.permutation(len(examples))[:most]:
        raw = examples.images[i].astype(np.float32)
        image = standardise(raw, bundle.preprocessing)
        maps = probability_maps(image, bundle.network)
        labels = regions(maps, step, bundle.segmentation)
        spectrum = spectrum_of(raw, step, image, step)
        statistics = None if spectrum is None else frame_statistics(spectrum, image, maps[0])
        if statistics is None:
            continue
        cut = set(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]).tolist())
        measured = measure(image, labels, step)
        yield Judged(statistics, [m.values for n, m in enumerate(measured, start=1) if n not in cut])


def reference(
    names: Sequence[str], learnt: npt.NDArray[np.floating], check: npt.NDArray[np.floating]
) -> dict[str, Any]:
    """Plain values of a `Reference`.

    Parameters
    ----------
    learnt : (R, N) values from which the centre, the spread and the axes are taken.
    check : (S, N) values of the validation split.
    """
    low, centre, high = np.quantile(learnt, (0.1587, 0.5, 0.8413), axis=0)
    spread = np.maximum((high - low) / 2, 0.1 * learnt.std(axis=0) + 1e-6)
    plain = Reference(tuple(names), centre, spread, np.eye(len(names)), np.array([0.0, 1.0]))
    values, vectors = np.linalg.eigh(np.cov(plain.normal(learnt), rowvar=False))
    kept = np.argsort(values)[::-1][: min(AXES, len(names))]
    axes = (vectors[:, kept] / np.sqrt(np.maximum(values[kept], 1e-3))).T
    told = {
        "names": list(names),
        "centre": _rounded(centre),
        "spread": _rounded(spread),
        "axes": [_rounded(axis) for axis in axes],
        "distances": [0.0, 1.0],
    }
    distances = Reference.read(told).squared(check)
    return told | {"distances": _rounded(np.quantile(distances, np.linspace(0, 1, QUANTILES)))}


def _rounded(values: npt.NDArray[np.floating]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def rank_correlation(ranks: Sequence[npt.NDArray[np.floating]]) -> float:
    """Correlation of two ranks (uniform from 0 to 1) in one frame, 0 to 1, from the ranks of each frame."""
    centred = [np.asarray(each) - 0.5 for each in ranks if len(each) > 1]
    pairs = sum(len(each) * (len(each) - 1) for each in centred)
    if pairs == 0:
        return 1.0
    products = sum(float(each.sum() ** 2 - (each**2).sum()) for each in centred)
    return float(np.clip(12 * products / pairs, 0, 1))


def make(
    bundle_path: Path, data: Path, *, most: int = 1500, seed: int = 1
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The reference of a bundle, as its manifest keeps it, and how often it calls frames of the test split unlike.

    Parameters
    ----------
    data : labelled data set with all three splits.
    most : images that are taken of each split.

    Raises
    ------
    ModelError
        A split has no image, or none that is large enough to be compared.
    """
    bundle = load_bundle(bundle_path, "cpu")
    learn, check, test = (
        list(judged(bundle, data, [split], most, seed)) for split in ("train", "validation", "test")
    )
    if not (learn and check):
        raise ModelError(
            f"{data} has no image that is large enough to be compared, in its train or validation split"
        )
    names = list(learn[0].statistics)
    tables = [np.array([[each.statistics[n] for n in names] for each in part]) for part in (learn, check)]
    frames = reference(names, *tables)

    features = bundle.feature_names
    beside = rows_file(bundle_path)
    if beside.is_file():
        rows = load_rows(beside)[0]
        learnt = rows.features[:, [rows.names.index(n) for n in features]].astype(np.float64)
    else:
        learnt = _table(learn, features)
    particles = reference(features, np.nan_to_num(learnt), _table(check, features))
    ranks = [Reference.read(particles).likeness(_table([each], features)) for each in check if each.features]
    told = {"frames": frames, "particles": particles, "correlation": round(rank_correlation(ranks), 3)}
    likeness = Likeness.read(told)
    assert likeness is not None
    called = [bool(likeness.judge(each.statistics, each.features).get("unlike")) for each in test]
    figures = {"unlike_below": UNLIKE, "test_frames": len(called), "called_unlike": sum(called)}
    return told | {"figures": figures}, figures


def _table(frames: Sequence[Judged], names: Sequence[str]) -> npt.NDArray[np.float64]:
    """(R, N) features of all regions."""
    rows = [[each[name] for name in names] for frame in frames for each in frame.features]
    return np.nan_to_num(np.array(rows, np.float64).reshape(len(rows), len(names)))


def put(bundle_path: Path, told: dict[str, Any]) -> None:
    """Write a reference into the manifest of a bundle; nothing that judges a particle changes, nor the identity."""
    manifest = bundle_path / "bundle.json"
    details = json.loads(manifest.read_text(encoding="utf-8"))
    partial = manifest.with_suffix(".partial")
    partial.write_text(json.dumps({**details, "likeness": told}, indent=1) + "\n", encoding="utf-8")
    partial.replace(manifest)


def main(arguments: list[str] | None = None) -> int:
    """Make the reference of a bundle and put it there."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training.likeness", description=__doc__.splitlines()[0]
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="its folder; bundle.json is written anew")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a labelled data set")
    parser.add_argument("--most", type=int, default=1500, metavar="N", help="images of each split (1500)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the draw (1)")
    options = parser.parse_args(arguments)
    told, figures = make(options.bundle, options.data, most=options.most, seed=options.seed)
    put(options.bundle, told)
    print(
        f"of {figures['test_frames']} frames of the test split {figures['called_unlike']} are called unlike "
        f"(asked: {figures['unlike_below']:.0%})"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
