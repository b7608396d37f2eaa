"""A small benchmark from end to end, its figures and bars, and that it can be ended. No time is asserted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.bundle import INT8, SHIPPED, describe
from monitor.bench.browser import Shown
from monitor.bench.eight_bits import Compared, Overlap, compared, dice
from monitor.bench.floors import Floor, Peaks, floors, network_operations
from monitor.bench.found import Found, SizeFound, bars
from monitor.bench.frames import Drawn
from monitor.bench.plan import COMPARED, plan_of
from monitor.bench.scripts import PARTS, obvious
from monitor.bench.stages import STAGES
from monitor.bench.text import as_text

COMMAND = [sys.executable, "-m", "faultwatch", "bench", "--quick", "--sizes", "512", "--rounds", "1"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What a run over a few frames of 512² told, and its picture."""
    picture = tmp_path_factory.mktemp("bench") / "new" / "bench.png"
    done = subprocess.run([*COMMAND, "--json", "--picture", str(picture)], capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout), picture


def test_every_stage_is_told_beside_its_floor(ran: tuple[dict[str, Any], Path]) -> None:
    told, _ = ran
    assert told["format"] == "faultwatch bench 1"
    assert told["complete"] is True
    assert told["peaks"]["float32_gemm_flop_per_s"] > 1e8
    assert told["bundle"]["id"] == describe()[0]
    (size,) = told["sizes"]
    assert tuple(size["stages"]) == STAGES
    assert all(one["median_ms"] > 0 and one["floor_ms"] > 0 for one in size["stages"].values())
    assert size["chain_ms"] == pytest.approx(sum(one["median_ms"] for one in size["stages"].values()))
    assert size["chain_of_bare_network"] > 0
    assert size["particles"] >= 1
    assert tuple(size["instead_ms"]) == tuple(PARTS)
    assert (
        size["delay"]["directory"]["frames"]
        == size["delay"]["socket"]["frames"]
        == plan_of(True, rounds=1).delays
    )
    for delay in size["delay"].values():
        assert 0 < delay["compute_ms"] < delay["p99_ms"]
        assert 0 < delay["p50_ms"] <= delay["p95_ms"] <= delay["p99_ms"]
    assert size["session_frames_per_s"] > 0
    eight = size["eight_bits_dice"]
    assert eight["frames"] == COMPARED
    assert 0.9 < eight["to_float32"] < 1  # two networks, not one compared with itself
    assert 0.5 < eight["to_truth"] < 1
    assert eight["lost"] == pytest.approx(eight["float32_to_truth"] - eight["to_truth"])
    assert told["bars"] == []  # none is meant for frames of this size


def test_the_picture_and_the_text_are_of_the_same_run(ran: tuple[dict[str, Any], Path]) -> None:
    told, picture = ran
    with Image.open(picture) as image:
        assert min(image.size) > 300
        assert np.ptp(np.asarray(image.convert("L"))) > 100
    text = as_text(told)
    assert "512²" in text
    assert "NOT met" not in text
    assert all(stage in text for stage in STAGES)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ended_early_it_tells_what_was_measured_and_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [*COMMAND[:-1], "400", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("faultwatch-bench-*/record-512/*")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.Signals[name])
        said, complaint = process.communicate(timeout=60)
    assert process.returncode == 130, complaint.decode()
    told = json.loads(said)
    assert told["complete"] is False
    assert told["sizes"][0]["session_frames_per_s"] is None
    assert "Traceback" not in complaint.decode()
    assert list(tmp_path.glob("faultwatch-bench-*")) == []


def test_the_network_s_operations_are_those_that_torch_does() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from models.unet import Architecture, UNet

    for architecture in (Architecture(), Architecture(8, 3, "full", kernel=5)):
        with FlopCounterMode(display=False) as counted, torch.no_grad():
            UNet(architecture).eval()(torch.zeros(1, 1, 64, 96))
        assert network_operations(64 * 96, architecture.as_dict()) == counted.get_total_flops()


def test_a_floor_is_the_slower_of_moving_and_computing() -> None:
    peaks = Peaks(flop_per_s=1e9, bytes_per_s=1e8)
    assert Floor(bytes=1e8, operations=1e6).ms(peaks) == pytest.approx(1000)
    assert Floor(bytes=1.0, operations=2e9).ms(peaks) == pytest.approx(2000)
    small, large = (floors(side, 10, describe()[1]) for side in (512, 1024))
    assert tuple(small) == STAGES
    assert large["network"].operations == pytest.approx(4 * small["network"].operations)


