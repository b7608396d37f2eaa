"""2,000 mutated files of each format: each gives frames or a sentence; no crash, no hang, memory bounded.

They are read as a session reads them (`monitor.read`), in batches in a process of their own: where that dies, the
session would have died. What `monitor.read` itself reads in a process apart (HDF5) may end that one: the session sees
a sentence, and it is counted as contained.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, Any, cast

import numpy as np

from tests.faults.base import Context, Finding
from tests.faults.mutate import damaged
from tests.faults.process import Monitor, resident_bytes
from tests.faults.seeds import MAKERS, Seed, mended, seeds

_ROOT = Path(__file__).parents[2]

#: Reading a file may take so long before it counts as hanging [s]; less when HDF5 is given up.
LIMIT_S = 60.0
#: What the session gives HDF5 for each step is made this [s], or a run would take days.
_APART_S = 3.0
#: Memory that a process may gain over one file [bytes]: the files have a few kB, their frames too.
LIMIT_BYTES = 256 * 2**20
#: Address space of the process that reads [bytes] beyond what it has at the start.
_ADDRESSES = 2**30
_FRAMES = 4
_BATCH = 500
_CONTAINED = ("it ends what reads it", "had not ended after")


@dataclass
class Outcome:
    """What became of the files of one format."""

    files: int = 0
    became: Counter[str] = field(default_factory=Counter)
    """frames, rejected, contained, or a fault: crash, hang, memory, no sentence"""
    faults: list[str] = field(default_factory=list)
    """Each with the number that brings it back; the file itself is kept in the folder `faults`."""
    slowest_s: float = 0.0
    peak_bytes: int = 0
    """That the reading process gained over any file."""
    apart_bytes: int = 0
    """The largest size of the process apart."""
    seconds: float = 0.0


def faults(context: Context) -> Iterator[Finding]:
    """As many files of each format as are asked for, and a fiftieth of them through a session."""
    kept = context.room("files")
    for kind in MAKERS:
        outcome = fuzz([kind], context.files, context.seed, kept)
        apart = f", the process apart {outcome.apart_bytes / 2**20:.0f} MiB" if outcome.apart_bytes else ""
        yield Finding(
            f"mutated files, {kind}",
            tries=outcome.files,
            failures=outcome.faults,
            note=f"{', '.join(f'{count} {name}' for name, count in outcome.became.most_common())}; slowest "
            f"{outcome.slowest_s:.2f} s, gained {outcome.peak_bytes / 2**20:.1f} MiB{apart}",
            figures=dict(outcome.became),
        )
    yield through_a_session(context.room("session"), max(1, context.files // 50), context.seed)


def mutant(kind: str, seed: int, number: int, whole: list[Seed]) -> tuple[Seed, bytes, str]:
    """The file with this number: what it was made of, its bytes, and what was done to them."""
    random = Random(f"{kind} {seed} {number}")
    one = random.choice(whole)
    raw, how = damaged(one.raw, random)
    return one, mended(one.name, raw) if random.randrange(4) else raw, how


def lay_down(folder: Path, seed: Seed, raw: bytes) -> Path:
    """Write a mutant with what lies beside it; returns the file to be read."""
    for name, whole in seed.beside:
        (folder / name).write_bytes(whole)
    path = folder / seed.name
    path.write_bytes(raw)
    return folder / seed.opened if seed.opened else path


def fuzz(kinds: Sequence[str], count: int, seed: int, faults: Path) -> Outcome:
    """So many mutated files of each of some formats, in turn; those that do harm are kept in a folder."""
    count *= len(kinds)
    outcome, began, at = Outcome(), time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        while at < count:
            at = _batch(kinds, at, min(count, at + _BATCH), seed, Path(folder), outcome)
        for said in outcome.faults:
            number = int(said.split()[0])
            kind = kinds[number % len(kinds)]
            one, raw, _ = mutant(kind, seed, number, seeds(kind, Path(folder) / "whole" / kind))
            place = faults / f"{kind}-{seed}-{number}"
            place.mkdir(parents=True, exist_ok=True)
            lay_down(place, one, raw)
    outcome.seconds = time.monotonic() - began
    return outcome


def _batch(kinds: Sequence[str], start: int, end: int, seed: int, folder: Path, outcome: Outcome) -> int:
    """Read files in one process, to the end or to the one that it dies over; the number of the next."""
    command = [sys.executable, "-m", "tests.faults.files", ",".join(kinds), str(start), str(end), str(seed)]
    command.append(str(folder))
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=_ROOT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    errors: list[str] = []
    listener = threading.Thread(target=lambda: errors.extend(cast(IO[str], child.stderr)), daemon=True)
    listener.start()
    late = threading.Event()

    def give_up() -> None:
        late.set()
        child.kill()

    at = start
    timer = threading.Timer(2 * LIMIT_S, give_up)  # the first file waits for the imports too
    timer.start()
    try:
        for line in cast(IO[str], child.stdout):
            timer.cancel()
            _count(json.loads(line), outcome)
            at += 1
            timer = threading.Timer(LIMIT_S, give_up)
            timer.start()
    finally:
        timer.cancel()
        child.kill()
        child.wait()
        listener.join()
        for pipe in (child.stdout, child.stderr):
            cast(IO[str], pipe).close()
    if at < end:
        outcome.files += 1
        what = "hang" if late.is_set() else f"crash: status {child.returncode}: {''.join(errors)[-500:]}"
        outcome.became[what.partition(":")[0]] += 1
        outcome.faults.append(f"{at} {what}")
        at += 1
    return at


def _count(told: dict[str, Any], outcome: Outcome) -> None:
    outcome.files += 1
    became = told["became"]
    outcome.slowest_s = max(outcome.slowest_s, told["s"])
    outcome.peak_bytes = max(outcome.peak_bytes, told["bytes"])
    outcome.apart_bytes = max(outcome.apart_bytes, told["apart"])
    outcome.became[became.partition(":")[0]] += 1
    if became not in ("frames", "rejected", "contained"):
        outcome.faults.append(f"{told['number']} {told['how']}: {became}")


# -- in the process that reads ---------------------------------------------------------------------------


def read_all(kinds: Sequence[str], numbers: range, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Read mutants as a session does; what became of each, and what it cost."""
    from monitor.read import apart

    apart.LIMIT_S = _APART_S
    whole = {kind: seeds(kind, folder / "whole" / kind) for kind in kinds}
    for one in (one for made in whole.values() for one in made):  # what is imported is no file's fault
        place = folder / "first"
        place.mkdir(exist_ok=True)
        became = read(lay_down(place, one, one.raw))
        assert became in ("frames", "rejected"), f"{one.name}: {became}"
        shutil.rmtree(place)
    _limit_addresses()
    for number in numbers:
        kind = kinds[number % len(kinds)]
        one, raw, how = mutant(kind, seed, number, whole[kind])
        place = folder / "now"
        place.mkdir()
        path = lay_down(place, one, raw)
        base = _reset_peak(os.getpid())
        other = apart._process._child.pid if apart._process is not None else 0
        _reset_peak(other)
        began = time.perf_counter()
        became = read(path)
        took = time.perf_counter() - began
        gained = max(0, resident_bytes(os.getpid(), "VmHWM") - base)
        if gained > LIMIT_BYTES:
            became = f"memory: {gained / 2**20:.0f} MiB for a file of {len(raw)} bytes ({became})"
        now = apart._process._child.pid if apart._process is not None else 0
        yield {"number": number, "how": f"{kind}, {how}", "became": became, "s": took, "bytes": gained,
               "apart": resident_bytes(now, "VmHWM")}  # fmt: skip
        shutil.rmtree(place)


