"""How the analysis of one frame ends: a worker makes it, the record keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from models.results import Analysis, Particle


@dataclass(frozen=True)
class FinishedFrame:
    """The result for one frame, as a worker sends it and the record commits it."""

    analysis: Analysis
    finished: float
    """When the worker was done [s since 1970 UTC]."""
    preview: bytes | None
    """JPEG."""
    acquired: float | None = None
    """What the file itself says, where the source knew nothing."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """The file's original metadata."""
    pixels: str | None = None
    """Hash of the pixels, by which a frozen camera is noticed."""
    signature: bytes | None = None
    """PNG by which the frame is registered with others of its field; see `monitor.tracking.signature`."""

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """How many particles of each class, in the order of `CLASSES`."""
        return count_classes(self.analysis.particles)


@dataclass(frozen=True)
class RejectedFrame:
    """A frame that could not be analysed."""

    reason: str
    """A sentence for the operator."""
    gone: bool = False
    """The file was not there."""
    traceback: str | None = None
    """Where the rejection was a fault of this program."""


Outcome: TypeAlias = FinishedFrame | RejectedFrame


def count_classes(particles: tuple[Particle, ...]) -> tuple[int, int, int, int]:
    """How many particles of each class, in the order of `CLASSES`."""
    empty = null = no = yes = 0
    for particle in particles:
        match particle.particle_class:
            case "empty":
                empty += 1
            case "null":
                null += 1
            case "no":
                no += 1
            case "yes":
                yes += 1
    return empty, null, no, yes
