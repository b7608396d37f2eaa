"""What people noted of a session: rows of the table `commands` by the name of `note`, in the order of their time.

A note is kept as it was asked: it is never changed, and a wrong one is put right by another.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NOTE = "note"
"""The command's name."""


class Note(BaseModel):
    """The arguments of one `note` command."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    text: Annotated[str, Field(min_length=1, max_length=4000)]
    by: Annotated[str, Field(max_length=80)] = ""
    """Who noted it; empty where nobody said."""


@dataclass(frozen=True)
class NoteRow:
    """A note that the session kept."""

    at: float
    """[s since 1970 UTC]"""
    by: str
    text: str


def read_notes(db: sqlite3.Connection, most: int | None = None) -> list[NoteRow]:
    """The notes of a session, the oldest first; only the last `most` of them where that is given."""
    rows = db.execute(
        "SELECT at, arguments FROM commands WHERE name = ? AND accepted = 1 ORDER BY id DESC LIMIT ?",
        (NOTE, -1 if most is None else most),
    ).fetchall()
    told = [(at, json.loads(arguments)) for at, arguments in reversed(rows)]
    return [NoteRow(at, note.get("by", ""), note["text"].strip()) for at, note in told]
