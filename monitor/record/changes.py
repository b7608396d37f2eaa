"""What was changed in the middle of a session: settings, and who judges. Kept in `meta` by the key `changes`.

A change holds from a frame on: `after` is the place, in the order of acquisition, of the last frame that was settled
before it. What was found before stays as it is, but for another judge, by whom all is judged again
(`monitor.record.judging`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.errors import CannotAnalyse
from monitor.statistics.alarm_kinds import RULES

SETTING = "setting"
"""The name of the command that changes a setting."""
BUNDLE = "bundle"
"""The name of a change of who judges."""
MATERIAL = "material"
"""The name of that setting."""
FIRST_MATERIAL = "first_material"
"""Key in `meta`: the material that the session began with, kept when it begins; empty: all that are known are tried."""
Order = tuple[float, int]

#: Alarms that may close the quality gate. A frame that repeats another one, or is overexposed, never counts.
GATE_KINDS: tuple[str, ...] = ("beam lost", "out of focus", "charging", "blank field", "drift too fast")
#: Those that close it where nothing else was set.
GATE_USUAL: tuple[str, ...] = tuple(kind for kind in GATE_KINDS if RULES[kind].not_counted)  # type: ignore[index]
_Name = Annotated[str, Field(min_length=1, max_length=80)]


class Setting(BaseModel):
    """The arguments of `setting`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Literal["abstain_below", "not_counted", "goal", "material"]
    value: float | str | tuple[str, ...] | None
    """`abstain_below`: probability (0.25 to 1), None: the bundle's own. `not_counted`: names of alarms. `goal`: half
    width of the interval, as 0.05. `material`: its name, None: all that are known are tried."""
    observer: _Name

    @model_validator(mode="after")
    def _can_be(self) -> Setting:
        value = self.value
        if self.name == "abstain_below" and not (value is None or _within(value, 0.25, 1.0)):
            raise ValueError("the abstaining threshold is a probability from 0.25 to 1, or none")
        if self.name == "goal" and not _within(value, 0.01, 0.5):
            raise ValueError("the goal is a half width from 0.01 to 0.5")
        if self.name == "not_counted" and not (isinstance(value, tuple) and set(value) <= set(GATE_KINDS)):
            raise ValueError(f"the quality gate knows {', '.join(GATE_KINDS)}")
        if self.name == MATERIAL:
            if not (value is None or isinstance(value, str)):
                raise ValueError("a material has a name")
            from models.analysis import layer_frequencies  # takes a moment to import

            try:
                layer_frequencies(value)
            except CannotAnalyse as error:
                raise ValueError(str(error)) from error
        return self


@dataclass(frozen=True)
class Change:
    """A change as it was carried out."""

    at: float
    """[s since 1970 UTC]"""
    observer: str
    name: str
    """Of `Setting`, or `BUNDLE`."""
    value: Any
    """Of `BUNDLE`: `id` and `path` of the judge (`path` None: the one that the session began with), `over` and
    `over_path`: the one before, and `base`: the id of the one that the session began with."""
    after: Order | None
    """None: no frame was settled before."""


def read_changes(db: sqlite3.Connection) -> list[Change]:
    """All changes in the order in which they were made."""
    row = db.execute("SELECT value FROM meta WHERE key = 'changes'").fetchone()
    told = [] if row is None else json.loads(row[0])
    return [
        Change(**(each | {"after": None if each["after"] is None else (each["after"][0], each["after"][1])}))
        for each in told
    ]


def add_change(db: sqlite3.Connection, at: float, observer: str, name: str, value: Any) -> Change:
    """Keep a change that holds from the next frame on."""
    row = db.execute("SELECT at, frame_id FROM statistics ORDER BY position DESC LIMIT 1").fetchone()
    change = Change(at, observer, name, value, None if row is None else (row[0], row[1]))
    told = json.dumps([asdict(each) for each in (*read_changes(db), change)])
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('changes', ?)", (told,))
    return change


def last_of(changes: Sequence[Change], name: str, usual: Any = None, order: Order | None = None) -> Any:
    """The value that holds, of a frame at a place in the order of acquisition where that is given."""
    for change in reversed(changes):
        if change.name == name and (order is None or change.after is None or change.after < order):
            return change.value
    return usual


def material_at(db: sqlite3.Connection, committed: float) -> str | None:
    """The material by which a result was found that was committed at a time [s since 1970 UTC]; None: all known."""
    known = dict(db.execute("SELECT key, value FROM meta WHERE key IN (?, ?)", (MATERIAL, FIRST_MATERIAL)))
    changes = [change for change in read_changes(db) if change.name == MATERIAL]
    if not changes:
        return known.get(MATERIAL) or None
    since = [change for change in changes if change.at <= committed]
    return (since[-1].value if since else known.get(FIRST_MATERIAL)) or None


def gate_kinds(changes: Sequence[Change], order: Order) -> frozenset[str]:
    """The alarms by which the frame at a place in the order of acquisition is not counted."""
    return frozenset(last_of(changes, "not_counted", GATE_USUAL, order))


def judged_since(db: sqlite3.Connection) -> float:
    """When the present judge began [s since 1970 UTC]; 0 where it never changed."""
    return max((change.at for change in read_changes(db) if change.name == BUNDLE), default=0.0)


def set_setting(db: sqlite3.Connection, told: Setting, at: float) -> tuple[bool, str]:
    """Carry out `setting`."""
    change = add_change(db, at, told.observer, told.name, told.value)
    if told.name == MATERIAL:
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('material', ?)", (told.value or "",))
    if told.name == "goal":
        return True, "kept; every viewer's goal is set to it"
    since = "the first frame" if change.after is None else f"the frame after frame {change.after[1]}"
    return True, f"in force from {since} on"


def _within(value: object, low: float, high: float) -> bool:
    return isinstance(value, float | int) and low <= value <= high
