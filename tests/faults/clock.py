"""A clock that jumps by hours, forwards and backwards, in the middle of a session.

The clock that jumps is `time.time` and `time.time_ns` of every process of the session: a `sitecustomize` adds to them
what stands in a file. Clocks that never go back stay as they are, as they do where an operator or NTP sets the time;
times of files are the true ones, as on a share whose server is right.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import books
from tests.faults.base import Context, Finding
from tests.faults.cameras import FolderCamera, SocketCamera
from tests.faults.process import Monitor, free_port

_SITE = """
import os, time
_time, _time_ns = time.time, time.time_ns

def _offset():
    try:
        with open(os.environ["FAULTS_CLOCK"]) as file:
            return float(file.read() or 0)
    except OSError:
        return 0.0

time.time = lambda: _time() + _offset()
time.time_ns = lambda: _time_ns() + int(_offset() * 1e9)
"""

#: Where the clock stands after each jump [h]; several are backwards, some beyond the true time.
JUMPS_H = (6.0, -12.0, 0.5, -0.01, 24.0, 0.0)
#: Frames between two jumps.
_FRAMES = 8
#: A session that is idle ends after so long [s], and may take so much longer, on a busy machine.
_IDLE_S, _MORE_S = 3.0, 60.0


def faults(context: Context) -> Iterator[Finding]:
    """Jumps over a directory and over the acknowledging socket."""
    for kind in ("directory", "ack"):
        finding = Finding(f"clock jumps by hours, {kind}")
        yield finding
        room = context.room(f"clock-{kind}")
        try:
            play(room, kind, context.seed, finding)
        except TimeoutError as error:
            finding.failures.append(str(error))
        if not finding.failed:
            shutil.rmtree(room)


def play(room: Path, kind: str, seed: int, finding: Finding, jumps_h: Sequence[float] = JUMPS_H) -> None:
    """A session over a directory or an acknowledging socket, in which the clock jumps so often."""
    (room / "site").mkdir()
    (room / "site" / "sitecustomize.py").write_text(_SITE)
    offset = room / "offset"
    (room / "in").mkdir()
    source = str(room / "in") if kind == "directory" else f"ack://127.0.0.1:{free_port()}"
    path = os.pathsep.join([str(room / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"PYTHONPATH": path, "FAULTS_CLOCK": str(offset)}
    camera = FolderCamera(room / "in", seed) if kind == "directory" else SocketCamera(source, seed)
    # Whether it is idle is a matter of the steady clock.
    options = ("--until-idle", str(_IDLE_S))
    with Monitor(room / "s", source, environment=environment, options=options) as monitor:
        monitor.wait_ready()
        for number, jump in enumerate((0.0, *jumps_h)):
            camera.take()  # one that is under way while the clock jumps
            # Put in place as a whole, or a reader would meet it empty.
            (room / "next").write_text(str(jump * 3600))
            (room / "next").replace(offset)
            finding.tries = number
            for _ in range(_FRAMES - 1):
                camera.take()
            if isinstance(camera, SocketCamera):
                camera.rest(0.1)
            sent = camera.sent
            monitor.wait(
                lambda sent=sent: books.count(room / "s") >= sent, f"{sent} frames, clock {jump:+g} h"
            )
            finding.unbalanced += bool(books.look(room / "s").broken)
        if isinstance(camera, SocketCamera):
            camera.finish()
        began = time.monotonic()
        status = monitor.process.wait(_IDLE_S + _MORE_S)
        idle = time.monotonic() - began
        said = monitor.said()
    last = books.look(room / "s")
    finding.doubled, finding.lost = last.doubled, sent - last.ledger["arrived"] + last.doubled
    finding.failures += [*last.broken, *books.sound(room / "s"), *_sane(room / "s", sent)]
    if status != 0 or "Traceback" in said:
        finding.failures.append(f"the session ended with status {status}: {said[-1500:]}")
    finding.note = (
        f"{sent} frames, the clock at {', '.join(f'{jump:+g}' for jump in jumps_h)} h; idle for {idle:.1f} s"
    )


def _sane(folder: Path, sent: int) -> list[str]:
    """What the record says of time: an order for every frame, and no delay that is below zero."""
    found = []
    with books.opened(folder) as db:
        db.row_factory = sqlite3.Row
        rows = db.execute(
            "SELECT position, at, ifnull(acquired, arrived) AS taken, latency_ms FROM frames "
            "JOIN results ON results.frame_id = id JOIN statistics ON statistics.frame_id = id ORDER BY position"
        ).fetchall()
    if [row["position"] for row in rows] != list(range(1, sent + 1)):
        found.append(f"{len(rows)} of {sent} frames are in the statistics")
    if [row["at"] for row in rows] != sorted(row["taken"] for row in rows):
        found.append("the statistics are not in order of acquisition")
    low, high = min(row["latency_ms"] for row in rows), max(row["latency_ms"] for row in rows)
    if low < 0 or high > 600_000:
        found.append(f"delays from {low:.0f} to {high:.0f} ms are told")
    return found
