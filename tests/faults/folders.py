"""What happens to directories: slow and stalled copies, stacks that grow, renames, deletions, shares that go away.

Each scenario is a session of its own, the real one. At its end every frame was analysed once or rejected with a
reason, the ledger balances, and nothing was counted twice.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mrcfile
import numpy as np
import tifffile

from tests.faults.base import Context, Finding
from tests.faults.process import bound_by_rights, resident_bytes
from tests.faults.scene import Scene, Skipped, play, stack, tif
from tests.monitor.read.conftest import WRITERS


def write_slowly(path: Path, raw: bytes, pieces: int, pause_s: float, stall_s: float = 0.0) -> None:
    """In pieces, with a pause after each and a stall in the middle; the file is open all the while."""
    step = -(-len(raw) // pieces)
    with path.open("wb") as file:
        for i in range(0, len(raw), step):
            file.write(raw[i : i + step])
            file.flush()
            time.sleep(stall_s if stall_s and i // step == pieces // 2 else pause_s)


# -- the scenarios ---------------------------------------------------------------------------------------


def slow_writes(scene: Scene) -> None:
    """A file of every format, written in pieces with pauses longer than the quiet time."""
    kinds = [kind for kind in WRITERS if kind != "rosetta-emd"]
    whole = {}
    for i, kind in enumerate(kinds):
        (folder := scene.root / "whole" / kind).mkdir(parents=True)
        path = WRITERS[kind](folder / kind, stack(2, i), 0.05)
        whole[path.name] = path.read_bytes()
    with scene.watch(patience_s=30) as monitor:
        monitor.wait_ready()
        threads = [
            threading.Thread(target=write_slowly, args=(scene.frames / name, raw, 6, 0.8))
            for name, raw in whole.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        scene.wait(monitor, "every slow file to be analysed", analysed=2 * len(whole))
        scene.end(monitor, arrived=2 * len(whole), analysed=2 * len(whole))


def stalls(scene: Scene) -> None:
    """A copy that stalls for longer than the session's patience: said, and taken once it is whole."""
    with scene.watch() as monitor:
        monitor.wait_ready()
        threads = [
            threading.Thread(
                target=write_slowly, args=(scene.frames / f"{i}.tif", tif(i), 4, 0.1, scene.stall_s)
            )
            for i in range(3)
        ]
        for thread in threads:
            thread.start()
        scene.wait(monitor, "the stalled copies to be told of", rejected=3)
        reasons = monitor.summary()["reasons"]
        assert all("incomplete" in reason for reason in reasons), reasons
        for thread in threads:
            thread.join()
        scene.wait(monitor, "the copies to be analysed", analysed=3)
        scene.end(monitor, arrived=3, analysed=3)


def growing_stacks(scene: Scene) -> None:
    """Frames appended to stacks of three formats, some while others are read: each is taken once."""
    images = {name: stack(8, i) for i, name in enumerate(("tif", "mrc", "npy"))}

    def grow(name: str, count: int) -> None:
        path, data = scene.frames / f"stack.{name}", images[name]
        if name == "tif":
            start = 0 if not path.exists() else count - 2
            tifffile.imwrite(
                path, data[start:count], append=start > 0, photometric="minisblack", metadata=None
            )
        elif name == "mrc":
            with mrcfile.new(path, data[:count], overwrite=True) as file:
                file.voxel_size = 0.5
        else:
            np.save(path, data[:count])

    with scene.watch() as monitor:
        monitor.wait_ready()
        for count in (2, 4, 6, 8):
            for name in images:
                grow(name, count)
            scene.wait(monitor, f"{count} frames of each stack", analysed=3 * count)
        assert monitor.rows("SELECT max(revision) FROM frames") == [(0,)], "a frame was analysed again"
        scene.end(monitor, arrived=24, analysed=24)


def renames(scene: Scene) -> None:
    """Renamed into place, moved from another file system, rsync's temporaries, renamed when analysed."""
    elsewhere = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else scene.root
    outside = elsewhere / f"faultwatch-{os.getpid()}"
    outside.mkdir()
    try:
        with scene.watch() as monitor:
            monitor.wait_ready()
            for i in range(4):
                (scene.frames / f".{i}.tif.Xa8f2k").write_bytes(tif(i))
                (scene.frames / f".{i}.tif.Xa8f2k").rename(scene.frames / f"{i}.tif")
            for i in range(4, 8):
                (outside / f"{i}.tif").write_bytes(tif(i))
                shutil.move(outside / f"{i}.tif", scene.frames / f"{i}.tif")
            for i in range(8, 10):
                (scene.frames / f"{i}.tif.part").write_bytes(tif(i))
                time.sleep(1)
                (scene.frames / f"{i}.tif.part").rename(scene.frames / f"{i}.tif")
            scene.wait(monitor, "ten frames", analysed=10)
            for i in range(5):
                (scene.frames / f"{i}.tif").rename(scene.frames / f"renamed {i}.tif")
            monitor.wait(
                lambda: monitor.rows("SELECT count(*) FROM frames WHERE path LIKE '%renamed%'") == [(5,)],
                "the new names to be known",
            )
            scene.end(monitor, arrived=10, analysed=10)
    finally:
        shutil.rmtree(outside)


