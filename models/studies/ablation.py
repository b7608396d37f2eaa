"""The effect of preprocessing, randomisation and real frames: `python -m models.studies.ablation --help`.

Every variant is trained for the same number of steps from the same seed and judged alike: on the test split of the
data set, on frames that hold nothing and on real frames. The variant with real frames is trained once for each fold:
a fold's frames are left out of its training and judged by it alone. Frames of one film resemble each other, so even
the frames left out are less new to that variant than they would be to another laboratory's. Folder by folder, what
is done is kept: the same call goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from models.bundle import torch_network
from models.errors import ModelError
from models.evaluation.judge import Judge, choose, false_areas, judge
from models.evaluation.real import marked_on, scored
from models.evaluation.tables import Table, shown
from models.examples.real_frames import RealFrames, RealPair, read_pairs
from models.examples.shards import FORMAT, examples_by_split, shards_of
from models.examples.strata import in_range
from models.preprocess import Preprocessing
from models.segment import Calibration, Segmentation
from models.training.own_frames import TILE, at_canonical
from models.training.unet import Settings, train
from models.unet import Architecture, architecture_of

REAL = "real"
"""Preset of the shard that the real frames are put into."""
COLUMNS = (
    ("dice", "Dice, range", ".3f"),
    ("instance_f1", "instance F1", ".3f"),
    ("calibration_error", "calibration error", ".4f"),
    ("worst_negative", "worst negative", ".2%"),
)


@dataclass(frozen=True)
class Variant:
    """One way of training."""

    name: str
    settings: Settings
    folds: int = 0
    """With real frames, in so many folds; 0: simulation alone."""


def variants(settings: Settings, folds: int) -> list[Variant]:
    """The variants that are compared; the first is how the shipped network is trained."""
    return [
        Variant("simulation", settings),
        Variant("without preprocessing", replace(settings, preprocess=False)),
        Variant("without randomisation", replace(settings, randomise=False)),
        Variant("simulation and real frames", settings, folds),
    ]


def network_of(run: Path, device: str) -> Judge:
    """A trained network from its folder, with the preprocessing that it was trained with; not calibrated."""
    training = json.loads((run / "training.json").read_text())
    return Judge(
        torch_network(run, architecture_of(training), device),
        Preprocessing(**training["preprocessing"]),
        Segmentation(),
        Calibration(),
    )


def tiles_of(pair: RealPair, pixel_size_nm: float) -> list[tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]]:
    """Tiles (256, 256) of a real frame at a data set's sampling, image and instances; mirrored where it is smaller."""
    _, parts = cv2.connectedComponents(pair.mask.astype(np.uint8))
    image, instances = at_canonical(
        pair.image.astype(np.float32), parts, pair.pixel_size_nm, Preprocessing(pixel_size_nm)
    )
    labels = np.where(instances > 0, (instances - 1) % 255 + 1, 0).astype(np.uint8)
    starts = [sorted({*range(0, n - TILE + 1, TILE), n - TILE}) for n in image.shape]
    window = [(slice(r, r + TILE), slice(c, c + TILE)) for r in starts[0] for c in starts[1]]
    return [(image[w], labels[w]) for w in window]


def mixed_data(data: Path, pairs: Sequence[RealPair], out: Path) -> Path:
    """A data set of links to the shards of `data` and one more shard with real frames; returns its folder."""
    out.mkdir(parents=True, exist_ok=True)
    shards = shards_of(data)
    for shard in shards:
        link = out / shard.name
        link.unlink(missing_ok=True)
        try:
            os.symlink(shard.resolve(), link)
        except OSError:  # a system that lets nobody make symbolic links
            os.link(shard, link)
    with h5py.File(shards[0]) as first:
        pixel_size_nm = float(first.attrs["pixel_size_nm"])
    images, labels, about = [], [], []
    for number, pair in enumerate(pairs):
        for image, truth in tiles_of(pair, pixel_size_nm):
            images.append((image / max(float(image.mean()), 1e-6)).astype(np.float16))
            labels.append(truth)
            about.append(json.dumps(_told_of(number)))
    with h5py.File(out / f"{REAL}-00000.h5", "w") as shard:
        shard.attrs.update({"format": FORMAT, "pixel_size_nm": pixel_size_nm, "seed": 0, "preset": REAL})
        shard.create_dataset("images", data=np.stack(images))
        shard.create_dataset("labels", data=np.stack(labels))
        shard.create_dataset("about", data=about, dtype=h5py.string_dtype())
    return out


