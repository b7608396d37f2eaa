"""Who judges: a bundle with another forest is promoted, or taken back, and what was found is judged again.

Everything that the forest looked at is in the record (`particles.features`), and a refitted bundle differs from its
parent in nothing but the forest, so that judging again gives what an analysis of the frame with the new bundle would.
The whole session is then of one judge: the errors by which the fraction is corrected are those of one bundle.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from models.bundle import SHIPPED, describe
from models.errors import BundleRefused
from models.forest import Forest, as_rows, onnx_forest
from models.results import CLASSES, sure
from monitor.outcomes import FinishedFrame
from monitor.record.changes import (
    BUNDLE,
    FIRST_MATERIAL,
    MATERIAL,
    Change,
    add_change,
    last_of,
    read_changes,
)

PROMOTE = "promote"
"""The name of the command by which another bundle judges."""
TAKE_BACK = "take back"
"""The name of the command by which the bundle that the session began with judges again."""
COMMAND_LINE = "the command line"
"""Who changed what was given when a session was begun again."""
log = logging.getLogger("faultwatch.session")
_STRICT = ConfigDict(extra="forbid", frozen=True)
_BATCH = 2000
_Name = Annotated[str, Field(min_length=1, max_length=80)]
#: What two bundles have to share, for the one to judge what the other found.
_SHARED = ("preprocessing", "segmentation", "calibration", "features", "classes", "unet")


class Promote(BaseModel):
    """The arguments of `promote`."""

    model_config = _STRICT
    bundle: Annotated[str, Field(min_length=1)]
    """Its folder."""
    observer: _Name


class TakeBack(BaseModel):
    """The arguments of `take back`."""

    model_config = _STRICT
    observer: _Name


@dataclass(frozen=True)
class Judge:
    """A bundle as far as it judges what is in a record."""

    id: str
    path: Path
    details: dict[str, Any]

    @classmethod
    def of(cls, path: Path) -> Judge:
        """
        Raises
        ------
        BundleRefused
            There is no such bundle.
        """
        name, details = describe(path)
        return cls(name, path, details)

    def forest(self) -> Forest:
        """
        Raises
        ------
        BundleRefused
            Its file holds something else.
        """
        names = self.details["features"]
        return onnx_forest(self.path / "forest.onnx", len(names), float(self.details["sharpening"]))

    def fits(self, other: dict[str, Any]) -> bool:
        """Whether it can judge what was found by the bundle with this manifest: they differ in the forest alone."""
        mine = self.details
        nets = [
            {file: digest for file, digest in each["sha256"].items() if not file.startswith("forest.")}
            for each in (mine, other)
        ]
        return all(mine.get(key) == other.get(key) for key in _SHARED) and nets[0] == nets[1]


@dataclass(frozen=True)
class Judged:
    """A stretch of the record's particles, as a forest judges them."""

    ids: list[int]
    before: npt.NDArray[np.float64]
    """(P, 4) probabilities in the record."""
    after: npt.NDArray[np.float64]
    """(P, 4) summing to 1."""


def judged(db: sqlite3.Connection, judge: Judge) -> Iterator[Judged]:
    """All particles of a record as a bundle's forest judges them; changes nothing.

    Raises
    ------
    BundleRefused
        They lack features that the forest looks at.
    """
    forest, last = judge.forest(), 0
    while rows := db.execute(
        "SELECT id, p_empty, p_null, p_no, p_yes, features FROM particles WHERE id > ? ORDER BY id LIMIT ?",
        (last, _BATCH),
    ).fetchall():
        last = rows[-1][0]
        yield Judged(
            [row[0] for row in rows],
            np.array([row[1:5] for row in rows], np.float64),
            _judged([json.loads(row[5]) for row in rows], forest, judge),
        )


