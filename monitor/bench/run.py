"""Measures: draws frames, then goes round all sizes in turn, then gives sessions frames."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from models.bundle import describe
from monitor.bench import eight_bits, machine, scripts, stages
from monitor.bench.floors import floors
from monitor.bench.found import Found, SizeFound
from monitor.bench.frames import Drawn, draw
from monitor.bench.lanes import Lane
from monitor.bench.plan import PARTICLES, SCRIPT_ROUNDS, Plan
from monitor.bench.sessions import give
from monitor.frames import FrameRef
from monitor.record import RecordWriter
from monitor.settings import default_workers
from monitor.workers.pool import share_processors
from monitor.workers.worker import Start


class _Commits:
    """A record into which results are committed, as a session does."""

    def __init__(self, folder: Path, ready: Any) -> None:
        self._record = RecordWriter(folder)
        self._record.add_bundle(ready.bundle, ready.path, ready.details)
        self._source = self._record.add_source("directory", str(folder), time.time()).id
        self._taken = 0

    def commit(self, path: Path, judged: stages.Judged) -> float:
        """Enter the frame and its result [ms]."""
        self._taken += 1
        ref = FrameRef(path.with_name(f"{path.stem}-{self._taken}{path.suffix}"), 0)
        outcome = replace(judged.outcome, pixels=f"{self._taken}")
        began = time.perf_counter()
        taken = self._record.take(self._source, ref, time.time())
        assert taken is not None
        self._record.finish(taken.frame_id, 0, outcome, time.time)
        return (time.perf_counter() - began) * 1e3

    def close(self) -> None:
        self._record.close()


class Bench:
    """One run; what was found so far is in `found`, also when it is ended early."""

    def __init__(self, plan: Plan, bundle: Path | None = None) -> None:
        """
        Raises
        ------
        BundleRefused
            There is no such bundle.
        """
        self.plan = plan
        self._bundle = bundle
        bundle_id, details = describe(bundle)
        count = share_processors(default_workers())
        self._clock = stages.clock(count)
        about = {
            **machine.about_machine(),
            "threads": count,
            "clock": "processor" if self._clock is time.process_time else "wall",
            "load_before": machine.load(),
            "load_after": None,
        }
        sizes = [
            SizeFound(side, floors(side, PARTICLES * (side / 1024) ** 2, details)) for side in plan.sides
        ]
        self.found = Found(about, {"id": bundle_id, "backend": "unknown"}, sizes)

    def measure(self) -> None:
        """Measure everything of the plan.

        Raises
        ------
        InputError
            A part of it failed; what was found until then stays.
        """
        try:
            with (
                tempfile.TemporaryDirectory(prefix="faultwatch-bench-") as folder,
                tqdm(total=self.plan.steps, unit="step", file=sys.stderr, disable=None) as bar,
            ):
                self._measure(Path(folder), bar)
            self.found.complete = True
        finally:
            self.found.machine["load_after"] = machine.load()

    def _measure(self, folder: Path, bar: Any) -> None:
        drawn = {}
        for side in self.plan.sides:
            bar.set_description(f"drawing {side}²")
            drawn[side] = draw(side, self.plan.drawn(side), folder)
            bar.update()
        with self._lanes(folder, bar) as lanes:
            for number in range(self.plan.rounds):
                for size, (lane, commits) in zip(self.found.sizes, lanes[1:], strict=True):
                    bar.set_description(f"round {number + 1}, {size.side}²")
                    paths = drawn[size.side].paths[: self.plan.frames]
                    self._round(size, paths[number % len(paths)], number, lane, commits, lanes[0][0])
                    bar.update()
            for size in self.found.sizes:
                bar.set_description(f"eight bits, {size.side}²")
                self._compare(size, drawn[size.side], lanes[0][0])
                bar.update()
        for size in self.found.sizes:
            bar.set_description(f"session, {size.side}²")
            self._session(size, drawn[size.side], folder / f"session-{size.side}")
            bar.update()
        if self.plan.browser:
            from monitor.bench.browser import shown

            bar.set_description("browser")
            self.found.shown, self.found.browser = shown(folder, self._bundle)
            bar.update()

    @contextmanager
    def _lanes(self, folder: Path, bar: Any) -> Iterator[list[tuple[Lane, Any]]]:
        """A process for the machine and the scripts, and one for each size, with a record of its own."""
        with ExitStack() as stack:
            lanes: list[tuple[Lane, Any]] = [(stack.enter_context(Lane()), None)]
            for side in self.plan.sides:
                bar.set_description(f"loading, {side}²")
                lane = stack.enter_context(Lane())
                ready = lane.call(stages.begin, Start(self._bundle, "cpu", self.found.machine["threads"]))
                commits = _Commits(folder / f"record-{side}", ready)
                stack.callback(commits.close)
                lanes.append((lane, commits))
            yield lanes

    def _round(
        self, size: SizeFound, path: Path, number: int, lane: Lane, commits: _Commits, aside: Lane
    ) -> None:
        """One frame through everything, one after the other, so that a busy machine slows all alike."""
        if number == 0:  # what is kept between frames is made now
            lane.call(stages.judge, path)
        judged = lane.call(stages.judge, path)
        bare = lane.call(stages.bare_network, path)
        self.found.gemm.append(aside.call(machine.gemm_peak, self._clock))
        self.found.memory.append(aside.call(machine.memory_bandwidth, self._clock))
        times = {**judged.stages_ms, "commit": commits.commit(path, judged)}
        for stage in stages.STAGES:
            size.stages_ms[stage].append(times[stage])
        size.chain_ms.append(sum(times.values()))
        size.bare_ms.append(bare)
        size.wall_ms.append(judged.wall_ms + times["commit"])
        analysis = judged.outcome.analysis
        size.particles.append(len(analysis.particles))
        size.peak_bytes = lane.call(stages.peak_memory)
        self.found.bundle["backend"] = analysis.backend
        boxes = [particle.bbox for particle in analysis.particles]
        size.published_ms.append(aside.call(scripts.published_features, path, boxes, self._clock))
        if number < SCRIPT_ROUNDS:
            if not any(self.found.sizes[0].instead_ms.values()):  # its libraries are loaded, and warm
                aside.call(scripts.obvious, path, self._bundle, self._clock)
            for part, ms in aside.call(scripts.obvious, path, self._bundle, self._clock).items():
                if ms is not None:
                    size.instead_ms[part].append(ms)

    def _compare(self, size: SizeFound, drawn: Drawn, aside: Lane) -> None:
        threads = self.found.machine["threads"]
        for path, mask in zip(drawn.paths, drawn.masks, strict=True):
            found = aside.call(eight_bits.compared, path, mask, self._bundle, threads)
            if found is not None:
                size.eight_bits.append(found)

    def _session(self, size: SizeFound, drawn: Drawn, folder: Path) -> None:
        given = give(drawn, folder, self.plan.delays, self.plan.burst, self._bundle)
        size.delays_ms, size.compute_ms, size.frames_per_s = (
            given.delays_ms,
            given.compute_ms,
            given.frames_per_s,
        )
