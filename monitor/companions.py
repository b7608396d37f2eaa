"""Processes that live beside a session: its page, and the virtual microscope of the demonstration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from monitor.errors import InputError

INTERRUPTED = 130
"""What a shell reports of a program that was ended by Ctrl-C."""

StartPage = Callable[[Path], subprocess.Popen[bytes] | None]
"""Starts the page over a session's folder; `None` where no page is wanted."""


def myself(*arguments: str) -> list[str]:
    """The command line that runs this program in another process."""
    return [sys.executable, "-m", "faultwatch", *arguments]


def page(wanted: bool, arguments: Sequence[str], browser: bool) -> StartPage:
    """A function that starts the page of a session, in a process of its own that only reads the record.

    Parameters
    ----------
    wanted : whether there is to be a page at all.
    arguments : of the `dashboard` command: where it is served, and to whom.
    browser : whether a browser is opened.
    """

    def start(session: Path) -> subprocess.Popen[bytes] | None:
        if not wanted:
            return None
        quiet = [] if browser else ["--no-browser"]
        # The page ends when its input is closed, and so also with a session that is killed.
        command = myself("dashboard", str(session), *arguments, "--until-closed", *quiet)
        return subprocess.Popen(command, stdin=subprocess.PIPE)

    return start


def end_with_input() -> None:
    """End this process, as SIGTERM would, when the process that started it closes its input or is gone."""

    def wait() -> None:
        # Unbuffered: the lock of a buffer, held by a waiting thread, would break the interpreter's own end.
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def microscope(frames: Path, log: Path, arguments: Sequence[str]) -> Iterator[None]:
    """The virtual microscope in a process of its own, for as long as the block runs.

    Parameters
    ----------
    frames : the folder that it writes into; made here.
    log : what it says is kept in this file.
    arguments : of the `microscope` command, without its target.

    Raises
    ------
    InputError
        The folder can't be made, or the virtual microscope failed.
    """
    try:
        frames.mkdir(parents=True, exist_ok=True)
        said = log.open("w+b")
    except OSError as error:
        raise InputError(f"the folder {frames} can't be made: {error.strerror}") from error
    command = myself("microscope", str(frames), *arguments)
    with said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            yield
            if process.poll() not in (None, 0, INTERRUPTED):
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines() or ["it gave no reason"]
                raise InputError(f"the virtual microscope failed: {lines[-1]}")
        finally:
            if process.poll() is None:
                process.terminate()
