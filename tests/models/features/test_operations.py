"""What measuring costs, in operations instead of seconds: a budget that a change must not overrun unseen.

Measuring has to stay under 3 ms a particle on one core. NumPy's calls on small arrays are most of that, so they are
counted; and passes over the whole frame, of which there must be no more for many particles than for few.
"""

import sys
from collections import Counter
from inspect import isbuiltin
from types import FrameType

import cv2
import numpy as np
import pytest
from scipy import fft

from models.features.measure import measure
from models.segment import Segmentation, regions

STEP = 0.05
SIDE = 480
CALLS = 480
"""Calls of functions written in Python, a particle: 405 when this was written."""
BUILT_IN = 700
"""Calls of built-in functions, NumPy's and OpenCV's among them, a particle: 591."""
WHOLE_FRAME = {
    "measure": {"GaussianBlur": 1, "Sobel": 2, "magnitude": 1, "copyMakeBorder": 1},
    "regions": {"findContours": 1},
}
"""Passes of OpenCV over the whole frame; no transform of the whole frame is among them."""


def frame(side: int, particles: int) -> tuple[np.ndarray, np.ndarray]:
    """Fringes and noise, and the labels of so many discs of 4 nm, at most four in a row."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:side, :side]
    image = rng.standard_normal((side, side)) + np.cos(2 * np.pi * 2.85 * STEP * (rows + 0.3 * cols))
    labels = np.zeros((side, side), np.int32)
    for n in range(particles):
        row, col = 60 + 120 * (n // 4), 60 + 120 * (n % 4)
        labels[np.hypot(rows - row, cols - col) < 40] = n + 1
    return image.astype(np.float32), labels


def calls_in(image: np.ndarray, labels: np.ndarray) -> Counter[str]:
    """How many calls `measure` makes, of functions in Python and of built-in ones."""
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        counted[event] += 1

    sys.setprofile(count)
    try:
        measure(image, labels, STEP)
    finally:
        sys.setprofile(None)
    return counted


def test_a_particle_takes_no_more_calls_than_its_budget() -> None:
    few, many = frame(SIDE, 4), frame(SIDE, 12)
    for some in (few, many):  # what is kept between calls is made now
        measure(*some, STEP)
    before, after = calls_in(*few), calls_in(*many)
    a_particle = {event: (after[event] - before[event]) / 8 for event in ("call", "c_call")}
    assert 50 < a_particle["call"] < CALLS
    assert 50 < a_particle["c_call"] < BUILT_IN


def passes(monkeypatch: pytest.MonkeyPatch, size: int) -> Counter[str]:
    """Counts, from now on, the calls of OpenCV and of SciPy's transforms that are given so many pixels or more."""
    counted: Counter[str] = Counter()

    def watched(name: str, real: object) -> object:
        def call(*arguments: object, **named: object) -> object:
            given = [a for a in arguments if isinstance(a, np.ndarray)]
            counted[name] += any(a.size >= size for a in given)
            return real(*arguments, **named)  # type: ignore[operator]

        return call

    transforms = {name: getattr(fft, name) for name in ("fft", "fft2", "rfft", "rfft2", "ifft2", "irfft2")}
    functions = {name: one for name, one in vars(cv2).items() if isbuiltin(one)}
    for module, watch in ((cv2, functions), (fft, transforms)):
        for name, real in watch.items():
            monkeypatch.setattr(module, name, watched(name, real))
    return counted


@pytest.mark.parametrize("particles", [1, 12])
def test_the_whole_frame_is_passed_over_no_more_for_many_particles(
    monkeypatch: pytest.MonkeyPatch, particles: int
) -> None:
    image, labels = frame(SIDE, particles)
    maps = np.stack([labels > 0, labels > 0]).astype(np.float32) * 0.9
    counted = passes(monkeypatch, SIDE * SIDE)
    measure(image, labels, STEP)
    assert +counted == WHOLE_FRAME["measure"]
    counted.clear()
    assert regions(maps, STEP, Segmentation()).max() == particles
    assert +counted == WHOLE_FRAME["regions"]