def judge_again(db: sqlite3.Connection, judge: Judge, abstain_below: float) -> int:
    """Have every particle of the record judged by a bundle; returns how many changed their class."""
    changed = 0
    for part in judged(db, judge):
        classes = part.after.argmax(axis=1)
        changed += int((classes != part.before.argmax(axis=1)).sum())
        doubtful = ~sure(part.after, abstain_below)
        db.executemany(
            "UPDATE particles SET class = ?, p_empty = ?, p_null = ?, p_no = ?, p_yes = ?, abstained = ? WHERE id = ?",
            (
                (CLASSES[k], *p, int(d), number)
                for k, p, d, number in zip(
                    classes.tolist(), part.after.tolist(), doubtful.tolist(), part.ids, strict=True
                )
            ),
        )
    db.execute("UPDATE results SET bundle = ?", (judge.id,))
    # All of it is settled again: what is behind a change of a class follows from it.
    db.execute("DELETE FROM statistics")
    return changed


def promote(db: sqlite3.Connection, told: Promote, at: float) -> tuple[bool, str]:
    """Carry out `promote`."""
    return _hand_over(db, Path(told.bundle), told.observer, at, back=False)


def take_back(db: sqlite3.Connection, told: TakeBack, at: float) -> tuple[bool, str]:
    """Carry out `take back`."""
    now = last_of(read_changes(db), BUNDLE)
    if now is None or now["id"] == now["base"]:
        return False, "no bundle was promoted"
    path = place_of(db, now["base"])
    if path is None:
        return False, f"{now['base']} is not where it was"
    return _hand_over(db, path, told.observer, at, back=True)


def place_of(db: sqlite3.Connection, bundle: str) -> Path | None:
    """Where a bundle of this record lies; the one that is shipped may lie elsewhere by now. None: nowhere."""
    row = db.execute("SELECT path FROM bundles WHERE id = ?", (bundle,)).fetchone()
    for path in (*(Path(each) for each in row or ()), SHIPPED):
        try:
            if describe(path)[0] == bundle:
                return path
        except BundleRefused:
            continue
    return None


def _hand_over(
    db: sqlite3.Connection, path: Path, observer: str, at: float, *, back: bool
) -> tuple[bool, str]:
    row = db.execute(
        "SELECT id, details FROM bundles WHERE id = (SELECT value FROM meta WHERE key = 'bundle')"
    ).fetchone()
    if row is None:
        return False, "no bundle judges in this session yet"
    db.execute("SAVEPOINT hand_over")
    try:
        judge = Judge.of(path)
        if judge.id == row[0]:
            return False, f"{judge.id} judges already"
        if not judge.fits(json.loads(row[1])):
            return False, f"{judge.id} differs from {row[0]} in more than its forest; begin a session with it"
        changes = read_changes(db)
        former = last_of(changes, BUNDLE)
        change = _kept(db, judge, row[0], row[0] if former is None else former["base"], observer, at)
        db.execute(
            "INSERT OR IGNORE INTO bundles (id, path, details) VALUES (?, ?, ?)",
            (judge.id, str(path), json.dumps(judge.details)),
        )
        limit = last_of(changes, "abstain_below") or float(judge.details["abstain_below"])
        changed = judge_again(db, judge, limit)
    except BundleRefused as error:
        db.execute("ROLLBACK TO hand_over")
        return False, str(error)
    finally:
        db.execute("RELEASE hand_over")
    since = "the first frame" if change.after is None else f"the frame after frame {change.after[1]}"
    how = "judges again" if back else "judges"
    return True, (
        f"{judge.id} {how} from {since} on; what was found before was judged by it too, from its recorded features: "
        f"{changed} sightings changed their class. Labels of earlier audits count again once they are drawn anew"
    )


def _kept(db: sqlite3.Connection, judge: Judge, over: str, base: str, observer: str, at: float) -> Change:
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('bundle', ?)", (judge.id,))
    value = {"id": judge.id, "path": str(judge.path), "over": over, "base": base}
    return add_change(db, at, observer, BUNDLE, value)


