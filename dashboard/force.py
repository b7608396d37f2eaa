"""Reader of what is in force in a session: settings, who judges, and what was changed."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.record.changes import BUNDLE, GATE_USUAL, Change, last_of, read_changes
from monitor.record.judging import place_of


@dataclass(frozen=True)
class InForce:
    """What is in force."""

    abstain_below: float | None
    """None: the bundle's own."""
    own_abstain_below: float | None
    """Of the bundle that judges."""
    not_counted: tuple[str, ...]
    goal: float | None
    material: str | None
    begun_with: dict[str, Any]
    """The settings that the session was begun with."""
    changes: tuple[Change, ...]
    """In the order in which they were made."""
    bundle: str | None
    """Who judges."""
    base: Path | None
    """The bundle that the session began with; None where it is not there any more."""

    @property
    def promoted(self) -> bool:
        """Whether another bundle than the one that the session began with judges."""
        now = last_of(self.changes, BUNDLE)
        return now is not None and now["id"] != now["base"]


def read_in_force(db: sqlite3.Connection) -> InForce:
    """What is in force."""
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    changes = read_changes(db)
    row = db.execute("SELECT details FROM bundles WHERE id = ?", (meta.get("bundle"),)).fetchone()
    details = {} if row is None else json.loads(row[0])
    now = last_of(changes, BUNDLE)
    base = meta.get("bundle") if now is None else now["base"]
    own = details.get("abstain_below")
    return InForce(
        last_of(changes, "abstain_below"),
        None if own is None else float(own),
        tuple(last_of(changes, "not_counted", GATE_USUAL)),
        last_of(changes, "goal"),
        meta.get("material") or None,
        json.loads(meta.get("settings", "{}")),
        tuple(changes),
        meta.get("bundle"),
        None if base is None else place_of(db, base),
    )
