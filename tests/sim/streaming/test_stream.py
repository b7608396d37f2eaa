"""A streaming training: it learns, goes on after an interruption, repeats itself, and leaves no process behind."""

import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from models.errors import ModelError
from models.examples.batches import SMALL_PX, Drawing
from models.training.unet import Settings, loss_of, train
from models.unet import Architecture
from sim.streaming.processes import Processes
from sim.streaming.specimens import Plan
from sim.streaming.stream import Stream, Streaming

pytestmark = pytest.mark.slow

SMALL = Streaming(seed=5, waves=8, first=6, images=20, block=16, kept=48, uses=4.0, validation=3, gpts=256)
EASY = Drawing({"lattice": 0.85, "bare": 0.15}, negatives=0.12, randomise=False)


@pytest.fixture
def out(tmp_path: Path, sparse_films: Callable[[Path, int], None]) -> Path:
    """A training's folder, its films there."""
    sparse_films(tmp_path / "out" / "stream", SMALL.seed)
    return tmp_path / "out"


def stream(out: Path, drawing: Drawing = EASY, processes: int = 1, settings: Streaming = SMALL) -> Stream:
    return Stream(settings, out / "stream", drawing=drawing, processes=processes)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "curves.csv").open() as file:
        return list(csv.DictReader(file))


def test_it_learns_and_goes_on_after_an_interruption(out: Path) -> None:
    settings = Settings(
        Architecture(8, levels=3),
        steps=80,
        batch=4,
        round_steps=20,
        learning_rate=3e-2,
        average=0.9,
        seed=0,
        drawing=EASY,
    )
    steps = 0

    def stop_at_the_27th(logits: torch.Tensor, wanted: torch.Tensor, boundary: float) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 27:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C; the step is finished first
        return loss_of(logits, wanted, boundary)

    with pytest.MonkeyPatch.context() as patch, stream(out) as source:
        patch.setattr("models.training.unet.loss_of", stop_at_the_27th)
        with pytest.raises(KeyboardInterrupt):
            train(source, out, settings)
    assert not [p for p in multiprocessing.active_children() if p.name.startswith("specimens")]
    first = rows(out)
    assert [row["step"] for row in first] == ["20"]
    assert (out / "unet.safetensors").exists()  # the best so far
    made = json.loads((out / "stream" / "made.json").read_text())

    wanted: list[torch.Tensor] = []
    with pytest.MonkeyPatch.context() as patch, stream(out) as source:
        patch.setattr("models.training.unet.loss_of", lambda *a: wanted.append(a[1]) or loss_of(*a))
        train(source, out, settings)
    assert len(wanted) == 80 - 27
    curve = rows(out)
    assert curve[:1] == first
    assert [row["step"] for row in curve] == ["20", "40", "60", "80"]
    last = wanted[-20:]  # of which the curve's last row tells
    share = torch.cat(last).mean((0, 2, 3))
    everywhere = torch.logit(share)[None, :, None, None].expand(4, 2, 256, 256)
    constant = np.mean([float(loss_of(everywhere, one)) for one in last])
    assert float(curve[-1]["loss"]) < 0.7 * constant  # what knows the covered share alone
    told = json.loads((out / "training.json").read_text())
    assert told["data"]["digest"] == stream(out).digest
    assert told["data"]["specimens"] > made["specimens"] >= SMALL.first
    assert told["validation"]["dice_lattice"] > 0.5
    with stream(out) as source, pytest.raises(ModelError, match="other settings"):
        train(source, out, replace(settings, seed=2))


def test_the_same_seed_gives_the_same_batches_however_many_processes_draw(out: Path) -> None:
    drawing, quick = replace(EASY, randomise=True), replace(SMALL, uses=1.0)
    made = []
    for processes, settings in ((1, quick), (2, quick), (1, replace(quick, seed=6))):
        for path in (out / "stream").glob("carbon-*"):  # the same films for another seed
            with np.load(path) as slab:
                positions = slab["positions"]
            np.savez(path, positions=positions, seed=settings.seed)
        with stream(out, drawing, processes, settings) as source:
            batches = source.batches(4, 0)
            made.append([next(batches) for _ in range(12)])  # of more than a block
            assert source.rates["examples"] > 0
    for (x, y), (other_x, other_y) in zip(made[0], made[1], strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)
        side = x.shape[-1]
        assert side in {256, *SMALL_PX}
        assert x.shape == (4, 1, side, side)
        assert y.shape == (4, 2, side, side)
        assert x.isfinite().all()
        assert set(y.unique().tolist()) <= {0.0, 1.0}
        assert not (y[:, 1] > y[:, 0]).any()  # the core lies inside
    assert not torch.equal(made[0][0][0], made[2][0][0])
    assert not torch.equal(made[0][0][0], made[0][1][0])
    assert 0.02 < float(np.mean([float(y[:, 0].mean()) for _, y in made[0]])) < 0.6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_trains_by_the_same_code(out: Path) -> None:
    settings = Settings(Architecture(8, levels=3), steps=4, batch=4, round_steps=2, bfloat16=True)
    drawing = replace(settings.drawing, weights=EASY.weights)
    how = {"drawing": drawing, "device": "cuda"}
    with Stream(replace(SMALL, steady=False), out / "stream", **how) as source:
        train(source, out, replace(settings, drawing=drawing), device="cuda")
    assert np.isfinite([float(row["loss"]) for row in rows(out)]).all()
    assert Streaming.on("cuda", 1).kept > 100


def test_what_a_process_can_not_draw_is_said(plan: Plan) -> None:
    with (
        Processes(replace(plan, presets={"nothing": 1.0}), 1) as processes,
        pytest.raises(ModelError, match="specimen 0 of the stream can't be drawn: KeyError: 'nothing'"),
    ):
        processes.take()
    with pytest.raises(ModelError, match="no preset nothing; there are lattice"):
        Stream(SMALL, plan.slabs, drawing=Drawing({"nothing": 1.0}))


def test_specimens_come_in_order_and_need_not_be_waited_for(plan: Plan) -> None:
    with Processes(plan, 2, end=3) as processes:
        assert processes.take(wait=False) is None  # a process needs a second to begin
        assert [drawn.number for drawn in processes] == [0, 1, 2]


def test_a_process_that_dies_is_said(plan: Plan) -> None:
    with Processes(plan, 1) as processes:
        assert processes.take() is not None
        (child,) = (p for p in multiprocessing.active_children() if p.name == "specimens-0")
        child.kill()
        with pytest.raises(ModelError, match=r"ended by itself \(exit status -?\d+\)"):
            list(processes)  # after those that had come before
    assert not child.is_alive()


def test_no_process_outlives_a_program_that_is_killed(plan: Plan) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from sim.streaming.processes import Processes\n"
        "from sim.streaming.specimens import Plan\n"
        "if __name__ == '__main__':\n"
        f"    made = Processes(Plan(Path({str(plan.slabs)!r}), (5, 0), 'train', {{'bare': 1.0}}, 256), 2)\n"
        "    made.take()\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    program = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdin is not None
    with program.stdout, program.stdin:
        assert program.stdout.readline() == "ready\n"
        drawing = [p for p in psutil.Process(program.pid).children() if "spawn_main" in " ".join(p.cmdline())]
        assert len(drawing) == 2
        program.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        program.wait()
    until = time.monotonic() + 60
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in drawing):
        assert time.monotonic() < until, "a process goes on without the program"
        time.sleep(0.1)
