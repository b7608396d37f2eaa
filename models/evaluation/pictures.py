"""Pictures of an evaluation: best, median and worst frames, failing instances, reliability, Dice by condition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from models.evaluation.judge import Judge, Judgement, Verdict
from models.evaluation.real import marked_on
from models.evaluation.scores import LEAST_PX, dice
from models.examples.real_frames import Reader, RealFrames, read_pairs, read_picture
from models.examples.shards import Examples
from models.examples.strata import EMPTY_PRESETS, preset_of
from models.segment import Image

COLUMNS = 6
TRUE_RGB, FOUND_RGB = (0, 200, 255), (255, 140, 0)
"""Colours of the outlines: what is true, what was found."""
LEGEND = "blue: true outline, orange: found"


def outlined(image: Image, truth: npt.NDArray[Any], found: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(H, W) image with the outlines of both label images (H, W), enlarged twice: (2 H, 2 W, 3)."""
    low, high = np.percentile(image, [0.5, 99.5])
    level = np.clip((image - low) / max(float(high - low), 1e-9), 0, 1) * 255
    large = cv2.resize(level.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    picture = np.ascontiguousarray(np.repeat(large[..., None], 3, axis=2))
    for labels, colour in ((truth, TRUE_RGB), (found, FOUND_RGB)):
        for n in np.unique(labels[labels > 0]):
            mask = np.repeat(np.repeat((labels == n).astype(np.uint8), 2, 0), 2, 1)
            contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, contours, -1, colour, 1)
    return picture


