"""Honest scores of a bundle: on simulated specimens that training never saw, and on frames with masks of your own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.augment import NEGATIVES
from models.bundle import Bundle, describe, load_bundle
from models.features import measure
from models.forest import as_rows
from models.preprocess import standardise
from models.results import CLASSES
from models.segment import probability_maps, regions
from models.shards import Examples, examples_by_split
from models.train_forest import scores, truth_of_regions

DOSES = ((30, 100), (100, 300), (300, 1500))
"""Limits of the doses in the tables [e⁻/Å²]."""


def dice(marked: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """2 |A ∩ B| / (|A| + |B|); 1 where both are empty."""
    total = int(marked.sum()) + int(truth.sum())
    return 2 * int((marked & truth).sum()) / total if total else 1.0


def matched_instances(found: npt.NDArray[np.int32], truth: npt.NDArray[np.uint8]) -> tuple[int, int, int]:
    """(matched, found, true) instances of an image, matched where intersection over union is at least 0.5.

    At that threshold no two regions can match the same particle. Particles under 50 px (a 0.4 nm disc) do not count.
    """
    count = int(found.max(initial=0))
    areas = np.bincount(found.ravel(), minlength=count + 1)
    true_areas = np.bincount(truth.ravel(), minlength=256)
    joint = np.zeros((count + 1, 256), np.int64)
    np.add.at(joint, (found.ravel(), truth.ravel()), 1)
    union = areas[1:, None] + true_areas[None, 1:] - joint[1:, 1:]
    matched = int((joint[1:, 1:] >= 0.5 * np.maximum(union, 1)).sum()) if count else 0
    return matched, count, int((true_areas[1:] >= 50).sum())


def evaluate(bundle: Path | None = None, data: Path | None = None, most: int = 1000) -> dict[str, Any]:
    """Scores of a bundle.

    Parameters
    ----------
    bundle : its folder; `None`: the shipped one.
    data : a data set, whose test split is judged; `None`: the scores that the bundle carries.
    most : judge so many images at the most, spread evenly over the split.

    Raises
    ------
    BundleRefused, ModelError
        No such bundle or data set.
    """
    bundle_id, details = describe(bundle)
    result: dict[str, Any] = {"bundle": bundle_id}
    if data is None:
        return {
            **result,
            "source": "the bundle's own record",
            **details["metrics"],
            "rates": details["rates"],
        }
    loaded = load_bundle(bundle, "cpu")
    held_out = examples_by_split(data, ["test"])
    chosen = np.unique(np.linspace(0, len(held_out) - 1, min(most, len(held_out))).astype(int))
    result["source"] = (
        f"{len(chosen)} images of {len({held_out.about[i]['specimen'] for i in chosen})} test specimens"
    )
    result["segmentation"], result["classification"] = _judge(loaded, held_out, chosen)
    result["false_area"] = false_areas(loaded)
    return result


def _judge(
    bundle: Bundle, data: Examples, chosen: npt.NDArray[np.int64]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Segmentation scores by condition, and the whole chain's classification scores."""
    from tqdm import tqdm

    step = bundle.preprocessing.pixel_size_nm
    tally: dict[str, npt.NDArray[np.float64]] = {}
    truths, probabilities, doses = [], [], []
    confidence = np.zeros((10, 3))
    for i in tqdm(chosen, unit="image", disable=None):
        image = standardise(data.images[i].astype(np.float32), bundle.preprocessing)
        truth, about = data.labels[i], data.about[i]
        maps = probability_maps(image, bundle.network)
        found = regions(maps, step, bundle.segmentation)
        matched, count, true_count = matched_instances(found, truth)
        inside, marked = truth > 0, found > 0
        figures = np.array(
            [2 * (inside & marked).sum(), inside.sum() + marked.sum(), matched, count, true_count],
            dtype=float,
        )
        conditions = about["conditions"]
        for name in _strata(conditions, float(about["carbon_nm"])):
            tally[name] = tally.get(name, np.zeros(5)) + figures
        level = np.minimum((maps[0] * 10).astype(int), 9).ravel()
        for column, values in enumerate((None, maps[0].ravel(), inside.ravel())):
            confidence[:, column] += np.bincount(level, values, 10)
        scored = list(truth_of_regions(found, truth, about["particles"]))
        if scored:
            measured = measure(image, found, step)
            p = bundle.forest(as_rows([measured[r - 1].values for r, _, _ in scored], bundle.feature_names))
            truths += [CLASSES.index(name) for _, name, _ in scored]
            probabilities.append(p)
            doses += [float(conditions["dose_e_per_A2"])] * len(scored)
    n = np.maximum(confidence[:, 0], 1)
    error = float(
        (confidence[:, 0] * np.abs(confidence[:, 1] - confidence[:, 2]) / n).sum() / confidence[:, 0].sum()
    )
    segmentation: dict[str, Any] = {"pixel_calibration_error": error, "by_condition": {}}
    for name, (both, total, matched, count, true_count) in sorted(tally.items()):
        segmentation["by_condition"][name] = {
            "dice": both / max(total, 1),
            "instance_f1": 2 * matched / max(count + true_count, 1),
        }
    segmentation |= segmentation["by_condition"].pop("all")
    rows = np.array(truths, dtype=np.int64)
    p = np.concatenate([np.zeros((0, len(CLASSES)), np.float32), *probabilities])
    classification = scores(rows, p)
    classification["by_dose"] = {
        f"{low} to {high} e/Å²": scores(rows[here], p[here])["macro_f1"]
        for low, high in DOSES
        if (here := (np.array(doses) >= low) & (np.array(doses) < high)).any()
    }
    return segmentation, classification


