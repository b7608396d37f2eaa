"""What is left of marks where nothing is: what the forest calls `empty` is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.bundle import Bundle, load_bundle
from models.evaluation.evaluate import judge_of
from models.evaluation.false_area import areas_by_kind, areas_of, named
from models.evaluation.judge import false_areas
from models.forest import Forest
from models.results import CLASSES
from models.segment import Image


def dark_ones(image: Image) -> Image:
    """A network that marks what is dark."""
    return np.stack([-4 * (image[:, 0] + 0.8)] * 2, axis=1)


def calling(name: str, from_region: int = 0) -> Forest:
    """A forest that calls regions so from this one on, and those before it `null`."""

    def run(rows: np.ndarray) -> np.ndarray:
        called = np.full(len(rows), CLASSES.index("null"))
        called[from_region:] = CLASSES.index(name)
        return np.eye(4, dtype=np.float32)[called]

    return run


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return replace(load_bundle(None, "cpu"), network=dark_ones)


def two_discs() -> np.ndarray:
    rows, cols = np.mgrid[:200, :200]
    frame = np.random.default_rng(0).normal(100, 4, (200, 200))
    for row, col in ((60, 60), (140, 140)):
        frame[np.hypot(rows - row, cols - col) < 25] -= 30
    return frame


def test_what_is_called_empty_is_not_left(bundle: Bundle) -> None:
    none = areas_of(replace(bundle, forest=calling("empty")), [two_discs()])
    assert none["marked"] > 0.05
    assert none["named"] == none["analysed"] == 0.0
    every = areas_of(replace(bundle, forest=calling("null")), [two_discs()])
    assert every["named"] == every["marked"] == pytest.approx(every["analysed"])
    half = areas_of(replace(bundle, forest=calling("empty", from_region=1)), [two_discs()])
    assert 0.4 * half["marked"] < half["named"] < 0.6 * half["marked"]
    assert half["analysed"] == pytest.approx(half["named"])


def test_the_mean_is_over_all_frames(bundle: Bundle) -> None:
    called_null = replace(bundle, forest=calling("null"))
    even = np.random.default_rng(1).normal(100, 4, (200, 200))
    one, none = (areas_of(called_null, [frame])["marked"] for frame in (two_discs(), even))
    assert areas_of(called_null, [two_discs(), even])["marked"] == pytest.approx((one + none) / 2)


def test_regions_keep_their_numbers(bundle: Bundle) -> None:
    found = np.zeros((128, 128), np.int32)
    found[10:40, 10:40], found[60:100, 60:100] = 1, 2
    image = np.random.default_rng(0).standard_normal((128, 128), dtype=np.float32)
    kept = named(replace(bundle, forest=calling("empty", from_region=1)), image, found)
    assert (kept == np.where(found == 1, 1, 0)).all()
    assert not named(bundle, image, np.zeros_like(found)).any()


def test_the_frames_are_those_on_which_a_network_is_judged(bundle: Bundle) -> None:
    areas = areas_by_kind(bundle, each=1, seed=7, size=128)
    assert {kind: share["marked"] for kind, share in areas.items()} == pytest.approx(
        false_areas(judge_of(bundle), each=1, seed=7, size=128)
    )