class Bench:
    """What a session follows of what was changed on the page: who judges, which calls are doubtful, the material."""

    def __init__(self, material: str | None) -> None:
        """
        Parameters
        ----------
        material : by the settings that the session was begun with.
        """
        self.judge: Judge | None = None
        """In the place of the workers' own bundle; None: that one."""
        self.material = material
        self._given = material
        self._own = Judge("", Path(), {})
        """The workers' own bundle."""
        self._limit: float | None = None
        self._forest: Forest | None = None

    @property
    def path(self) -> Path | None:
        """The bundle that judges in the place of the workers' own."""
        return None if self.judge is None else self.judge.path

    @property
    def details(self) -> dict[str, Any]:
        """The manifest of who judges."""
        return (self.judge or self._own).details

    def begin(
        self, db: sqlite3.Connection, base: str, path: Path, details: dict[str, Any], at: float
    ) -> None:
        """Begin with the workers' bundle, or go on with what was changed before the session was begun again.

        What the command line says otherwise than the last change is a change itself.
        """
        self._own = Judge(base, path, details)
        changes = read_changes(db)
        now = last_of(changes, BUNDLE)
        if now is not None and now["base"] != base:
            value = {"id": base, "path": str(path), "over": now["id"], "base": base}
            add_change(db, at, COMMAND_LINE, BUNDLE, value)
        self._begin_material(db, changes, at)
        self.follow(db)
        values = (
            ("bundle", (self.judge or self._own).id),
            ("material", self.material or ""),
        )
        db.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", values)

    def _begin_material(self, db: sqlite3.Connection, changes: list[Change], at: float) -> None:
        """Keep which material the session began with, and that it is begun again with another one."""
        changed = any(change.name == MATERIAL for change in changes)
        row = db.execute("SELECT value FROM meta WHERE key = ?", (FIRST_MATERIAL,)).fetchone()
        if row is None and not changed:  # else the record is older than this key, and nobody knows
            db.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (FIRST_MATERIAL, self._given or ""))
        first = self._given if row is None else row[0] or None
        named = self._given is not None or not changed
        if named and last_of(changes, MATERIAL, first) != self._given:
            add_change(db, at, COMMAND_LINE, MATERIAL, self._given)

    def follow(self, db: sqlite3.Connection) -> None:
        """Follow what was changed."""
        changes = read_changes(db)
        now = last_of(changes, BUNDLE)
        self._forest = None
        if now is None or now["id"] == self._own.id:
            self.judge = None
        elif self.judge is None or self.judge.id != now["id"]:
            row = db.execute("SELECT path, details FROM bundles WHERE id = ?", (now["id"],)).fetchone()
            self.judge = Judge(now["id"], Path(row[0]), json.loads(row[1]))
        self._limit = last_of(changes, "abstain_below")
        self.material = last_of(changes, MATERIAL, self._given)

    def settled(self, done: FinishedFrame) -> FinishedFrame:
        """A result as it is committed: one that was under way when the judge changed is judged again."""
        analysis = done.analysis
        judge = self.judge or self._own
        particles, limit = analysis.particles, self._limit
        if analysis.bundle != judge.id:
            try:
                self._forest = self._forest or judge.forest()
                p = _judged([each.features for each in particles], self._forest, judge)
            except (BundleRefused, OSError):
                log.error("event=judge-is-gone bundle=%s path=%s", judge.id, judge.path)
                return done
            limit = limit or float(judge.details["abstain_below"])
            particles = tuple(
                replace(each, particle_class=CLASSES[int(row.argmax())], probabilities=tuple(row.tolist()))
                for each, row in zip(particles, p, strict=True)
            )
            analysis = replace(analysis, bundle=judge.id)
        if limit is not None:
            particles = tuple(
                replace(each, abstained=not sure(np.array(each.probabilities), limit)) for each in particles
            )
        return replace(done, analysis=replace(analysis, particles=particles))


def _judged(features: list[dict[str, float]], forest: Forest, judge: Judge) -> npt.NDArray[np.float64]:
    """(P, 4) probabilities, summing to 1.

    Raises
    ------
    BundleRefused
        The features lack one that the forest looks at.
    """
    try:
        p = np.asarray(forest(as_rows(features, list(judge.details["features"]))), np.float64)
    except KeyError as error:
        raise BundleRefused(f"particles of this record were measured without {error}") from error
    return np.asarray(p / p.sum(axis=1, keepdims=True))
