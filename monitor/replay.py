"""`faultwatch replay`: recorded sessions again, through the same path, into new ones."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from monitor.errors import InputError, NoSession
from monitor.record import DATABASE, RecordReader, RecordWriter
from monitor.record.summary import summarise
from monitor.settings import WatchSettings
from monitor.sources.replayed import ReplaySource
from monitor.watch import Dashboard, new_session_folder, run_session

Speed = Literal["1", "10", "max"]

#: What a shell reports of a program that was ended by Ctrl-C.
INTERRUPTED = 130

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
    settings = _as_then(recorded, settings)
    folder = settings.session or new_session_folder()
    if folder.resolve() == recorded.resolve():
        raise InputError(f"{recorded} can't be replayed into itself; give another --session", path=recorded)
    source = ReplaySource(recorded, speed=math.inf if speed == "max" else float(speed))
    with RecordWriter(folder) as record:
        created = float(record.meta("created") or time.time())
        return run_session(record, [source], settings, dashboard=dashboard, created=created)


def replay_archive(archive: Path, settings: WatchSettings, *, speed: Speed = "max") -> int:
    """Replay every session of a folder into a new one of the same name, and compare the fractions.

    The new sessions lie in `settings.session`, else in `<archive>-replayed` beside the archive. What is there is kept:
    the same command goes on where an earlier one stopped. A session that can't be replayed is told at the end.

    Returns
    -------
    int
        0, 1 where a session could not be replayed, or 130 where it was interrupted.

    Raises
    ------
    InputError
        The folder holds no session, or what was replayed before was judged by another bundle.
    """
    target = settings.session or archive.resolve().with_name(f"{archive.resolve().name}-replayed")
    if target.resolve() == archive.resolve():
        raise InputError(f"{archive} can't be replayed into itself; give another --session", path=archive)
    recorded = sorted(path.parent for path in archive.glob(f"*/{DATABASE}"))
    if not recorded:
        raise InputError(f"{archive} holds no session, nor do the folders in it", path=archive)
    lines = [_Line(path.name) for path in recorded]
    interrupted = False
    with Progress(sum(_arrived(path) for path in recorded)) as progress:
        for path, line in zip(recorded, lines, strict=True):
            if interrupted:
                break
            try:
                interrupted = not _replay_one(path, target / path.name, settings, speed, line, progress)
            except NoSession as error:  # one that is damaged must not take the others with it
                line.problem = str(error)
    print(_table(lines))
    if interrupted:
        print(f"interrupted; the same command goes on with {target}")
        return INTERRUPTED
    return 1 if any(line.problem for line in lines) else 0


@dataclass
class _Line:
    """What became of one session of an archive."""

    name: str
    frames: str = ""
    before: str = ""
    now: str = ""
    problem: str | None = None


class Progress:
    """A bar over the frames of all sessions."""

    def __init__(self, frames: int) -> None:
        self._bar = tqdm(total=frames, unit="frame", disable=None)
        self._record: RecordWriter | None = None
        self._done = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def follow(self, record: RecordWriter) -> None:
        """Count the frames of this session from here on."""
        self._record, self._done = record, 0
        self._bar.set_description(record.folder.name)

    def tick(self) -> None:
        """Bring the bar to what is done."""
        assert self._record is not None
        ledger = self._record.ledger()
        done = ledger["arrived"] - ledger["queued"]
        self._bar.update(done - self._done)
        self._done = done

    def close(self) -> None:
        """One session is at its end; the bar stays for the others."""
        self.tick()


def _replay_one(
    recorded: Path, folder: Path, settings: WatchSettings, speed: Speed, line: _Line, progress: Progress
) -> bool:
    """Replay one session of an archive as far as it is not yet; False where it was interrupted."""
    settings = _as_then(recorded, settings)
    with RecordWriter(folder) as record:
        before = json.loads(record.meta("settings") or "{}")
        bundle = settings.kept()["bundle"]
        if before.get("bundle", bundle) != bundle:
            raise InputError(
                f"{folder} was replayed with another bundle ({before['bundle'] or 'the shipped one'}); "
                "give another --session",
                path=folder,
            )
        progress.follow(record)
        if not _whole(record.ledger(), recorded):
            created = float(record.meta("created") or time.time())
            source = ReplaySource(recorded, speed=math.inf if speed == "max" else float(speed))
            run_session(
                record, [source], settings, dashboard=lambda session: None, created=created, status=progress
            )
        progress.tick()
        ledger = record.ledger()
    then, now = summarise(recorded), summarise(folder)
    line.frames = f"{ledger['analysed']} of {ledger['arrived']}"
    line.before, line.now = _fraction(then), _fraction(now)
    return _whole(ledger, recorded)


def _whole(ledger: dict[str, int], recorded: Path) -> bool:
    """Whether every frame of a recorded session is through."""
    return ledger["queued"] == 0 and ledger["arrived"] >= _arrived(recorded)


def _arrived(recorded: Path) -> int:
    try:
        with RecordReader(recorded) as reader:
            return reader.ledger()["arrived"]
    except NoSession:
        return 0


def _fraction(said: dict[str, Any]) -> str:
    """A session's fraction: corrected with its interval, else as counted."""
    found = said["fraction"]
    if found["interval"] is not None:
        low, high = found["interval"]
        return f"{found['corrected']:.3f} ({low:.3f} to {high:.3f})"
    return "none" if found["counted"] is None else f"{found['counted']:.3f} counted"


def _table(lines: list[_Line]) -> str:
    rows = [("session", "frames", "fraction before", "fraction now")]
    rows += [(line.name, line.frames, line.before, line.now) for line in lines if line.problem is None]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    said = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join(said + [f"{line.name}: {line.problem}" for line in lines if line.problem is not None])


def _as_then(recorded: Path, settings: WatchSettings) -> WatchSettings:
    """Settings for a replay: what decides the analysis as it was in the recorded session, unless it is given.

    Raises
    ------
    NoSession
        There is no recorded session.
    """
    with RecordReader(recorded) as reader:
        then: dict[str, Any] = json.loads(reader.meta().get("settings", "{}"))
    then.setdefault("movie", "frames")  # as it was before there was a choice
    now = settings.model_dump()
    changed = {name: then[name] for name in _DECISIVE if now[name] is None and then.get(name) is not None}
    return settings.model_copy(update={**changed, "sources": [str(recorded)]})
