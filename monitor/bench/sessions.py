"""A real session in a process of its own, given frames one by one and many at once: how long each takes."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from monitor.bench.frames import Drawn
from monitor.bench.plan import PIXEL_NM
from monitor.client import FrameSender
from monitor.companions import myself
from monitor.errors import InputError
from monitor.record.reader import RecordReader

BEGIN_S, DONE_S = 180.0, 300.0
"""A session that has not begun, or not committed its frames, after so long is given up [s]."""
LOOK_S = 0.02
"""Between two looks whether frames are committed [s]."""
PAUSE_S = 0.1
"""Between a committed frame and the next that is given [s]."""


@dataclass
class Given:
    """What a session was given, and what came of it."""

    delays_ms: dict[str, list[float]] = field(default_factory=lambda: {"directory": [], "socket": []})
    """File closed, or sending begun, to committed, of frames given one by one."""
    compute_ms: dict[str, list[float]] = field(default_factory=lambda: {"directory": [], "socket": []})
    """What the worker took over the same frames, without the preview."""
    frames_per_s: float | None = None
    """Of frames that lay in the directory all at once."""


class Watching:
    """`faultwatch watch` over a new directory and a socket, for as long as the block runs."""

    def __init__(self, folder: Path, bundle: Path | None, browser_port: int | None = None) -> None:
        """
        Parameters
        ----------
        folder : a new one, which gets the directory and the record.
        browser_port : of the page; `None`: no page.
        """
        self.frames, self.record = folder / "frames", folder / "session"
        self.frames.mkdir(parents=True)
        told = ["--no-dashboard"] if browser_port is None else ["--port", str(browser_port), "--no-browser"]
        told += [] if bundle is None else ["--bundle", str(bundle)]
        sources = (str(self.frames), "ack://127.0.0.1:0", "--session", str(self.record), "--device", "cpu")
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            myself("watch", *sources, *told), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self.address = ""

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put(None)

    def __enter__(self) -> Watching:
        said: list[str] = []
        try:
            deadline = time.monotonic() + BEGIN_S
            while "ready" not in said:
                line = self._lines.get(timeout=max(0.1, deadline - time.monotonic()))
                if line is None:
                    raise InputError(
                        f"the session did not begin: {said[-1] if said else 'it gave no reason'}"
                    )
                said.append(line)
                if line.startswith("watching ack://"):
                    self.address = line.removeprefix("watching ")
        except queue.Empty:
            self._process.kill()
            raise InputError(f"the session did not begin within {BEGIN_S:g} s") from None
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._process.send_signal(getattr(signal, "SIGINT", signal.SIGTERM))
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
        else:
            self._process.kill()
        self._process.wait()

    def committed(self) -> list[tuple[str, int | None, float, float]]:
        """Of every committed frame its file, the sender's number, when [s since 1970 UTC], and the compute [ms]."""
        with RecordReader(self.record) as reader:
            rows = reader.rows(
                "SELECT f.path, f.sequence, r.committed, r.timings_ms "
                "FROM frames f JOIN results r ON r.frame_id = f.id"
            )
        return [
            (Path(str(path)).name, sequence, float(at), sum(json.loads(timings).values()))
            for path, sequence, at, timings in rows
        ]

    def wait_for(self, count: int) -> None:
        """Wait until so many frames are committed.

        Raises
        ------
        InputError
            They are not after `DONE_S`.
        """
        deadline = time.monotonic() + DONE_S
        with RecordReader(self.record) as reader:
            while reader.ledger()["analysed"] < count:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise InputError(f"the session did not commit {count} frames within {DONE_S:g} s")
                time.sleep(LOOK_S)


def closed(path: Path, data: bytes) -> float:
    """Write a file as a camera does; when it was closed [s since 1970 UTC]."""
    path.write_bytes(data)
    return time.time()


def give(drawn: Drawn, folder: Path, delays: int, burst: int, bundle: Path | None) -> Given:
    """Give a session `delays` frames from each source, each when the one before is committed, then `burst` at once.

    Raises
    ------
    InputError
        The session did not do what it should.
    """
    found = Given()
    began: dict[str | int, float] = {}
    with Watching(folder, bundle) as session, FrameSender(session.address, "bench") as sender:
        for number in range(delays):
            name, data = f"one-{number:05d}.mrc", drawn.copy(2 * number)
            began[name] = closed(session.frames / name, data)
            session.wait_for(2 * number + 1)
            time.sleep(PAUSE_S)
            pixels = drawn.pixels(2 * number + 1)
            at = time.time()
            began[sender.send(pixels, pixel_size_nm=PIXEL_NM)] = at
            sender.flush(timeout_s=60.0)
            session.wait_for(2 * number + 2)
            time.sleep(PAUSE_S)
        for number in range(burst):
            closed(session.frames / f"burst-{number:05d}.mrc", drawn.copy(2 * delays + number))
        session.wait_for(2 * delays + burst)
        rows = session.committed()
    for name, sequence, at, compute in rows:
        key: str | int = name if sequence is None else sequence
        if key in began:
            kind = "directory" if sequence is None else "socket"
            found.delays_ms[kind].append((at - began[key]) * 1e3)
            found.compute_ms[kind].append(compute)
    times = sorted(at for name, _, at, _ in rows if name.startswith("burst-"))
    if len(times) > 2 and times[-1] > times[0]:
        found.frames_per_s = (len(times) - 1) / (times[-1] - times[0])
    return found
