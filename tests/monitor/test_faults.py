"""`kill -9` in the middle: every frame is analysed exactly once. Real processes, files and sockets."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor import summary
from monitor.client import FrameSender
from monitor.record import is_session

WriteFrame = Callable[..., Path]
WaitFor = Callable[..., None]
Monitor = Callable[..., "subprocess.Popen[bytes]"]

pytestmark = pytest.mark.slow

FRAMES = 24


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    """Starts `faultwatch watch` on the session under test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "faultwatch", "watch", *arguments, "--no-dashboard"]
        command += ["--session", str(tmp_path / "s"), "--workers", "1", "--until-idle", "2"]
        with (tmp_path / "output.txt").open("ab") as output:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            started.append(
                subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=tmp_path)
            )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(10)


def analysed(folder: Path) -> int:
    return summary.summarise(folder)["ledger"]["analysed"] if is_session(folder) else 0


def killed_at(monitor: Monitor, folder: Path, wait_for: WaitFor, source: str, moments: list[int]) -> None:
    """Start the monitor and kill it when so many frames are analysed, for each moment; then let it finish."""
    for moment in moments:
        process = monitor(source)
        wait_for(lambda moment=moment: analysed(folder) >= moment, 60)
        process.kill()
        process.wait(10)
    assert monitor(source).wait(120) == 0


def check(folder: Path, **expected: Any) -> dict[str, Any]:
    """Every frame of the ledger is analysed, and no picture was analysed twice."""
    said = summary.summarise(folder)
    assert said["ledger"] == {"arrived": FRAMES, "analysed": FRAMES, "queued": 0, "rejected": 0, "dropped": 0}
    for name, value in expected.items():
        assert said[name] == value, name
    db = sqlite3.connect(folder / "session.sqlite")
    try:
        contents = Counter(row[0] for row in db.execute("SELECT content FROM frames"))
        assert db.execute("SELECT count(*), max(position) FROM statistics").fetchone() == (FRAMES, FRAMES)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        db.close()
    assert max(contents.values()) == 1
    return said


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_directory_session_that_is_killed_loses_nothing_and_counts_nothing_twice(
    monitor: Monitor, write_frame: WriteFrame, wait_for: WaitFor, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()

    def camera() -> None:
        for i in range(FRAMES):
            write_frame(tmp_path / "in" / f"{i}.tif", i)
            time.sleep(0.1)

    thread = threading.Thread(target=camera, daemon=True)
    thread.start()
    killed_at(monitor, tmp_path / "s", wait_for, str(tmp_path / "in"), [1, 9, 17])
    thread.join()
    check(tmp_path / "s")


def test_an_acknowledging_session_that_is_killed_loses_nothing_and_counts_nothing_twice(
    monitor: Monitor, wait_for: WaitFor, tmp_path: Path
) -> None:
    address = f"ack://127.0.0.1:{free_port()}"
    missing: list[list[int]] = []

    def camera() -> None:
        random = np.random.default_rng(3)
        with FrameSender(address, resend_s=0.3) as sender:
            for _ in range(FRAMES):
                image = random.poisson(100, (128, 128)).astype(np.uint16)
                sender.send(image, pixel_size_nm=0.05, timeout_s=60)
                time.sleep(0.1)
            missing.append(sender.close(60))

    thread = threading.Thread(target=camera, daemon=True)
    thread.start()
    killed_at(monitor, tmp_path / "s", wait_for, address, [1, 9, 17])
    thread.join()
    assert missing == [[]]
    check(tmp_path / "s", lost=0)


def test_over_plain_sockets_what_a_kill_loses_is_shown(
    monitor: Monitor, wait_for: WaitFor, tmp_path: Path
) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    folder = tmp_path / "s"
    random = np.random.default_rng(4)
    process = monitor(address)
    with FrameSender(address, window=50) as sender:

        def send(number: int) -> None:
            for _ in range(number):
                sender.send(random.poisson(100, (128, 128)).astype(np.uint16), pixel_size_nm=0.05)

        send(8)
        wait_for(lambda: analysed(folder) >= 1, 60)
        process.kill()
        process.wait(10)
        send(6)
        process = monitor(address)
        wait_for(lambda: (tmp_path / "output.txt").read_text().count("ready") >= 2, 60)
        send(4)
        wait_for(lambda: analysed(folder) >= 5, 60)
        # The last one comes when everything else has come or is lost.
        wait_for(lambda: summary.summarise(folder)["ledger"]["queued"] == 0, 60)
        send(1)
    assert process.wait(120) == 0
    said = summary.summarise(folder)
    (source,) = said["sources"]
    assert source["sent"] == sender.sent == said["ledger"]["arrived"] + said["lost"]
    assert said["ledger"]["analysed"] == said["ledger"]["arrived"]
    assert f"{sender.sent} sent = {source['arrived']} arrived + {source['lost']} lost" in summary.as_text(
        said
    )


def test_a_second_monitor_on_the_same_session_is_refused(
    monitor: Monitor, wait_for: WaitFor, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    monitor(str(tmp_path / "in"))
    wait_for(lambda: is_session(tmp_path / "s"), 60)
    assert monitor(str(tmp_path / "in")).wait(60) == 1
    assert "is being written by process" in (tmp_path / "output.txt").read_text()
