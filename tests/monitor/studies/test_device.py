"""The study of the GPU worker, as a machine with a GPU would run it, in torch on the CPU."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.results import Analysis, Particle
from monitor.studies.device import agreed, main

pytestmark = pytest.mark.slow


def test_one_call_writes_six_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--sides", "256", "--frames", "2", "--workers", "1", "--repeats", "1", "--batch", "2"]
    assert main(["--device", "cpu", "--out", str(tmp_path), *options]) == 0
    assert len(list(tmp_path.iterdir())) == 6
    (agreement,) = json.loads((tmp_path / "agreement.json").read_text())
    assert agreement["differences"] == []
    assert agreement["matched"] == agreement["particles"] >= 1
    assert agreement["dice"] > 0.99
    (throughput,) = json.loads((tmp_path / "throughput.json").read_text())
    assert throughput["backends"] == ["torch-cpu"]
    assert throughput["frames_per_s"] > 0
    single, batch = json.loads((tmp_path / "stages.json").read_text())
    assert (single["batch"], batch["batch"]) == (1, 2)
    assert "| network |" in capsys.readouterr().out


def test_what_differs_is_told() -> None:
    probabilities = (0.1, 0.2, 0.6, 0.1)
    box = (10, 10, 50, 50)
    here = Particle(1, "no", probabilities, False, box, (30.0, 30.0), 2.0, 3.0, (), {"a": 1.0})
    labels = np.zeros((64, 64), np.int32)
    labels[10:50, 10:50] = 1
    one = Analysis((64, 64), 0.05, (here,), {}, {}, "b", "cpu", labels)
    moved = replace(here, particle_class="yes", probabilities=(0.1, 0.2, 0.1, 0.6))
    found = agreed(one, replace(one, particles=(moved,), labels=np.roll(labels, 20, axis=0)))
    assert (found.matched, found.other_class) == (1, 1)
    assert found.largest_probability == pytest.approx(0.5)
    assert found.dice == pytest.approx(0.5)
    assert len(found.differences) == 1
