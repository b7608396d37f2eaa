"""Randomisation and the frames that hold nothing: what each has to keep, and that draws follow the seed alone."""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from models.examples import augment
from models.examples.augment import (
    BORDERS,
    BOX,
    LARGE_PX,
    NEGATIVES,
    PATCHES,
    Border,
    empty_image,
    half_dark_frame,
    stamp,
    stamped,
    step_field,
)
from models.examples.chance import Chance
from models.examples.exposure import (
    RANDOMISED,
    blurred,
    burn_in,
    correlated_noise,
    exported,
    expose_again,
    inverted,
    jpeg,
    median_filtered,
    median_of_nine,
    moved,
    reduced,
    resampled,
    saturated,
    smooth_field,
    turn_and_scale,
)
from models.preprocess import Preprocessing, standardise


@pytest.fixture
def images() -> Tensor:
    """Dark discs on white noise, mean about 1, (6, 96, 96)."""
    r, c = np.mgrid[:96, :96]
    noise = np.random.default_rng(1).normal(1, 0.05, (6, 96, 96))
    return torch.from_numpy((noise - 0.3 * (np.hypot(r - 48, c - 48) < 24)).astype(np.float32))


def alike(one: Tensor, other: Tensor) -> float:
    """Correlation of two images."""
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


@pytest.mark.parametrize("change", RANDOMISED, ids=lambda f: f.__name__)
def test_every_change_is_repeatable_and_leaves_an_image(change, images: Tensor) -> None:
    before = images.clone()
    first, again, other = (change(images, Chance(seed)) for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert first.shape == images.shape
    assert first.isfinite().all()
    assert not any(torch.equal(one, old) for one, old in zip(first, images, strict=True))
    if change is not inverted:  # which draws nothing
        assert not torch.equal(first, other)
    assert torch.equal(images, before)


def test_some_images_stay_as_they_were(images: Tensor) -> None:
    many = images.repeat(50, 1, 1)
    kept = (expose_again(many, Chance(3)) == many).all(2).all(1)
    expected = float(np.prod([1 - share for share in RANDOMISED.values()]))
    assert float(kept.double().mean()) == pytest.approx(expected, abs=0.08)


def test_each_image_of_a_batch_draws_its_own_numbers(images: Tensor) -> None:
    same = images[:1].repeat(2, 1, 1)
    for change in set(RANDOMISED) - {inverted, median_filtered}:
        one, other = change(same, Chance(2))
        assert not torch.equal(one, other)


def test_the_sign_of_contrast_turns_and_turns_back(images: Tensor) -> None:
    there = inverted(images, Chance(0))
    assert alike(there, 2 * images.mean((1, 2), keepdim=True) - images) == pytest.approx(1)
    assert alike(there[0], images[0]) == pytest.approx(-1, abs=1e-4)
    assert torch.allclose(inverted(there, Chance(0)), images, atol=1e-5)


def test_an_exported_picture_has_at_most_256_greys(images: Tensor) -> None:
    for seed in range(3):
        for picture, image in zip(exported(images, Chance(seed)), images, strict=True):
            assert len(picture.unique()) <= 256
            assert alike(picture, image) > 0.8


@pytest.mark.parametrize("quality", [35, 50, 73, 95])
def test_jpeg_is_that_of_the_library(images: Tensor, quality: int) -> None:
    """Apart from the library's integer transform, by which a frequency may be rounded the other way here and there."""
    grey = (images[0, :90, :85] * 150).round().clamp(0, 255)
    _, coded = cv2.imencode(".jpg", grey.numpy().astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    expected = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE).astype(np.float32)
    found = jpeg(grey[None], torch.full((1, 1, 1), float(quality)))[0].numpy()
    assert np.mean(np.abs(found - expected) <= 1) > 0.9
    assert np.abs(expected - grey.numpy()).mean() > 4 * np.abs(found - expected).mean()


def test_a_saturated_image_has_many_pixels_at_its_limit(images: Tensor) -> None:
    for limited, image in zip(saturated(images, Chance(0)), images, strict=True):
        at = limited == limited.max()
        assert 0.005 < float(at.double().mean()) < 0.3
        assert torch.equal(limited[~at], image[~at])


def test_a_reduced_picture_has_lost_its_finest_detail(images: Tensor) -> None:
    small = reduced(images, Chance(0))
    assert (small.diff(dim=1).std((1, 2)) < 0.75 * images.diff(dim=1).std((1, 2))).all()
    assert torch.allclose(small.mean((1, 2)), images.mean((1, 2)), rtol=0.02)


def test_a_median_is_that_of_opencv(images: Tensor) -> None:
    expected = np.stack([cv2.medianBlur(image, 3) for image in images.numpy()])
    np.testing.assert_array_equal(median_of_nine(images).numpy(), expected)


def test_a_resampled_picture_keeps_its_particle_and_lies_where_it_lay(images: Tensor) -> None:
    found = resampled(images, Chance(0))
    for picture, image in zip(found, images, strict=True):
        assert alike(picture, image) > 0.75
    soft = blurred(images, torch.full((6, 1, 1), 3.0))
    assert float((blurred(found, torch.full((6, 1, 1), 3.0)) - soft).abs().max()) < 0.25 * float(soft.std())


def test_a_pixel_size_is_given_wrong_for_many_that_are_not_turned() -> None:
    """Along a line through the middle a bar stays where it was and gets as much longer as the scale says."""
    bar = torch.zeros(200, 100, 100)
    bar[:, 45:55, 20:80] = 1
    scaled, labels = moved(bar, bar.to(torch.uint8), torch.zeros(200, 1, 1), torch.full((200, 1, 1), 1.05))
    assert labels[0, 50].sum() == pytest.approx(63, abs=1)
    assert float(((scaled - labels.float()).abs() > 0.6).float().mean()) < 0.005
    turned, _ = turn_and_scale(bar, bar.to(torch.uint8), Chance(1))
    upright = [one for one in turned if sorted((one > 0.5).sum(k).max().item() for k in (0, 1))[0] < 12]
    lengths = {max(int((one > 0.5).sum(k).max()) for k in (0, 1)) for one in upright}
    assert min(lengths) < 58 < 62 < max(lengths)


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0])
def test_a_blur_is_that_of_opencv(images: Tensor, sigma: float) -> None:
    found = blurred(images[:1], torch.full((1, 1, 1), sigma))[0].numpy()
    expected = cv2.GaussianBlur(images[0].numpy(), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected - images[0].numpy()).max()
    assert found.std() == pytest.approx(expected.std(), rel=0.02)


