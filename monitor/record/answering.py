"""Answers commands to a session that no program runs: somebody labels particles after the beam time."""

from __future__ import annotations

import time
from pathlib import Path

from monitor.errors import InputError, SessionLocked
from monitor.record.reader import RecordReader
from monitor.record.settling import RunningStatistics
from monitor.record.writer import RecordWriter
from monitor.statistics.estimate_course import Estimator


def answer(folder: Path, at: float) -> list[str] | None:
    """Carry out the commands that wait in a session's record; returns which, None where the session runs and will.

    Parameters
    ----------
    at : [s since 1970 UTC]

    Raises
    ------
    InputError
        The record can't be written, or is of an older version, which has no tracks.
    """
    with RecordReader(folder) as reader:
        followed, details = reader.has_tracks, reader.bundle_details()
    if not followed:
        raise InputError(
            f"{folder}: an older version recorded it; faultwatch replay records it anew, with tracks",
            path=folder,
        )
    try:
        record = RecordWriter(folder)
    except SessionLocked:
        return None
    with record:
        return RunningStatistics(record, Estimator(details), time.monotonic).carry_out(at, running=False)
