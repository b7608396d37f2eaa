"""What is read of the regions of a frame on their crops, as arrays over all of them, and the features that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.features.axes import OTHER_ZONES, axis_features
from models.features.contrast import contrast_features
from models.features.edges import edge_features
from models.features.readings import Stacks, stack_features
from models.features.spectrum import Bins, Columns, Real, peak_features, ring_features


@dataclass(frozen=True)
class Figures:
    """What is read of P regions."""

    rings: Real
    """(P, 2, rings) mean and mean square of the power in each of the `RINGS`."""
    peaks: Real
    """(P, `PEAKS`, 2) strength of each Bragg spot and its place in the half plane; a strength of -1 where there is
    none."""
    axes: Real
    """(P, `MOST`, 5) as of `models.features.axes.stacking_axes`."""
    zones: Real
    """(P, zones) in the order of `OTHER_ZONES`."""
    edges: Real
    """(P, 2) mean strength of the edges in the region, and their median outside of all."""
    contrast: Real
    """(P, 4) mean and standard deviation inside, and in the ring around."""


def features_of(
    figures: Figures, background: Real, here: Bins, stacks: Sequence[Stacks]
) -> list[dict[str, float]]:
    """The features of P regions.

    Parameters
    ----------
    background : (rings,) mean power of the frame's ground.
    here : the bins of the regions' spectra.
    stacks : of each region.
    """
    values: Columns = ring_features(figures.rings, background)
    values |= peak_features(figures.peaks, here)
    values |= edge_features(*figures.edges.T)
    values |= contrast_features(figures.contrast)
    values |= {f"zone_{name}": zone for name, zone in zip(OTHER_ZONES, figures.zones.T, strict=True)}
    values |= axis_features(figures.axes) | stack_features([each.counted for each in stacks])
    rows = np.stack(list(values.values()), axis=1, dtype=float).tolist()
    return [dict(zip(values, row, strict=True)) for row in rows]
