"""What measuring costs, in operations instead of seconds: a budget that a change must not overrun unseen.

Measuring has to stay under 3 ms a particle on one core. NumPy's calls on small arrays are most of that, so they are
counted; and passes over the whole frame, of which there must be no more for many particles than for few.
"""

import sys
from collections import Counter
from collections.abc import Callable
from inspect import isbuiltin
from types import FrameType

import cv2
import numpy as np
import pytest
from scipy import fft

from models.features.measure import measure
from models.features.spectrum import TILE, TILES
from models.segment import Segmentation, regions

STEP = 0.05
SIDE = 480
CALLS = 160
"""Calls of functions written in Python, a particle: 138 when this was written."""
BUILT_IN = 210
"""Calls of built-in functions, NumPy's and OpenCV's among them, a particle: 180."""
PIXELS = 220_000
"""Pixels that OpenCV and SciPy's transforms are given for each particle of 4 nm, all their calls together: 177,000."""
PASSES = {"GaussianBlur": 1, "Sobel": 2, "magnitude": 1}
"""How often OpenCV goes over the whole frame for measuring, whatever the number of particles: the Sobel edges."""


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


def given(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts, from now on, the pixels that OpenCV's functions and SciPy's transforms are given."""
    counted: Counter[str] = Counter()

    def watched(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            counted[name] += max((a.size for a in arguments if isinstance(a, np.ndarray)), default=0)
            return real(*arguments, **named)

        return call

    transforms = {name: getattr(fft, name) for name in ("fft", "fft2", "rfft", "rfft2", "ifft2", "irfft2")}
    functions = {name: one for name, one in vars(cv2).items() if isbuiltin(one)}
    for module, watch in ((cv2, functions), (fft, transforms)):
        for name, real in watch.items():
            monkeypatch.setattr(module, name, watched(name, real))
    return counted


def test_measuring_goes_over_the_frame_no_oftener_for_many_particles(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = frame(SIDE, 4), frame(SIDE, 12)
    counted = given(monkeypatch)
    measure(*few, STEP)
    before = +counted
    counted.clear()
    measure(*many, STEP)
    assert 0.5 * PIXELS < (counted.total() - before.total()) / 8 < PIXELS
    for name in set(before) - {"copyMakeBorder"}:  # only of those near the frame's border
        for_the_frame = (3 * before[name] - counted[name]) / 2
        if name == "rfft2":
            assert before[name] <= TILES * TILE**2
        else:  # strips overlap a little
            assert for_the_frame / SIDE**2 == pytest.approx(PASSES.get(name, 0), abs=0.15), name
    assert PASSES.keys() <= before.keys()


@pytest.mark.parametrize("particles", [1, 12])
def test_regions_go_over_the_frame_once(monkeypatch: pytest.MonkeyPatch, particles: int) -> None:
    _, labels = frame(SIDE, particles)
    maps = np.stack([labels > 0, labels > 0]).astype(np.float32) * 0.9
    counted = given(monkeypatch)
    assert regions(maps, STEP, Segmentation()).max() == particles
    assert counted["findContours"] >= SIDE**2
    box = 79**2  # of each particle: filled, its cores' outlines, its pixels and their mean
    assert counted.total() <= SIDE**2 + particles * (4 * box + 1000)
