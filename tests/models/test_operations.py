"""What one frame costs, in operations instead of seconds: a budget that a change must not overrun unseen.

`tests/models/features/test_operations.py` does the same for one particle.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from inspect import isbuiltin
from types import FrameType

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from scipy import fft

from models.analysis import analyse
from models.bundle import Bundle, load_bundle
from models.segment import OVERLAP, TILE

PIXEL_NM = 0.025
PASSES = 10
"""How often OpenCV and SciPy's transforms go over all pixels of a frame without particles, together: 9.4, of which 2.1
are OpenCV's transforms of strips and tiles."""
CALLS = 1700
"""Calls of Python functions for such a frame: 1,469 when this was written. They grow with its strips alone."""
MEMORY = 3.2
"""Most that is held at once, in frames of single precision, without the network's own: 2.5."""


@pytest.fixture(scope="module")
def quiet() -> Bundle:
    """The shipped bundle with a network that sees no particle, and says how often it was asked for what."""
    return replace(
        load_bundle(None, "cpu"), network=lambda image: np.full((1, 2, *image.shape[2:]), -9, np.float32)
    )


def frame(side: int) -> npt.NDArray[np.uint16]:
    """Noise on a slope."""
    slope = np.linspace(80, 120, side)[:, None]
    return np.random.default_rng(0).poisson(np.broadcast_to(slope, (side, side))).astype(np.uint16)


@pytest.mark.parametrize(
    ("side", "pixel_nm", "tiles"), [(700, 0.05, 1), (1024, PIXEL_NM, 1), (1400, 0.05, 4)]
)
def test_the_network_is_called_once_a_frame_or_once_a_tile(
    quiet: Bundle, side: int, pixel_nm: float, tiles: int
) -> None:
    asked: list[tuple[int, ...]] = []

    def network(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        asked.append(image.shape)
        return quiet.network(image)

    analyse(frame(side), pixel_nm, replace(quiet, network=network))
    assert len(asked) == tiles
    seen = side * pixel_nm / 0.05
    assert sum(np.prod(shape) for shape in asked) <= (seen + 32 + (2 * OVERLAP if seen > TILE else 0)) ** 2


def test_the_forest_is_called_once_for_all_particles(quiet: Bundle) -> None:
    calls: list[int] = []
    logits = np.full((1, 2, 512, 512), -9, np.float32)
    for row in (60, 200, 400):
        for col in (60, 250):
            logits[:, :, row : row + 60, col : col + 60] = 9

    def forest(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        calls.append(len(rows))
        return quiet.forest(rows)

    found = analyse(frame(1024), PIXEL_NM, replace(quiet, network=lambda _: logits, forest=forest))
    assert len(found.particles) == 6
    assert calls == [6]


def test_a_frame_is_gone_over_no_oftener_than_its_budget(
    quiet: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyse(frame(1024), PIXEL_NM, quiet)  # what is kept between frames is made now
    counted: Counter[str] = Counter()

    def watched(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            counted[name] += max((a.size for a in arguments if isinstance(a, np.ndarray)), default=0)
            return real(*arguments, **named)

        return call

    transforms = {
        name: getattr(fft, name) for name in ("fft", "ifft", "fft2", "rfft", "rfft2", "ifft2", "irfft2")
    }
    functions = {name: one for name, one in vars(cv2).items() if isbuiltin(one)}
    for module, watch in ((cv2, functions), (fft, transforms)):
        for name, real in watch.items():
            monkeypatch.setattr(module, name, watched(name, real))
    analyse(frame(1024), PIXEL_NM, quiet)
    assert 0.5 * PASSES < counted.total() / 1024**2 < PASSES
    assert counted["medianBlur"] / 1024**2 < 1.1


def test_calls_do_not_grow_with_the_frame(quiet: Bundle) -> None:
    counts = []
    for side in (1024, 1280):
        counted: Counter[str] = Counter()

        def count(frame: FrameType, event: str, argument: object, into: Counter[str] = counted) -> None:
            into[event] += 1

        image = frame(side)
        analyse(image, PIXEL_NM, quiet)
        sys.setprofile(count)
        try:
            analyse(image, PIXEL_NM, quiet)
        finally:
            sys.setprofile(None)
        counts.append(counted["call"])
    assert 0.3 * CALLS < counts[0] < CALLS
    assert counts[1] < 1.1 * counts[0]


def test_a_frame_takes_no_more_memory_than_its_budget(quiet: Bundle) -> None:
    image = frame(1024)
    analyse(image, PIXEL_NM, quiet)
    tracemalloc.start()
    try:
        analyse(image, PIXEL_NM, quiet)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    frames = most / (4 * 1024**2)
    assert 0.3 * MEMORY < frames < MEMORY
