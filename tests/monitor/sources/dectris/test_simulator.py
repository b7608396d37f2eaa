"""The simulator that ships with LiberTEM-live (`libertem-live[sim]`), an implementation of Stream V1 by others.

It brings some forty packages, so it may live in an environment of its own: LIBERTEM_LIVE_PYTHON names its Python.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tifffile

from monitor.settings import WatchSettings
from monitor.sources.choose import choose_source

pytest.importorskip("cbor2", reason="needs the extra `dectris`")

PYTHON = os.environ.get("LIBERTEM_LIVE_PYTHON") or sys.executable

FRAMES = 7

#: Prints its port, then begins a series for every line that it is sent.
SIMULATOR = f"""
import sys, urllib.request
from libertem_live.detectors.dectris.sim import DectrisSim

if __name__ == "__main__":
    simulator = DectrisSim(port=0, zmqport=0, num_mock_frames={FRAMES}, verbose=False)
    simulator.start()
    simulator.wait_for_listen()
    print(simulator.zmqport, flush=True)
    arm = f"http://localhost:{{simulator.port}}/detector/api/1.8.0/command/arm"
    for _ in sys.stdin:
        urllib.request.urlopen(urllib.request.Request(arm, b"{{}}", method="PUT")).read()
        print("armed", flush=True)
    simulator.stop()
"""


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    there = subprocess.run([PYTHON, "-c", "import libertem_live, flask"], capture_output=True, timeout=120)
    if there.returncode:
        pytest.skip("libertem-live[sim] is not installed (nor is LIBERTEM_LIVE_PYTHON set)")
    script = tmp_path / "simulator.py"
    script.write_text(SIMULATOR, encoding="utf-8")
    with subprocess.Popen(
        [PYTHON, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield process
        process.terminate()


def test_what_the_simulator_sends_arrives(simulator: subprocess.Popen[str], tmp_path: Path) -> None:
    assert simulator.stdin is not None
    assert simulator.stdout is not None
    port = int(simulator.stdout.readline())
    source = choose_source(f"dectris+tcp://127.0.0.1:{port}", WatchSettings(), tmp_path / "spool")
    source.open([])
    arriving = source.refs()
    runs = []
    for _ in range(2):  # it sends the same series 34 at every arm
        print("arm", file=simulator.stdin, flush=True)
        assert simulator.stdout.readline() == "armed\n"
        refs = [next(arriving) for _ in range(FRAMES)]
        assert [ref.sequence for ref in refs] == list(range(FRAMES))
        assert all(ref.rejected is None for ref in refs)
        runs += sorted({ref.sender for ref in refs})
        for number, ref in enumerate(refs):  # image k of the simulator holds k in every pixel
            with tifffile.TiffFile(ref.path) as tif:
                image = tif.pages.first.asarray()
            assert (image.shape, image.dtype.name, ref.pixel_size_nm) == ((512, 512), "uint16", None)
            assert (image == number).all()
        assert "E-01-0350" in json.dumps(refs[3].metadata["detector"])
    source.close()
    assert list(arriving) == []
    assert runs == ["dectris/34", "dectris/34#2"]
    assert (source.status.ignored, source.status.duplicates) == (0, 0)
