"""Eight hours in one: frames of 256² through a session as fast as they go, by the acknowledging socket.

What is looked at is what grows: memory and file descriptors of the session's process (and of its workers), and what a
frame costs. A frame's cost is processor time of the session's own process, which a busy machine does not change; it is
reported and fails nothing.

Analysing so many frames takes hours, so the long soak is of the session's side alone: socket, spool, record, statistics
and retention are the real ones in a process of their own, and frames are judged by a stand-in that always finds the
same five particles. A short one with the real worker goes before it.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from monitor.client import FrameSender
from tests.faults import books
from tests.faults.base import Context, Finding
from tests.faults.process import Monitor, free_port
from tests.faults.session_side import SessionSide

_SIDE = 256
#: What memory may grow by, from the first look to the last [bytes], and file descriptors.
LIMIT_BYTES, LIMIT_FILES = 50 * 2**20, 5
#: Frames of the soak with the real worker: one in so many of the long one.
_REAL = 20
#: The first look comes after so many frames, the next ones after so many more; in a short soak earlier.
_FIRST, _EVERY = 1000, 250
#: Looks that a cost is the median of.
_WINDOW = 4
_PATIENCE_S = 300.0


@dataclass(frozen=True)
class Look:
    """The processes at one moment."""

    frames: int
    resident: int
    """Of the session's process [bytes]"""
    files: int
    """Its file descriptors."""
    seconds: float
    """Processor time that it had so far [s]."""
    workers: int
    """Memory of its workers [bytes]."""

    @classmethod
    def at(cls, process: psutil.Process, frames: int) -> Look:
        """Now."""
        workers = [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]
        times = process.cpu_times()
        return cls(
            frames,
            process.memory_info().rss,
            process.num_fds() if hasattr(process, "num_fds") else process.num_handles(),
            times.user + times.system,
            sum(worker.memory_info().rss for worker in workers),
        )


def faults(context: Context) -> Iterator[Finding]:
    """A short soak with the real worker, then the long one of the session's side."""
    for real, count in ((True, max(1, context.soak // _REAL)), (False, context.soak)):
        side = "whole" if real else "session side only"
        finding = Finding(f"soak of {count} frames, {side}")
        yield finding
        room = context.room("soak")
        try:
            soak(room, context, finding, count, real=real)
        except (TimeoutError, psutil.Error) as error:
            finding.failures.append(str(error) or repr(error))
        if not finding.failed:
            shutil.rmtree(room)
        context.say(f"{finding.what}: {finding.verdict}; {finding.note}")


def soak(room: Path, context: Context, finding: Finding, count: int, *, real: bool) -> None:
    """One session, with the real worker or of the session's side alone."""
    address = f"ack://127.0.0.1:{free_port()}"
    first, every = min(_FIRST, count // 4), max(1, min(_EVERY, count // 16))
    looks: list[Look] = []
    pixels = np.random.default_rng(context.seed)
    with (
        Monitor(room / "s", address, options=("--keep", "none"))
        if real
        else SessionSide(room / "s", address) as monitor,
        FrameSender(address) as sender,
        context.bar(finding.what, count) as bar,
    ):
        monitor.wait_ready()
        process, began = psutil.Process(monitor.process.pid), time.monotonic()
        for number in range(1, count + 1):
            image = pixels.poisson(100, (_SIDE, _SIDE)).astype(np.uint16)
            sender.send(image, pixel_size_nm=0.05, timeout_s=_PATIENCE_S)
            bar.update()
            if (number >= first and (number - first) % every == 0) or number == count:
                sender.flush(_PATIENCE_S)
                monitor.wait(
                    lambda number=number: books.count(room / "s") >= number, f"{number} frames", _PATIENCE_S
                )
                looks.append(Look.at(process, number))
        took = time.monotonic() - began
        missing = sender.close()
        last = books.look(room / "s")
        if monitor.stop() != 0 or missing:
            finding.failures.append(f"the session did not end well, {len(missing)} frames are missing")
    finding.tries = count
    finding.doubled, finding.lost = last.doubled, count - last.ledger["analysed"] + last.doubled
    finding.unbalanced = int(bool(last.broken))
    finding.failures += [*last.broken, *books.sound(room / "s")]
    _judge(finding, looks, took)


def _judge(finding: Finding, looks: list[Look], took: float) -> None:
    first = looks[0]
    grown = max(look.resident for look in looks) - first.resident
    workers = max(look.workers for look in looks) - first.workers
    files = max(look.files for look in looks) - first.files
    for what, by in (("the session's process", grown), ("its workers", workers)):
        if by > LIMIT_BYTES:
            finding.failures.append(
                f"memory of {what} grew by {by / 2**20:.0f} MiB after frame {first.frames}"
            )
    if files > LIMIT_FILES:
        finding.failures.append(f"{files} more file descriptors than after frame {first.frames}")
    costs = [
        (after.seconds - before.seconds) / (after.frames - before.frames) * 1000
        for before, after in itertools.pairwise(looks)
        if after.frames > before.frames
    ]
    early, late = statistics.median(costs[:_WINDOW]), statistics.median(costs[-_WINDOW:])
    finding.figures = {
        "first_frame": first.frames,
        "resident_mib": [round(look.resident / 2**20, 1) for look in looks],
        "workers_mib": [round(look.workers / 2**20, 1) for look in looks],
        "files": [look.files for look in looks],
        "cost_ms": [round(cost, 3) for cost in costs],
        "seconds": round(took, 1),
    }
    finding.note = (
        f"from frame {first.frames}: memory {first.resident / 2**20:.0f} MiB, {grown / 2**20:+.1f} at most "
        f"(workers {first.workers / 2**20:.0f} MiB, {workers / 2**20:+.1f}), {first.files} descriptors, {files:+d}; a "
        f"frame's cost {early:.2f} ms at first, {late:.2f} ms at last ({late / early - 1:+.0%}); {took:.0f} s"
    )
