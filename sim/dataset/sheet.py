"""A contact sheet of a data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

COLUMNS, ROWS = 8, 5
COLOURS = {"yes": (255, 159, 67), "no": (84, 160, 255), "null": (200, 120, 255), None: (170, 170, 170)}
"""Outlines of the true classes; grey is not scored."""
CAPTION = 30


def contact_sheet(shards: Sequence[Path]) -> Image.Image:
    """Forty images spread over the shards, captioned, particles outlined in the colour of their true class."""
    chosen = _spread(shards, COLUMNS * ROWS)
    side, rows = 256, -(-len(chosen) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (side + 4), rows * (side + CAPTION + 4) + CAPTION), (16, 18, 24))
    pen = ImageDraw.Draw(sheet)
    for n, (image, labels, about) in enumerate(chosen):
        left, top = n % COLUMNS * (side + 4), n // COLUMNS * (side + CAPTION + 4)
        sheet.paste(Image.fromarray(_outlined(image, labels, about)), (left, top))
        pen.multiline_text((left + 2, top + side + 2), caption(about), fill=(220, 220, 220), spacing=1)
    foot = (2, rows * (side + CAPTION + 4) + 4)
    pen.text(
        foot,
        "outlines: yes orange, no blue, null violet, not scored grey; 12.8 nm a side",
        fill=(220, 220, 220),
    )
    return sheet


def caption(about: dict[str, Any]) -> str:
    """Two lines that say how an image was taken."""
    c = about["conditions"]
    return (
        f"{c['microscope']} {c['energy_kev']:.0f} kV {c['dose_e_per_A2']:.0f} e/A2\n"
        f"C1 {c['defocus_nm']:+.0f} nm  carbon {about['carbon_nm']:.0f} nm  {c['camera']['name']}"
    )


def grey(image: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """An image (H, W) as a viewer shows it: the darkest and brightest hundredth cut off."""
    low, high = np.percentile(image.astype(np.float32), [1, 99])
    return np.asarray(np.clip((image - low) / (high - low + 1e-9), 0, 1) * 255, dtype=np.uint8)


def _outlined(
    image: npt.NDArray[np.floating], labels: npt.NDArray[np.uint8], about: dict[str, Any]
) -> npt.NDArray[np.uint8]:
    shown = np.repeat(grey(image)[:, :, None], 3, axis=2)
    for told in about["particles"]:
        mask = (labels == told["label"]).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, contours, -1, COLOURS[told["class"]], 1)
    return shown


def _spread(
    shards: Sequence[Path], wanted: int
) -> list[tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8], dict[str, Any]]]:
    """So many images, evenly spread over what the shards hold."""
    counts = []
    for path in shards:
        with h5py.File(path) as shard:
            counts.append(len(shard["about"]))
    first = np.concatenate([[0], np.cumsum(counts)])
    chosen = []
    for n in np.unique(np.linspace(0, first[-1] - 1, wanted).astype(int)):
        which = int(np.searchsorted(first, n, "right")) - 1
        with h5py.File(shards[which]) as shard:
            at = int(n - first[which])
            chosen.append((shard["images"][at], shard["labels"][at], json.loads(shard["about"].asstr()[at])))
    return chosen
