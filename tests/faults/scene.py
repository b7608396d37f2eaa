"""What the scenarios share: a folder each, a session over it, and what has to be true at its end."""

from __future__ import annotations

import io
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile

from tests.faults.base import Context, Finding
from tests.faults.process import Monitor
from tests.monitor.read.conftest import Stack

_SIDE = 72


class Skipped(Exception):
    """A scenario that this machine can't play; the message says why."""


@dataclass
class Scene:
    """Where a scenario is played."""

    root: Path
    """A folder of its own."""
    stall_s: float = 30.0
    """How long a copy stalls; what the session waits for is scaled with it."""
    many: int = 100_000
    """Files that are there already."""
    events: bool = True
    notes: list[str] = field(default_factory=list)
    """Figures that were measured."""

    @property
    def frames(self) -> Path:
        """The watched directory."""
        folder = self.root / "in"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def watch(self, *options: str, prefix: tuple[str, ...] = (), **settings: object) -> Monitor:
        """A session over the directory, not ready yet."""
        scaled = {"patience_s": self.stall_s / 3, "reconcile_s": 0.5, **settings}
        environment = {f"FAULTWATCH_{name.upper()}": str(value) for name, value in scaled.items()}
        options = ("--pixel-size", "0.05", *options)
        folder = self.root / "session"
        return Monitor(
            folder, self.frames, environment=environment, options=options, events=self.events, prefix=prefix
        )

    def wait(self, monitor: Monitor, what: str, **counts: int) -> None:
        """Until the ledger has these counts and nothing is queued."""
        wanted = {"queued": 0, **counts}

        def so() -> bool:
            ledger = monitor.ledger()
            return all(ledger[name] == count for name, count in wanted.items())

        try:
            monitor.wait(so, what, 120 + 3 * self.stall_s)
        except TimeoutError as error:
            raise TimeoutError(f"{monitor.ledger()} instead of {wanted}: {error}") from error

    def end(self, monitor: Monitor, *, reasons: dict[str, int] | None = None, **counts: int) -> None:
        """End the session and look whether all is as it has to be."""
        status = monitor.stop()
        faults = [] if status == 0 else [f"the session ended with status {status}"]
        faults += monitor.complaints()
        said = monitor.summary()
        wanted = {"rejected": 0, "queued": 0, "dropped": 0, **counts}
        wrong = {
            name: said["ledger"][name] for name, count in wanted.items() if said["ledger"][name] != count
        }
        if wrong:
            faults.append(f"{wrong} instead of {wanted}; reasons: {said['reasons']}")
        if reasons is not None and sum(said["reasons"].values()) != sum(reasons.values()):
            faults.append(f"reasons {said['reasons']}")
        for reason, count in (reasons or {}).items():
            if sum(n for why, n in said["reasons"].items() if reason in why) != count:
                faults.append(f"{reason!r} is not told {count} times: {said['reasons']}")
        analysed = said["ledger"]["analysed"]
        if (entered := monitor.rows("SELECT count(*) FROM statistics")[0][0]) != analysed:
            faults.append(f"{entered} entries of statistics for {analysed} analysed frames")
        twice = monitor.rows("SELECT path, item FROM frames GROUP BY path, item HAVING count(*) > 1")
        if twice:
            faults.append(f"in the ledger twice: {twice[:5]}")
        if faults:
            raise AssertionError("; ".join(faults))


def stack(count: int, seed: int) -> Stack:
    """(count, H, W) of Poisson noise, every frame different."""
    return np.random.default_rng(seed).poisson(100, (count, _SIDE, _SIDE)).astype(np.uint16)


def tif(seed: int) -> bytes:
    """A frame as TIFF."""
    out = io.BytesIO()
    tifffile.imwrite(out, stack(1, seed)[0], description='{"pixel_size_nm": 0.05}', metadata=None)
    return out.getvalue()


def play(scenarios: Mapping[str, Callable[[Scene], None]], context: Context) -> Iterator[Finding]:
    """Play scenarios, by their names, one after the other; what one left is deleted where it went well."""
    for name, scenario in scenarios.items():
        finding = Finding(
            f"{name.replace('_', ' ')}: {(scenario.__doc__ or '').strip().partition(':')[0]}", tries=1
        )
        scene, began = Scene(context.room(name), context.stall_s), time.monotonic()
        try:
            scenario(scene)
        except Skipped as reason:
            finding.tries, finding.skipped = 0, str(reason)
        except (AssertionError, TimeoutError, OSError, sqlite3.Error) as error:
            finding.failures.append(f"{error} (left in {scene.root})")
        seconds = round(time.monotonic() - began)
        finding.note, finding.figures = "; ".join([f"{seconds} s", *scene.notes]), {"seconds": seconds}
        if not finding.failed:
            shutil.rmtree(scene.root)
        yield finding
