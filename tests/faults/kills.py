"""`kill -9` of the monitor or of its workers at random moments: every frame is analysed, and counted once.

A camera takes pictures all the while, into a directory or over the acknowledging socket. Some kills of the monitor come
while it starts, some of those of workers while they load their bundle. After each kill the record is looked at with
plain `sqlite3`: the ledger balances, no picture is in it twice, what was committed is there, and what was acknowledged
lies on the disk.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import psutil

from tests.faults import books
from tests.faults.base import Context, Finding
from tests.faults.books import Books
from tests.faults.cameras import Camera, FolderCamera, SocketCamera
from tests.faults.process import Monitor, free_port

#: Kills of one session.
_ROUND = 25
#: How often it is the monitor that is killed, and how often at once again, while it starts.
_MONITOR, _AGAIN = 0.35, 0.4
#: How often a worker that has just been begun is killed as well; the session gives up after four in a row.
_YOUNG, _YOUNG_IN_A_ROW = 0.15, 2
#: A monitor is killed at most so long after it was started [s], to strike while it starts.
_START_S = 3.0
#: A worker that is younger has no frame yet [s]: it still loads its libraries.
_YOUNG_S = 0.4
_PATIENCE_S = 180.0


class Siege:
    """One session that is killed again and again until all its frames are analysed."""

    def __init__(self, folder: Path, kind: str, seed: int, *, workers: int = 1) -> None:
        """
        Parameters
        ----------
        kind
            directory or ack
        """
        self.kind = kind
        self.killed: Counter[str] = Counter()
        """Kills by what was killed and when."""
        self.busy = 0
        """Workers that were killed over a frame."""
        self.failures: list[str] = []
        self.unbalanced = 0
        self.lost = 0
        self.doubled = 0
        self._random = Random(seed)
        self._workers = workers
        self.session = folder / "s"
        self._spool = self.session / "spool"
        self.camera: Camera
        if kind == "directory":
            (folder / "in").mkdir()
            self._source = str(folder / "in")
            self.camera = FolderCamera(folder / "in", seed)
        else:
            self._source = f"ack://127.0.0.1:{free_port()}"
            self.camera = SocketCamera(self._source, seed)
        self._seen: dict[int, psutil.Process] = {}
        self._young = 0
        self._struck_at: int | None = None
        self._before: Books | None = None
        self._monitor: Monitor

    def lay(self, kills: int, tick: Callable[[], object] = lambda: None) -> None:
        """Kill so many times, let the session finish, and look at what it has."""
        self._start()
        self.camera.start()
        try:
            while sum(self.killed.values()) < kills:
                if self._random.random() < _MONITOR:
                    self._kill_monitor()
                    while self._random.random() < _AGAIN and sum(self.killed.values()) < kills:
                        tick()
                        self._kill_monitor(starting=True)
                else:
                    self._kill_worker()
                tick()
            self.camera.stop()
            self._finish()
        except TimeoutError as error:
            self.failures.append(str(error))
        finally:
            self.camera.stop()
            self._monitor.process.kill()
            self._monitor.process.wait()

    def report(self, finding: Finding) -> None:
        """Add what this session showed."""
        killed = Counter(finding.figures.get("killed", {})) + self.killed
        frames = finding.figures.get("frames", 0) + self.camera.sent
        busy = finding.figures.get("over_a_frame", 0) + self.busy
        finding.tries += self.killed.total()
        finding.lost += self.lost
        finding.doubled += self.doubled
        finding.unbalanced += self.unbalanced
        finding.failures += [f"{failure} ({self.session.parent})" for failure in self.failures]
        finding.figures = {"frames": frames, "killed": dict(killed), "over_a_frame": busy}
        what = ", ".join(f"{n} {name}" for name, n in killed.most_common())
        finding.note = f"{frames} frames; killed: {what} ({busy} of these over a frame)"

    # -- inside ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._monitor = Monitor(self.session, self._source, options=("--workers", str(self._workers)))
        self._struck_at = None

    def _ready(self) -> bool:
        return "\nready" in self._monitor.said()

    def _processes(self) -> list[psutil.Process]:
        """The monitor's workers."""
        try:
            children = psutil.Process(self._monitor.process.pid).children()
            workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        except psutil.Error:
            return []
        for worker in workers:
            self._seen[worker.pid] = worker
        return workers

    def _moment(self) -> None:
        """Wait until a random moment, half of the time one at which the session is at work."""
        if self._random.random() < 0.5:
            time.sleep(self._random.uniform(0, 1.0))
            return
        done, until = books.count(self.session), time.monotonic() + 2.0
        while books.count(self.session) == done and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(self._random.uniform(0, 0.04))

    def _kill_monitor(self, *, starting: bool = False) -> None:
        if starting:
            time.sleep(self._random.uniform(0, _START_S))
        else:
            self._wait(self._ready, "the session to be ready")
            self._moment()
        self._processes()
        ready = self._ready()
        self._still_there()
        self._monitor.process.kill()
        self._monitor.process.wait()
        self.killed["monitors at work" if ready else "monitors that started"] += 1
        self._look("after a kill of the monitor")
        self._start()

    def _kill_worker(self) -> None:
        if self._struck_at is not None:
            # Who kills the worker of the same frame twice has it rejected, and rightly so.
            # Results may be on their way that are older than the kill, so some more are waited for.
            after = self._struck_at + 2 * self._workers + 1
            self._wait(lambda: books.count(self.session) >= after, "it to go on after a kill of a worker")
        young = self._random.random() < _YOUNG and self._young < _YOUNG_IN_A_ROW
        if not young:
            self._moment()
        workers: list[psutil.Process] = []

        def there() -> bool:
            workers[:] = self._processes()
            return bool(workers)

        self._wait(there, "a worker")
        victim = self._random.choice(workers)
        try:
            age = time.time() - victim.create_time()
            if young:
                time.sleep(self._random.uniform(0, _YOUNG_S))
            victim.kill()
        except psutil.NoSuchProcess:
            return
        started = age > _YOUNG_S
        self._young = 0 if started else self._young + 1
        self._struck_at = books.count(self.session) if started else self._struck_at
        self.killed["workers at work or loading" if started else "workers just begun"] += 1
        self._look("after a kill of a worker")

    def _replaced(self) -> int:
        log = self.session / "session.log"
        return log.read_text(errors="replace").count("event=worker-replaced") if log.exists() else 0

    def _still_there(self) -> None:
        status = self._monitor.process.poll()
        if status is not None:
            raise TimeoutError(
                f"the session ended by itself, with status {status}: {self._monitor.said()[-1500:]}"
            )

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + _PATIENCE_S
        while not condition():
            self._still_there()
            if time.monotonic() > until:
                raise TimeoutError(f"waited in vain for {what}: {self._monitor.said()[-1500:]}")
            time.sleep(0.02)

    def _look(self, when: str) -> Books:
        safe = self.camera.safe()  # before the disk is looked at: a session that lives goes on acknowledging
        now = books.look(self.session, self._before)
        kept = {int(path.stem.split("-")[1]) for path in self._spool.rglob("*-*.tif")}
        broken = list(now.broken)
        if self.kind == "ack" and (gone := safe - kept):
            broken.append(f"{len(gone)} frames were acknowledged and are not on the disk")
        # Gaps in the numbers are no loss yet: what was not acknowledged comes again, after what came next.
        if broken or now.doubled:
            self.unbalanced += 1
            self.failures.append(f"{when}: {'; '.join(broken)}; {now.doubled} doubled")
        self._before = now
        return now

    def _finish(self) -> None:
        """Let it do what is left, end it, and count."""
        until = time.monotonic() + _PATIENCE_S
        while self.camera.is_alive():
            self._still_there()
            if time.monotonic() > until:
                raise TimeoutError("the camera could not hand over what it had")
            self.camera.join(0.1)
        if self.camera.error is not None:
            self.failures.append(f"the camera could not go on: {self.camera.error}")
        sent = self.camera.sent

        def done() -> bool:
            now = books.look(self.session)
            return now.ledger["arrived"] >= sent and now.ledger["queued"] == 0

        try:
            self._wait(done, "all frames")
        finally:
            last = self._look("at the end")
            self.lost = sent - last.ledger["arrived"] + last.doubled
            self.doubled = last.doubled
        if self._monitor.stop() != 0:
            self.failures.append(f"the session did not end well: {self._monitor.said()[-1500:]}")
        last = self._look("after the end")
        self.failures += books.sound(self.session)
        if last.ledger["analysed"] != sent or self.camera.safe() != frozenset(range(sent)):
            self.failures.append(
                f"{sent} frames were sent, and the ledger is {dict(last.ledger)}: {self._reasons()}"
            )
        self.busy = self._replaced()
        self.failures += self._orphans()
        if last.lost:
            self.failures.append(f"{last.lost} gaps are left in the camera's numbers")
        # A process that is begun while its parent is killed says so by itself, before it is ours.
        said = self._monitor.output.read_text(errors="replace").split("Traceback")[1:]
        self.failures += [f"a traceback: {text[:1500]}" for text in said if "in spawn_main" not in text[:600]]

    def _reasons(self) -> list[tuple[str, int]]:
        with books.opened(self.session) as db:
            return list(db.execute("SELECT reason, count(*) FROM frames WHERE reason IS NOT NULL GROUP BY 1"))

    def _orphans(self) -> list[str]:
        """Workers whose monitor is gone end by themselves."""
        until = time.monotonic() + 30
        left = list(self._seen.values())
        while left and time.monotonic() < until:
            left = [worker for worker in left if _runs(worker)]
            time.sleep(0.1)
        for worker in left:
            worker.kill()
        return [f"{len(left)} workers of killed monitors were left behind"] if left else []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def faults(context: Context) -> Iterator[Finding]:
    """Half of the kills over a directory, half over the acknowledging socket, by turns in sessions of 25 kills each."""
    left = {"directory": context.kills - context.kills // 2, "ack": context.kills // 2}
    findings = {kind: Finding(f"kill -9, {kind}") for kind in left}
    yield from findings.values()
    with context.bar("kills", context.kills) as bar:
        for number in itertools.count():
            for kind in [kind for kind in left if left[kind]]:
                kills = min(_ROUND, left[kind])
                left[kind] -= kills
                room = context.room(f"kills-{kind}")
                siege = Siege(room, kind, context.seed * 1000 + number, workers=1 + number % 2)
                try:
                    siege.lay(kills, bar.update)
                finally:
                    siege.report(findings[kind])
                context.say(f"{findings[kind].what}: {findings[kind].tries} kills, {findings[kind].note}")
                if not siege.failures:
                    shutil.rmtree(room)
            if not any(left.values()):
                return