def found_of(chain_ms: float, network_ms: float) -> Found:
    """A benchmark in which two frames of 1024² with ten particles took so long."""
    size = SizeFound(1024, floors(1024, 10, describe()[1]))
    for stage in STAGES:
        size.stages_ms[stage] = [network_ms if stage == "network" else 1.0] * 2
    size.chain_ms = size.wall_ms = [chain_ms] * 2
    size.bare_ms, size.particles = [network_ms] * 2, [10, 10]
    size.eight_bits = [Compared(Overlap(998, 2000), Overlap(900, 2000), Overlap(906, 2000))]
    size.delays_ms = {"directory": [100.0, 110.0], "socket": []}
    size.compute_ms = {"directory": [chain_ms] * 2, "socket": []}
    found = Found(
        {
            "processor": "one",
            "cores": 2,
            "threads": 1,
            "clock": "wall",
            "load_before": 0.1,
            "load_after": None,
        }
    )
    found.sizes, found.gemm, found.memory = [size], [2e11, 1e11], [1e10]
    return found


def test_bars_are_met_not_met_or_not_measured() -> None:
    met = {bar.what: bar.met for bar in bars(found_of(chain_ms=80.0, network_ms=70.0))}
    assert met["chain, of the bare network's frames a second"] is True
    assert met["measuring and classifying a particle"] is True
    assert met["delay from a directory, p95, of the compute"] is True
    assert met["delay from a socket, p95, of the compute"] is None
    assert met["eight bits: Dice to float32"] is True
    assert met["eight bits: Dice to the truth lost"] is False
    assert met["times quicker than the obvious script"] is None  # nothing else was installed
    slow = {bar.what: bar for bar in bars(found_of(chain_ms=70.0, network_ms=8.0))}
    assert slow["chain, of the bare network's frames a second"].met is False
    assert slow["regions, labels and outlines, of the network's time"].value == pytest.approx(0.25)
    assert slow["delay from a directory, p95, of the compute"].value == pytest.approx(109.5 / 70)
    assert slow["eight bits: Dice to the truth lost"].value == pytest.approx(0.006)
    text = as_text(found_of(chain_ms=70.0, network_ms=8.0).told())
    assert "NOT met" in text
    assert "not measured" in text
    assert "not installed" in text
    assert "ended before" in text


def test_the_page_s_share_is_told_apart_from_the_rest() -> None:
    """Five frames from file closed over committed to shown, of which the worker took 300 ms each."""
    found = found_of(chain_ms=80.0, network_ms=70.0)
    assert "in a browser: not asked for" in as_text(found.told())
    found.shown = [Shown(10.0, 10.4, 10.5 + 0.1 * n, 300.0) for n in range(5)]
    told = found.told()["browser"]
    assert told["frames"] == 5
    assert told["closed_to_changed"]["p50_ms"] == pytest.approx(700)
    assert told["beyond_compute"]["p50_ms"] == pytest.approx(400)
    assert told["committed_to_changed"]["p95_ms"] == pytest.approx(480)
    (bar,) = (bar for bar in bars(found) if bar.what.startswith("in a browser"))
    assert bar.value == pytest.approx(580)
    assert bar.met is False
    assert "of it the page: committed to pixels changed" in as_text(found.told())


def test_dice_is_of_all_frames_together() -> None:
    assert dice([Overlap(10, 20), Overlap(0, 20)]) == pytest.approx(0.5)
    assert dice([Overlap(0, 0)]) is None


def test_a_bundle_without_eight_bits_is_not_compared(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(SHIPPED, folder)
    (folder / INT8).unlink()
    details = json.loads((folder / "bundle.json").read_text())
    del details["sha256"][INT8], details["preferred_backend"]
    (folder / "bundle.json").write_text(json.dumps(details))
    assert compared(tmp_path / "a.mrc", tmp_path / "a.png", folder, 1) is None


def test_no_two_copies_are_the_same_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(bytes(1024) + np.full((8, 8), 500, np.uint16).tobytes())
    drawn = Drawn(8, (path,))
    copies = [drawn.copy(n) for n in range(400)]
    assert len(set(copies)) == 400
    pixels = drawn.pixels(3)
    assert pixels.shape == (8, 8)
    assert (pixels != 500).sum() == 2


def test_a_script_without_its_libraries_is_told_as_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("rsciio.mrc", "skimage", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / "a.npy"
    np.save(path, np.random.default_rng(0).poisson(100, (128, 128)).astype(np.uint16))
    times = obvious(path, None, time.perf_counter)
    assert tuple(times) == tuple(PARTS)
    assert {part for part, ms in times.items() if ms is None} == {
        "read",
        "network",
        "regions",
        "measure",
        "classify",
    }
    assert times["preprocess"] is not None
