"""What a benchmark has found: samples as they come, their medians, and the bars that they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monitor.bench.browser import SIDE, Shown
from monitor.bench.eight_bits import Compared, dice
from monitor.bench.floors import Floor, Peaks
from monitor.bench.scripts import PARTS
from monitor.bench.stages import STAGES

BARRED = (1024, 2048)
"""Sides of the frames that the bars are meant for [px]."""


def median(values: Sequence[float]) -> float | None:
    """Of what was measured; `None` where nothing was."""
    return float(np.median(values)) if len(values) else None


def percentiles_of(times_ms: Sequence[float]) -> dict[str, float]:
    """Of what was measured; none where nothing was."""
    if not times_ms:
        return {}
    p50, p95, p99 = np.percentile(times_ms, (50, 95, 99)).tolist()
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


@dataclass
class SizeFound:
    """Frames of one size."""

    side: int
    floors: dict[str, Floor]
    stages_ms: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    chain_ms: list[float] = field(default_factory=list)
    """All stages of one frame together."""
    bare_ms: list[float] = field(default_factory=list)
    """The network alone, measured next to each of `chain_ms`."""
    wall_ms: list[float] = field(default_factory=list)
    """The same by the clock on the wall."""
    particles: list[int] = field(default_factory=list)
    instead_ms: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})
    """What would be written instead; empty where its library is not installed."""
    published_ms: list[float] = field(default_factory=list)
    """The published features of all of a frame's particles."""
    peak_bytes: int | None = None
    delays_ms: dict[str, list[float]] = field(default_factory=dict)
    compute_ms: dict[str, list[float]] = field(default_factory=dict)
    """What the session's worker took over each of the same frames."""
    eight_bits: list[Compared] = field(default_factory=list)
    """Frames marked by the network in eight bits and by that in float32; none where the bundle has but one."""
    frames_per_s: float | None = None
    """Of a session with the usual number of workers."""

    def typical(self, *stages: str) -> float | None:
        """Median over the frames of some stages together [ms]."""
        return median([sum(times) for times in zip(*(self.stages_ms[s] for s in stages), strict=True)])

    @property
    def a_particle_ms(self) -> float | None:
        """Measuring and classifying one particle."""
        both = zip(self.stages_ms["measure"], self.stages_ms["classify"], self.particles, strict=True)
        return median([(m + c) / n for m, c, n in both if n])

    @property
    def of_network(self) -> float | None:
        """The chain's frames a second as a share of the bare network's."""
        return median([bare / chain for bare, chain in zip(self.bare_ms, self.chain_ms, strict=True)])

    @property
    def instead_total_ms(self) -> float | None:
        """The whole of what would be written instead; `None` where a part can't be measured."""
        parts = [median(times) for times in self.instead_ms.values()]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    @property
    def dice(self) -> dict[str, float] | None:
        """Of the network in eight bits and of that in float32, over all frames that were compared."""
        small = dice([frame.to_float32 for frame in self.eight_bits])
        truth = dice([frame.to_truth for frame in self.eight_bits])
        full = dice([frame.float32_to_truth for frame in self.eight_bits])
        if small is None or truth is None or full is None:
            return None
        return {
            "frames": len(self.eight_bits),
            "to_float32": small,
            "to_truth": truth,
            "float32_to_truth": full,
            "lost": full - truth,
        }

    def percentiles(self, kind: str) -> dict[str, float] | None:
        """Of the delays of a kind of source."""
        delays = self.delays_ms.get(kind)
        if not delays:
            return None
        compute = float(np.median(self.compute_ms[kind]))
        return {**percentiles_of(delays), "compute_ms": compute, "frames": len(delays)}

    def told(self, peaks: Peaks | None) -> dict[str, Any]:
        """As JSON."""
        stages = {
            stage: {
                "median_ms": median(times),
                "floor_ms": None if peaks is None else self.floors[stage].ms(peaks),
                "bytes": self.floors[stage].bytes,
                "operations": self.floors[stage].operations,
            }
            for stage, times in self.stages_ms.items()
        }
        return {
            "side": self.side,
            "samples": len(self.chain_ms),
            "particles": median(self.particles),
            "stages": stages,
            "chain_ms": median(self.chain_ms),
            "bare_network_ms": median(self.bare_ms),
            "chain_of_bare_network": self.of_network,
            "chain_wall_ms": median(self.wall_ms),
            "a_particle_ms": self.a_particle_ms,
            "peak_memory_bytes": self.peak_bytes,
            "eight_bits_dice": self.dice,
            "delay": {kind: self.percentiles(kind) for kind in ("directory", "socket")},
            "session_frames_per_s": self.frames_per_s,
            "instead_ms": {part: median(times) for part, times in self.instead_ms.items()},
            "instead_total_ms": self.instead_total_ms,
            "published_features_ms": median(self.published_ms),
        }


