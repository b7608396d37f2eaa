"""`faultwatch watch`: one session from its first frame to its end, with the page beside it."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType

from monitor.errors import InputError
from monitor.record import DATABASE, RecordWriter, explained, is_session
from monitor.session import Session
from monitor.settings import WatchSettings, processors
from monitor.sources.base import Source
from monitor.sources.choose import choose_source

#: Between two status lines [s]: on a terminal the line is written over, elsewhere each is a new one.
_LINE_S = 1.0
_LOG_LINE_S = 10.0

Dashboard = Callable[[Path], "subprocess.Popen[bytes] | None"]


def watch(settings: WatchSettings, *, dashboard: Dashboard) -> int:
    """Watch the sources until Ctrl-C, SIGTERM, or until it is idle for long enough; returns the exit status.

    Parameters
    ----------
    dashboard
        Starts the page over the session's folder, in another process.

    Raises
    ------
    InputError
        A source, the bundle or the session's folder can't be used.
    """
    if not settings.sources:
        raise InputError("nothing to watch: give a directory or an address (tcp://host:port)")
    folder = settings.session or new_session_folder()
    for given in settings.sources:
        if "://" not in given and Path(given).resolve() == folder.resolve():
            raise InputError(
                f"{folder} is watched, so it can't hold the session; give --session another folder"
            )
        # Said before a record is made, or a mistyped name would leave an empty session behind.
        if "://" not in given and not Path(given).is_dir():
            what = "is a file, not a directory" if Path(given).exists() else "is no directory"
            raise InputError(f"{given} {what}", path=Path(given))
    known = is_session(folder)
    with RecordWriter(folder) as record:
        created = float(record.meta("created") or time.time())
        # Who goes on with a session has missed what came in between, which is new as well.
        skip_before = (created if known else float("inf")) if settings.new_only else None
        sources = [
            choose_source(given, settings, record.folder / "spool", skip_before=skip_before)
            for given in dict.fromkeys(settings.sources)
        ]
        return run_session(record, sources, settings, dashboard=dashboard, created=created)


def run_session(
    record: RecordWriter,
    sources: Sequence[Source],
    settings: WatchSettings,
    *,
    dashboard: Dashboard,
    created: float,
) -> int:
    """Run a session over given sources, with log, page and status line; returns the exit status.

    Raises
    ------
    InputError
        As for `watch`.
    """
    workers = settings.worker_count()
    # Workers share the processors; more threads than that only get into each other's way.
    threads = max(1, processors() // workers)
    # They begin with this environment: libraries read it when they are loaded, before any call could tell
    # them.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)
    page: subprocess.Popen[bytes] | None = None
    with _log(record.folder / "session.log"):
        record.set_meta(
            created=str(created),
            started=str(time.time()),
            settings=settings.kept(),
            command=" ".join(sys.argv),
            material=settings.material or "",
        )
        print(f"session  {record.folder}", flush=True)

        def on_ready() -> None:
            for source in sources:
                print(f"watching {_listening(source)}", flush=True)
            print("ready", flush=True)

        status = _StatusLine(record)
        session = Session(
            record,
            sources,
            settings,
            clock=time.time,
            steady=time.monotonic,
            threads=threads,
            on_ready=on_ready,
            on_tick=status.tick,
        )
        try:
            if settings.dashboard:
                page = dashboard(record.folder)
            with _stopped_by_signals(session):
                session.run()
        except sqlite3.DatabaseError as error:
            raise explained(error, record.folder / DATABASE) from error
        finally:
            status.close()
            if page is not None:
                _end(page)
    return 0


def _listening(source: Source) -> str:
    """A source's address, with the port where the system chose one."""
    scheme, slashes, _ = source.address.partition("://")
    endpoint: str = getattr(source, "endpoint", "")
    return f"{scheme}://{endpoint.removeprefix('tcp://')}" if slashes and endpoint else source.address


def new_session_folder() -> Path:
    """sessions/<date>-<time> under the working folder, one that is not there yet."""
    base = Path("sessions") / datetime.now().strftime("%Y%m%d-%H%M%S")
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


class _StatusLine:
    """One line that says how the session does, rewritten on a terminal."""

    def __init__(self, record: RecordWriter) -> None:
        self._record = record
        self._terminal = sys.stdout.isatty()
        self._next = 0.0
        self._last = ""
        self._before: tuple[float, int] | None = None

    def tick(self) -> None:
        """Write the line where it is due."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_LINE_S if self._terminal else _LOG_LINE_S)
        ledger = self._record.ledger()
        rate = 0.0
        if self._before is not None:
            rate = (ledger["analysed"] - self._before[1]) / (now - self._before[0])
        self._before = (now, ledger["analysed"])
        text = (
            "{arrived} arrived = {analysed} analysed + {queued} queued + {rejected} rejected "
            "+ {dropped} dropped"
        ).format(**ledger)
        if self._terminal:
            print(f"\r{text}, {rate:.2f} frames/s\x1b[K", end="", flush=True)
        elif text != self._last:
            print(f"{text}, {rate:.2f} frames/s", flush=True)
        self._last = text

    def close(self) -> None:
        """Write it a last time."""
        self._next = 0.0
        with contextlib.suppress(sqlite3.Error):
            self.tick()
        if self._terminal:
            print()


@contextlib.contextmanager
def _stopped_by_signals(session: Session) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the session in good order; twice: at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        session.stop()

    before = {name: signal.signal(name, stop) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


class _LogFile(logging.handlers.WatchedFileHandler):
    """Begins anew where it was deleted or moved; what can't be written (a full disk) stands on stderr alone."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextlib.contextmanager
def _log(path: Path) -> Iterator[None]:
    """What is worth noting goes to stderr, and with everything else into the session's log file."""
    root = logging.getLogger("faultwatch")
    line = logging.Formatter("%(asctime)s level=%(levelname)s room=%(name)s %(message)s")
    file, console = _LogFile(path, encoding="utf-8", errors="replace"), logging.StreamHandler()
    console.setLevel(logging.WARNING)
    root.setLevel(logging.INFO)
    for handler in (file, console):
        handler.setFormatter(line)
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in (file, console):
            root.removeHandler(handler)
            handler.close()


def _end(page: subprocess.Popen[bytes]) -> None:
    page.terminate()
    try:
        page.wait(timeout=5)
    except subprocess.TimeoutExpired:
        page.kill()
        page.wait()
