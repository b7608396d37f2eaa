"""A track: one physical particle, and what its sightings together say of it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from models.results import CLASSES, ParticleClass
from monitor.tracking.geometry import Outline

REPEAT_CORRELATION = 0.8
"""Of the evidence of two sightings of one particle: it is seen from the same side both times."""
LEAST_PROBABILITY = 1e-3
"""No single sighting rules a class out further than this."""

Box = tuple[float, float, float, float]
"""(first row, first column, last row, last column) [nm]."""
Probabilities = tuple[float, float, float, float]
"""In the order of `CLASSES`."""


@dataclass(frozen=True)
class Sighting:
    """One particle of one frame."""

    particle: int
    """Its number in the record."""
    box: Box
    """In the frame, from its upper left corner [nm]."""
    diameter_nm: float
    probabilities: Probabilities
    cut: bool
    """It touches the border of the frame."""
    outline: Outline | None = dataclasses.field(default=None, compare=False)
    """In the frame [nm]."""


@dataclass
class Track:
    """One physical particle."""

    id: int
    """The record's number of its first sighting."""
    field: int
    """In which it was seen first."""
    first_frame: int
    last_frame: int
    box: Box
    """In the map's coordinates, from the sighting that shows most of it [nm]."""
    view: Box
    """Of the frame of that sighting: the box ends there where the particle is cut [nm]."""
    diameter_nm: float
    """Of that sighting [nm]."""
    whole: bool
    """It was seen without touching the border."""
    outline: Outline | None = dataclasses.field(default=None, compare=False)
    """Of that sighting, on the map [nm]."""
    seen: int = 0
    """Sightings in frames that count."""
    weight: float = 0.0
    """Sum of their frames' weights."""
    evidence: list[float] = dataclasses.field(default_factory=lambda: [0.0] * len(CLASSES))
    """Weighted sums of the logarithms of their probabilities."""
    split: int = 0
    """Frames in a row in which a second region lay on it."""

    def add(self, probabilities: Probabilities, weight: float) -> None:
        """A sighting in a frame that counts."""
        self.seen += 1
        self.weight += weight
        for k, p in enumerate(probabilities):
            self.evidence[k] += weight * math.log(max(p, LEAST_PROBABILITY))

    @property
    def probabilities(self) -> Probabilities:
        """Of its classes, from all sightings in frames that count; equal ones where there is none.

        The weighted mean of the logarithms (a logarithmic opinion pool, Genest and Zidek, Statist. Sci. 1, 1986,
        114), times the effective number n / (1 + (n − 1) ρ) of sightings that agree with correlation ρ.
        """
        if self.weight <= 0:
            return (0.25, 0.25, 0.25, 0.25)
        effective = self.seen / (1 + (self.seen - 1) * REPEAT_CORRELATION)
        logs = [effective * e / self.weight for e in self.evidence]
        top = max(logs)
        shares = [math.exp(value - top) for value in logs]
        total = sum(shares)
        return (shares[0] / total, shares[1] / total, shares[2] / total, shares[3] / total)

    @property
    def particle_class(self) -> ParticleClass:
        """The likeliest."""
        p = self.probabilities
        return CLASSES[p.index(max(p))]
