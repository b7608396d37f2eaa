"""`faultwatch watch`: one session from its first frame to its end, with the page beside it."""

from __future__ import annotations

import contextlib
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
from monitor.publishing import Publisher
from monitor.record import DATABASE, RecordWriter, explained, is_session
from monitor.session import Session
from monitor.settings import WatchSettings
from monitor.sources.base import Source
from monitor.sources.choose import choose_source
from monitor.terminal import Status, StatusLine, logged
from monitor.workers.pool import share_processors

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
    status: Status | None = None,
) -> int:
    """Run a session over given sources, with log, page and status line; returns the exit status.

    Parameters
    ----------
    status
        Shown instead of the status line and of what is said at the start.

    Raises
    ------
    InputError
        As for `watch`.
    """
    threads = share_processors(settings.worker_count())
    page: subprocess.Popen[bytes] | None = None
    with logged(record.folder / "session.log"), _publishing(settings) as publisher:
        record.set_meta(
            created=str(created),
            started=str(time.time()),
            settings=settings.kept(),
            command=" ".join(sys.argv),
            material=settings.material or "",
        )
        if status is None:
            print(f"session  {record.folder}", flush=True)
        shown = StatusLine(record) if status is None else status
        session = Session(
            record,
            sources,
            settings,
            clock=time.time,
            steady=time.monotonic,
            threads=threads,
            on_ready=_announcing(sources, publisher) if status is None else lambda: None,
            on_tick=shown.tick,
            publisher=publisher,
        )
        try:
            if settings.dashboard:
                page = dashboard(record.folder)
            with _stopped_by_signals(session):
                session.run()
        except sqlite3.DatabaseError as error:
            raise explained(error, record.folder / DATABASE) from error
        finally:
            shown.close()
            if page is not None:
                _end(page)
    return 0


def _announcing(sources: Sequence[Source], publisher: Publisher | None) -> Callable[[], None]:
    """What is said on the terminal when a session is ready."""

    def announce() -> None:
        for source in sources:
            print(f"watching {_listening(source)}", flush=True)
        if publisher is not None:
            print(f"publishing at {publisher.address}", flush=True)
        print("ready", flush=True)

    return announce


@contextlib.contextmanager
def _publishing(settings: WatchSettings) -> Iterator[Publisher | None]:
    """The socket on which the session publishes, where that is asked for."""
    publisher = None if settings.publish is None else Publisher(settings.publish)
    try:
        yield publisher
    finally:
        if publisher is not None:
            publisher.close()


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


def _end(page: subprocess.Popen[bytes]) -> None:
    page.terminate()
    try:
        page.wait(timeout=5)
    except subprocess.TimeoutExpired:
        page.kill()
        page.wait()
