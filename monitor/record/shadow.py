"""A bundle in the shadow of the one that judges: what it would change in a session. Nothing is written.

    python -m monitor.record.shadow SESSION BUNDLE

prints it as JSON.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import BundleRefused
from models.results import CLASSES
from monitor.errors import InputError
from monitor.record.database import open_for_reading
from monitor.record.judging import Judge, judged
from monitor.record.labels import labelled
from monitor.record.queries import from_json
from monitor.record.totals import tally
from monitor.statistics.estimate import Estimate
from monitor.statistics.estimate_course import Estimator
from monitor.statistics.tally import Tally, Vote
from monitor.tracking.tracks import Track


def shadow(session: Path, bundle: Path) -> dict[str, Any]:
    """What another bundle would change.

    Returns
    -------
    `bundle` and `over`: who judges in the shadow, and who judges. `sightings` and `tracks`: tables (4, 4) of how many
    are called what, rows by the present bundle, in the order of `CLASSES`. `before` and `after`: the fraction as
    `corrected`, `low`, `high` (None where there is no interval) and `labels`, the labels it stands on.

    Raises
    ------
    BundleRefused
        It is no bundle, or looks at features that the session did not measure.
    InputError
        The session can't be read.
    """
    judge = Judge.of(bundle)
    with closing(open_for_reading(session)) as db:
        row = db.execute(
            "SELECT id, details FROM bundles WHERE id = (SELECT value FROM meta WHERE key = 'bundle')"
        ).fetchone()
        if row is None:
            raise InputError(f"{session}: no bundle judged in this session yet", path=session)
        if not judge.fits(json.loads(row[1])):
            raise BundleRefused(f"{judge.id} differs from {row[0]} in more than its forest")
        probabilities, sightings = _judged(db, judge)
        present, in_shadow, tracks = _tracks(db, judge, probabilities)
        now = Estimator(from_json(row[1]) or {})
        now.labels = labelled(db)
        (unlike,) = db.execute(
            "SELECT EXISTS (SELECT 1 FROM alarms WHERE kind = 'model unlike these frames' AND until IS NULL)"
        ).fetchone()
        return {
            "bundle": judge.id,
            "over": row[0],
            "sightings": sightings.tolist(),
            "tracks": tracks.tolist(),
            "before": _told(now.estimate(present, unlike_training=bool(unlike))),
            "after": _told(Estimator(judge.details).estimate(in_shadow, unlike_training=bool(unlike))),
        }


def _judged(db: sqlite3.Connection, judge: Judge) -> tuple[dict[int, list[float]], npt.NDArray[np.int64]]:
    """The probabilities of every sighting in the shadow, and how many are called what by both."""
    probabilities: dict[int, list[float]] = {}
    table = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for part in judged(db, judge):
        np.add.at(table, (part.before.argmax(axis=1), part.after.argmax(axis=1)), 1)
        probabilities.update(zip(part.ids, part.after.tolist(), strict=True))
    return probabilities, table


def _tracks(
    db: sqlite3.Connection, judge: Judge, probabilities: dict[int, list[float]]
) -> tuple[Tally, Tally, npt.NDArray[np.int64]]:
    """The tracks as they count, as they would, and how many are called what by both.

    How particles are followed does not depend on their classes, so the tracks are the same.
    """
    present, in_shadow = tally(db), Tally()
    limit = float(judge.details["abstain_below"])
    seen: dict[int, Track] = {}
    for particle, number in db.execute(
        "SELECT p.id, p.track FROM particles p JOIN places s ON s.frame_id = p.frame_id "
        "WHERE p.track IS NOT NULL AND s.uncounted IS NULL"
    ):
        track = seen.setdefault(number, Track(number, 0, 0, 0, (0,) * 4, (0,) * 4, 0.0, True))
        p = probabilities[particle]
        track.add((p[0], p[1], p[2], p[3]), 1.0)
    table = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for number, field, name, weight in db.execute(
        "SELECT id, field, class, weight FROM tracks WHERE seen > 0"
    ):
        if number in seen:
            track = seen[number]
            in_shadow.change(
                None, Vote(field, track.particle_class, max(track.probabilities) >= limit, weight)
            )
            table[CLASSES.index(name), CLASSES.index(track.particle_class)] += 1
    return present, in_shadow, table


def _told(found: Estimate) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {"corrected": found.corrected, "low": low, "high": high, "labels": found.labels}


if __name__ == "__main__":
    try:
        print(json.dumps(shadow(Path(sys.argv[1]), Path(sys.argv[2]))))
    except (BundleRefused, InputError) as error:
        sys.exit(str(error))
