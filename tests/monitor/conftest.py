"""What the tests of a session share: frames on disk, results as a worker gives them, bounded waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from models.results import Analysis, Particle, ParticleClass
from monitor.outcomes import FinishedFrame
from monitor.record import RecordWriter

WriteFrame = Callable[..., Path]
Finished = Callable[..., FinishedFrame]
WaitFor = Callable[..., None]

#: Of each class, as `finished` gives them.
PROBABILITIES: dict[ParticleClass, tuple[float, float, float, float]] = {
    "empty": (0.4, 0.1, 0.2, 0.3),
    "null": (0.3, 0.4, 0.1, 0.2),
    "no": (0.2, 0.1, 0.4, 0.3),
    "yes": (0.1, 0.2, 0.3, 0.4),
}


@pytest.fixture
def write_frame() -> WriteFrame:
    """Writes a frame (H, W) of Poisson noise, different for each seed, as TIFF with its pixel size."""

    def write(path: Path, seed: int = 0, size: int = 128, pixel_size_nm: float | None = 0.05) -> Path:
        image = np.random.default_rng(seed).poisson(100, (size, size)).astype(np.uint16)
        note = "" if pixel_size_nm is None else f'{{"pixel_size_nm": {pixel_size_nm}}}'
        tifffile.imwrite(path, image, description=note, metadata=None)
        return path

    return write


@pytest.fixture
def finished() -> Finished:
    """Makes what a worker says of a frame with particles of the given classes."""

    def make(*classes: ParticleClass) -> FinishedFrame:
        particles = tuple(
            Particle(
                label=label,
                particle_class=name,
                probabilities=PROBABILITIES[name],
                abstained=False,
                bbox=(100 * label, 100, 100 * label + 60, 160),
                centroid=(1.0, 1.0),
                diameter_nm=3.0,
                area_nm2=7.07,
                outline=((0.0, 0.0), (0.0, 2.0), (2.0, 2.0)),
                features={"sharpness": 0.5},
            )
            for label, name in enumerate(classes, 1)
        )
        analysis = Analysis(
            (1000, 1000), 0.05, particles, {"contrast": 0.1}, {"read": 1.0}, "test-bundle", "cpu"
        )
        return FinishedFrame(analysis, finished=2.0, preview=b"jpeg")

    return make


@pytest.fixture
def record(tmp_path: Path) -> Iterator[RecordWriter]:
    """A new session's record with a bundle and one source, whose id is 1."""
    with RecordWriter(tmp_path / "session") as writer:
        writer.add_bundle("test-bundle", tmp_path, {})
        writer.add_source("directory", "somewhere", 0.0)
        yield writer


@pytest.fixture
def wait_for() -> WaitFor:
    """Polls until something is true; fails after a while."""

    def wait(condition: Callable[[], object], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.02)

    return wait
