"""Learning curves: figures of the validation split, their score, as a table and as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from models.batched import Standardiser
from models.examples.augment import NEGATIVES
from models.examples.shards import Examples
from models.examples.strata import EMPTY_PRESETS, preset_of
from models.preprocess import Preprocessing
from models.unet import UNet

Figures = dict[str, float]
MOST = 150
"""Images of each preset that are looked at."""
AT_ONCE = 8
"""Images in a batch; so many of each kind that holds nothing are looked at."""
FALSE_AREA_COUNTS = 2.0
"""What a false area weighs in the score, against Dice."""


class Validation:
    """Images of a validation split and frames that hold nothing, standardised once; the same at every look."""

    def __init__(self, data: Examples, preprocessing: Preprocessing, device: str) -> None:
        presets: dict[str, list[int]] = {}
        for number, about in enumerate(data.about):
            presets.setdefault(preset_of(about), []).append(number)
        size = data.images.shape[1]
        standardiser = Standardiser((size, size), preprocessing, device)

        def seen(images: npt.NDArray[np.floating]) -> Tensor:
            parts = np.array_split(images.astype(np.float32), -(-len(images) // AT_ONCE))
            return torch.cat([standardiser(torch.from_numpy(part).to(device)).half() for part in parts])

        self._kinds: dict[str, tuple[Tensor, Tensor | None]] = {}
        for preset, members in presets.items():
            chosen = [members[i] for i in _spread(len(members))]
            truth = None if preset in EMPTY_PRESETS else torch.from_numpy(data.labels[chosen] > 0).to(device)
            self._kinds[preset] = seen(data.images[chosen]), truth
        rng = np.random.default_rng(0)
        for kind, make in NEGATIVES.items():
            self._kinds[kind] = seen(np.stack([make(size, rng) for _ in range(AT_ONCE)])), None

    @torch.no_grad()
    def __call__(self, net: UNet) -> Figures:
        """Pooled Dice of every preset with particles, false share of the area for every kind that holds nothing.

        `dice_<preset>`, `false_<kind>`, and `score` (see `score`).
        """
        net.eval()
        figures: Figures = {}
        for kind, (images, truth) in self._kinds.items():
            found = torch.cat([net(part[:, None].float())[:, 0] > 0 for part in torch.split(images, AT_ONCE)])
            if truth is None:
                figures[f"false_{kind}"] = float(found.double().mean())
            else:
                areas = float(found.sum() + truth.sum())
                figures[f"dice_{kind}"] = 2 * float((found & truth).sum()) / max(areas, 1.0)
        return {**figures, "score": score(figures)}


def _spread(count: int) -> list[int]:
    """At most `MOST` numbers below a count, evenly spread."""
    return sorted(set(np.linspace(0, count - 1, min(MOST, count)).astype(int).tolist()))


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