def _strata(conditions: dict[str, Any], carbon_nm: float) -> Iterator[str]:
    """Names of the table's rows that an image belongs to."""
    yield "all"
    yield f"microscope: {conditions['microscope']}"
    for low, high in DOSES:
        if low <= conditions["dose_e_per_A2"] < high:
            yield f"dose: {low} to {high} e/Å²"
    yield "carbon: up to 5 nm" if carbon_nm <= 5 else "carbon: over 5 nm"
    if conditions["dose_e_per_A2"] >= 400 and carbon_nm <= 5:
        yield "dose from 400 e/Å², carbon up to 5 nm"


def false_areas(bundle: Bundle, each: int = 40, seed: int = 4242) -> dict[str, float]:
    """Share of the area that is marked on frames that hold nothing, by kind; the seed is not training's."""
    shares = {}
    for number, (kind, make) in enumerate(NEGATIVES.items()):
        total = 0.0
        for n in range(each):
            image = standardise(make(256, np.random.default_rng([seed, number, n])), bundle.preprocessing)
            found = regions(
                probability_maps(image, bundle.network),
                bundle.preprocessing.pixel_size_nm,
                bundle.segmentation,
            )
            total += float((found > 0).mean())
        shares[kind] = total / each
    return shares


def as_text(result: dict[str, Any]) -> str:
    """The scores as a table to read."""
    lines = [f"bundle {result['bundle']}: {result['source']}"]
    if "segmentation" in result:
        seg = result["segmentation"]
        lines.append(f"{'segmentation':44} Dice   instance F1")
        for name, row in {"all": seg, **seg["by_condition"]}.items():
            lines.append(f"  {name:42} {row['dice']:.3f}  {row['instance_f1']:.3f}")
        lines.append(f"  expected calibration error of the pixels   {seg['pixel_calibration_error']:.3f}")
        lines += [f"  false area on {kind:28} {share:.4f}" for kind, share in result["false_area"].items()]
    tables = {"whole chain": result.get("classification"), "cross-validation": result.get("cross_validation")}
    tables["held-out specimens"] = result.get("held_out")
    for title, table in tables.items():
        if table is None:
            continue
        lines.append(
            f"{title}: macro-F1 {table['macro_f1']:.3f} over {table['regions']} regions, "
            f"calibration error {table['calibration_error']:.3f}"
        )
        lines.append("  true \\ called " + "".join(f"{name:>8}" for name in CLASSES) + "   recall  precision")
        for i, name in enumerate(CLASSES):
            counts = "".join(f"{n:8d}" for n in table["confusion"][i])
            lines.append(
                f"  {name:13} {counts}   {table['recall'][name]:.3f}   {table['precision'][name]:.3f}"
            )
    return "\n".join(lines)
