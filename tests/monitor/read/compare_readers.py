"""The readers beside RosettaSciIO in the process apart: agreement, time, memory and damage, a table a format.

`python -m tests.monitor.read.compare_readers --real DIR` prints what docs/decisions/0001-readers.md quotes.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, cast

import numpy as np
from PIL import Image

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read import apart, open_frames, why_incomplete
from monitor.read.names import FORMATS
from tests.faults.files import lay_down, mutant, read
from tests.faults.process import resident_bytes
from tests.faults.seeds import MAKERS, seeds
from tests.monitor.read.conftest import WRITERS, Stack, picture

_BY_ROSETTA = "tests.monitor.read.by_rosetta"
_MODULES = sorted({f"monitor.read.formats.{one.module}" for one in FORMATS})
Figures = dict[str, Any]


class _Apart:
    """A format's module that reads with another one in the process apart."""

    def __init__(self, reader: str) -> None:
        self.reader = reader

    def open_signals(self, path: Path, stack: contextlib.ExitStack) -> Any:
        return apart.signals_apart(self.reader, path, stack)


@contextlib.contextmanager
def reading(how: str) -> Iterator[None]:
    """`own`: as the program reads; `own apart`: every own reader in the process apart; `rosetta`; `rosetta lazy`."""
    apart._end()
    own = {name: importlib.import_module(name) for name in _MODULES}
    os.environ["ROSETTA_LAZY"] = "1" if how == "rosetta lazy" else "0"
    if how != "own":
        for name in _MODULES:
            reader = f"{name}.layouts" if name.endswith("hdf5") else name
            module = _Apart(_BY_ROSETTA if how.startswith("rosetta") else reader)
            sys.modules[name] = cast(ModuleType, module)
    try:
        yield
    finally:
        sys.modules.update(own)
        apart._end()


# -- agreement ------------------------------------------------------------------------------------------


def told(path: Path) -> Figures:
    """What a file is said to be: its first and last frame, or why it is refused."""
    try:
        with open_frames(path) as file:
            frames = [file.frame(index) for index in {0, file.count - 1}]
            first = frames[0]
            return {
                "frames": file.count,
                "pixels": [frame.pixels for frame in frames],
                "dtype": first.pixels.dtype.str,
                "nm/px": first.pixel_size_nm,
                "not square": first.scale_problem is not None,
                "acquired": first.acquired,
                "exposure": first.exposure_s,
                "magnification": first.magnification,
                "scanning": first.scanning,
                "metadata": _leaves(first.metadata),
            }
    except UnreadableFrame as error:
        return {"refused": error.reason}


def differences(own: Figures, other: Figures) -> list[str]:
    """What differs, both values in it; the number of metadata is no difference."""
    if "refused" in own or "refused" in other:
        if "refused" in own and "refused" in other:
            return []
        return [f"refused: {own.get('refused', 'no')[:70]!r} / {other.get('refused', 'no')[:70]!r}"]
    found = []
    if len(own["pixels"]) != len(other["pixels"]) or any(
        a.shape != b.shape or not np.array_equal(a, b)
        for a, b in zip(own["pixels"], other["pixels"], strict=False)
    ):
        found.append(f"pixels {own['pixels'][0].shape} / {other['pixels'][0].shape}")
    for name in own:
        if name in ("pixels", "metadata"):
            continue
        a, b = own[name], other[name]
        if a != b and not (isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 1e-5 * abs(a)):
            found.append(f"{name} {a} / {b}")
    return found


def _leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_leaves, value.values()))
    return sum(map(_leaves, value)) if isinstance(value, list) else 1


# -- time and memory ------------------------------------------------------------------------------------


def _film(path: Path, stack: Stack, pixel_nm: float) -> Path:
    height, width = stack.shape[1:]
    head = struct.pack("<13I", 256, 2, width, height, 16, 0, 0, 1, 1, 15_600, 300_000, 300_000, 60)
    raw = head + b"TVIPS TVIPS ".ljust(204, b"\0")
    for number, frame in enumerate(stack):
        raw += struct.pack("<4IfI I5f I2f", number, 1_500_000_000, 250, 0, 0, 300_000, 1, *[0.0] * 5, 0, 0, 0)
        raw += frame.tobytes()
    path = path.with_name(f"{path.name}_000.tvips")
    path.write_bytes(raw)
    return path


def _coded(suffix: str) -> Callable[[Path, Stack, float], Path]:
    def write(path: Path, stack: Stack, pixel_nm: float) -> Path:
        Image.fromarray(stack[0].astype("u1")).save(path.with_suffix(suffix))
        return path.with_suffix(suffix)

    return write


_TIMED = {**WRITERS, "tvips": _film, "png": _coded(".png"), "jpg": _coded(".jpg")}