def rsync(scene: Scene) -> None:
    """A folder copied by rsync, twice, with new frames in between."""
    program = shutil.which("rsync")
    if program is None:
        raise Skipped("rsync is not installed; its temporaries are played in `renames`")
    (here := scene.root / "camera").mkdir()
    with scene.watch() as monitor:
        monitor.wait_ready()
        for start in (0, 5):
            for i in range(start, start + 5):
                (here / f"{i}.tif").write_bytes(tif(i))
            subprocess.run([program, "-a", "--bwlimit=50", f"{here}/", str(scene.frames)], check=True)
            scene.wait(monitor, "what was copied", analysed=start + 5)
        scene.end(monitor, arrived=10, analysed=10)


def rewritten(scene: Scene) -> None:
    """Files written again after they were analysed: new revisions, counted once; touched ones are no news."""
    with scene.watch() as monitor:
        monitor.wait_ready()
        for i in range(4):
            (scene.frames / f"{i}.tif").write_bytes(tif(i))
        scene.wait(monitor, "four frames", analysed=4)
        for i in range(2):
            (scene.frames / f"{i}.tif").write_bytes(tif(100 + i))
        os.utime(scene.frames / "3.tif")
        monitor.wait(
            lambda: (
                monitor.rows("SELECT count(*) FROM frames WHERE revision = 1 AND state = 'analysed'")
                == [(2,)]
            ),
            "two new revisions",
        )
        scene.end(monitor, arrived=4, analysed=4)
        assert monitor.rows("SELECT count(*) FROM frames WHERE revision > 0") == [(2,)]


def deleted(scene: Scene) -> None:
    """Frames deleted while they wait to be analysed are rejected with that reason, the others analysed."""
    count = 30
    with scene.watch() as monitor:
        for i in range(count):
            (scene.frames / f"{i}.tif").write_bytes(tif(i))
        monitor.wait(lambda: monitor.ledger()["arrived"] == count, "all to be announced")
        for (path,) in monitor.rows("SELECT path FROM frames WHERE state = 'queued'"):
            Path(os.fsdecode(path)).unlink()
        monitor.wait(lambda: monitor.ledger()["queued"] == 0, "every frame to be concluded")
        said = monitor.summary()
        assert set(said["reasons"]) <= {"it was deleted before it was read"}, said["reasons"]
        rejected = said["ledger"]["rejected"]
        scene.notes.append(f"{rejected} of {count} were deleted in time")
        scene.end(monitor, arrived=count, analysed=count - rejected, rejected=rejected)


def unreadable(scene: Scene) -> None:
    """A file and a folder without the right to read them: said, and taken once there is the right."""
    prefix = bound_by_rights()
    if prefix is None:
        raise Skipped("the rights of files bind nobody here")
    with scene.watch(prefix=prefix) as monitor:
        monitor.wait_ready()
        (scene.frames / ".a").write_bytes(tif(1))
        (scene.frames / ".hidden").mkdir()
        (scene.frames / ".hidden" / "b.tif").write_bytes(tif(2))
        for name, shown in ((".a", "a.tif"), (".hidden", "hidden")):  # never seen with any right
            (scene.frames / name).chmod(0)
            (scene.frames / name).rename(scene.frames / shown)
        monitor.wait(lambda: monitor.ledger()["rejected"] == 1, "the file to be rejected")
        (scene.frames / "hidden").chmod(0o700)
        (scene.frames / "a.tif").chmod(0o600)
        scene.wait(monitor, "both frames", analysed=2)
        scene.end(monitor, arrived=2, analysed=2)


def names(scene: Scene) -> None:
    """Names in any script, with blanks, quotes, line ends and bytes that are no text; links and loops."""
    strange = ["új кадр 帧 フレーム إطار.tif", "two  blanks and 'quotes\".tif", "-rf.tif", "%s{0}.tif",
               "a" * 240 + ".tif", "new\nline.tif", "e\u0301 \U0001f52c.TIF", "semi;colon & $HOME `x`.tif"]  # fmt: skip
    raw_names: list[bytes] = [name.encode() for name in strange]
    if os.name != "nt":
        raw_names.append(b"no text \xff\xfe.tif")
    folder = scene.frames / "sub ディレクトリ"
    folder.mkdir()
    with scene.watch() as monitor:
        monitor.wait_ready()
        for i, name in enumerate(raw_names):
            Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(tif(i))
        if os.name != "nt":
            (folder / "loop").symlink_to(scene.frames)
            (folder / "self").symlink_to("self")
            (scene.frames / "again.tif").symlink_to(folder / "-rf.tif")
            (scene.frames / "nowhere.tif").symlink_to("missing.tif")
        scene.wait(monitor, "every name", analysed=len(raw_names))
        scene.end(monitor, arrived=len(raw_names), analysed=len(raw_names))


