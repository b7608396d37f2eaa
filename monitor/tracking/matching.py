"""Which sightings of a frame are which tracks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from monitor.tracking.geometry import Boxes, area, as_boxes, clipped, overlap, share_within
from monitor.tracking.tracks import Box, Sighting, Track

LEAST_OVERLAP = 0.25
"""Intersection over union of boxes from which a sighting can be a track."""
PART_OF = 0.6
"""Share of a sighting within a track from which it is a part of it, if it isn't the track itself."""
FOUND_AGAIN = 0.85
"""A particle that is in view is found with this probability."""
BY_OVERLAP = ((0.7, 0.7, 0.06), (0.5, 0.2, 0.18), (0.0, 0.1, 0.76))
"""Least intersection over union, and how often that much and no more comes about for one particle seen again, and for
two squares that lie anywhere but overlap by `LEAST_OVERLAP` or more."""
TOUCHED_NM = 0.6
"""A track of which less is in view in some direction is not expected [nm]."""


@dataclass(frozen=True)
class Matching:
    """Which sighting is which track, at one shift."""

    pairs: tuple[tuple[int, int], ...]
    """(place in the tracks, place in the sightings)."""
    parts: tuple[tuple[int, int], ...]
    """Sightings that lie on a track which another sighting is."""
    evidence: float
    """Logarithm of how much likelier it is at this shift than by chance."""


def match(tracks: list[Track], sightings: tuple[Sighting, ...], view: Box) -> Matching:
    """Assign sightings to tracks by the overlap of their boxes and their size.

    Parameters
    ----------
    view : of the frame, on the map [nm].
    """
    if not tracks or not sightings:
        missed = _expected(tracks, view).sum() if tracks else 0
        return Matching((), (), float(missed) * math.log((1 - FOUND_AGAIN) / 0.9))
    here = np.array(view)
    known = as_boxes([track.box for track in tracks])
    seen = as_boxes([s.box for s in sightings]) + np.array([view[0], view[1], view[0], view[1]])
    # A box ends where its frame does, so each is compared within the view of the other.
    known_here = clipped(known[:, None], here)
    seen_there = clipped(seen[None, :], as_boxes([track.view for track in tracks])[:, None])
    common = overlap(known_here, seen_there)
    union = area(known_here) + area(seen_there) - common
    iou = np.where(union > 0, common / np.maximum(union, 1e-9), 0.0)
    score = iou - 0.1 * _unlike(tracks, sightings)
    rows, cols = linear_sum_assignment(score, maximize=True)
    pairs = tuple((int(r), int(c)) for r, c in zip(rows, cols, strict=True) if iou[r, c] >= LEAST_OVERLAP)
    used = {c for _, c in pairs}
    inside = common / np.maximum(area(seen)[None, :], 1e-9)
    parts = []
    for c in range(len(sightings)):
        if c in used:
            continue
        r = int(np.argmax(inside[:, c]))
        if inside[r, c] >= PART_OF and _lies_on(sightings[c], tracks[r], view):
            parts.append((r, c))
    overlaps = {r: float(iou[r, c]) for r, c in pairs}
    return Matching(pairs, tuple(parts), _evidence(tracks, seen, overlaps, view))


def _lies_on(sighting: Sighting, track: Track, view: Box) -> bool:
    """Whether it lies on the track itself, and not only in the box of one that is long or bent."""
    if sighting.outline is None or track.outline is None:
        return True
    return share_within(sighting.outline + np.array(view[:2], np.float32), track.outline) >= PART_OF


def _unlike(tracks: list[Track], sightings: tuple[Sighting, ...]) -> npt.NDArray[np.float64]:
    """(tracks, sightings) how unlike they are in size and class, from 0 to about 2."""
    sizes = np.log([[max(t.diameter_nm, 0.1)] for t in tracks]) - np.log(
        [max(s.diameter_nm, 0.1) for s in sightings]
    )
    probabilities = (
        np.array([t.probabilities for t in tracks]) @ np.array([s.probabilities for s in sightings]).T
    )
    unlike: npt.NDArray[np.float64] = np.minimum(1.0, np.abs(sizes)) + 1 - probabilities
    return unlike


def _expected(tracks: list[Track], view: Box) -> npt.NDArray[np.bool_]:
    """Which tracks ought to be seen in a view."""
    inside: Boxes = clipped(as_boxes([track.box for track in tracks]), np.array(view))
    enough = np.minimum(TOUCHED_NM, 0.5 * np.array([track.diameter_nm for track in tracks]))
    real = np.array([track.particle_class != "empty" for track in tracks])
    visible: npt.NDArray[np.bool_] = real & (
        np.minimum(inside[:, 2] - inside[:, 0], inside[:, 3] - inside[:, 1]) >= enough
    )
    return visible


def _evidence(tracks: list[Track], seen: Boxes, overlaps: dict[int, float], view: Box) -> float:
    """Sum over the expected tracks of log P(found so, or not | this shift) − log P(the same | particles anywhere)."""
    expected = np.flatnonzero(_expected(tracks, view))
    if not len(expected):
        return 0.0
    field = max(1e-9, (view[2] - view[0]) * (view[3] - view[1]))
    # Another box of a like size, anywhere, overlaps by `LEAST_OVERLAP` within about .37 of the side to each side.
    chance = max(0.02, min(0.6, float(area(seen).sum()) * 0.55 / field))
    evidence = 0.0
    for r in expected:
        if int(r) in overlaps:
            again, anywhere = next((a, b) for least, a, b in BY_OVERLAP if overlaps[int(r)] >= least)
            evidence += math.log(FOUND_AGAIN * again / (chance * anywhere))
        else:
            evidence += math.log((1 - FOUND_AGAIN) / (1 - chance))
    return evidence


def unexplained(sightings: list[Sighting], origin: tuple[float, float], former_view: Box) -> float:
    """Evidence, never positive, of particles that no track explains where a former frame would have shown them.

    Parameters
    ----------
    origin : of the frame on the map [nm].
    """
    real = [s for s in sightings if s.probabilities[0] < 0.5]
    if not real:
        return 0.0
    boxes = as_boxes([s.box for s in real]) + np.array([*origin, *origin])
    inside = overlap(boxes, np.array(former_view)) >= PART_OF * area(boxes)
    return float(inside.sum()) * math.log(1 - FOUND_AGAIN)
