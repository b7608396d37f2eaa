"""What a long session costs beside a short one: `python -m dashboard.growth`.

Makes sessions of several lengths with ten particles a frame, lets all of them go on frame by frame in turn, and
prints the time of a commit, of settling, of the page's snapshot, of its goal, of `summary` and of `export`, and whether
each of them is flat.
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
from monitor.studies import growth
from monitor.studies.growth import PARTICLES, Grown, Times, grow, in_turn, now, since

Measured = dict[str, list[Times]]

BAR = 1.2
"""What the longest session may cost, of what the shortest does."""
WARMING = 10
"""Frames in each session before the first that is measured: it was opened just now, and has read nothing yet."""
EXPORTS = 5
"""Of each shorter session, before that of the longest and after it."""
_EACH_FRAME = ("commit", "settle", "snapshot")


def measured(sessions: list[Grown], frames: int, rounds: int, *, exported: bool) -> list[Measured]:
    """Times [s] of every session: what happens with each of so many frames, the others of so many rounds."""
    found: list[Measured] = [{"opening": [grown.opened]} for grown in sessions]
    views = [RecordView(grown.record.folder) for grown in sessions]
    for view in views:
        while (
            view.poll() and view._pending
        ):  # a page that was opened just now counts a long session in pieces
            pass
    for index, (_, commit, settle) in enumerate(in_turn(sessions, WARMING + frames)):
        at = index % len(sessions)
        began = now()
        views[at].poll()
        if index < WARMING * len(sessions):
            continue
        for name, took in zip(_EACH_FRAME, (commit, settle, since(began)), strict=True):
            found[at].setdefault(name, []).append(took)
    for _ in range(rounds):
        for times, grown, view in zip(found, sessions, views, strict=True):
            _take(times, "summary", partial(summarise, grown.record.folder))
            _take(times, "goal", partial(GoalReader().read, _open(view), 0.05))
    if exported:
        _exports(found, sessions)
    for view in views:
        view.close()
    return found


def _exports(found: list[Measured], sessions: list[Grown]) -> None:
    """Times [s] of a frame. The longest takes a minute, so that the others are timed both before it and after it."""
    longest = max(sessions, key=lambda grown: grown.number)
    others = EXPORTS * [grown for grown in sessions if grown is not longest]
    for grown in (*others, longest, *others):
        to = grown.record.folder / "particles.csv"
        began = now()
        export(grown.record.folder, to)
        clock, processor = since(began)
        to.unlink()
        times = found[sessions.index(grown)].setdefault("export", [])
        times.append((clock / grown.number, processor / grown.number))


def table(found: list[Measured], lengths: list[int], kind: int) -> list[str]:
    """Lines in Markdown [ms]; `kind` is 0 for the time on the clock, 1 for that of the processor."""
    lines = [
        f"| {('on the clock', 'of the processor')[kind]} [ms] | {' | '.join(f'{n} frames' for n in lengths)} "
        f"| last / first | at most {BAR} |",
        f"|---|{'---:|' * (len(lengths) + 1)}---|",
    ]
    for name in found[0]:
        for q in (50, 95) if name in _EACH_FRAME else (50,):
            values = [float(np.percentile([one[kind] for one in times[name]], q)) * 1e3 for times in found]
            ratio = values[-1] / values[0]
            called = "export, of a frame" if name == "export" else f"{name}, {'p95' if q == 95 else 'median'}"
            # A session is opened once, and a long one is looked through then.
            verdict = "" if name == "opening" else "met" if ratio <= BAR else "**not met**"
            lines.append(
                f"| {called} | {' | '.join(f'{value:.2f}' for value in values)} | {ratio:.2f} | {verdict} |"
            )
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Print two tables in Markdown: on the clock, which tells on a quiet machine, and of the processor."""
    parser = argparse.ArgumentParser(
        prog="python -m dashboard.growth", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 10_000, 100_000], metavar="N")
    parser.add_argument(
        "--probes", type=int, default=300, metavar="N", help="frames more in each session (300)"
    )
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="of summary and goal (7)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="for the sessions (a temporary one)")
    parser.add_argument("--no-export", dest="exported", action="store_false", help="without export")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        began = time.perf_counter()
        block = Path(folder, "block")
        grow(block, growth.BLOCK).record.close()
        sessions = []
        for frames in options.frames:
            sessions.append(grow(Path(folder, str(frames)), frames, block=block))
            print(f"{frames} frames, {frames * PARTICLES} particles", flush=True)
        print(f"made in {time.perf_counter() - began:.0f} s", flush=True)
        found = measured(sessions, options.probes, options.rounds, exported=options.exported)
        for grown in sessions:
            grown.record.close()
    for kind in (0, 1):
        print("", *table(found, options.frames, kind), sep="\n")
    print(f"\n{time.perf_counter() - began:.0f} s in all")
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