def _told_of(number: int) -> dict[str, Any]:
    return {
        "specimen": f"{REAL}-0-{number}",
        "split": "train",
        "carbon_nm": 0.0,
        "support": "real frame",
        "conditions": {"microscope": "unknown", "dose_e_per_A2": 0.0, "energy_kev": 0.0},
        "particles": [],
    }


def figures_of(by: Judge, data: Path, most: int, seed: int) -> dict[str, float | None]:
    """What a network is worth on the test split of a data set and on frames that hold nothing."""
    from models.evaluation.evaluate import figures_of as all_figures

    held_out = examples_by_split(data, ["test"])
    judgement = judge(by, held_out, choose(held_out, most, seed))
    figures = all_figures(judgement, by.calibration, seed)
    # Few images may hold none in the range of the bars; then every image that may hold particles counts.
    within = figures["range"] if any(in_range(v.about) for v in judgement.verdicts) else figures
    kept = figures["pixel_calibration"]
    return {
        "dice": within["dice"],
        "instance_f1": within["instance_f1"],
        "calibration_error": kept["range" if "range" in kept else "all"]["error"],
        "worst_negative": max(false_areas(by, each=16, seed=seed + 4242).values()),
    }


def run_variant(
    variant: Variant,
    data: Path,
    pairs: dict[str, list[RealPair]],
    out: Path,
    most: int,
    device: str,
    start_from: Path | None,
) -> dict[str, Any]:
    """Train a variant and judge it; returns its figures, which are kept in `out/figures.json`."""
    kept = out / "figures.json"
    if kept.is_file():
        done: dict[str, Any] = json.loads(kept.read_text())
        return done
    everything = [(folder, pair) for folder, some in pairs.items() for pair in some]
    count = max(1, min(variant.folds, len(everything)))
    judged, marked = [], {}
    for fold in range(count):
        run, source = out / f"fold-{fold}", data
        if variant.folds:
            learnt = [pair for n, (_, pair) in enumerate(everything) if n % count != fold]
            source = mixed_data(data, learnt, out / f"data-{fold}")
        train(source, run, variant.settings, device=device, start_from=start_from)
        by = network_of(run, device)
        judged.append(figures_of(by, data, most, variant.settings.seed))
        for n, (_, pair) in enumerate(everything):
            if not variant.folds or n % count == fold:
                marked[n] = marked_on(pair.image, pair.pixel_size_nm, by)
    figures: dict[str, Any] = {"trainings": count}
    for key, _, _ in COLUMNS:
        values = [value for row in judged if (value := row[key]) is not None]
        figures[key] = float(np.mean(values)) if values else None
    figures["real"] = {
        folder: scored(
            [pair for where, pair in everything if where == folder],
            [marked[n] for n, (where, _) in enumerate(everything) if where == folder],
        )
        for folder in pairs
    }
    kept.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def ablate(
    data: Path,
    real: Sequence[RealFrames],
    out: Path,
    settings: Settings,
    *,
    folds: int = 0,
    most: int = 1000,
    device: str = "cpu",
    start_from: Path | None = None,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Train and judge every variant; leaves `ablation.json` and `ablation.png` in `out`.

    Parameters
    ----------
    folds : of the real frames; 0 leaves one out at a time, with a training for each.
    most : images of the test split that are judged.
    start_from : a bundle or another training's folder, whose weights every variant begins with; else from nothing.
    only : names of the variants that are run; all where none is given.

    Raises
    ------
    ModelError
        No usable data or frames, or `out` holds an ablation with other settings.
    """
    pairs: dict[str, list[RealPair]] = {}
    for some in real:
        pairs.setdefault(str(some.folder), []).extend(read_pairs(some))
    frames = sum(len(some) for some in pairs.values())
    if frames < 2:
        raise ModelError("leaving frames out needs at least two real frames with masks (--real DIR=NM)")
    folds = min(folds or frames, frames)
    if folds < 2:
        raise ModelError(f"{folds} fold leaves nothing out; give at least 2, or 0 for one frame at a time")
    asked = {"settings": repr(settings), "frames": frames, "folds": folds, "images": most}
    if start_from is not None:
        asked["started_from"] = start_from.name
    out.mkdir(parents=True, exist_ok=True)
    order = out / "order.json"
    if order.is_file() and json.loads(order.read_text()) != asked:
        raise ModelError(f"{out} holds an ablation with other settings; choose another folder")
    order.write_text(json.dumps(asked))
    result: dict[str, Any] = {"asked": asked, "variants": {}}
    for variant in variants(settings, folds):
        if only and variant.name not in only:
            continue
        folder = out / variant.name.replace(" ", "-")
        folder.mkdir(exist_ok=True)
        result["variants"][variant.name] = run_variant(variant, data, pairs, folder, most, device, start_from)
    (out / "ablation.json").write_text(json.dumps(result, indent=1) + "\n")
    picture(result).savefig(out / "ablation.png", dpi=130)
    return result


def table_of(result: dict[str, Any]) -> Table:
    """A row a variant."""
    rows = result["variants"]
    folders = list(next(iter(rows.values()))["real"])
    headings = (*(heading for _, heading, _ in COLUMNS), *(f"Dice, {Path(f).name}" for f in folders))
    return Table(
        "trained on",
        headings,
        tuple(
            (
                name,
                *(shown(row[key], form) for key, _, form in COLUMNS),
                *(shown(row["real"][folder]["mean_dice"], ".3f") for folder in folders),
            )
            for name, row in rows.items()
        ),
    )


def picture(result: dict[str, Any]) -> Figure:
    """Bars of every Dice: simulated, and each folder of real frames."""
    rows = result["variants"]
    folders = list(next(iter(rows.values()))["real"])
    series = {"simulated": [row["dice"] for row in rows.values()]}
    series |= {Path(f).name: [row["real"][f]["mean_dice"] for row in rows.values()] for f in folders}
    figure = Figure(figsize=(2.2 * len(rows) + 1, 4), layout="constrained")
    axes, width = figure.subplots(), 0.8 / len(series)
    for k, (name, values) in enumerate(series.items()):
        heights = [0.0 if value is None else value for value in values]
        bars = axes.bar(np.arange(len(rows)) + (k + 0.5) * width - 0.4, heights, width, label=name)
        axes.bar_label(bars, fmt="%.2f", fontsize=7)
    axes.set_xticks(range(len(rows)), list(rows), fontsize=8)
    axes.set(ylabel="Dice", ylim=(0, 1.08))
    axes.legend(fontsize=7, loc="lower right")
    return figure


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.ablation", description="What each ingredient is worth."
    )
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="a simulated data set")
    told = "real frames with masks and their pixel size; several"
    parser.add_argument("--real", action="append", metavar="DIR=NM", required=True, help=told)
    parser.add_argument("--out", type=Path, metavar="DIR", required=True)
    parser.add_argument("--steps", type=int, default=2000, help="of every training")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folds", type=int, default=0, help="of the real frames (one frame at a time)")
    told = "a bundle or a training's folder, whose weights every variant begins with (from nothing)"
    parser.add_argument("--from", type=Path, dest="start_from", metavar="DIR", help=told)
    names = [variant.name for variant in variants(Settings(), 0)]
    told = "a variant to run; several (all)"
    parser.add_argument("--only", action="append", choices=names, default=[], help=told)
    told = "the largest (that of a training from nothing)"
    parser.add_argument("--learning-rate", type=float, default=Settings.learning_rate, help=told)
    told = "channels of the first level (those of the shipped network)"
    parser.add_argument("--width", type=int, metavar="N", default=Architecture.width, help=told)
    parser.add_argument("--bfloat16", action="store_true", help="multiply in bfloat16")
    parser.add_argument("--images", type=int, default=1000, help="test images that are judged")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args(arguments)
    try:
        result = ablate(
            options.data,
            [RealFrames.parse(text) for text in options.real],
            options.out,
            Settings(
                Architecture(options.width),
                steps=options.steps,
                seed=options.seed,
                learning_rate=options.learning_rate,
                bfloat16=options.bfloat16,
            ),
            folds=options.folds,
            most=options.images,
            device=options.device,
            start_from=options.start_from,
            only=options.only,
        )
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    print(table_of(result).as_text())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