def timed(path: Path, repeats: int) -> tuple[float, float]:
    """Median time to open a file and load its last frame [ms], and the memory that both processes gained [MiB]."""
    taken, gained = [], 0.0
    for _ in range(repeats + 1):
        other = apart._process._child.pid if apart._process is not None else 0
        processes = [os.getpid(), *([other] if other else [])]
        for process in processes:
            with contextlib.suppress(OSError):
                Path(f"/proc/{process}/clear_refs").write_text("5")
        base = sum(resident_bytes(process) for process in processes)
        began = time.perf_counter()
        try:
            with open_frames(path) as file:
                file.frame(file.count - 1)
        except UnreadableFrame as error:
            print(f"  {path.name}: {error.reason[:100]}")
            return float("nan"), float("nan")
        taken.append(1e3 * (time.perf_counter() - began))
        peak = sum(resident_bytes(process, "VmHWM") for process in processes)
        gained = max(gained, (peak - base) / 2**20) if len(taken) > 1 else 0.0
    return statistics.median(taken[1:]), gained


# -- damage ---------------------------------------------------------------------------------------------


def damage(kind: str, count: int, folder: Path) -> tuple[collections.Counter[str], float]:
    """What became of so many mutated files of a format, and the longest time that one took [s]."""
    became: collections.Counter[str] = collections.Counter()
    whole, slowest = seeds(kind, Path(tempfile.mkdtemp(dir=folder))), 0.0
    for number in range(count):
        one, raw, _ = mutant(kind, 7, number, whole)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = lay_down(Path(place), one, raw)
            began = time.perf_counter()
            became[read(path).partition(":")[0]] += 1
            slowest = max(slowest, time.perf_counter() - began)
    return became, slowest


def cut_off(kind: str, count: int, folder: Path) -> collections.Counter[str]:
    """What became of the first 5 to 95 % of files: a file that is still being written is incomplete."""
    became: collections.Counter[str] = collections.Counter()
    whole, random = seeds(kind, Path(tempfile.mkdtemp(dir=folder)), real=False), Random(3)
    whole = [one for one in whole if not one.opened]
    for _ in range(count if whole else 0):
        one = random.choice(whole)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            raw = one.raw[: int(random.uniform(0.05, 0.95) * len(one.raw))]
            path = lay_down(Path(place), one, raw)
            try:
                with open_frames(path) as file:
                    file.frame(file.count - 1)
                became["taken for whole"] += 1
            except IncompleteFile:
                became["incomplete"] += 1
            except UnreadableFrame:
                became["refused" if why_incomplete(path) is None else "incomplete"] += 1
    return became


# -- the tables -----------------------------------------------------------------------------------------


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, action="append", default=[], help="folder of real files")
    parser.add_argument("--only", default="agreement,time,damage")
    parser.add_argument("--mutants", type=int, default=300, help="of each format")
    parser.add_argument("--side", type=int, default=2048, help="of the timed frames [px]")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "agreement" in options.only:
            _agreement(options.real, folder)
        if "time" in options.only:
            _times(options.side, options.repeats, folder)
        if "damage" in options.only:
            _damages(options.mutants, folder)


def _agreement(real: list[Path], folder: Path) -> None:
    paths = [path for place in real for path in sorted(place.iterdir())]
    for kind in MAKERS:
        place = folder / f"agree-{kind}"
        place.mkdir()
        for number, seed in enumerate(seeds(kind, folder / f"made-{kind}", real=False)):
            own = place / str(number)
            own.mkdir()
            paths.append(lay_down(own, seed, seed.raw))
    answers: dict[str, list[Figures]] = {}
    for how in ("own", "rosetta"):
        with reading(how):
            answers[how] = [told(path) for path in paths]
    print("file | differs (own / RosettaSciIO) | metadata values own / RosettaSciIO")
    for path, own, other in zip(paths, answers["own"], answers["rosetta"], strict=True):
        where = path.parent.parent.name.removeprefix("agree-")
        found = "; ".join(differences(own, other)) or ("both refuse" if "refused" in own else "agree")
        print(
            f"{where} {path.parent.name} {path.name} | {found} | {own.get('metadata')} / {other.get('metadata')}"
        )


def _times(side: int, repeats: int, folder: Path) -> None:
    ways = ("own", "own apart", "rosetta", "rosetta lazy")
    print(f"\nms a frame of {side}² (MiB gained) | " + " | ".join(ways))
    for count in (1, 8):
        for kind, write in _TIMED.items():
            if count > 1 and kind in ("png", "jpg"):
                continue
            place = folder / f"timed-{kind}{count}"
            place.mkdir()
            path = write(place / "frame", picture(count, side, side), 0.02)
            row = []
            for how in ways:
                with reading(how):
                    row.append("{:.1f} ({:.0f})".format(*timed(path, repeats)))
            print(f"{kind}, {count} | " + " | ".join(row), flush=True)
            path.unlink()


def _damages(count: int, folder: Path) -> None:
    apart.LIMIT_S = 3.0
    print(f"\nformat | {count} mutants, own | RosettaSciIO | cut off, own | RosettaSciIO")
    for kind in MAKERS:
        row = []
        for how in ("own", "rosetta"):
            with reading(how):
                became, slowest = damage(kind, count, folder)
                row.append(
                    ", ".join(f"{n} {what}" for what, n in became.most_common()) + f"; {slowest:.1f} s"
                )
        for how in ("own", "rosetta"):
            with reading(how):
                row.append(", ".join(f"{n} {what}" for what, n in cut_off(kind, 40, folder).most_common()))
        print(f"{kind} | " + " | ".join(row), flush=True)


if __name__ == "__main__":
    main()
