"""Frames to measure with: drawn by the virtual microscope in a process of its own, and copies that differ a little."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monitor.bench.plan import DENSITY_PER_NM2
from monitor.companions import myself
from monitor.errors import InputError

Counts = npt.NDArray[np.uint16]
HEADER = 1024
"""Bytes before the pixels of an MRC file that has no extended header."""


@dataclass(frozen=True)
class Drawn:
    """The frames of one size."""

    side: int
    paths: tuple[Path, ...]
    """MRC files of uint16."""
    masks: tuple[Path, ...] = ()
    """Of each of them: a PNG with its particles, numbered from 1."""

    def copy(self, number: int) -> bytes:
        """The bytes of a file like one of these, in which `number` is written into the first pixels.

        No two have the same content: a session would pass over a copy.
        """
        data = bytearray(self.paths[number % len(self.paths)].read_bytes())
        data[HEADER : HEADER + 4] = bytes(1 + number // 200**i % 200 for i in range(4))
        return bytes(data)

    def pixels(self, number: int) -> Counts:
        """(H, W) the pixels of `copy`."""
        counts = np.frombuffer(self.copy(number), np.uint16, offset=HEADER)
        return counts.reshape(self.side, self.side)


def draw(side: int, count: int, folder: Path) -> Drawn:
    """Draw frames (side, side) with `monitor.bench.plan.PARTICLES` on 1024² into a folder below `folder`.

    Raises
    ------
    InputError
        The virtual microscope failed.
    """
    story, frames = folder / "story.json", folder / f"drawn-{side}"
    story.write_text(json.dumps({"density_per_nm2": round(DENSITY_PER_NM2, 6)}), encoding="utf-8")
    told = ("--story", story, "--size", side, "--frames", count, "--seed", 3, "--rate", 1000)
    truth = folder / f"truth-{side}"
    command = myself("microscope", str(frames), *(str(each) for each in (*told, "--truth", truth)))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said, _ = process.communicate()
        finally:
            process.kill()
    if process.returncode:
        lines = said.strip().splitlines() or ["it gave no reason"]
        raise InputError(f"the virtual microscope failed: {lines[-1]}")
    paths = tuple(sorted(frames.glob("*.mrc")))
    return Drawn(side, paths, tuple(truth / "masks" / f"{path.stem}.png" for path in paths))
