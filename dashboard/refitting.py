"""Refitting the forest of a session in the background: one process after the other, of low priority.

The first makes the bundle (`faultwatch train forest --corrections`), the second tells what it would change in this
session (`python -m monitor.record.shadow`). Both only read the record; the bundle is written beside it.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.bundle import describe
from models.errors import BundleRefused
from monitor.companions import myself
from monitor.settings import processors

FOLDER = "refits"
"""In the session's folder."""
NICE = 10
THREADS = 4
"""At most; of low priority, so that a session that runs comes first."""
NEEDED = ("onnx",)
"""Packages beyond those that every installation has."""
_STEP = re.compile(r"^(\d+)/(\d+) (.+)$")


@dataclass(frozen=True)
class RefitState:
    """How far a refit is."""

    stage: str = "none"
    """`none`, `fitting`, `shadow`, `ready`, `failed` or `cancelled`."""
    done: int = 0
    steps: int = 1
    what: str = ""
    """What is being done, or why it failed."""
    bundle: Path | None = None
    """The new bundle, where there is one."""
    id: str = ""
    comparison: dict[str, Any] | None = None
    """On stored rows, as `models.training.refit` has it."""
    verdict: str = ""
    shadow: dict[str, Any] | None = None
    """On this session, as `monitor.record.shadow` has it."""

    @property
    def running(self) -> bool:
        """Whether a process is at work."""
        return self.stage in ("fitting", "shadow")


class Refits:
    """The refits of one session, shared by all who look at it. Their processes are followed in a thread."""

    def __init__(self, session: Path) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._cancelled = False
        self.state = RefitState()
        self.recall()

    def recall(self) -> None:
        """Show the last refit that lies beside the record, if there is one."""
        made = sorted(
            (each for each in (self._session / FOLDER).glob("*") if each.name.isdigit() and each.is_dir()),
            key=lambda each: int(each.name),
        )
        if made and not self.state.running:
            self.state = _ready(made[-1])

    def begin(self, bundle: Path) -> str | None:
        """Refit the forest of a bundle; returns why that can't be, or None."""
        lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if lacking:
            return (
                f"Refitting needs {', '.join(lacking)}, which is not installed here; install it with: "
                "pip install 'faultwatch[training]'"
            )
        with self._lock:
            if self.state.running:
                return "a refit is under way"
            folder = self._session / FOLDER
            numbers = [int(each.name) for each in folder.glob("*") if each.name.isdigit()]
            out = folder / str(max(numbers, default=0) + 1)
            self._cancelled = False
            self.state = RefitState("fitting", what="beginning")
            self._thread = threading.Thread(target=self._run, args=(bundle, out), daemon=True)
            self._thread.start()
        return None

    def cancel(self) -> None:
        """End what is under way; what it has written so far is removed."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.terminate()

    def look_again(self) -> None:
        """Compare the bundle that is there with the session as it stands now."""
        with self._lock:
            if self.state.running or self.state.bundle is None:
                return
            self._cancelled = False
            self.state = replace(self.state, stage="shadow", what="looking at this session")
            self._thread = threading.Thread(target=self._compare, args=(self.state,), daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until nothing is under way."""
        if self._thread is not None:
            self._thread.join(seconds)

    # -- in the thread ---------------------------------------------------------------------------------------

    def _run(self, bundle: Path, out: Path) -> None:
        # Beside the final name until it is whole, so that what a cancelled refit leaves is never taken for a bundle.
        working = out.with_name(f"{out.name}.making")
        shutil.rmtree(working, ignore_errors=True)
        try:
            working.mkdir(parents=True)
            made = working / out.name
            command = myself(
                "train", "forest", "--corrections", str(self._session), "--from", str(bundle), "--out", str(made),
                "--processes", str(min(THREADS, processors())),
            )  # fmt: skip
            code, _, said = self._follow(command)
            if code == 0 and not self._cancelled:
                # The bundle last: its rows are there then.
                for each in sorted(working.iterdir(), key=lambda path: path.is_dir()):
                    each.rename(out.parent / each.name)
                self._compare(_ready(out))
            else:
                self._failed(said)
        except OSError as error:
            self._failed(str(error))
        finally:
            shutil.rmtree(working, ignore_errors=True)

    def _compare(self, state: RefitState) -> None:
        self.state = replace(state, stage="shadow", what="looking at this session")
        code, told, said = self._follow(
            [sys.executable, "-m", "monitor.record.shadow", str(self._session), str(state.bundle)]
        )
        if code == 0:
            self.state = replace(state, stage="ready", what="", shadow=json.loads(told))
        elif self._cancelled:
            self.state = replace(state, stage="ready", what="")
        else:
            self.state = replace(state, stage="ready", what=f"this session can't be compared: {_last(said)}")

    def _failed(self, said: str) -> None:
        what = "cancelled" if self._cancelled else f"the refit failed: {_last(said)}"
        self.state = RefitState("cancelled" if self._cancelled else "failed", what=what)

    def _follow(self, command: list[str]) -> tuple[int, str, str]:
        """Run a process; returns its exit status, its output and what it said."""
        with self._lock:
            if self._cancelled:
                return 1, "", ""
            nice = shutil.which("nice")
            self._process = subprocess.Popen(
                ([nice, "-n", str(NICE)] if nice else []) + command,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        said = []
        with self._process as process:
            assert process.stderr is not None
            assert process.stdout is not None
            for line in process.stderr:
                step = _STEP.match(line.strip())
                if step is None:
                    said.append(line.strip())
                else:
                    self.state = replace(self.state, done=int(step[1]), steps=int(step[2]), what=step[3])
            told = process.stdout.read()
            code = process.wait()
        with self._lock:
            self._process = None
        return code, told, "\n".join(said)


_REFITS: dict[Path, Refits] = {}


def refits_of(session: Path) -> Refits:
    """The refits of a session, the same for all of this process."""
    place = session.resolve()
    if place not in _REFITS:
        _REFITS[place] = Refits(session)
        atexit.register(_REFITS[place].cancel)  # nothing goes on without a page that could show it
    return _REFITS[place]


def _ready(bundle: Path) -> RefitState:
    try:
        name, details = describe(bundle)
    except BundleRefused as error:
        return RefitState("failed", what=str(error))
    told = details.get("provenance", {})
    return RefitState(
        "ready", bundle=bundle, id=name, comparison=told.get("comparison"), verdict=told.get("verdict", "")
    )


def _last(said: str) -> str:
    """The last line that says something."""
    lines = [line for line in said.splitlines() if line]
    return lines[-1] if lines else "it ended without a word"