def steps_of(fields: np.ndarray, far: int) -> float:
    """How alike pixels some way apart are: 0 where they are the same, 1 where they know nothing of each other."""
    fields = fields - fields.mean((1, 2), keepdims=True)
    return float(np.mean((fields[:, far:] - fields[:, :-far]) ** 2) / np.mean(fields**2) / 2)


@pytest.mark.parametrize(("length", "far"), [(0.0, 1), (0.8, 1), (3.0, 3), (6.0, 6)])
def test_noise_is_that_of_the_frames_that_hold_nothing(length: float, far: int) -> None:
    """Torch for batches and NumPy for single frames: of unit variance, correlated over the same length."""
    like = torch.zeros(8, 256, 256)
    found = correlated_noise(like, torch.full((8, 1, 1), length), Chance(0)).numpy()
    rng = np.random.default_rng(0)
    single = np.stack([augment.correlated_noise((256, 256), length, rng) for _ in range(8)])
    for fields in (found, single):
        assert np.std(fields, axis=(1, 2)) == pytest.approx(np.ones(8), abs=0.02)
    assert steps_of(found, far) == pytest.approx(steps_of(single, far), rel=0.06)


@pytest.mark.parametrize("length", [12.0, 30.0, 60.0])
def test_smooth_fields_are_those_of_the_frames_that_hold_nothing(length: float) -> None:
    like = torch.zeros(48, 256, 256)
    found = smooth_field(like, torch.full((48, 1, 1), length), Chance(0)).numpy()
    rng = np.random.default_rng(0)
    single = np.stack([augment.smooth_field((256, 256), length, rng) for _ in range(48)])
    assert np.std(found, axis=(1, 2)) == pytest.approx(np.ones(48), abs=1e-3)
    assert np.std(single) == pytest.approx(1, abs=0.35)
    assert steps_of(found, int(length / 2)) == pytest.approx(steps_of(single, int(length / 2)), rel=0.35)


@pytest.mark.parametrize("kind", NEGATIVES)
def test_frames_that_hold_nothing_differ_and_are_finite(kind: str) -> None:
    made = [NEGATIVES[kind](96, np.random.default_rng([5, n])) for n in range(2)]
    assert made[0].shape == (96, 96)
    assert not np.array_equal(*made)
    for one in made:
        seen = standardise(one.astype(np.float32), Preprocessing())
        assert np.isfinite(seen).all()
        assert seen.std() > 0.3


@pytest.mark.parametrize("name", BORDERS)
def test_a_step_has_the_border_that_was_asked_for(name: str) -> None:
    """The steepest change of a sharp step is far above that of a soft one; a fringe is all that it adds."""
    border = BORDERS[name]
    fields, plain = (
        [step_field(256, np.random.default_rng([3, n]), border) for n in range(12)]
        for border in (border, replace(border, fringe=False))
    )
    assert all(np.isfinite(field).all() and field.min() >= 0 for field in fields)
    added = [np.abs(one - other).max() for one, other in zip(fields, plain, strict=True)]
    assert min(added) > 0.01 if border.fringe else max(added) == 0
    steepest = [np.hypot(*np.gradient(f)).max() / max(f.max() - f.min(), 1e-6) for f in plain]
    # A logistic step changes by a quarter over its width.
    assert max(steepest) < 0.07 if border.soft else min(steepest) > 0.05


