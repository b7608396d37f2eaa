"""Randomisation and the frames that hold nothing: what each has to keep, and that draws follow the generator alone."""

import numpy as np
import pytest

from models.examples.augment import NEGATIVES, turn_and_scale
from models.examples.exposure import (
    RANDOMISED,
    correlated_noise,
    exported,
    expose_again,
    inverted,
    reduced,
    saturated,
    smooth_field,
)
from models.preprocess import Preprocessing, standardise


@pytest.fixture
def image() -> np.ndarray:
    """A dark disc on white noise, mean about 1."""
    r, c = np.mgrid[:96, :96]
    noise = np.random.default_rng(1).normal(1, 0.05, (96, 96))
    return (noise - 0.3 * (np.hypot(r - 48, c - 48) < 24)).astype(np.float32)


@pytest.mark.parametrize("change", RANDOMISED, ids=lambda f: f.__name__)
def test_every_change_is_repeatable_and_leaves_an_image(change, image: np.ndarray) -> None:
    before = image.copy()
    first, again, other = (change(image, np.random.default_rng(seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert first.shape == image.shape
    assert np.isfinite(first).all()
    assert not np.array_equal(first, image)
    if change is not inverted:  # which draws nothing
        assert not np.array_equal(first, other)
    np.testing.assert_array_equal(image, before)


def test_some_images_stay_as_they_were(image: np.ndarray) -> None:
    kept = [np.array_equal(expose_again(image, np.random.default_rng([3, n])), image) for n in range(300)]
    expected = float(np.prod([1 - share for share in RANDOMISED.values()]))
    assert np.mean(kept) == pytest.approx(expected, abs=0.08)


def test_the_sign_of_contrast_turns_and_turns_back(image: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    there = inverted(image, rng)
    assert np.corrcoef(there.ravel(), image.ravel())[0, 1] == pytest.approx(-1, abs=1e-4)
    np.testing.assert_allclose(inverted(there, rng), image, atol=1e-5)


def test_an_exported_picture_has_at_most_256_greys(image: np.ndarray) -> None:
    for seed in range(6):
        picture = exported(image, np.random.default_rng(seed))
        assert len(np.unique(picture)) <= 256
        assert np.corrcoef(picture.ravel(), image.ravel())[0, 1] > 0.8


def test_a_saturated_image_has_many_pixels_at_its_limit(image: np.ndarray) -> None:
    limited = saturated(image, np.random.default_rng(0))
    assert 0.005 < (limited == limited.max()).mean() < 0.3
    np.testing.assert_array_equal(limited[limited < limited.max()], image[limited < limited.max()])


def test_a_reduced_picture_has_lost_its_finest_detail(image: np.ndarray) -> None:
    for seed in range(4):
        rough = [np.diff(x, axis=0).std() for x in (image, reduced(image, np.random.default_rng(seed)))]
        assert rough[1] < 0.75 * rough[0]


@pytest.mark.parametrize("length", [0.0, 0.5, 3.0])
def test_noise_has_unit_variance(length: float) -> None:
    noise = correlated_noise((256, 256), length, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, abs=0.02)


def test_smooth_fields_are_as_long_as_asked() -> None:
    """Steps between neighbours fall as one over the length."""
    steps = []
    for length in (10.0, 40.0):
        fields = [smooth_field((256, 256), length, np.random.default_rng(n)) for n in range(8)]
        assert np.std(fields) == pytest.approx(1, abs=0.35)
        steps.append(np.mean([np.diff(f, axis=0).std() / f.std() for f in fields]))
    assert steps[0] / steps[1] == pytest.approx(4, rel=0.5)


@pytest.mark.parametrize("kind", NEGATIVES)
def test_frames_that_hold_nothing_differ_and_are_finite(kind: str) -> None:
    made = [NEGATIVES[kind](96, np.random.default_rng([5, n])) for n in range(2)]
    assert made[0].shape == (96, 96)
    assert not np.array_equal(*made)
    for one in made:
        seen = standardise(one.astype(np.float32), Preprocessing())
        assert np.isfinite(seen).all()
        assert seen.std() > 0.3


def test_turning_and_scaling_keeps_labels_on_their_particles(image: np.ndarray) -> None:
    labels = (np.hypot(*(np.mgrid[:96, :96] - 48)) < 24).astype(np.uint8)
    for seed in range(8):
        turned, moved = turn_and_scale(image, labels, np.random.default_rng(seed))
        assert turned[moved > 0].mean() < turned[moved == 0].mean() - 0.25
        assert moved.sum() / labels.sum() == pytest.approx(1, abs=0.36)  # ± 15 % in length
