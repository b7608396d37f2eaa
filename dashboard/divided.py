"""The fraction by size and by field, and where the fields lie, worked out beside the loop that serves the viewers."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monitor.errors import FaultwatchError
from monitor.record.reader import RecordReader
from monitor.record.strata import Strata, Stratum
from monitor.tracking.stage import stage_nm

log = logging.getLogger("faultwatch.dashboard")

MOST_PLACES = 2000
"""So many fields are drawn on the map, those with the most particles."""
REST = 9
"""A tenth of the time may be spent on this: after each time it rests this many times as long."""


@dataclass(frozen=True, eq=False)
class FieldMap:
    """Fields whose stage position is known."""

    field: npt.NDArray[np.int64]
    """Number of its first frame."""
    x_um: npt.NDArray[np.float64]
    y_um: npt.NDArray[np.float64]
    """Of the stage [µm]."""
    yes: npt.NDArray[np.int64]
    judged: npt.NDArray[np.int64]
    """Tracks called `yes`, and `no` or `yes`."""
    unknown: int
    """Fields without a position."""


@dataclass(frozen=True, eq=False)
class Divided:
    """A session's tracks by size and by field."""

    sizes: tuple[tuple[tuple[float, float], Stratum], ...]
    """Range of diameters [nm] and what is in it, as `monitor.record.strata.Strata.sizes` gives it."""
    fields: tuple[Stratum, ...]
    """As `monitor.record.strata.Strata.fields` gives it."""
    map: FieldMap


def divide(session: Path) -> Divided:
    """Divide the tracks of a session; takes seconds for a long one.

    Raises
    ------
    NoSession
        There is no session in that folder.
    """
    with RecordReader(session) as record, record.glance():
        strata = Strata(record)
        return Divided(tuple(strata.sizes()), tuple(strata.fields()), _map(record))


def _map(record: RecordReader) -> FieldMap:
    rows = (
        record.rows(
            "SELECT t.field, total(t.class = 'yes') AS yes, total(t.class IN ('no', 'yes')) AS judged, f.metadata"
            " FROM tracks t JOIN frames f ON f.id = t.field WHERE t.seen > 0 GROUP BY t.field ORDER BY t.field"
        )
        if record.has_tracks
        else []
    )
    placed = [(row, _stage(row["metadata"])) for row in rows]
    known = [(row, stage) for row, stage in placed if stage is not None]
    known = sorted(known, key=lambda one: -one[0]["judged"])[:MOST_PLACES]
    return FieldMap(
        np.array([row["field"] for row, _ in known], np.int64),
        np.array([stage[1] / 1e3 for _, stage in known], np.float64),
        np.array([stage[0] / 1e3 for _, stage in known], np.float64),
        np.array([row["yes"] for row, _ in known], np.int64),
        np.array([row["judged"] for row, _ in known], np.int64),
        sum(stage is None for _, stage in placed),
    )


def _stage(metadata: str | None) -> tuple[float, float] | None:
    try:
        found = json.loads(metadata or "{}")
    except ValueError:
        return None
    return stage_nm(found) if isinstance(found, dict) else None


class Divider:
    """Divides one session in a thread, again when its figures changed, at most a tenth of the time."""

    def __init__(
        self,
        directory: Path,
        work: Callable[[Path], Divided] = divide,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._work = work
        self._timer = timer
        self._thread: threading.Thread | None = None
        self._not_before = 0.0
        self._of: object = None
        self.found: Divided | None = None
        """What was found last; it stays until the next is there."""
        self.problem: str | None = None
        """Why it could not be worked out, a sentence."""

    @property
    def working(self) -> bool:
        """Whether the thread is at it."""
        return self._thread is not None and self._thread.is_alive()

    def ask(self, of: object) -> None:
        """Have it worked out, unless it was for the same state `of` the record, or it is too soon."""
        if self.working or of == self._of or self._timer() < self._not_before:
            return
        self._of = of
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for what is being worked out, this long at most."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        began = self._timer()
        try:
            self.found, self.problem = self._work(self._directory), None
        except (FaultwatchError, sqlite3.Error, OSError) as error:
            self.problem = str(error)
            log.warning("event=not-divided session=%s reason=%r", self._directory, str(error))
        finally:
            now = self._timer()
            self._not_before = now + REST * (now - began)
