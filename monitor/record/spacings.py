"""What the lattice spacings of a session's particles say of its pixel size."""

from __future__ import annotations

import json
import sqlite3

from monitor.statistics.calibration import Spacings, spacings_of

NEWEST = 400
"""Particles that are looked at, the newest ones."""


def pixel_size_check(db: sqlite3.Connection, material: str | None) -> tuple[Spacings, float] | None:
    """What the newest particles say, and the pixel size [nm] with which they were measured; None: nothing certain.

    Only particles that were measured with the last frame's pixel size are looked at.

    Parameters
    ----------
    material : that the operator named; None: all that are known.
    """
    last = db.execute("SELECT pixel_size_nm FROM results ORDER BY frame_id DESC LIMIT 1").fetchone()
    if last is None:
        return None
    rows = db.execute(
        "SELECT p.features FROM particles p JOIN results r ON r.frame_id = p.frame_id "
        "WHERE p.class <> 'empty' AND r.pixel_size_nm = ? ORDER BY p.id DESC LIMIT ?",
        (last[0], NEWEST),
    )
    found = spacings_of((json.loads(features) for (features,) in rows), material)
    return None if found is None else (found, float(last[0]))