def sub_directories(scene: Scene) -> None:
    """Folders made, filled and renamed during the session, one moved in whole; sidecars are passed over."""
    (ready := scene.root / "ready").mkdir()
    for i in range(3):
        (ready / f"{i}.tif").write_bytes(tif(i))
    with scene.watch() as monitor:
        monitor.wait_ready()
        ready.rename(scene.frames / "moved in")
        for i in range(3, 6):
            (folder := scene.frames / "a" / "b" / str(i)).mkdir(parents=True)
            (folder / "frame.tif").write_bytes(tif(i))
            for sidecar in ("frame.json", "frame.emi", "notes.txt", ".hidden.tif"):
                (folder / sidecar).write_text("{}")
        scene.wait(monitor, "six frames", analysed=6)
        (scene.frames / "a").rename(scene.frames / "renamed")
        monitor.wait(
            lambda: monitor.rows("SELECT count(*) FROM frames WHERE path LIKE '%renamed%'") == [(3,)],
            "the new names to be known",
        )
        monitor.wait(lambda: monitor.summary()["ignored"] >= 12, "the sidecars to be counted")
        scene.end(monitor, arrived=6, analysed=6)


def share_lost(scene: Scene) -> None:
    """The share goes away with frames queued, and comes back with more: nothing is lost or rejected."""
    away = scene.root / "away"
    with scene.watch(reconcile_s=1.0) as monitor:
        for i in range(20):
            (scene.frames / f"{i}.tif").write_bytes(tif(i))
        frames = scene.frames
        monitor.wait(lambda: monitor.ledger()["arrived"] == 20, "all to be announced")
        frames.rename(away)
        address = str(frames.resolve())
        state = "SELECT state FROM sources WHERE address = ?"
        monitor.wait(lambda: monitor.rows(state, address) == [("lost",)], "the loss to be noticed")
        time.sleep(scene.stall_s / 3)
        for i in range(20, 24):
            (away / f"{i}.tif").write_bytes(tif(i))
        away.rename(frames)
        monitor.wait(lambda: monitor.rows(state, address) == [("watching",)], "the return to be noticed")
        scene.wait(monitor, "all frames", analysed=24)
        (frames / "24.tif").write_bytes(tif(24))
        scene.wait(monitor, "a frame after the return", analysed=25)
        scene.end(monitor, arrived=25, analysed=25)


def without_events(scene: Scene) -> None:
    """A share of which the operating system says nothing: slow writes, renames, revisions, new folders."""
    for scenario in (slow_writes, renames, rewritten, sub_directories):
        part = Scene(scene.root / scenario.__name__, scene.stall_s, scene.many, events=False)
        part.root.mkdir()
        scenario(part)


def many_names(scene: Scene) -> None:
    """100,000 files that are there already: how long until the session is ready, and how much memory it takes."""
    head = io.BytesIO()
    np.lib.format.write_array(head, stack(1, 0)[0][:64, :64].astype(np.uint8))
    raw = bytearray(head.getvalue())
    for i in range(scene.many):
        folder = scene.frames / f"{i // 1000:03d}"
        if i % 1000 == 0:
            folder.mkdir()
        raw[-4:] = i.to_bytes(4, "little")  # no two alike
        (folder / f"{i:06d}.npy").write_bytes(raw)
    began = time.monotonic()
    with scene.watch("--new-only", reconcile_s=2.0) as monitor:
        monitor.wait_ready()
        ready = time.monotonic() - began
        (scene.frames / "new.tif").write_bytes(tif(1))
        wrote = time.monotonic()
        scene.wait(monitor, "the new frame", analysed=1)
        delay, memory = time.monotonic() - wrote, resident_bytes(monitor.process.pid, "VmHWM")
        scene.end(monitor, arrived=1, analysed=1)
    scene.notes.append(
        f"{scene.many} names, passed over: ready after {ready:.1f} s, a new frame analysed after {delay:.1f} s, "
        f"{memory / 2**20:.0f} MiB at most"
    )
    shutil.rmtree(scene.root / "session")
    began = time.monotonic()
    with scene.watch(reconcile_s=2.0) as monitor:
        monitor.wait_ready()
        ready = time.monotonic() - began
        monitor.wait(lambda: monitor.ledger()["arrived"] >= min(scene.many, 2000), "the first 2,000 files")
        arrived, at = monitor.ledger()["arrived"], time.monotonic() - began
        memory = resident_bytes(monitor.process.pid, "VmHWM")
        assert monitor.stop() == 0, monitor.said()[-1000:]
        faults = monitor.complaints()
        assert not faults, faults
    scene.notes.append(
        f"taken in: ready after {ready:.1f} s, {arrived} announced after {at:.1f} s, {memory / 2**20:.0f} MiB at most"
    )


SCENARIOS: dict[str, Callable[[Scene], None]] = {
    scenario.__name__: scenario
    for scenario in (
        slow_writes, stalls, growing_stacks, renames, rsync, rewritten, deleted, unreadable, names, sub_directories,
        share_lost, without_events, many_names,
    )
}  # fmt: skip


def faults(context: Context) -> Iterator[Finding]:
    """Every scenario."""
    return play(SCENARIOS, context)
