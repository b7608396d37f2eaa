"""The whole chain on the hard set: `python -m models.studies.hard BUNDLE --data DATA`.

The hard set is what a poor session makes of the test specimens (`models.studies.crops.harder`): a second film, a
softer camera, drift, the pixel size wrong by up to 5 %, 30 e⁻/Å². Everything follows from the seed. Of `yes` and `no`
particles those are scored whose fringes are still seen by the truth's own rule. The same images as they are stand
beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle, load_bundle
from models.errors import ModelError
from models.evaluation.chain import Chain
from models.evaluation.class_scores import calibration_error_by_chance
from models.evaluation.evaluate import judge_of
from models.evaluation.tables import Table, shown
from models.examples.shards import Examples, examples_by_split
from models.examples.strata import EMPTY_PRESETS, MICROSCOPES, preset_of
from models.results import CLASSES
from models.runtime import one_opencv_thread
from models.studies.classifiers import leaked
from models.studies.crops import HARD_DOSE, HARD_SEEN, Image, bare_frames, harder
from models.studies.forest_report import figures
from models.studies.output import add_outputs, show, write

BAR = 0.80
"""Of macro-F1 on the hard set."""


def made_hard(data: Examples, chosen: Sequence[int], bare: list[Image], seed: int) -> Examples:
    """The chosen images as a poor session gives them; `yes` and `no` that nobody could tell there have no class."""
    images, labels, about = [], [], []
    for i in chosen:
        rng, told = np.random.default_rng([seed, i]), data.about[i]
        dose = float(told["conditions"]["dose_e_per_A2"])
        film = bare[int(rng.integers(len(bare)))]
        image, truth, left = harder(data.images[i].astype(np.float32), data.labels[i], dose, film, rng)
        images.append(image)
        labels.append(truth)
        particles = [
            {**p, "class": None} if p["class"] in ("yes", "no") and p["snr"] * left < HARD_SEEN else p
            for p in told["particles"]
        ]
        conditions = {**told["conditions"], "dose_e_per_A2": min(dose, HARD_DOSE)}
        about.append({**told, "conditions": conditions, "particles": particles})
    return replace(data, images=np.array(images, np.float16), labels=np.array(labels), about=about)


def suited(data: Examples, most: int, seed: int) -> npt.NDArray[np.int64]:
    """Images with particles under the microscopes for which the bars hold: `most` of them, by the seed."""
    good = [
        i
        for i, about in enumerate(data.about)
        if preset_of(about) not in EMPTY_PRESETS and about["conditions"]["microscope"] in MICROSCOPES
    ]
    return np.sort(np.random.default_rng([seed, 3]).permutation(good)[:most]).astype(np.int64)


def judged(bundle: Bundle, data: Examples, chosen: Sequence[int], seed: int) -> dict[str, Any]:
    """Figures of the whole chain on images: `models.studies.forest_report.figures`, with the particles that no region
    covers, and the mean of the four recalls."""
    from tqdm import tqdm

    by, chain = judge_of(bundle), Chain(bundle, data)
    for i in tqdm(chosen, unit="image", disable=None):
        image = by.prepare(data.images[i])
        chain.add(i, image, by.regions(data.images[i]))
    truths, p, specimens = chain.judged()
    told = chain.scores()
    missed = np.array([told["missed"].get(name, 0) for name in CLASSES])
    matrix = np.array(told["confusion"])
    recalls = np.diag(matrix) / np.maximum(matrix.sum(axis=1) + missed, 1)
    null = truths == CLASSES.index("null")
    return {
        **figures(truths, p.astype(np.float64), specimens, seed),
        "missed": told["missed"],
        "macro_f1_with_misses": told["macro_f1_with_misses"],
        "balanced_accuracy": float(np.mean(list(told["recall"].values()))),
        "balanced_accuracy_with_misses": float(recalls.mean()),
        "null_leaks": float(leaked(truths, p.argmax(axis=1)).sum() / max(1, null.sum())),
        "by_chance": calibration_error_by_chance(p),
    }


def study(bundle: Bundle, data: Path, most: int, seed: int = 0) -> dict[str, Any]:
    """`hard` and `as they are`: `judged` of the same test images."""
    test = examples_by_split(data, ["test"])
    chosen = suited(test, most, seed)
    with one_opencv_thread():
        hard = made_hard(test, chosen.tolist(), bare_frames(data), seed)
        return {
            "images": len(chosen),
            "specimens": len({test.about[i]["specimen"] for i in chosen}),
            "seed": seed,
            "data": test.digest,
            "as they are": judged(bundle, test, chosen.tolist(), seed),
            "hard": judged(bundle, hard, range(len(hard)), seed),
        }


def tables_of(result: dict[str, Any]) -> list[Table]:
    """What is printed, the bar beside its figure."""
    headings = (
        "regions", "macro-F1", "95 %", "bar", "with misses", "balanced accuracy", "with misses", "null leaks",
        "calibration error", "by chance alone",
    )  # fmt: skip
    rows, confusions = [], []
    for name in ("as they are", "hard"):
        f = result[name]
        bar = f"≥ {BAR:g} {'met' if f['macro_f1'] >= BAR else 'NOT met'}" if name == "hard" else ""
        rows.append(
            (
                name,
                str(f["regions"]),
                f"{f['macro_f1']:.3f}",
                "{:.3f} to {:.3f}".format(*f["macro_f1_interval"]),
                bar,
                *(
                    shown(f[key], ".3f")
                    for key in (
                        "macro_f1_with_misses", "balanced_accuracy", "balanced_accuracy_with_misses",
                        "null_leaks", "calibration_error", "by_chance",
                    )
                ),
            )
        )  # fmt: skip
        confusions.append(
            Table(
                f"{name}: true \\ called",
                (*CLASSES, "no region", "recall"),
                tuple(
                    (
                        c,
                        *(str(n) for n in f["confusion"][k]),
                        str(f["missed"].get(c, "–")),
                        f"{f['recall'][c]:.3f}",
                    )
                    for k, c in enumerate(CLASSES)
                ),
            )
        )
    title = f"{result['images']} images of {result['specimens']} test specimens"
    return [Table(title, headings, tuple(rows)), *confusions]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.hard", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="a simulated data set")
    parser.add_argument("--images", type=int, default=400, help="judged at the most (400)")
    parser.add_argument("--seed", type=int, default=0)
    add_outputs(parser)
    options = parser.parse_args(arguments)
    try:
        result = study(load_bundle(options.bundle, "cpu"), options.data, options.images, options.seed)
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    write(result, options)
    show(tables_of(result), options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
