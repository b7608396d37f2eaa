"""What people ask for on the page: rows of the table `commands`, which the session carries out and answers.

A row's `name` is one of `COMMANDS` and its `arguments` are JSON, checked by the model of that name. The page writes
rows by `ask`, its only write; the session calls `carry_out` several times a second.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from models.results import ParticleClass
from monitor.errors import InputError, NoSession
from monitor.record.changes import SETTING, Setting, set_setting
from monitor.record.corrections import CORRECT, Correction, drawn_particles
from monitor.record.database import DATABASE
from monitor.record.judging import PROMOTE, TAKE_BACK, Promote, TakeBack, promote, take_back
from monitor.record.labels import draw_audit, set_label
from monitor.record.notes import NOTE, Note
from monitor.record.reviewing import MISSED, WITHDRAW, Missed, Withdraw, mark_missed, withdraw

_STRICT = ConfigDict(extra="forbid", frozen=True)
Name = Annotated[str, Field(min_length=1, max_length=80)]


class Audit(BaseModel):
    """Draw so many tracks to be labelled."""

    model_config = _STRICT
    number: Annotated[int, Field(ge=1, le=1000)]


class Label(BaseModel):
    """What an observer says of a track that was drawn."""

    model_config = _STRICT
    particle: PositiveInt
    """`particles.id` of the sighting that was shown."""
    observer: Name
    particle_class: ParticleClass | None = Field(alias="class")
    """None takes it back."""


class Acknowledge(BaseModel):
    """Somebody has seen an alarm."""

    model_config = _STRICT
    alarm: NonNegativeInt
    """`alarms.id`"""


def ask(session: Path, name: str, arguments: dict[str, Any], at: float) -> int:
    """Put a command into the record of a session; returns its number, under which the answer will stand.

    Raises
    ------
    InputError
        There is no such command, or its arguments can't be; or the record can't be written.
    """
    text = json.dumps(arguments)
    try:
        _parsed(name, text)
    except ValueError as error:
        raise InputError(f"{name}: {_said(error)}") from error
    path = session / DATABASE
    if not path.is_file():
        raise NoSession(f"{session} is no session", path=session)
    try:
        with closing(
            sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=5, isolation_level=None)
        ) as db:
            cursor = db.execute(
                "INSERT INTO commands (at, name, arguments) VALUES (?, ?, ?)", (at, name, text)
            )
            return int(cursor.lastrowid or 0)
    except sqlite3.Error as error:
        raise InputError(f"{path} can't be written: {error}", path=path) from error


def carry_out(db: sqlite3.Connection, at: float, *, running: bool = True) -> list[str]:
    """Answer every command that waits, inside the caller's transaction; returns the names of those carried out.

    Parameters
    ----------
    running : whether a session does so; what concerns frames to come is refused where none runs.
    """
    done = []
    for number, name, arguments in db.execute(
        "SELECT id, name, arguments FROM commands WHERE accepted IS NULL ORDER BY id"
    ).fetchall():
        try:
            told = _parsed(name, arguments)
            refusal = None if running else _needs_a_session(told)
            accepted, answer = COMMANDS[name](db, told, at) if refusal is None else (False, refusal)
        except ValueError as error:
            accepted, answer = False, f"it can't be understood: {_said(error)}"
        db.execute(
            "UPDATE commands SET accepted = ?, answer = ? WHERE id = ?", (int(accepted), answer, number)
        )
        if accepted:
            done.append(name)
    return done


def _needs_a_session(told: BaseModel) -> str | None:
    """Why a command is refused where no session runs; None: it is not."""
    if isinstance(told, Promote):
        return f"no session runs; to judge with this bundle, begin one with --bundle {told.bundle}"
    if isinstance(told, TakeBack) or (isinstance(told, Setting) and told.name != "goal"):
        return "no session runs, so there is no next frame from which it could hold"
    return None


def _audit(db: sqlite3.Connection, told: Audit, at: float) -> tuple[bool, str]:
    drawn = draw_audit(db, told.number, at)
    if not drawn:
        return False, "there is no particle to label yet"
    return True, f"{drawn} particles wait to be labelled"


def _label(db: sqlite3.Connection, told: Label, at: float) -> tuple[bool, str]:
    if set_label(db, told.particle, told.observer, told.particle_class, at):
        return True, "kept"
    return False, f"particle {told.particle} was not drawn by an audit, and so tells nothing of the others"


def _acknowledge(db: sqlite3.Connection, told: Acknowledge, at: float) -> tuple[bool, str]:
    changed = db.execute(
        "UPDATE alarms SET acknowledged = ? WHERE id = ? AND acknowledged IS NULL", (at, told.alarm)
    ).rowcount
    return (True, "acknowledged") if changed else (False, f"there is no alarm {told.alarm} to acknowledge")


def _correct(db: sqlite3.Connection, told: Correction, at: float) -> tuple[bool, str]:
    known = db.execute(
        "SELECT 1 FROM particles WHERE frame_id = ? AND label = ?", (told.frame, told.label)
    ).fetchone()
    if known is None:
        return False, f"frame {told.frame} has no particle {told.label}"
    if told.particle_class is None:
        return True, "taken back"
    if (told.frame, told.label) in drawn_particles(db):
        return (
            True,
            "kept; an audit drew this particle, so a refit does not learn from it: only its label counts",
        )
    return True, "kept; the fraction does not change by it, a refit of the forest learns from it"


def _note(_db: sqlite3.Connection, _told: Note, _at: float) -> tuple[bool, str]:
    return True, "kept"  # the row itself is the note


#: Every command: what carries it out, inside a transaction.
COMMANDS: dict[str, Callable[[sqlite3.Connection, Any, float], tuple[bool, str]]] = {
    "audit": _audit,
    "label": _label,
    "acknowledge": _acknowledge,
    CORRECT: _correct,
    NOTE: _note,
    MISSED: mark_missed,
    WITHDRAW: withdraw,
    SETTING: set_setting,
    PROMOTE: promote,
    TAKE_BACK: take_back,
}


def _parsed(name: str, arguments: str) -> BaseModel:
    models: dict[str, type[BaseModel]] = {
        "audit": Audit,
        "label": Label,
        "acknowledge": Acknowledge,
        NOTE: Note,
        MISSED: Missed,
        WITHDRAW: Withdraw,
        SETTING: Setting,
        PROMOTE: Promote,
        TAKE_BACK: TakeBack,
    }
    if name == CORRECT:
        return Correction.parse(arguments)
    if name not in models:
        raise ValueError(f"there is no command {name}; there are {', '.join(COMMANDS)}")
    return models[name].model_validate_json(arguments)


def _said(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
    return str(error)
