"""Scores of a network on real frames, in the frames' own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.evaluation.judge import Judge
from models.evaluation.scores import dice
from models.examples.real_frames import Reader, RealFrames, RealPair, grey, read_pairs, read_picture
from models.preprocess import canonical
from models.segment import probability_maps

NEARLY_EMPTY = 0.005
"""A mask that covers a smaller share of its frame is judged by the false area, not by Dice."""


def marked_on(image: npt.NDArray[Any], pixel_size_nm: float, by: Judge) -> npt.NDArray[np.bool_]:
    """(H, W) frame → (H, W) where a network sees particles."""
    prepared = canonical(image, pixel_size_nm, by.preprocessing)
    found = by.regions_of(probability_maps(prepared.image, by.network))
    return np.asarray(prepared.to_frame(found) > 0)


def scored(pairs: Sequence[RealPair], marked: Sequence[npt.NDArray[np.bool_]]) -> dict[str, Any]:
    """Figures of frames with masks: Dice each and mean, and the false area of frames that hold nearly nothing."""
    each: list[dict[str, Any]] = []
    for pair, found in zip(pairs, marked, strict=True):
        covered = float(pair.mask.mean())
        each.append(
            {
                "frame": pair.name,
                "pixel_size_nm": pair.pixel_size_nm,
                "covered": covered,
                "marked": float(found.mean()),
                "false_area": float((found & ~pair.mask).mean()),
                "dice": dice(found, pair.mask) if covered >= NEARLY_EMPTY else None,
            }
        )
    figures = [row["dice"] for row in each if row["dice"] is not None]
    empty = [row["false_area"] for row in each if row["dice"] is None]
    return {
        "mean_dice": float(np.mean(figures)) if figures else None,
        "median_dice": float(np.median(figures)) if figures else None,
        "false_area_of_empty": float(np.mean(empty)) if empty else None,
        "each": each,
    }


def judge_real(
    by: Judge, frames: Sequence[RealFrames], read: Reader = read_picture
) -> dict[str, dict[str, Any]]:
    """{folder: scores} of a network on real frames with masks; patterns in one folder count together."""
    folders: dict[str, list[RealPair]] = {}
    for some in frames:
        folders.setdefault(str(some.folder), []).extend(read_pairs(some, read))
    return {
        folder: scored(pairs, [marked_on(pair.image, pair.pixel_size_nm, by) for pair in pairs])
        for folder, pairs in folders.items()
    }


def judge_blank(by: Judge, frames: RealFrames, read: Reader = read_picture) -> dict[str, Any]:
    """Share of the area that is marked on real frames that are known to hold no particle."""
    each = [
        {
            "frame": path.name,
            "marked": float(marked_on(grey(read(path)), frames.pixel_size_nm, by).mean()),
        }
        for path in frames.files()
    ]
    return {
        "pixel_size_nm": frames.pixel_size_nm,
        "marked": float(np.mean([row["marked"] for row in each])),
        "each": each,
    }
