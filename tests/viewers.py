"""What viewers of the page cost: `python -m tests.viewers --viewers 10 --rate 10`.

A real record grows by frames of 1024² with their previews, a real server serves its page, and turns with viewers follow
turns without: each viewer has the page's web socket and fetches every preview. One more never reads, and another comes
and goes. Told: how long a commit takes in both, the server's share of a processor core, and its memory at each turn.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import logging
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bokeh.util.token import generate_jwt_token, generate_session_id
from PIL import Image
from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClosedError, websocket_connect

from models.results import CLASSES, Analysis, Particle
from monitor.companions import myself
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import RecordWriter
from monitor.record.settling import RunningStatistics
from monitor.statistics.estimate_course import Estimator

SIDE, PIXEL_NM, PREVIEW = 1024, 0.025, 512
PICTURE = re.compile(r"preview/\d+\.jpg\?v=[\w.\-]+")


def result(rng: np.random.Generator) -> FinishedFrame:
    """What a worker finds in a frame with ten particles."""
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    particles = []
    for label in range(1, 11):
        row, col = rng.uniform(100, SIDE - 100, 2)
        p = rng.dirichlet(np.ones(4) * 0.5)
        particles.append(
            Particle(
                label=label,
                particle_class=CLASSES[int(p.argmax())],
                probabilities=tuple(p.tolist()),
                abstained=False,
                bbox=(int(row) - 60, int(col) - 60, int(row) + 60, int(col) + 60),
                centroid=(row, col),
                diameter_nm=3.0,
                area_nm2=7.07,
                outline=tuple(zip(row + 60 * np.sin(turn), col + 60 * np.cos(turn), strict=True)),
                features={f"feature_{i}": float(x) for i, x in enumerate(rng.normal(size=78))},
            )
        )
    jpeg = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (PREVIEW, PREVIEW), np.uint8)).save(jpeg, "JPEG", quality=85)
    analysis = Analysis((SIDE, SIDE), PIXEL_NM, tuple(particles), {}, {"read": 1.0}, "bundle", "cpu")
    return FinishedFrame(analysis, finished=time.time(), preview=jpeg.getvalue())


class Growing:
    """A session whose record gets a frame at a time, as a session's own process does it."""

    def __init__(self, folder: Path) -> None:
        self.record = RecordWriter(folder)
        self.record.add_bundle("bundle", folder, {})
        self.source = self.record.add_source("directory", "/data", time.time()).id
        self.statistics = RunningStatistics(self.record, Estimator({}), time.monotonic)
        self.number = 0
        rng = np.random.default_rng(1)
        self.ready = [result(rng) for _ in range(20)]

    def grow(self) -> float:
        """Commit one more frame; how long that took [s]."""
        self.number += 1
        ref = FrameRef(Path(f"/data/frame-{self.number:06d}.tif"), acquired=float(self.number))
        begun = time.perf_counter()
        taken = self.record.take(self.source, ref, time.time())
        order = self.record.finish(taken.frame_id, 0, self.ready[self.number % 20], time.time)
        assert order is not None
        self.statistics.add(order)
        self.statistics.settle()
        return time.perf_counter() - begun


class Viewer:
    """A page: its web socket, and every preview that it is told of."""

    def __init__(self, port: int, *, reads: bool = True) -> None:
        self._base = f"http://127.0.0.1:{port}/"
        self._reads = reads
        self.pictures = 0
        self.bytes = 0

    async def look(self) -> None:
        """Look until cancelled."""
        token = generate_jwt_token(generate_session_id())
        socket = await websocket_connect(
            self._base.replace("http", "ws") + "ws", subprotocols=["bokeh", token]
        )
        try:
            if not self._reads:
                await asyncio.Event().wait()
            fetch = AsyncHTTPClient()
            while True:
                message = await socket.read_message()
                if message is None:
                    return
                self.bytes += len(message)
                text = message if isinstance(message, str) else message.decode("latin-1")
                for address in PICTURE.findall(text)[-1:]:
                    self.bytes += len((await fetch.fetch(self._base + address)).body)
                    self.pictures += 1
        except WebSocketClosedError:
            return
        finally:
            socket.close()