def read(path: Path) -> str:
    """What becomes of a file: frames, rejected, contained, or a fault."""
    from monitor.errors import UnreadableFrame
    from monitor.read import looks_like_frame_file, open_frames, why_incomplete

    try:
        looks_like_frame_file(path)
        whole = why_incomplete(path)
        became = "rejected" if whole is None else _sentence(whole)
        with open_frames(path) as file:
            for index in {*range(min(file.count, _FRAMES)), file.count - 1}:
                try:
                    wrong = _frame(file.frame(index))
                except UnreadableFrame as error:
                    wrong = _sentence(error.reason)
                    wrong = None if wrong == "rejected" else wrong
                    if wrong == "contained":
                        return wrong
                else:
                    became = "frames"
                if wrong is not None:
                    return wrong
        return became
    except UnreadableFrame as error:
        return _sentence(error.reason)
    except Exception as error:
        return f"crash: {type(error).__name__}: {str(error)[:300]}"


def _frame(frame: Any) -> str | None:
    """What is wrong with a frame that was read, None: it can be analysed and recorded."""
    pixels = frame.pixels
    if pixels.ndim != 2 or pixels.size == 0 or pixels.dtype.kind not in "iuf" or not pixels.dtype.isnative:
        return f"crash: pixels of shape {pixels.shape}, {pixels.dtype}"
    if not np.isfinite(pixels).all():
        return "crash: pixels that are no numbers"
    try:
        json.dumps(frame.metadata, allow_nan=False, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as error:
        return f"crash: metadata that can't be recorded ({error})"
    return None


def _sentence(reason: str) -> str:
    try:
        reason.encode()
    except UnicodeEncodeError:
        return f"no sentence: {reason!r}"
    if "not enough memory" in reason:
        return f"memory: {reason}"
    if not reason.strip() or "\n" in reason or len(reason) > 1000 or "Traceback" in reason:
        return f"no sentence: {reason[:300]!r}"
    return "contained" if any(mark in reason for mark in _CONTAINED) else "rejected"


def _limit_addresses() -> None:
    """What asks for a GiB on the word of a damaged header gets none, and is told of as memory."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = resident_bytes(os.getpid(), "VmSize") + _ADDRESSES
        if limit > _ADDRESSES:
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _reset_peak(process: int) -> int:
    """Let the peak of a process's memory begin anew; what it has now [bytes]."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process}/clear_refs").write_text("5")
    return resident_bytes(process)


# -- through a session -----------------------------------------------------------------------------------


def through_a_session(folder: Path, each: int, seed: int) -> Finding:
    """So many mutated files of each format in a watched directory."""
    frames, count = folder / "in", 0
    for kind in MAKERS:
        whole = seeds(kind, folder / "whole" / kind)
        for number in range(each):
            one, raw, _ = mutant(kind, seed, number, whole)
            place = frames / kind / str(number)
            place.mkdir(parents=True)
            lay_down(place, one, raw)
            count += 1
    settings = {"FAULTWATCH_PATIENCE_S": "1"}
    options = ("--until-idle", "3", "--pixel-size", "0.05")
    with Monitor(folder / "s", frames, environment=settings, options=options) as monitor:
        status = monitor.process.wait(60 + 20 * count)
    ledger, ignored = monitor.ledger(), monitor.summary()["ignored"]
    faults = [] if status == 0 else [f"the session ended with status {status}"]
    faults += monitor.complaints()
    known = {path for (path,) in monitor.rows("SELECT path FROM frames")}
    files = [path for path in frames.rglob("*") if path.is_file() and path.suffix not in (".emi", ".mdoc")]
    # What has the pixels of another file beside it counts once; which it was is kept.
    copies = [json.loads(told) for (told,) in monitor.rows("SELECT value FROM meta WHERE key = 'copies'")]
    known |= {path for told in copies for path in told}
    missed = [path for path in files if os.fsencode(path) not in known and str(path) not in known]
    if ledger["queued"] or ledger["dropped"]:
        faults.append(f"something was not concluded: {ledger}")
    if missed:
        faults.append(f"{len(missed)} files are not in the ledger: {', '.join(map(str, missed[:5]))}")
    return Finding(
        "mutated files through a session",
        tries=count,
        failures=faults,
        note=f"{ledger['analysed']} frames analysed, {ledger['rejected']} rejected, {ignored} files ignored",
        figures=ledger,
    )


if __name__ == "__main__":
    _kinds, _start, _end, _seed, _folder = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=_folder) as _own:
        for _told in read_all(_kinds.split(","), range(int(_start), int(_end)), int(_seed), Path(_own)):
            print(json.dumps(_told), flush=True)
