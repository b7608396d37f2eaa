"""Readers of what a person reviews: the sample of the audits, the most doubtful tracks, marks of missed particles."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from dashboard.asked import read_drawn
from monitor.record.corrections import drawn_particles, holding_corrections
from monitor.record.labels import to_label
from monitor.record.reviewing import Doubtful, MissedRow, doubtful, read_missed


@dataclass(frozen=True)
class ReviewState:
    """What there is to review, for one observer."""

    drawn: int = 0
    """Tracks that audits drew."""
    waiting: int = 0
    """Of these, tracks that this observer has not labelled."""
    doubtful: tuple[Doubtful, ...] = ()
    """The most doubtful first."""
    corrections: int = 0
    """That hold, and that a refit learns from."""
    missed: tuple[MissedRow, ...] = ()


def read_review(db: sqlite3.Connection, observer: str, most: int, keep: frozenset[int]) -> ReviewState:
    """What there is to review.

    Parameters
    ----------
    most : doubtful tracks that are told besides those of `keep`.
    keep : sightings that stay in the queue.
    """
    held = holding_corrections(db)
    learnt = len(held.keys() - drawn_particles(db)) if held else 0
    return ReviewState(
        read_drawn(db),
        sum(1 for _ in to_label(db, observer)),
        tuple(doubtful(db, most, keep=keep)),
        learnt,
        tuple(read_missed(db)),
    )