async def come_and_go(port: int, every_s: float = 5.0) -> None:
    """A tab that is closed and opened again."""
    while True:
        try:
            await asyncio.wait_for(Viewer(port).look(), every_s)
        except TimeoutError:
            await asyncio.sleep(0.2)


@contextmanager
def served(folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """The page's own process and its port."""
    command = myself("dashboard", str(folder), "--port", "0", "--no-browser")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rsplit(":", 1)[1].strip().strip("/"))
            yield psutil.Process(process.pid), port
        finally:
            process.terminate()


class Session:
    """A process that grows a session, and how long each commit took it."""

    def __init__(self, folder: Path, rate: float) -> None:
        self._command = [sys.executable, "-m", "tests.viewers", "--grow", str(folder), "--rate", str(rate)]
        self.commits: list[float] = []

    async def run(self) -> None:
        """Grow until cancelled."""
        process = await asyncio.create_subprocess_exec(*self._command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                self.commits.append(float(line))
        finally:
            process.terminate()


def grow(folder: Path, rate: float) -> None:
    """Grow a session at a rate [1/s], and print how long each commit took [s]."""
    session, due = Growing(folder), time.monotonic()
    while True:
        due = max(due + 1 / rate, time.monotonic())
        print(session.grow(), flush=True)
        time.sleep(max(0.0, due - time.monotonic()))


async def turn(
    session: Session, server: psutil.Process, port: int, viewers: int, seconds: float
) -> dict[str, Any]:
    """One turn with so many viewers."""
    looking = [Viewer(port) for _ in range(viewers)]
    tasks = [asyncio.create_task(viewer.look()) for viewer in looking]
    if viewers:
        tasks += [
            asyncio.create_task(Viewer(port, reads=False).look()),
            asyncio.create_task(come_and_go(port)),
        ]
    await asyncio.sleep(2.0)
    while not all(viewer.pictures for viewer in looking):  # pages are made once, and stay
        await asyncio.sleep(0.2)
    before, began, first = server.cpu_times(), time.monotonic(), len(session.commits)
    pictures = sum(viewer.pictures for viewer in looking)
    await asyncio.sleep(seconds)
    took, after, commits = time.monotonic() - began, server.cpu_times(), session.commits[first:]
    pictures = sum(viewer.pictures for viewer in looking) - pictures
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "viewers": viewers,
        "frames_per_s": len(commits) / took,
        "commit_ms_median": 1e3 * statistics.median(commits),
        "commit_ms_p95": 1e3 * sorted(commits)[int(0.95 * len(commits))],
        "server_cores": (after.user + after.system - before.user - before.system) / took,
        "server_mb": server.memory_info().rss / 1e6,
        "pictures_per_viewer_per_s": pictures / viewers / took if viewers else None,
    }


async def measure(viewers: int, rate: float, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Turns with and without viewers, one after the other."""
    told = []
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder, "session"), rate)
        growing = asyncio.create_task(session.run())
        while len(session.commits) < 5:
            await asyncio.sleep(0.1)
        with served(Path(folder, "session")) as (server, port):
            for number in (0, viewers) * rounds:
                told.append(await turn(session, server, port, number, seconds))
                print(
                    json.dumps({k: v if v is None else round(v, 2) for k, v in told[-1].items()}), flush=True
                )
        growing.cancel()
        await asyncio.gather(growing, return_exceptions=True)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--rate", type=float, default=10.0, metavar="HZ", help="frames a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each kind")
    parser.add_argument("--grow", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.grow is not None:
        grow(options.grow, options.rate)
    logging.getLogger("bokeh").setLevel(logging.ERROR)
    told = asyncio.run(measure(options.viewers, options.rate, options.seconds, options.rounds))
    medians = {
        number: statistics.median(t["commit_ms_median"] for t in told if t["viewers"] == number)
        for number in (0, options.viewers)
    }
    cores = statistics.median(t["server_cores"] for t in told if t["viewers"])
    print(
        f"commit: {medians[0]:.1f} ms without viewers, {medians[options.viewers]:.1f} ms with {options.viewers}"
        f" (x {medians[options.viewers] / medians[0]:.2f}); the server takes {cores:.2f} cores with them;"
        f" its memory {told[1]['server_mb']:.0f} MB at the first turn with viewers,"
        f" {told[-1]['server_mb']:.0f} at the last"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
