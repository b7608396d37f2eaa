"""Learning curves: figures of the validation split, their score, as a table and as a picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from models.examples.augment import NEGATIVES
from models.examples.shards import Examples
from models.examples.strata import EMPTY_PRESETS, preset_of
from models.preprocess import Preprocessing, standardise
from models.unet import UNet

Figures = dict[str, float]
MOST = 150
"""Images of each preset that are looked at."""
FALSE_AREA_COUNTS = 2.0
"""What a false area weighs in the score, against Dice."""


@torch.no_grad()
def validate(net: UNet, data: Examples, preprocessing: Preprocessing) -> Figures:
    """Pooled Dice of every preset with particles, false share of the area for every kind of frame that holds nothing.

    `dice_<preset>`, `false_<kind>`, and `score` (see `score`). The images are the same at every look.
    """
    net.eval()
    device = next(net.parameters()).device

    def marked(images: list[npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        batch = torch.from_numpy(np.stack([standardise(i.astype(np.float32), preprocessing) for i in images]))
        return np.asarray(net(batch[:, None].to(device))[:, 0].cpu().numpy() > 0)

    presets: dict[str, list[int]] = {}
    for number, about in enumerate(data.about):
        presets.setdefault(preset_of(about), []).append(number)
    figures: Figures = {}
    for preset, members in presets.items():
        chosen = np.unique(np.linspace(0, len(members) - 1, min(MOST, len(members))).astype(int))
        overlap = areas = 0.0
        for start in range(0, len(chosen), 8):
            part = [members[i] for i in chosen[start : start + 8]]
            found, truth = marked([data.images[i] for i in part]), data.labels[part] > 0
            overlap += 2 * float((found & truth).sum())
            areas += float(found.sum() + truth.sum())
        size = data.images.shape[1] * data.images.shape[2]
        if preset in EMPTY_PRESETS:
            figures[f"false_{preset}"] = areas / (len(chosen) * size)
        else:
            figures[f"dice_{preset}"] = overlap / max(areas, 1.0)
    rng = np.random.default_rng(0)
    for kind, make in NEGATIVES.items():
        figures[f"false_{kind}"] = float(marked([make(data.images.shape[1], rng) for _ in range(8)]).mean())
    return {**figures, "score": score(figures)}


def score(figures: Figures) -> float:
    """What decides which weights are kept: mean Dice of the presets less twice the mean false area of the kinds.

    A collapse of any one lowers it, whatever the others do.
    """
    dice = [value for name, value in figures.items() if name.startswith("dice_")]
    false = [value for name, value in figures.items() if name.startswith("false_")]
    return float(np.mean(dice or [0.0]) - FALSE_AREA_COUNTS * np.mean(false or [0.0]))


def write_curves(folder: Path, curves: list[Figures]) -> None:
    """`curves.csv` and `curves.png`, a row and a point for each look."""
    with (folder / "curves.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(curves[0]))
        writer.writeheader()
        writer.writerows(curves)
    draw_curves(curves).savefig(folder / "curves.png", dpi=100)


def draw_curves(curves: list[Figures]) -> Figure:
    """Loss, Dice by preset and false area by kind, over the steps."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    loss, dice, false = figure.subplots(1, 3)
    steps = [row["step"] for row in curves]
    loss.plot(steps, [row["loss"] for row in curves], "k.-")
    loss.set(title="loss", xlabel="step")
    for name in curves[0]:
        values = [row[name] for row in curves]
        if name.startswith("dice_"):
            dice.plot(steps, values, ".-", label=name.removeprefix("dice_"))
        elif name.startswith("false_"):
            false.semilogy(steps, np.maximum(values, 1e-5), ".-", label=name.removeprefix("false_"))
    dice.plot(steps, [row["score"] for row in curves], "k--", lw=1, label="score")
    dice.set(title="Dice, validation", xlabel="step")
    false.set(title="area marked where there is nothing", xlabel="step")
    for axis in (dice, false):
        axis.legend(fontsize=7, ncols=2)
        axis.grid(alpha=0.3)
    return figure
