"""How a session scales over workers of a Dask cluster: `python -m monitor.studies.scaling FRAMES`.

One cluster on this machine, sessions that use one or two of its workers in turn, and what a session could do at the
most: with workers that answer at once, and through the scheduler with a task that does nothing.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributed import LocalCluster

from monitor.frames import FrameRef
from monitor.read.folders import find_files
from monitor.record import RecordWriter
from monitor.session import Session
from monitor.settings import WatchSettings
from monitor.sources.listed import ListSource
from monitor.studies.growth import Frames, details
from monitor.workers import remote
from monitor.workers.connection import connect
from monitor.workers.worker import Ready, Start, Task


class AtOnce(Executor):
    """A worker that answers at once, with results that were made before."""

    def __init__(self) -> None:
        frames = Frames(1)
        self._results = [frames.result(number) for number in range(64)]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if isinstance(args[0], Task):
            number = args[0].frame_id
            future.set_result(replace(self._results[number % len(self._results)], pixels=str(number)))
        else:
            future.set_result(Ready(0, "grown", Path(), details()))
        return future


def session_s(
    refs: Sequence[FrameRef], settings: WatchSettings, executor: Callable[[], Executor] = AtOnce
) -> float:
    """Time from the first worker being ready to the session's end [s]."""
    began: list[float] = []
    with tempfile.TemporaryDirectory() as folder, RecordWriter(Path(folder, "s")) as record:
        session = Session(
            record, [ListSource(list(refs))], settings, clock=time.time, steady=time.monotonic, threads=1,
            executor=executor, on_ready=lambda: began.append(time.perf_counter()),
        )  # fmt: skip
        session.run()
        took = time.perf_counter() - began[0]
        ledger = record.ledger()
    if ledger["analysed"] != len(refs):
        raise ValueError(f"not every frame was analysed: {ledger}")
    return took


def round_trips_s(address: str, number: int) -> list[float]:
    """Time of a task that does nothing, there and back [s]."""
    client, found = connect(address), []
    try:
        executor = client.get_executor(pure=False)
        for _ in range(number + 10):
            began = time.perf_counter()
            executor.submit(int).result()
            found.append(time.perf_counter() - began)
    finally:
        client.close()
    return found[10:]


def main(arguments: list[str] | None = None) -> int:
    """Print frames a second with one and two workers, their ratio, and the two ceilings."""
    parser = argparse.ArgumentParser(
        prog="python -m monitor.studies.scaling", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("frames", type=Path, metavar="FRAMES", help="a folder of frames")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of both, in turn (3)")
    options = parser.parse_args(arguments)
    refs = [FrameRef(Path(path).resolve(), 0, content=path) for path in find_files([str(options.frames)])]
    local: Any = LocalCluster  # its constructor has no types
    with local(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        # The first round warms the workers and is not counted.
        for workers in (2, 1):
            session_s(refs[:2], WatchSettings(workers=workers, scheduler=address))
        times: dict[int, list[float]] = {1: [], 2: []}
        for i in range(options.rounds):
            for workers in (1, 2) if i % 2 else (2, 1):
                times[workers].append(session_s(refs, WatchSettings(workers=workers, scheduler=address)))
        trips = round_trips_s(address, 200)
    for workers, took in times.items():
        print(
            f"{workers} worker(s): {len(refs) / statistics.median(took):.2f} frames/s (median of {len(took)})"
        )
    ratios = [one / two for one, two in zip(times[1], times[2], strict=True)]
    print(f"two over one, round by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}; "
          f"median {statistics.median(ratios):.2f}")  # fmt: skip
    print(f"an empty task there and back: {statistics.median(trips) * 1e3:.1f} ms")
    empty = [FrameRef(Path(f"/none/{i}"), 0, content=str(i), acquired=float(i)) for i in range(400)]
    began, took_s = time.process_time(), session_s(empty, WatchSettings(workers=8))
    print(
        f"a session whose workers answer at once: {len(empty) / took_s:.0f} frames/s, "
        f"{len(empty) / (time.process_time() - began):.0f} a second of its processor time"
    )
    task = Task(1, 0, refs[0], None, None, None)
    sent = len(pickle.dumps((task, Start(None, "cpu", 1), remote.Stamp.of(refs[0].path))))
    print(f"sent: {sent} bytes a frame; received: {len(pickle.dumps(Frames(1).result(0))) / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
