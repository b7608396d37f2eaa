"""Shifts that bring a particle of one frame onto one of another, for frames whose pictures alone do not tell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monitor.tracking.geometry import as_boxes
from monitor.tracking.tracks import Box, Sighting, Track

LARGEST = 25
"""So many particles of each side are looked at, the largest."""
SIZES_ALIKE = 0.35
"""Largest difference of the logarithms of two diameters that may be one particle's."""
AGREE_NM = 0.5
"""Pairs whose shifts differ by less agree."""


def pair_shifts(
    tracks: list[Track], sightings: tuple[Sighting, ...], origin: tuple[float, float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Every shift (n, 2) [nm] that brings a particle seen whole onto one of like size, and how many pairs agree (n,).

    Parameters
    ----------
    origin : of the frame from which shifts are counted, on the map [nm].
    """
    known = sorted((t for t in tracks if t.whole), key=lambda t: -t.diameter_nm)[:LARGEST]
    seen = sorted((s for s in sightings if not s.cut), key=lambda s: -s.diameter_nm)[:LARGEST]
    if not known or not seen:
        return np.zeros((0, 2)), np.zeros(0, np.int64)
    centres = _centres([t.box for t in known]) - np.array(origin)
    sizes = np.log([[max(t.diameter_nm, 0.1)] for t in known]) - np.log(
        [max(s.diameter_nm, 0.1) for s in seen]
    )
    alike = np.abs(sizes) <= SIZES_ALIKE
    found = (centres[:, None] - _centres([s.box for s in seen])[None])[alike]
    agree = np.linalg.norm(found[:, None] - found[None], axis=2) <= AGREE_NM
    return found, agree.sum(axis=1)


def _centres(boxes: list[Box]) -> npt.NDArray[np.float64]:
    array = as_boxes(boxes)
    centres: npt.NDArray[np.float64] = (array[:, :2] + array[:, 2:]) / 2
    return centres
