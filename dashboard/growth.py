"""What a long session costs beside a short one: `python -m dashboard.growth`.

Makes sessions of several lengths with ten particles a frame, lets all of them go on frame by frame in turn, and
prints the time of a commit, of settling, of the page's snapshot, of its goal, of `summary` and of `export`.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from dashboard.goals import GoalReader
from dashboard.view import RecordView
from monitor.record.export import export
from monitor.record.summary import summarise
from monitor.studies.growth import PARTICLES, Grown, Times, grow, in_turn, now, since

Measured = dict[str, list[Times]]


def measured(sessions: list[Grown], frames: int, rounds: int, *, exported: bool) -> list[Measured]:
    """Times [s] of every session: `commit`, `settle`, `snapshot` of so many frames, the others of so many rounds."""
    found: list[Measured] = [{"opening": [grown.opened]} for grown in sessions]
    views = [RecordView(grown.record.folder) for grown in sessions]
    for view in views:
        while (
            view.poll() and view._pending
        ):  # a page that was opened just now counts a long session in pieces
            pass
    for index, (_, commit, settle) in enumerate(in_turn(sessions, frames)):
        at = index % len(sessions)
        began = now()
        views[at].poll()
        for name, took in (("commit", commit), ("settle", settle), ("snapshot", since(began))):
            found[at].setdefault(name, []).append(took)
    for _ in range(rounds):
        for times, grown, view in zip(found, sessions, views, strict=True):
            _take(times, "summary", partial(summarise, grown.record.folder))
            _take(times, "goal", partial(GoalReader().read, _open(view), 0.05))
    if exported:
        for times, grown in zip(found, sessions, strict=True):
            to = grown.record.folder / "particles.csv"
            _take(times, "export", partial(export, grown.record.folder, to))
            to.unlink()
    for view in views:
        view.close()
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print a table in Markdown: p95 of what happens with every frame, medians of the others, and ratios."""
    parser = argparse.ArgumentParser(
        prog="python -m dashboard.growth", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 10_000, 100_000], metavar="N")
    parser.add_argument(
        "--probes", type=int, default=200, metavar="N", help="frames more in each session (200)"
    )
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="of summary and goal (7)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="for the sessions (a temporary one)")
    parser.add_argument("--no-export", dest="exported", action="store_false", help="without export")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        sessions = []
        for frames in options.frames:
            began = time.perf_counter()
            sessions.append(grow(Path(folder, str(frames)), frames))
            print(
                f"{frames} frames, {frames * PARTICLES} particles: made in {time.perf_counter() - began:.0f} s"
            )
        found = measured(sessions, options.probes, options.rounds, exported=options.exported)
        for grown in sessions:
            grown.record.close()
    for kind, title in enumerate(("on the clock", "of the processor")):
        print(f"\n| {title} [ms] | {' | '.join(f'{n} frames' for n in options.frames)} | last / first |")
        print(f"|---|{'---|' * (len(options.frames) + 1)}")
        for name in found[0]:
            q = 95 if name in ("commit", "settle", "snapshot") else 50
            values = [float(np.percentile([one[kind] for one in times[name]], q)) * 1e3 for times in found]
            cells = " | ".join(f"{value:.2f}" for value in values)
            print(f"| {name}, {'p95' if q == 95 else 'median'} | {cells} | {values[-1] / values[0]:.2f} |")
    return 0


def _take(times: Measured, name: str, what: Callable[[], object]) -> None:
    began = now()
    what()
    times.setdefault(name, []).append(since(began))


def _open(view: RecordView) -> sqlite3.Connection:
    assert view._db is not None
    return view._db


if __name__ == "__main__":
    raise SystemExit(main())