@dataclass
class Found:
    """A whole benchmark, or as much of it as was measured before it was ended."""

    machine: dict[str, Any]
    bundle: dict[str, Any] = field(default_factory=dict)
    sizes: list[SizeFound] = field(default_factory=list)
    gemm: list[float] = field(default_factory=list)
    """[operations/s]"""
    memory: list[float] = field(default_factory=list)
    """[bytes/s]"""
    shown: list[Shown] = field(default_factory=list)
    """Frames as they came to a page in a browser."""
    browser: str = "not asked for"
    """Why there are none."""
    complete: bool = False

    @property
    def peaks(self) -> Peaks | None:
        """The best that the machine did: on a busy one, most samples are lower."""
        return Peaks(max(self.gemm), max(self.memory)) if self.gemm and self.memory else None

    def told(self) -> dict[str, Any]:
        """As JSON; `docs/performance.md` tells what each figure is."""
        peaks = self.peaks
        return {
            "format": "faultwatch bench 1",
            "complete": self.complete,
            "machine": self.machine,
            "bundle": self.bundle,
            "peaks": None
            if peaks is None
            else {
                "float32_gemm_flop_per_s": peaks.flop_per_s,
                "memory_bytes_per_s": peaks.bytes_per_s,
                "float32_gemm_median_flop_per_s": median(self.gemm),
                "memory_median_bytes_per_s": median(self.memory),
            },
            "sizes": [size.told(peaks) for size in self.sizes],
            "browser": {
                "why_not": None if self.shown else self.browser,
                "frames": len(self.shown),
                "closed_to_changed": percentiles_of([frame.ms for frame in self.shown]),
                "beyond_compute": percentiles_of([frame.beyond_compute_ms for frame in self.shown]),
                "committed_to_changed": percentiles_of([frame.page_ms for frame in self.shown]),
            },
            "bars": [bar.told() for bar in bars(self)],
        }


@dataclass(frozen=True)
class Bar:
    """A figure beside what it has to be."""

    what: str
    side: int
    value: float | None
    """`None`: it was not measured."""
    bar: float
    at_least: bool
    """The value has to be at least the bar; else at most."""
    unit: str = ""
    goal: float | None = None
    """Better than the bar, and only hoped for."""

    @property
    def met(self) -> bool | None:
        """`None` where it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "what": self.what,
            "side": self.side,
            "value": self.value,
            "bar": self.bar,
            "goal": self.goal,
            "unit": self.unit,
            "is_to_be": "at least" if self.at_least else "at most",
            "met": self.met,
        }


def _told_of(figures: dict[str, float] | None, name: str) -> float | None:
    return None if figures is None else figures[name]


def _over(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by


def bars(found: Found) -> list[Bar]:
    """The bars of every size that they are meant for, and of no other."""
    peaks = found.peaks
    told: list[Bar] = []
    for size in found.sizes:
        if size.side not in BARRED:
            continue
        network = size.typical("network")
        chain = median(size.chain_ms)
        operations = size.floors["network"].operations
        speed = None if network is None or peaks is None else operations / (network / 1e3) / peaks.flop_per_s
        told += [
            Bar(
                "chain, of the bare network's frames a second",
                size.side,
                size.of_network,
                0.75,
                True,
                goal=0.85,
            ),
            Bar("measuring and classifying a particle", size.side, size.a_particle_ms, 3.0, False, "ms"),
            Bar(
                "regions, labels and outlines, of the network's time",
                size.side,
                _over(size.typical("regions", "labels"), network),
                0.15,
                False,
            ),
            Bar("network's useful operations, of the float32 peak", size.side, speed, 0.75, True),
            Bar("eight bits: Dice to float32", size.side, _told_of(size.dice, "to_float32"), 0.995, True),
            Bar("eight bits: Dice to the truth lost", size.side, _told_of(size.dice, "lost"), 0.005, False),
            Bar(
                "times quicker than the obvious script",
                size.side,
                _over(size.instead_total_ms, chain),
                8.0,
                True,
            ),
        ]
        for kind in ("directory", "socket"):
            delays = size.percentiles(kind)
            p95, compute = (None, None) if delays is None else (delays["p95_ms"], delays["compute_ms"])
            told.append(
                Bar(f"delay from a {kind}, p95, of the compute", size.side, _over(p95, compute), 1.5, False)
            )
        if size.side == 2048:
            peak = None if size.peak_bytes is None else size.peak_bytes / 1e9
            told.append(Bar("peak memory of a worker", size.side, peak, 1.0, False, "GB"))
    if found.shown:
        p95 = percentiles_of([frame.beyond_compute_ms for frame in found.shown])["p95_ms"]
        told.append(Bar("in a browser beyond compute, p95", SIDE, p95, 300.0, False, "ms"))
    return told
