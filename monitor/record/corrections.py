"""An operator's corrections of a session, as the forest learns from them.

A correction is a row of the record's `commands` table (the page's only write) whose `name` is `correct` and whose
`arguments` are, as JSON,

    {"frame": 17, "label": 3, "class": "yes"}

`frame` is `frames.id` and `label` the particle's in that frame, so that the correction outlives the row of a particle
that is analysed again; `class` is what the operator says it is, `null` takes an earlier correction back; `observer` is
who says so, where that was told. The last one of a particle holds, those that the session refused (`accepted` = 0) do
not count.

A particle that an audit drew is not learnt from: its label tells how often the forest errs, which it would not do of
what the forest has learnt.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from models.examples.corrections import Corrections
from models.results import CLASSES, ParticleClass
from monitor.errors import InputError
from monitor.record.database import open_for_reading

#: The command's name in the `commands` table.
CORRECT: Literal["correct"] = "correct"


class Correction(BaseModel):
    """The arguments of one `correct` command."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frame: NonNegativeInt
    """`frames.id`"""
    label: PositiveInt
    """The particle's value in the frame's label image."""
    particle_class: ParticleClass | None
    """What the operator says it is; `None` takes an earlier correction back."""
    observer: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    """Who says so."""

    @classmethod
    def parse(cls, arguments: str) -> Correction:
        """From the JSON of a row.

        Raises
        ------
        ValueError
            It is no JSON, or says something else.
        """
        told = json.loads(arguments)
        if not isinstance(told, dict) or "class" not in told:
            raise ValueError("it names no class")
        return cls(particle_class=told.pop("class"), **told)

    def arguments(self) -> str:
        """The JSON of a row."""
        told = {"frame": self.frame, "label": self.label, "class": self.particle_class}
        return json.dumps(told if self.observer is None else told | {"observer": self.observer})


@dataclass(frozen=True)
class Held:
    """A correction that holds."""

    particle_class: ParticleClass
    observer: str | None
    at: float
    """[s since 1970 UTC]"""


def read_corrections(session: Path) -> Corrections:
    """All corrections of a session that hold, in order of acquisition, with what was measured of the particles.

    Raises
    ------
    NoSession
        There is no session's record in the folder, or a damaged one.
    InputError
        It holds no correction, or one that can't be read.
    """
    with closing(open_for_reading(session)) as db:
        holding = holding_corrections(db, str(session))
        drawn = drawn_particles(db)
        rows, classes, groups = [], [], []
        for frame, label, features in db.execute(
            "SELECT p.frame_id, p.label, p.features FROM particles p JOIN frames f ON f.id = p.frame_id "
            "ORDER BY ifnull(f.acquired, f.arrived), f.id, p.label"
        ):
            if (frame, label) in holding and (frame, label) not in drawn:
                rows.append(json.loads(features))
                classes.append(CLASSES.index(holding[frame, label].particle_class))
                groups.append(str(frame))
    if not rows:
        raise InputError(f"{session} holds no corrections; they are made on the page", path=session)
    # Every particle has what all have: a class-dependent figure such as the fault's place is no feature.
    names = sorted(set(rows[0]).intersection(*rows))
    features = np.array([[row[name] for name in names] for row in rows], np.float32).reshape(
        len(rows), len(names)
    )
    return Corrections(features, names, np.array(classes), np.array(groups), session.resolve().name)


def holding_corrections(db: sqlite3.Connection, of: str = "this record") -> dict[tuple[int, int], Held]:
    """(frame, label) → the correction that holds.

    Raises
    ------
    InputError
        A row can't be read.
    """
    if not _has_table(db, "commands"):
        return {}
    holding: dict[tuple[int, int], Held] = {}
    for number, at, arguments in db.execute(
        "SELECT id, at, arguments FROM commands WHERE name = ? AND accepted IS NOT 0 ORDER BY id", (CORRECT,)
    ):
        try:
            correction = Correction.parse(arguments)
        except (ValueError, TypeError, ValidationError) as error:
            why = " ".join(str(error).split())
            raise InputError(f"command {number} of {of} is no correction: {why}") from error
        particle = correction.frame, correction.label
        holding.pop(particle, None)
        if correction.particle_class is not None:
            holding[particle] = Held(correction.particle_class, correction.observer, at)
    return holding


def drawn_particles(db: sqlite3.Connection) -> set[tuple[int, int]]:
    """(frame, label) of every sighting of the tracks that audits drew."""
    if not _has_table(db, "labels"):
        return set()
    rows = db.execute(
        "SELECT p.frame_id, p.label FROM labels l JOIN particles d ON d.id = l.particle "
        "JOIN particles p ON p.track = d.track "
        "UNION SELECT frame_id, label FROM particles WHERE id IN (SELECT particle FROM labels)"
    )
    return set(rows.fetchall())


def _has_table(db: sqlite3.Connection, name: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return db.execute(query, (name,)).fetchone() is not None