def sheet(rows: Sequence[tuple[str, Sequence[tuple[str, npt.NDArray[np.uint8]]]]], title: str) -> Figure:
    """Rows of captioned pictures: [(name of the row, [(caption, (H, W, 3))])]."""
    columns = max((len(pictures) for _, pictures in rows), default=1)
    figure = Figure(figsize=(2.6 * max(columns, 1), 3.0 * max(len(rows), 1) + 0.4), layout="constrained")
    grid = figure.subplots(max(len(rows), 1), max(columns, 1), squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for r, (name, pictures) in enumerate(rows):
        for c, (caption, picture) in enumerate(pictures):
            grid[r, c].imshow(picture)
            grid[r, c].set_title(f"{name}\n{caption}" if c == 0 else caption, fontsize=7)
    figure.suptitle(f"{title}. {LEGEND}", fontsize=9)
    return figure


def reliability(kept: dict[str, dict[str, Any]]) -> Figure:
    """The reliability diagram: share of the pixels inside a particle against the probability that they were given.

    Parameters
    ----------
    kept : `segmentation.pixel_calibration` of `models.evaluation.evaluate.evaluate`.
    """
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name, style in (
        ("range uncalibrated", "--"),
        ("range", "-"),
        ("all uncalibrated", "--"),
        ("all", "-"),
    ):
        if name not in kept:
            continue
        rows, error = kept[name]["diagram"], kept[name]["error"]
        x, y = [r["probability"] for r in rows], [r["inside"] for r in rows]
        colour = "tab:blue" if name.startswith("range") else "tab:orange"
        left.plot(x, y, style, marker=".", color=colour, label=f"{name}: error {error:.4f}")
        if style == "-":
            right.plot(x, [r["pixels"] for r in rows], marker=".", color=colour, label=name)
    left.set(xlabel="probability given", ylabel="share inside a particle", xlim=(0, 1), ylim=(0, 1))
    right.set(xlabel="probability given", ylabel="pixels", yscale="log", xlim=(0, 1))
    for axes in (left, right):
        axes.legend(fontsize=7)
    return figure


def dice_by_condition(table: dict[str, dict[str, Any]]) -> Figure:
    """Dice by dose and microscope, as a map with the figures in it.

    Parameters
    ----------
    table : rows named "dose, microscope", as `by_condition["dose and microscope"]` has them.
    """
    parts = [row.rsplit(", ", 1) for row in table]
    doses = list(dict.fromkeys(dose for dose, _ in parts))
    microscopes = sorted({microscope for _, microscope in parts})
    values = np.full((len(microscopes), len(doses)), np.nan)
    for (dose, microscope), figures in zip(parts, table.values(), strict=True):
        if figures["dice"] is not None:
            values[microscopes.index(microscope), doses.index(dose)] = figures["dice"]
    figure = Figure(figsize=(1.4 * len(doses) + 2, 0.8 * len(microscopes) + 1.6), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(values, cmap="viridis", vmin=0.5, vmax=1.0, aspect="auto")
    figure.colorbar(drawn, ax=axes, label="Dice")
    axes.set_xticks(range(len(doses)), doses, fontsize=7)
    axes.set_yticks(range(len(microscopes)), microscopes, fontsize=8)
    for r, c in np.argwhere(np.isfinite(values)):
        images = table[f"{doses[c]}, {microscopes[r]}"]["images"]
        colour = "white" if values[r, c] < 0.8 else "black"
        axes.text(
            c, r, f"{values[r, c]:.3f}\n{images} images", ha="center", va="center", fontsize=7, color=colour
        )
    return figure  # fmt: skip


def picture_data(
    folder: Path, by: Judge, data: Examples, judgement: Judgement, segmentation: dict[str, Any]
) -> list[Path]:
    """Write every picture of a data set's evaluation into a folder; returns their paths."""

    def captioned(verdicts: Sequence[Verdict]) -> list[tuple[str, npt.NDArray[np.uint8]]]:
        return [(_caption(v), _shown(v, by, data)) for v in verdicts]

    ranked = sorted((v for v in judgement.verdicts if v.true_area >= LEAST_PX), key=lambda v: v.dice)
    middle = max(0, len(ranked) // 2 - COLUMNS // 2)
    rows = [
        ("best", captioned(ranked[::-1][:COLUMNS])),
        ("median", captioned(ranked[middle : middle + COLUMNS])),
        ("worst", captioned(ranked[:COLUMNS])),
    ]
    empty = [v for v in judgement.verdicts if preset_of(v.about) in EMPTY_PRESETS and v.false_area > 0]
    if empty:
        empty.sort(key=lambda v: -v.false_area)
        rows.append(("marked where nothing is", captioned(empty[:COLUMNS])))
    failing = sorted((v for v in ranked if v.errors or v.merged), key=lambda v: (-v.errors, v.index))
    merging = sorted((v for v in ranked if v.merged), key=lambda v: (-v.merged, v.index))
    splitting = sorted((v for v in ranked if v.split), key=lambda v: (-v.split, v.index))
    failures = [
        ("most missed or made up", captioned(failing[:COLUMNS])),
        ("joined", captioned(merging[:COLUMNS])),
        ("split", captioned(splitting[:COLUMNS])),
    ]
    figures = {
        "gallery": sheet(rows, "Frames by their Dice"),
        "instances": sheet([row for row in failures if row[1]], "Instances that fail"),
        "reliability": reliability(segmentation["pixel_calibration"]),
    }
    if "dose and microscope" in segmentation["by_condition"]:
        figures["dice_by_condition"] = dice_by_condition(segmentation["by_condition"]["dose and microscope"])
    return [_saved(folder, name, figure) for name, figure in figures.items()]


def picture_real(folder: Path, by: Judge, frames: Sequence[RealFrames], read: Reader = read_picture) -> Path:
    """Write a picture of every real frame with what is true and what was found; returns its path."""
    shown = []
    for some in frames:
        for pair in read_pairs(some, read):
            marked = marked_on(pair.image, pair.pixel_size_nm, by)
            image = np.asarray(pair.image, dtype=np.float32)
            caption = f"{pair.name}: Dice {dice(marked, pair.mask):.3f}"
            parts = [cv2.connectedComponents(m.astype(np.uint8))[1] for m in (pair.mask, marked)]
            shown.append((caption, outlined(image, parts[0], parts[1])))
    rows = [("", shown[i : i + COLUMNS]) for i in range(0, len(shown), COLUMNS)]
    return _saved(folder, "real", sheet(rows, "Real frames"))


def _shown(verdict: Verdict, by: Judge, data: Examples) -> npt.NDArray[np.uint8]:
    image = data.images[verdict.index].astype(np.float32)
    return outlined(image, data.labels[verdict.index], by.regions(image))


def _caption(verdict: Verdict) -> str:
    conditions = verdict.about["conditions"]
    told = f"{conditions['dose_e_per_A2']:.0f} e/Å², {conditions['microscope']}"
    if verdict.true_area < LEAST_PX:
        return f"{told}\nmarked {verdict.false_area:.1%}, {preset_of(verdict.about)}"
    return f"{told}\nDice {verdict.dice:.3f}, {verdict.about['carbon_nm']:g} nm of carbon"


def _saved(folder: Path, name: str, figure: Figure) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=130)
    return path