def radius_of(field: np.ndarray) -> float:
    """Of the circle through the pixels where a field crosses the middle of its two levels [px]; least squares."""
    above = field > (field.max() + field.min()) / 2
    r, c = (n.astype(float) for n in np.nonzero(above[:, 1:] != above[:, :-1]))
    columns = np.stack([r, c, np.ones(len(r))], 1)
    (a, b, d), *_ = np.linalg.lstsq(columns, r**2 + c**2, rcond=None)
    return float(np.sqrt(d + (a / 2) ** 2 + (b / 2) ** 2))


@pytest.mark.parametrize("size", [256, 512])
def test_curved_steps_are_larger_than_any_particle(size: int) -> None:
    curved = Border(curved=True, soft=False, fringe=False)
    fields = [step_field(size, np.random.default_rng([2, n]), curved) for n in range(24)]
    radii = [radius_of(field) for field in fields if np.ptp(field) > 0.1]
    assert min(radii) > 0.95 * max(LARGE_PX, size)
    small = [step_field(size, np.random.default_rng([2, n]), curved, patch=True) for n in range(24)]
    assert min(radius_of(field) for field in small if np.ptp(field) > 0.1) < LARGE_PX / 2


@pytest.mark.parametrize("kind", PATCHES)
def test_patches_are_drawn_for_studies_alone(kind: str) -> None:
    made = [
        [make[kind](96, np.random.default_rng([5, n])) for n in range(6)] for make in (NEGATIVES, PATCHES)
    ]
    assert not all(np.array_equal(one, other) for one, other in zip(*made, strict=True))
    assert all(np.isfinite(image).all() and image.shape == (96, 96) for image in made[1])


def test_half_dark_frames_of_every_border_have_two_levels() -> None:
    for border in BORDERS.values():
        frames = [half_dark_frame(128, np.random.default_rng([6, n]), border) for n in range(4)]
        assert all(frame.shape == (128, 128) and frame.std() > 0 for frame in frames)


def test_an_empty_image_is_a_standardised_piece_of_a_frame() -> None:
    make = partial(empty_image, 128, {"half-dark": 1e6}, Preprocessing(), 0.0)
    made = [make(np.random.default_rng(n)) for n in range(8)]
    assert all(image.shape == (128, 128) and np.isfinite(image).all() for image in made)
    # Out of a frame up to four times as wide: not each piece has the whole frame's spread.
    assert max(abs(float(image.std()) - 1) for image in made) > 0.1


def test_turning_and_scaling_keeps_labels_on_their_particles(images: Tensor) -> None:
    labels = torch.from_numpy((np.hypot(*(np.mgrid[:96, :96] - 48)) < 24).astype(np.uint8))
    turned, moved = turn_and_scale(images.repeat(4, 1, 1), labels.repeat(24, 1, 1), Chance(1))
    areas = []
    for image, where in zip(turned, moved > 0, strict=True):
        assert float(image[where].mean()) < float(image[~where].mean()) - 0.25
        areas.append(float(where.sum() / labels.sum()))
    assert max(abs(area - 1) for area in areas) < 0.36  # ± 15 % in length
    assert 4 < sum(abs(area - 1) > 0.01 for area in areas) < 20


def test_an_image_and_its_labels_turn_alike() -> None:
    """An uneven pattern: an image that is its own labels stays so, in all eight symmetries and between them."""
    pattern = torch.zeros(64, 64, 64)
    pattern[:, 8:20, 10:40], pattern[:, 30:50, 12:18] = 1, 2
    turned, moved = turn_and_scale(pattern, pattern.to(torch.uint8), Chance(4))
    assert float(((turned - moved.float()).abs() > 0.6).float().mean()) < 0.01
    assert len({tuple(one.flatten().tolist()) for one in moved}) > 20


@pytest.mark.parametrize("seed", range(4))
def test_marks_are_burnt_in_at_the_ends_of_the_scale(images: Tensor, seed: int) -> None:
    bits = stamp(96, np.random.default_rng(seed))
    labels = torch.ones(1, 96, 96, dtype=torch.uint8)
    found, left = burn_in(images[:1], labels, torch.from_numpy(bits)[None])
    changed = found[0] != images[0]
    assert changed.any()
    assert set(found[0][changed].tolist()) <= {float(images[0].min()), float(images[0].max())}
    np.testing.assert_array_equal(left[0].numpy() == 0, (bits & BOX) > 0)
    np.testing.assert_array_equal(found[0].numpy(), stamped(images[0].numpy(), bits))
