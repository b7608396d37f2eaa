"""What a person goes through after the sample: the most doubtful tracks, and marks of particles that were missed.

Neither changes the fraction. A correction of a track that was chosen because it looked wrong, or doubtful, tells
nothing of the others (`monitor.record.labels` holds what does); a refit of the forest learns from it. A missed particle
has no outline, and so nothing that a forest could learn from; it is kept for those who train the network.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from models.results import CLASSES
from monitor.record.corrections import Held, drawn_particles, holding_corrections

MISSED = "missed"
"""The name of the command that marks a missed particle."""
WITHDRAW = "withdraw"
"""The name of the command that takes such a mark back."""
_STRICT = ConfigDict(extra="forbid", frozen=True)
_Name = Annotated[str, Field(min_length=1, max_length=80)]


class Missed(BaseModel):
    """The arguments of `missed`: here is a particle that was not found."""

    model_config = _STRICT
    frame: NonNegativeInt
    """`frames.id`"""
    row: NonNegativeFloat
    col: NonNegativeFloat
    """Its centre [px]."""
    diameter_nm: Annotated[PositiveFloat, Field(le=1000)] | None = None
    observer: _Name


class Withdraw(BaseModel):
    """The arguments of `withdraw`."""

    model_config = _STRICT
    command: PositiveInt
    """`commands.id` of the mark that is taken back."""
    observer: _Name


@dataclass(frozen=True)
class MissedRow:
    """A mark that holds."""

    command: int
    at: float
    """[s since 1970 UTC]"""
    frame: int
    row: float
    col: float
    """[px]"""
    diameter_nm: float | None
    observer: str


@dataclass(frozen=True)
class Doubtful:
    """A track by the sighting that shows most of it, with what the model says of the track."""

    particle: int
    """`particles.id` of that sighting."""
    frame: int
    label: int
    particle_class: str
    probabilities: tuple[float, float, float, float]
    """Of the track, in the order of `CLASSES`."""
    diameter_nm: float
    seen: int
    """Sightings in frames that count."""
    bundle: str
    """That judged the sighting which is shown."""
    corrected: Held | None
    """What a person said of that sighting."""

    @property
    def margin(self) -> float:
        """By how much the likeliest class is ahead of the next one."""
        return _margin(self.probabilities)


def doubtful(db: sqlite3.Connection, most: int, *, keep: frozenset[int] = frozenset()) -> list[Doubtful]:
    """The tracks whose two likeliest classes are closest, the closest first; each by one sighting.

    Those that an audit drew are left out, for their labels tell how often the forest errs; so are those of which a
    sighting was corrected.

    Parameters
    ----------
    most : tracks besides those of `keep`.
    keep : sightings that are shown in any case, but for those that an audit drew.
    """
    if most <= 0 and not keep:
        return []
    corrected = holding_corrections(db)
    left_out = drawn_particles(db)
    kept = _tracks_of(db, keep)
    passed = _tracks_of(db, _numbers(db, corrected)).keys() - kept.keys()
    tracks = db.execute(
        "SELECT id, class, p_empty, p_null, p_no, p_yes, diameter_nm, seen FROM tracks WHERE seen > 0"
    ).fetchall()
    tracks.sort(key=lambda track: (_margin(track[2:6]), track[0]))
    found: list[Doubtful] = []
    for number, name, *p, diameter_nm, seen in tracks:
        if number in passed or (number not in kept and most <= 0):
            continue
        shown = _shown(db, number, kept.get(number))
        if shown is None or (shown[1], shown[2]) in left_out:
            continue
        most -= number not in kept
        particle, frame, label, bundle = shown
        told = corrected.get((frame, label))
        found.append(
            Doubtful(particle, frame, label, name, (p[0], p[1], p[2], p[3]), diameter_nm, seen, bundle, told)
        )
    return found


def read_missed(db: sqlite3.Connection, frame: int | None = None) -> list[MissedRow]:
    """The marks that hold, the oldest first; only those of one frame where it is given."""
    taken_back = {
        json.loads(arguments)["command"]
        for (arguments,) in db.execute(
            "SELECT arguments FROM commands WHERE name = ? AND accepted = 1", (WITHDRAW,)
        )
    }
    found = []
    for number, at, arguments in db.execute(
        "SELECT id, at, arguments FROM commands WHERE name = ? AND accepted IS NOT 0 ORDER BY id", (MISSED,)
    ):
        told = Missed.model_validate_json(arguments)
        if number not in taken_back and frame in (None, told.frame):
            found.append(
                MissedRow(number, at, told.frame, told.row, told.col, told.diameter_nm, told.observer)
            )
    return found


def mark_missed(db: sqlite3.Connection, told: Missed, _at: float) -> tuple[bool, str]:
    """Carry out `missed`: whether the mark is kept, and a sentence."""
    row = db.execute("SELECT height, width FROM results WHERE frame_id = ?", (told.frame,)).fetchone()
    if row is None:
        return False, f"frame {told.frame} is not analysed"
    if told.row >= row[0] or told.col >= row[1]:
        return False, f"the place lies outside of frame {told.frame}"
    for label, name, outline in db.execute(
        "SELECT label, class, outline FROM particles WHERE frame_id = ?1 AND row0 <= ?2 AND row1 > ?2 "
        "AND col0 <= ?3 AND col1 > ?3",
        (told.frame, told.row, told.col),
    ):
        if name != "empty" and _inside(told.row, told.col, json.loads(outline)):
            return False, f"particle {label} of frame {told.frame} is there already; relabel it"
    return True, "kept; neither the fraction nor the forest changes by it, the network can be trained with it"


def withdraw(db: sqlite3.Connection, told: Withdraw, _at: float) -> tuple[bool, str]:
    """Carry out `withdraw`."""
    if all(mark.command != told.command for mark in read_missed(db)):
        return False, f"there is no mark {told.command} to take back"
    return True, "taken back"


def _inside(row: float, col: float, outline: list[list[float]]) -> bool:
    """Whether a point lies within a closed polygon: a ray crosses its border an odd number of times."""
    within = False
    for (row_a, col_a), (row_b, col_b) in zip(outline, outline[1:] + outline[:1], strict=True):
        if (row_a > row) != (row_b > row):
            within ^= col < col_a + (row - row_a) / (row_b - row_a) * (col_b - col_a)
    return within


def _margin(probabilities: tuple[float, ...]) -> float:
    assert len(probabilities) == len(CLASSES)
    first, second = sorted(probabilities)[:-3:-1]
    return first - second


def _numbers(db: sqlite3.Connection, corrected: Iterable[tuple[int, int]]) -> list[int]:
    """The numbers of sightings by frame and label."""
    query = "SELECT id FROM particles WHERE frame_id = ? AND label = ?"
    return [number for place in corrected for (number,) in db.execute(query, place)]


def _tracks_of(db: sqlite3.Connection, particles: Iterable[int]) -> dict[int, int]:
    """The tracks of sightings, each with one of these."""
    query = "SELECT track, id FROM particles WHERE id = ? AND track IS NOT NULL"
    return dict(row for number in particles for row in db.execute(query, (number,)))


def _shown(db: sqlite3.Connection, track: int, rather: int | None) -> tuple[int, int, int, str] | None:
    """A sighting of a track, of those in frames that count: `rather`, else the one that shows most of it."""
    row = db.execute(
        "SELECT p.id, p.frame_id, p.label, r.bundle FROM particles p JOIN places s ON s.frame_id = p.frame_id "
        "JOIN results r ON r.frame_id = p.frame_id WHERE p.track = ? AND s.uncounted IS NULL "
        "ORDER BY p.id IS NOT ?, p.area_nm2 DESC, p.id LIMIT 1",
        (track, rather),
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2], row[3])
