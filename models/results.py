"""The result of an analysis: plain records that can be sent between processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from models.features.measure import Measured

ParticleClass = Literal["empty", "null", "no", "yes"]

#: The four classes in the order of every probability vector in the project.
CLASSES: tuple[ParticleClass, ...] = ("empty", "null", "no", "yes")

#: The stages whose wall time is reported, in the order in which they run.
STAGES: tuple[str, ...] = ("read", "preprocess", "segment", "measure", "classify", "likeness")


def sure(probabilities: npt.NDArray[np.floating], sure_from: float) -> npt.NDArray[np.bool_]:
    """Whether calls (..., 4) are sure: the likeliest class has at least this probability. Else it is doubtful.

    The one definition of it: for the particles of a session as for the counts that a bundle carries.

    Parameters
    ----------
    probabilities : in the order of `CLASSES`; divided by their sum.
    sure_from : a bundle's `abstain_below`.
    """
    return np.asarray(probabilities.max(axis=-1) / probabilities.sum(axis=-1) >= sure_from)


@dataclass(frozen=True)
class Particle:
    """One segmented region of one frame. All coordinates are (row, column) in the frame's own pixels."""

    label: int
    """Its value in the label image, from 1."""
    particle_class: ParticleClass
    probabilities: tuple[float, float, float, float]
    """In the order of `CLASSES`, summing to 1."""
    abstained: bool
    """The probabilities are too close to call, which is not `sure`; the class is the likeliest all the same."""
    bbox: tuple[int, int, int, int]
    """Half-open: first row, first column, one past the last row, one past the last column."""
    centroid: tuple[float, float]
    diameter_nm: float
    """Of the circle with the region's area [nm]."""
    area_nm2: float
    outline: tuple[tuple[float, float], ...]
    """Closed polygon of (row, column) corners; the last corner is not repeated."""
    features: dict[str, float] = field(default_factory=dict)
    measured: Measured | None = field(default=None, compare=False, repr=False)
    """What its features were read from, where that is asked for; see `models.explain.explanation`."""


@dataclass(frozen=True)
class Analysis:
    """The result for one frame: its particles, labels, quality and timings."""

    shape: tuple[int, int]
    """The frame's own (H, W)."""
    pixel_size_nm: float
    particles: tuple[Particle, ...]
    quality: dict[str, float | bool | str]
    """Figures that describe the frame itself (contrast, blankness, sharpness); see `models.quality`."""
    timings_ms: dict[str, float]
    """Wall time by stage [ms]; the keys are `STAGES` without `read`, which the reader adds."""
    bundle: str
    """The identity of the bundle that judged."""
    backend: str
    """What ran the network, as in `onnxruntime-cpu` or `torch-cuda`."""
    labels: npt.NDArray[np.int32] | None = None
    """The label image (H, W): 0 background, i the particle with label i; regions called `empty` are 0."""
