"""The record's disk is full, read-only, locked or damaged: said in a sentence, held, and nothing committed is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from monitor.client import FrameSender
from tests.faults.base import Context, Finding
from tests.faults.process import Monitor, free_port
from tests.faults.scene import Scene, Skipped, play, stack, tif

#: Size of the file system that gets full [MiB].
_SIZE_MB = 16


@contextlib.contextmanager
def small_disk(place: Path, options: str = f"size={_SIZE_MB}m") -> Iterator[Path]:
    """A file system of its own in memory, under this name.

    Raises
    ------
    Skipped
        Nothing can be mounted here.
    """
    place.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    if mount is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise Skipped("only root can mount a small file system")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", options, "faultwatch", str(place)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise Skipped(f"no file system can be mounted here ({done.stderr.strip()})")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, leave: int = 0) -> Path:
    """Fill a file system but for so many bytes; returns the file that does it."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    if leave:
        with filler.open("r+b") as file:
            file.truncate(max(0, filler.stat().st_size - leave))
    return filler


def _watch(scene: Scene, folder: Path, *sources: object, **settings: object) -> Monitor:
    environment = {f"FAULTWATCH_{name.upper()}": str(value) for name, value in settings.items()}
    options = ("--pixel-size", "0.05")
    output = scene.root / f"{folder.name}-output.txt"  # never on the disk that gets full
    return Monitor(folder, *sources, environment=environment, options=options, output=output)


# -- the scenarios ---------------------------------------------------------------------------------------


def full(scene: Scene) -> None:
    """The disk fills in the middle of a session, which waits, and goes on when there is room."""
    with small_disk(scene.root / "disk") as disk, _watch(scene, disk / "s", scene.frames) as monitor:
        monitor.wait_ready()
        for i in range(5):
            (scene.frames / f"{i}.tif").write_bytes(tif(i))
        scene.wait(monitor, "five frames", analysed=5)
        filler = fill(disk)
        for i in range(5, 25):
            (scene.frames / f"{i}.tif").write_bytes(tif(i))
        monitor.wait(lambda: "record-refused" in monitor.said(), "the full disk to be told of")
        time.sleep(3)
        assert monitor.process.poll() is None, f"the session ended: {monitor.said()[-1500:]}"
        held = monitor.ledger()
        assert held["analysed"] >= 5, held
        scene.notes.append(f"held at {held['arrived']} of 25 frames")
        filler.unlink()
        scene.wait(monitor, "all frames", analysed=25)
        assert "record-works-again" in (disk / "s" / "session.log").read_text() + monitor.said()
        # The log lies on the same disk: what could not be written there was said on the terminal.
        scene.end(monitor, arrived=25, analysed=25)


def full_and_killed(scene: Scene) -> None:
    """The disk is full and the session killed: what was committed is there, and the next start does the rest."""
    with small_disk(scene.root / "disk") as disk:
        with _watch(scene, disk / "s", scene.frames) as monitor:
            monitor.wait_ready()
            for i in range(6):
                (scene.frames / f"{i}.tif").write_bytes(tif(i))
            scene.wait(monitor, "six frames", analysed=6)
            filler = fill(disk)
            for i in range(6, 12):
                (scene.frames / f"{i}.tif").write_bytes(tif(i))
            monitor.wait(lambda: "record-refused" in monitor.said(), "the full disk to be told of")
            monitor.process.kill()
            monitor.process.wait()
        filler.unlink()
        with _watch(scene, disk / "s", scene.frames) as again:
            assert again.ledger()["analysed"] >= 6, "something that was committed is lost"
            again.wait_ready()
            scene.wait(again, "all frames", analysed=12)
            scene.end(again, arrived=12, analysed=12)


def full_spool(scene: Scene) -> None:
    """The spool's disk fills: an acknowledging sender waits, and every frame arrives when there is room."""
    with small_disk(scene.root / "disk") as disk:
        address = f"ack://127.0.0.1:{free_port()}"
        with _watch(scene, disk / "s", address, disk_reserve_mb=1) as monitor:
            monitor.wait_ready()
            filler = fill(disk, leave=2**20 + 40_000)
            missing: list[list[int]] = []

            def camera() -> None:
                with FrameSender(address, resend_s=0.5) as sender:
                    for i in range(20):
                        sender.send(stack(1, i)[0], pixel_size_nm=0.05, timeout_s=120)
                    missing.append(sender.close(120))

            thread = threading.Thread(target=camera, daemon=True)
            thread.start()
            monitor.wait(lambda: "spool-refused" in monitor.said(), "the full disk to be told of")
            held = monitor.ledger()["arrived"]
            assert held < 20, "the disk was never full"
            scene.notes.append(f"held at {held} of 20 frames")
            filler.unlink()
            thread.join(180)
            assert missing == [[]], f"never acknowledged: {missing}"
            scene.wait(monitor, "all frames", analysed=20)
            scene.end(monitor, arrived=20, analysed=20)


def read_only(scene: Scene) -> None:
    """A folder that can't be written holds no session: one sentence, status 1; a session in it can still be read."""
    with _watch(scene, scene.root / "s", scene.frames) as monitor:
        (scene.frames / "a.tif").write_bytes(tif(1))
        scene.wait(monitor, "one frame", analysed=1)
        scene.end(monitor, analysed=1)
    with small_disk(scene.root / "disk") as disk:
        shutil.copytree(scene.root / "s", disk / "s")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for folder in (disk / "s", disk / "new"):
            _one_sentence(["watch", str(scene.frames), "--session", str(folder), "--no-dashboard"], status=1)
        _one_sentence(["summary", str(disk / "s")], status=0)


