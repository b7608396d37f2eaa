"""`faultwatch replay`: a recorded session again, through the same path, into a new one."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, Literal

from monitor.errors import InputError
from monitor.record import RecordReader, RecordWriter
from monitor.settings import WatchSettings
from monitor.sources.replayed import ReplaySource
from monitor.watch import Dashboard, new_session_folder, run_session

Speed = Literal["1", "10", "max"]

#: Settings that decide what an analysis says, so that a replay begins with those of the recorded session.
_DECISIVE = ("pixel_size", "force_pixel_size", "material", "movie")


def replay(recorded: Path, settings: WatchSettings, *, speed: Speed = "1", dashboard: Dashboard) -> int:
    """Replay a recorded session into another one; returns the exit status.

    What decides the analysis (pixel sizes, material, movies) is as it was in the recorded session, unless
    `settings` sets it; with the same bundle the counts are the same.

    Raises
    ------
    NoSession
        There is no recorded session.
    InputError
        The new session can't be written, or is the recorded one.
    """
    with RecordReader(recorded) as reader:
        then: dict[str, Any] = json.loads(reader.meta().get("settings", "{}"))
    then.setdefault("movie", "frames")  # as it was before there was a choice
    now = settings.model_dump()
    changed = {name: then[name] for name in _DECISIVE if now[name] is None and then.get(name) is not None}
    settings = settings.model_copy(update={**changed, "sources": [str(recorded)]})
    folder = settings.session or new_session_folder()
    if folder.resolve() == recorded.resolve():
        raise InputError(f"{recorded} can't be replayed into itself; give another --session", path=recorded)
    source = ReplaySource(recorded, speed=math.inf if speed == "max" else float(speed))
    with RecordWriter(folder) as record:
        created = float(record.meta("created") or time.time())
        return run_session(record, [source], settings, dashboard=dashboard, created=created)
