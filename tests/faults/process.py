"""`faultwatch watch` as a process: started, waited for, stopped, and what its record and its log say."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from monitor.record import summary

_ROOT = Path(__file__).parents[2]

_WITHOUT_EVENTS = """
from monitor.sources.events import Hints
Hints.watch = lambda self, root: None
import faultwatch
raise SystemExit(faultwatch.main())
"""

#: What a test may wait for [s]; machines are busy.
PATIENCE_S = 180.0


class Monitor:
    """A session in a folder; a context manager that leaves no process behind."""

    def __init__(
        self,
        folder: Path,
        *sources: object,
        environment: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
        events: bool = True,
        output: Path | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        """
        Parameters
        ----------
        folder
            Of the session.
        environment
            Settings, `FAULTWATCH_...`.
        events
            Whether the operating system tells it of changes; on a network share it does not.
        output
            Keeps what it writes on its terminal; None: a file beside the folder.
        prefix
            What the command is run by, see `bound_by_rights`.
        """
        self.folder = folder
        self.output = output or folder.with_name(f"{folder.name}-output.txt")
        program = ["-m", "faultwatch"] if events else ["-c", _WITHOUT_EVENTS]
        command = [*prefix, sys.executable, *program, "watch", *map(str, sources), "--session", str(folder)]
        command += ["--no-dashboard", "--workers", "1", *options]
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self._began = self.output.stat().st_size if self.output.exists() else 0
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                cwd=_ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """Everything that it wrote on its terminal."""
        with self.output.open("rb") as out:
            out.seek(self._began)
            return out.read().decode(errors="replace")

    def wait_ready(self) -> None:
        """Until its sources are open and a worker has begun."""
        self.wait(lambda: "\nready" in self.said(), "the session to be ready")

    def wait(self, condition: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
        """Until something is so; `TimeoutError` where it never is, or the session ended."""
        deadline = time.monotonic() + seconds
        while not condition():
            ended = self.process.poll()
            if ended is not None and not condition():
                raise TimeoutError(
                    f"the session ended with status {ended} before {what}: {self.said()[-1500:]}"
                )
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}: {self.said()[-1500:]}")
            time.sleep(0.1)

    def stop(self) -> int:
        """End it as Ctrl-C does; its exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def summary(self) -> dict[str, Any]:
        """What `faultwatch summary` says."""
        return summary.summarise(self.folder)

    def ledger(self) -> dict[str, int]:
        """The ledger, all zero where there is none yet."""
        try:
            return dict(self.summary()["ledger"])
        except Exception:
            if self.process.poll() is not None:
                raise
            return dict.fromkeys(("arrived", "analysed", "queued", "rejected", "dropped"), 0)

    def arrivals(self, address: str) -> dict[str, int]:
        """Of one source: frames, rejected, ignored, duplicates."""
        (source,) = (one for one in self.summary()["sources"] if one["address"] == address)
        states = dict(
            self.rows(
                "SELECT state = 'rejected' AND item IS NULL, count(*) FROM frames WHERE source_id = "
                "(SELECT id FROM sources WHERE address = ?) GROUP BY 1",
                address,
            )
        )
        return {
            "frames": states.get(0, 0),
            "rejected": states.get(1, 0),
            "ignored": source["ignored"],
            "duplicates": source["duplicates"],
        }

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the record answers."""
        db = sqlite3.connect(f"{(self.folder / 'session.sqlite').resolve().as_uri()}?mode=ro", uri=True)
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()

    def complaints(self) -> list[str]:
        """Tracebacks and failures in what it said and logged; an unbalanced ledger; a record that is not sound."""
        log = self.folder / "session.log"
        said = self.said() + (log.read_text(errors="replace") if log.exists() else "")
        found = [
            f"{mark!r} in what the session said: {said[said.index(mark) :][:1500]}"
            for mark in ("Traceback", "event=source-failed", "event=fault", "event=worker-replaced")
            if mark in said
        ]
        ledger = self.summary()["ledger"]
        if ledger["arrived"] != sum(ledger[name] for name in ("analysed", "queued", "rejected", "dropped")):
            found.append(f"the ledger does not balance: {ledger}")
        for check, good in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
            if (answer := self.rows(f"PRAGMA {check}")) != good:
                found.append(f"PRAGMA {check}: {answer}")
        return found


def bound_by_rights() -> tuple[str, ...] | None:
    """What to run a command by so that the rights of files bind it, also for root; None: it can't be done here."""
    if os.name == "nt":
        return None
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return None
    prefix = (setpriv, "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
    allowed = subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True).returncode == 0
    return prefix if allowed else None


def free_port() -> int:
    """A TCP port of this computer that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_bytes(process: int, field: str = "VmRSS") -> int:
    """Memory of a process, now (`VmRSS`) or at its peak (`VmHWM`) [bytes]; 0 where it can't be told."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
