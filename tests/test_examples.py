"""The example scripts do what they say, each run for real."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.mark.slow
def test_frames_of_a_camera_loop_are_in_the_session_that_is_read(tmp_path: Path) -> None:
    address, session = f"ack://127.0.0.1:{free_port()}", tmp_path / "session"
    command = [
        sys.executable,
        "-m",
        "faultwatch",
        "watch",
        address,
        "--session",
        str(session),
        "--no-dashboard",
    ]
    with subprocess.Popen([*command, "--until-idle", "8"], cwd=ROOT, stdout=subprocess.DEVNULL) as watching:
        said = run("send_frames.py", address, "--frames", "6")
        assert said == "all 6 frames are on disk\n"
        assert watching.wait(timeout=100) == 0
    table = run("read_session.py", str(session))
    assert table.split()[:2] == ["sightings", "median_diameter_nm"]
    assert len(table.splitlines()) >= 3  # heads, index, and at least one class


@pytest.mark.slow
def test_a_folder_becomes_a_table(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:256, :256]
    particle = np.hypot(rows - 128, columns - 128) < 60
    clean = 100 * (1 + 0.3 * particle * (np.cos(rows * 0.9) + np.cos(columns * 0.9)) - 0.2 * particle)
    frame = np.random.default_rng(0).poisson(clean).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), frame)
    (tmp_path / "b.dm4").write_bytes(b"no frame")
    said = run("analyse_folder.py", str(tmp_path), "--pixel-size", "0.05")
    head, first, *_ = said.splitlines()
    assert head.split() == ["frame", "class", "probabilities.yes", "diameter_nm", "abstained"]
    assert first.split()[0].endswith("a.png")
    assert 3 < float(first.split()[3]) < 9
