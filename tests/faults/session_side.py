"""The session's own process over an acknowledging socket, with a stand-in for its workers.

`python -m tests.faults.session_side FOLDER ADDRESS`: socket, spool, record, statistics and retention are the real ones.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from models.results import CLASSES, Analysis, Particle
from monitor.outcomes import FinishedFrame
from monitor.record import RecordWriter
from monitor.session import Session
from monitor.settings import WatchSettings
from monitor.sources.choose import choose_source
from monitor.workers.worker import Ready, Start, Task
from tests.faults.process import Monitor

_SIDE = 256
_PARTICLES = 5
_PREVIEW = b"\xff\xd8\xff" + bytes(8000)
_OUTLINE = tuple((float(i), float(i * i % 17)) for i in range(40))
_FEATURES = {f"feature_{i}": i / 7 for i in range(20)}
_TIMINGS = dict.fromkeys(("read", "preprocess", "segment", "measure", "classify"), 1.0)


class StandIn(Executor):
    """Has judged a frame before it was asked to: the same particles each time, their classes by turns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A finished future of what a worker would say."""
        future: Future[Any] = Future()
        given = args[0]
        if isinstance(given, Start):
            future.set_result(Ready(os.getpid(), "stand-in", Path(), {}))
        else:
            future.set_result(_outcome(given))
        return future


def _outcome(task: Task) -> FinishedFrame:
    particles = tuple(
        Particle(
            label=label,
            particle_class=CLASSES[(task.frame_id + label) % 4],
            probabilities=(0.1, 0.2, 0.3, 0.4),
            abstained=False,
            bbox=(0, 0, 40, 17),
            centroid=(20.0, 8.0),
            diameter_nm=3.0,
            area_nm2=7.07,
            outline=_OUTLINE,
            features=_FEATURES,
        )
        for label in range(1, _PARTICLES + 1)
    )
    analysis = Analysis((_SIDE, _SIDE), 0.05, particles, {"contrast": 0.1}, _TIMINGS, "stand-in", "none")
    return FinishedFrame(analysis, time.time(), _PREVIEW, pixels=f"{task.frame_id:032x}")


class SessionSide(Monitor):
    """Like `faultwatch watch` with a stand-in for its workers; analysed frames are not kept."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.output = folder.with_name(f"{folder.name}-output.txt")
        self._began = 0
        with self.output.open("wb") as out:
            command = [sys.executable, "-m", "tests.faults.session_side", str(folder), address]
            root = Path(__file__).parents[2]
            self.process = subprocess.Popen(command, stdout=out, stderr=out, cwd=root)


def main(folder: Path, address: str) -> None:
    """Run until SIGTERM."""
    settings = WatchSettings(workers=1, keep="none")
    with RecordWriter(folder) as record:
        session = Session(
            record,
            [choose_source(address, settings, record.folder / "spool")],
            settings,
            clock=time.time,
            steady=time.monotonic,
            threads=1,
            executor=StandIn,
            on_ready=lambda: print("\nready", flush=True),
        )
        signal.signal(signal.SIGTERM, lambda *_: session.stop())
        session.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
