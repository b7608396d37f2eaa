"""The course of the statistics: the figures after every frame, in order of acquisition."""

from __future__ import annotations

from dataclasses import dataclass

Counts = tuple[int, int, int, int]
"""In the order of `models.results.CLASSES`."""


@dataclass(frozen=True)
class StatisticsRow:
    """The running figures after one analysed frame."""

    frame_id: int
    position: int
    at: float
    counts: Counts
    """Sightings up to here."""
    counted: float | None
    corrected: float | None
    low: float | None
    high: float | None
    tracks: Counts | None = None
    """Tracks up to here, of those that count; None where a version before 4 wrote it, which counted sightings."""
    effective: float | None = None
    """How many independent particles the judged tracks are worth."""
    always_low: float | None = None
    always_high: float | None = None
    """Ends of the confidence sequence, which holds at every look."""
    labels: int | None = None
    """Tracks that an observer labelled."""
    reason: str | None = None
    """Why there is no interval."""
    state: str | None = None
    """JSON: what the next row follows from."""

    @property
    def order(self) -> tuple[float, int]:
        """Its place in the order of acquisition."""
        return (self.at, self.frame_id)
