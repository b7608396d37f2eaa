"""Plain sockets and kills: what a killed session had not put on its disk is lost, and every one of it is counted.

Over PUSH/PULL and PUB/SUB frames may be lost with a session that is killed, and only then. The numbers that the camera
gives its frames tell: sent = arrived + lost. What is lost at the end shows with the next frame that arrives, so after
the last kill the camera goes on with single frames until the sum is right.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.faults import books
from tests.faults.base import Context, Finding
from tests.faults.books import Books
from tests.faults.cameras import SocketCamera
from tests.faults.process import Monitor, free_port

#: Kills are dear here, each costs a start: of those that a run is asked for, one in ten, for each kind of socket.
_SHARE = 10
#: Single frames at the end, and how long each is waited for [s].
_SINGLE, _SINGLE_S = 30, 2.0

_SOCKETS = {"tcp": "PUSH/PULL", "sub": "PUB/SUB"}


class PlainCamera(SocketCamera):
    """Sends and does not look back; stays open at the end."""

    def finish(self) -> None:
        """Leave what is under way alone."""

    def close(self) -> None:
        """The end."""
        self._sender.close(0)


def faults(context: Context) -> Iterator[Finding]:
    """Kills of the monitor over either kind of plain socket."""
    kills = max(2, context.kills // _SHARE)
    for scheme, name in _SOCKETS.items():
        finding = Finding(f"kill -9, plain {name}")
        yield finding
        try:
            play(context, scheme, kills, finding)
        except TimeoutError as error:
            finding.failures.append(str(error))
        context.say(f"{finding.what}: {finding.tries} kills, {finding.note}")


def play(context: Context, scheme: str, kills: int, finding: Finding) -> None:
    """One session over a plain socket, `tcp` or `sub`, whose monitor is killed so often."""
    random = Random(context.seed)
    room = context.room(f"plain-{scheme}")
    address = f"{scheme}://127.0.0.1:{free_port()}"
    camera = PlainCamera(address, context.seed)
    monitor = Monitor(room / "s", address)
    before: Books | None = None
    with context.bar(finding.what, kills) as bar:
        try:
            camera.start()
            for _ in range(kills):
                if random.random() < 0.7:
                    monitor.wait_ready()
                time.sleep(random.uniform(0, 2.0))
                if monitor.process.poll() is not None:
                    finding.failures.append(f"the session ended by itself: {monitor.said()[-1500:]}")
                monitor.process.kill()
                monitor.process.wait()
                before = _look(finding, room, before)
                monitor = Monitor(room / "s", address)
                finding.tries += 1
                bar.update()
            camera.stop()
            monitor.wait_ready()
            camera.join(180)
            if camera.error is not None or camera.is_alive():
                finding.failures.append(f"the camera could not go on: {camera.error}")
            for _ in range(_SINGLE):
                camera.take()
                if _adds_up(room, camera.sent):
                    break
            last = _look(finding, room, before)
            sent, arrived = camera.sent, last.ledger["arrived"]
            if sent != arrived + last.lost:
                finding.failures.append(f"{sent} sent, {arrived} arrived and {last.lost} lost")
            if monitor.stop() != 0:
                finding.failures.append(f"the session did not end well: {monitor.said()[-1500:]}")
            finding.failures += books.sound(room / "s")
            finding.note = f"{sent} sent = {arrived} arrived + {last.lost} lost, each counted"
            finding.figures = {"sent": sent, "arrived": arrived, "counted_as_lost": last.lost}
        finally:
            camera.stop()
            camera.join(10)
            camera.close()
            monitor.process.kill()
            monitor.process.wait()
    if not finding.failed:
        shutil.rmtree(room)


def _adds_up(room: Path, sent: int) -> bool:
    until = time.monotonic() + _SINGLE_S
    while time.monotonic() < until:
        now = books.look(room / "s")
        if now.ledger["queued"] == 0 and now.ledger["arrived"] + now.lost == sent:
            return True
        time.sleep(0.1)
    return False


def _look(finding: Finding, room: Path, before: Books | None) -> Books:
    now = books.look(room / "s", before)
    finding.unbalanced += bool(now.broken)
    finding.doubled = now.doubled
    finding.failures += now.broken
    return now
