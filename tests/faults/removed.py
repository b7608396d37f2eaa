"""The record is deleted, replaced or moved while a session writes it: noticed within seconds, said, nothing is lost."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from monitor.client import FrameSender
from tests.faults.base import Context, Finding
from tests.faults.process import Monitor, free_port
from tests.faults.scene import Scene, play, stack, tif

#: Frames before and after, each.
_FRAMES = 4


def _through(scene: Scene, take_away: Callable[[Path], object], said: str) -> None:
    """Frames, something that happens to the session's folder, the word for it, frames; then all are there."""
    with scene.watch() as monitor:
        monitor.wait_ready()
        for i in range(_FRAMES):
            (scene.frames / f"{i}.tif").write_bytes(tif(i))
        scene.wait(monitor, "the first frames", analysed=_FRAMES)
        take_away(monitor.folder)
        began = time.monotonic()
        monitor.wait(lambda: said in monitor.said(), f"{said!r} to be said")
        scene.notes.append(f"said after {time.monotonic() - began:.1f} s")
        for i in range(_FRAMES, 2 * _FRAMES):
            (scene.frames / f"{i}.tif").write_bytes(tif(i))
        scene.wait(monitor, "the other frames", analysed=2 * _FRAMES)
        scene.end(monitor, arrived=2 * _FRAMES, analysed=2 * _FRAMES)
    lines = [line for line in monitor.said().splitlines() if "record-put-back" in line]
    assert len(lines) == 1, f"it is said {len(lines)} times"


def deleted(scene: Scene) -> None:
    """The record is deleted: it is put back, whole."""

    def delete(folder: Path) -> None:
        for path in folder.glob("session.sqlite*"):
            path.unlink()

    _through(scene, delete, "session.sqlite was deleted while the session writes it; it was put back, whole")


def log_deleted(scene: Scene) -> None:
    """Its write-ahead log alone is deleted: what is not in the record yet is kept."""
    _through(scene, lambda folder: (folder / "session.sqlite-wal").unlink(), "session.sqlite-wal was deleted")


def replaced(scene: Scene) -> None:
    """Another file takes its name: that one is kept beside it, and the record is put back."""
    foreign = scene.root / "foreign"
    foreign.write_bytes(b"not a record at all")
    _through(scene, lambda folder: foreign.replace(folder / "session.sqlite"), "replaced by another file")
    assert (scene.root / "session" / "session.sqlite.replaced-1").read_bytes() == b"not a record at all"


def folder_deleted(scene: Scene) -> None:
    """The session's whole folder is deleted: it is made again, with the whole record, lock and log."""
    _through(scene, shutil.rmtree, "lock was deleted while the session writes; it was put back, whole")
    assert "record-put-back" in (scene.root / "session" / "session.log").read_text(encoding="utf-8")


def folder_moved(scene: Scene) -> None:
    """The folder is moved away with frames in its spool, and back: all is held, then done; no frame is rejected."""
    address = f"ack://127.0.0.1:{free_port()}"
    folder, away = scene.root / "session", scene.root / "away"
    environment = {"FAULTWATCH_RECONCILE_S": "0.5"}
    with Monitor(folder, address, environment=environment) as monitor, FrameSender(address) as sender:
        monitor.wait_ready()
        sending = threading.Thread(target=lambda: _send(sender, 20), daemon=True)
        sending.start()
        monitor.wait(lambda: monitor.ledger()["analysed"] >= 2, "the first frames")
        folder.rename(away)
        monitor.wait(lambda: "record-away" in monitor.said(), "the loss to be said")
        time.sleep(scene.stall_s / 6)  # longer than a deleted frame is waited for
        away.rename(folder)
        monitor.wait(lambda: "record-back" in monitor.said(), "the return to be said")
        sending.join(180)
        assert sender.close(120) == [], "frames were never acknowledged"
        scene.wait(monitor, "all frames", analysed=20)
        scene.end(monitor, arrived=20, analysed=20)


def _send(sender: FrameSender, count: int) -> None:
    for i in range(count):
        sender.send(stack(1, i)[0], pixel_size_nm=0.05, timeout_s=120)


SCENARIOS: dict[str, Callable[[Scene], None]] = {
    f"record, {scenario.__name__}": scenario
    for scenario in (deleted, log_deleted, replaced, folder_deleted, folder_moved)
}


def faults(context: Context) -> Iterator[Finding]:
    """Every scenario."""
    return play(SCENARIOS, context)
