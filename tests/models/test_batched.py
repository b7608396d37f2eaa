"""The torch form of the preprocessing gives what the NumPy form gives."""

import numpy as np
import pytest
import torch

from models.batched import Standardiser, median
from models.examples.augment import NEGATIVES
from models.preprocess import Preprocessing, standardise


def frames(shape: tuple[int, int]) -> np.ndarray:
    """Frames of all kinds: noise, dark discs under uneven light, and one that is constant."""
    rng = np.random.default_rng(4)
    r, c = np.mgrid[: shape[0], : shape[1]]
    made = [rng.normal(100, 10, shape), np.full(shape, 7.0)]
    for n in range(4):
        dark = np.hypot(r - 60 - 10 * n, c - 70) < 20 + 5 * n
        light = 300 + n * r - 0.5 * n * c
        made.append(rng.poisson(np.clip(light - 90 * dark, 1, None)))
    return np.stack(made).astype(np.float32)


@pytest.mark.parametrize("shape", [(256, 256), (200, 312)])
@pytest.mark.parametrize("settings", [Preprocessing(), Preprocessing(surface_order=0, noise_order=0)])
def test_frames_are_those_of_the_numpy_form(shape: tuple[int, int], settings: Preprocessing) -> None:
    images = frames(shape)
    found = Standardiser(shape, settings)(torch.from_numpy(images)).numpy()
    for one, image in zip(found, images, strict=True):
        expected = standardise(image, settings)
        assert np.sqrt(np.mean((one - expected) ** 2)) < 2e-3
    assert not found[1].any()


@pytest.mark.parametrize("kind", NEGATIVES)
def test_frames_that_hold_nothing_too(kind: str) -> None:
    rng = np.random.default_rng(9)
    images = np.stack([NEGATIVES[kind](256, rng) for _ in range(3)]).astype(np.float32)
    found = Standardiser((256, 256), Preprocessing())(torch.from_numpy(images)).numpy()
    for one, image in zip(found, images, strict=True):
        assert np.sqrt(np.mean((one - standardise(image, Preprocessing())) ** 2)) < 2e-2


def test_the_median_is_that_of_numpy() -> None:
    for n in (5, 6):
        values = np.random.default_rng(n).normal(size=(3, n))
        np.testing.assert_allclose(median(torch.from_numpy(values))[:, 0], np.median(values, axis=1))
