"""Frames of made sessions that lie in files, and one that was judged by the shipped bundle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

ROW_NM = 3 / (2 * np.sqrt(2) * 2.851)
"""Between the columns of a layer of CdSe."""
PIXEL_NM = 0.03


def file_frame(session: Any, frame_id: int, path: Path, pixels: np.ndarray) -> None:
    """Write a frame's file and have the record know it."""
    tifffile.imwrite(path, pixels)
    status = path.stat()
    session.db.execute(
        "UPDATE frames SET path = ?, file_size = ?, file_mtime_ns = ? WHERE id = ?",
        (str(path), status.st_size, status.st_mtime_ns, frame_id),
    )


def stripes(side: int = 400) -> np.ndarray:
    """(side, side) rows that are dark and bright in turn, finer than any preview shows."""
    pixels = np.zeros((side, side), np.uint16)
    pixels[::2] = 1000
    return pixels


def crystal(side: int = 400) -> np.ndarray:
    """(side, side) counts of a disc of dark columns, stacked ABAB with an intrinsic fault, on noise."""
    grid = np.stack(np.mgrid[:side, :side], axis=-1) * PIXEL_NM
    image = np.random.default_rng(5).normal(1000, 25, (side, side))
    for layer, letter in zip(range(-6, 7), "ABABABACACACA", strict=True):
        for n in range(-8, 9):
            spot = np.array([layer / 2.851, (n + "ABC".index(letter) / 3) * ROW_NM])
            if np.hypot(*spot) < 2.1:
                near = ((grid - spot - side * PIXEL_NM / 2) ** 2).sum(-1)
                image -= 130 * np.exp(-near / (2 * 0.07**2))
    return image.round().astype(np.uint16)


def judged_frame(session: Any, path: Path) -> int:
    """A frame with its file and what the shipped bundle says of it, as a session records both."""
    from models.analysis import analyse
    from models.bundle import load_bundle

    bundle = load_bundle(None, "cpu")
    session.db.execute(
        "INSERT OR IGNORE INTO bundles VALUES (?, ?, '{}')", (bundle.id, os.fspath(bundle.path))
    )
    frame_id = int(session.finish(session.arrive()))
    pixels = crystal()
    file_frame(session, frame_id, path, pixels)
    session.db.execute("UPDATE results SET bundle = ? WHERE frame_id = ?", (bundle.id, frame_id))
    found = analyse(pixels, PIXEL_NM, bundle, "CdSe")
    assert found.particles
    for each in found.particles:
        session.db.execute(
            "INSERT INTO particles (frame_id, label, class, p_empty, p_null, p_no, p_yes, abstained, row0, col0, row1,"
            " col1, centroid_row, centroid_col, diameter_nm, area_nm2, outline, features)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '{}')",
            (
                frame_id, each.label, each.particle_class, *each.probabilities, each.abstained, *each.bbox,
                *each.centroid, each.diameter_nm, each.area_nm2, json.dumps(each.outline),
            ),
        )  # fmt: skip
    return frame_id
