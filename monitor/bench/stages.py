"""One frame through the chain of a worker, with the time of every stage; runs in a `Lane` of its own.

Nothing heavy is imported at the head: `begin` loads the bundle as a session's worker does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.workers import worker
from monitor.workers.worker import Ready, Start, Task

STAGES = (
    "read",
    "preprocess",
    "network",
    "regions",
    "measure",
    "classify",
    "labels",
    "likeness",
    "preview",
    "commit",
)
"""In the order in which a frame meets them.

`preprocess` is everything before the network (what is not lit, standardisation, quality), `regions` is what is made of
the maps, `classify` is the forest, `labels` is each region in the frame's own pixels with its outline, `likeness` tells
whether the frame is like the training; `preview` has the pixels' hash and the signature with it. `commit` is what the
session does."""

_spent: dict[str, float] = {}
_inputs: dict[Path, Any] = {}


@dataclass(frozen=True)
class Judged:
    """One frame as a worker judged it."""

    stages_ms: dict[str, float]
    """All of `STAGES` but the commit."""
    outcome: FinishedFrame
    wall_ms: float
    """Of the whole, by the clock on the wall."""


def clock(threads: int) -> Callable[[], float]:
    """What stages are timed by [s]: processor time of a process with one thread, which a busy computer hardly changes.

    That of several threads is the sum of them, so there it is the clock on the wall.
    """
    return time.process_time if threads == 1 else time.perf_counter


def _timed(name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function, its time kept by this name [ms]."""
    from models import analysis

    def run(given: Any) -> Any:
        began = analysis.clock()
        result = function(given)
        _spent[name] = _spent.get(name, 0.0) + (analysis.clock() - began) * 1e3
        return result

    return run


def begin(how: Start) -> Ready:
    """Load the bundle; network and forest are timed from now on, and all by `clock`."""
    from models import analysis

    analysis.clock = clock(how.threads)
    ready = worker.start(how)
    bundle = worker.loaded()
    worker.use(
        replace(bundle, network=_timed("network", bundle.network), forest=_timed("classify", bundle.forest))
    )
    return ready


def task_of(path: Path) -> Task:
    """The task of one file of one frame."""
    return Task(1, 1, FrameRef(path, 0), None, None, None)


def judge(path: Path) -> Judged:
    """One frame through the whole chain of a worker.

    Raises
    ------
    InputError
        It was rejected.
    """
    from models import analysis

    _spent.clear()
    on_wall, began = time.perf_counter(), analysis.clock()
    outcome = worker.run(task_of(path))
    spent = (analysis.clock() - began) * 1e3
    wall = (time.perf_counter() - on_wall) * 1e3
    if not isinstance(outcome, FinishedFrame):
        raise InputError(outcome.reason, path=path)
    told = outcome.analysis.timings_ms
    network, forest = (_spent.get(name, 0.0) for name in ("network", "classify"))
    stages = {
        "read": told["read"],
        "preprocess": told["preprocess"],
        "network": network,
        "regions": told["segment"] - network,
        "measure": told["measure"],
        "classify": forest,
        "labels": told["classify"] - forest,
        "likeness": told["likeness"],
        "preview": spent - sum(told.values()),
    }
    return Judged(stages, outcome, wall)


def bare_network(path: Path) -> float:
    """The network alone on a frame that is prepared already [ms], in tiles where the frame is judged in tiles."""
    from models import analysis
    from models.preprocess import canonical
    from models.segment import logit_maps
    from monitor.read import open_frames

    bundle = worker.loaded()
    if path not in _inputs:
        with open_frames(path, "frames") as file:
            frame = file.frame(0)
        assert frame.pixel_size_nm is not None
        _inputs[path] = canonical(frame.pixels, frame.pixel_size_nm, bundle.preprocessing).image
    began = analysis.clock()
    logit_maps(_inputs[path], bundle.network)
    return (analysis.clock() - began) * 1e3


def peak_memory() -> int | None:
    """The most memory that this process has taken since it began [bytes]; `None` where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else None