def locked(scene: Scene) -> None:
    """Another program holds the record's write lock for longer than SQLite waits: held, then everything is done."""
    with _watch(scene, scene.root / "s", scene.frames) as monitor:
        monitor.wait_ready()
        db = sqlite3.connect(scene.root / "s" / "session.sqlite", isolation_level=None, timeout=60)
        try:
            db.execute("BEGIN IMMEDIATE")
            for i in range(6):
                (scene.frames / f"{i}.tif").write_bytes(tif(i))
            monitor.wait(lambda: "record-refused" in monitor.said(), "the lock to be told of")
            assert "locked" in monitor.said()
            db.execute("ROLLBACK")
        finally:
            db.close()
        scene.wait(monitor, "all frames", analysed=6)
        scene.end(monitor, arrived=6, analysed=6)


def damaged(scene: Scene) -> None:
    """A damaged record is refused in a sentence, at the start or when it is met; frames are never touched."""
    with _watch(scene, scene.root / "whole", scene.frames) as monitor:
        monitor.wait_ready()
        for i in range(4):
            (scene.frames / f"{i}.tif").write_bytes(tif(i))
        scene.wait(monitor, "four frames", analysed=4)
        scene.end(monitor, analysed=4)
    whole = (scene.root / "whole" / "session.sqlite").read_bytes()
    random, pages = Random(5), len(whole) // 4096
    damages: dict[str, bytes] = {
        "a text": b"this is no database, and longer than the head of one " * 30,
        "empty": b"",
        "no head": bytes(100) + whole[100:],
        "half": whole[: len(whole) // 2],
        "cut": whole[: len(whole) - 1000],
        "zeros": whole[:4096] + bytes(len(whole) - 4096),
        "noise": whole[:8192] + random.randbytes(len(whole) - 8192),
    }
    for i in range(12):
        at = random.randrange(1, pages) * 4096
        damages[f"page {at // 4096}"] = whole[:at] + random.randbytes(4096) + whole[at + 4096 :]
        bad = bytearray(whole)
        for _ in range(40):
            bad[random.randrange(100, len(bad))] ^= 1 << random.randrange(8)
        damages[f"bits {i}"] = bytes(bad)
    statuses = {}
    for name, raw in damages.items():
        shutil.copytree(scene.root / "whole", folder := scene.root / "damaged")
        (folder / "session.sqlite").write_bytes(raw)
        options = ["watch", str(scene.frames), "--session", str(folder), "--no-dashboard", "--workers", "1"]
        statuses[name] = _one_sentence([*options, "--until-idle", "1", "--pixel-size", "0.05"], said=name)
        _one_sentence(["summary", str(folder)], said=name)
        _one_sentence(["export", str(folder), "--to", str(scene.root / "t.csv")], said=name)
        shutil.rmtree(folder)
    refused = sum(status == 1 for status in statuses.values())
    scene.notes.append(f"{refused} of {len(damages)} damages were refused, the others not met with")
    assert all(statuses[name] == 1 for name in ("a text", "no head", "half", "noise")), statuses


def damaged_meanwhile(scene: Scene) -> None:
    """The record is overwritten under a running session: it ends with a sentence once it meets the damage.

    SQLite works from what it has in memory, so that may be at the next start only; a traceback is never shown.
    """
    with _watch(scene, scene.root / "s", scene.frames) as monitor:
        monitor.wait_ready()
        for i in range(3):
            (scene.frames / f"{i}.tif").write_bytes(tif(i))
        scene.wait(monitor, "three frames", analysed=3)
        for name in ("session.sqlite", "session.sqlite-wal"):
            path = scene.root / "s" / name
            with path.open("r+b") as file:
                file.write(Random(1).randbytes(path.stat().st_size))
        for i in range(3, 23):
            (scene.frames / f"{i}.tif").write_bytes(tif(i))
        deadline = time.monotonic() + scene.stall_s
        while monitor.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        noticed = monitor.process.poll() is not None
        status = monitor.stop()
    scene.notes.append(
        "noticed by the running session" if noticed else f"not noticed until its end (status {status})"
    )
    assert status in (0, 1), f"status {status}: {monitor.said()[-1500:]}"
    assert "Traceback" not in monitor.said(), monitor.said()[-3000:]
    assert status == 0 or "is damaged or no record of a session" in monitor.said(), monitor.said()[-1500:]
    options = [
        "watch",
        str(scene.frames),
        "--session",
        str(scene.root / "s"),
        "--no-dashboard",
        "--workers",
        "1",
    ]
    _one_sentence([*options, "--until-idle", "1", "--pixel-size", "0.05"], said="afterwards")


def _one_sentence(arguments: list[str], *, status: int | None = None, said: str = "") -> int:
    """Run a command that may refuse its input, in one sentence and with status 1; returns its status."""
    done = subprocess.run(
        [sys.executable, "-m", "faultwatch", *arguments], capture_output=True, text=True, timeout=300,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    what = f"{arguments[0]} ({said}): status {done.returncode}, {done.stderr[-1500:]!r}"
    assert "Traceback" not in done.stderr, what
    assert done.returncode in ((0, 1) if status is None else (status,)), what
    if done.returncode == 1:
        told = [line for line in done.stderr.strip().splitlines() if " level=" not in line]
        assert len(told) == 1, what
        assert len(told[0].split()) > 3, what
    return done.returncode


SCENARIOS: dict[str, Callable[[Scene], None]] = {
    scenario.__name__: scenario
    for scenario in (full, full_and_killed, full_spool, read_only, locked, damaged, damaged_meanwhile)
}


def faults(context: Context) -> Iterator[Finding]:
    """Every scenario."""
    return play(SCENARIOS, context)
