"""Preprocessing: unchanged by gain and offset, keeps frequencies, evens out illumination."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft

from models.preprocess import (
    Preprocessing,
    block_means,
    canonical,
    fill_masked,
    median,
    remove_outliers,
    resample,
    robust_surface,
    standardise,
)

SETTINGS = Preprocessing()


def noise(seed: int = 0, size: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).poisson(200, (size, size)).astype(np.float32)


@pytest.mark.parametrize("shape", [(1,), (2,), (7, 9), (64, 64), (65, 63)])
def test_the_median_is_numpy_s_to_the_last_bit(shape: tuple[int, ...]) -> None:
    for seed in range(5):
        values = np.random.default_rng(seed).normal(0.3, 7, shape).astype(np.float32)
        before = values.copy()
        assert median(values) == np.median(values)
        np.testing.assert_array_equal(values, before)


@given(st.floats(0.05, 50), st.floats(-1e3, 1e3), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_gain_and_offset_do_not_matter(gain: float, offset: float, seed: int) -> None:
    image = noise(seed)
    a = canonical(image, 0.05, SETTINGS).image
    b = canonical(image * np.float32(gain) + np.float32(offset), 0.05, SETTINGS).image
    np.testing.assert_allclose(a, b, atol=0.02)


def test_hot_pixels_go_and_the_lattice_stays() -> None:
    rows = np.arange(128)
    image = (200 + 40 * np.cos(2 * np.pi * rows / 5))[:, None].repeat(128, 1).astype(np.float32)
    image += np.random.default_rng(0).normal(0, 5, image.shape).astype(np.float32)
    spoilt = image.copy()
    spoilt[60, 60], spoilt[20, 90] = 60000, -5000
    cleaned = remove_outliers(spoilt, SETTINGS.outlier_sigmas)
    assert abs(cleaned[60, 60] - 200) < 60
    assert abs(cleaned[20, 90] - 200) < 60
    assert (cleaned != spoilt).mean() < 0.02


@pytest.mark.parametrize("pixel", [0.02, 0.025, 0.035, 0.05, 0.077])
def test_a_fringe_keeps_its_spacing_at_any_magnification(pixel: float) -> None:
    """0.35 nm fringes stand at 2.857 nm⁻¹ after resampling, within one bin of the transform."""
    size = 512
    x = np.arange(size) * pixel
    image = (100 + 20 * np.cos(2 * np.pi * x / 0.35))[None, :].repeat(size, 0).astype(np.float32)
    out, scale = resample(image, pixel / 0.05)
    assert scale[1] == pytest.approx(pixel / 0.05, rel=0.01)
    row = out[out.shape[0] // 2] - out.mean()
    k = np.fft.rfftfreq(len(row), pixel / scale[1])
    peak = k[np.argmax(np.abs(np.fft.rfft(row * np.hanning(len(row)))))]
    assert peak == pytest.approx(1 / 0.35, abs=1.01 / (len(row) * 0.05))


def test_resampling_down_does_not_alias() -> None:
    """Fringes finer than the new grid can hold vanish instead of showing as coarse ones."""
    x = np.arange(512)
    image = (100 + 50 * np.cos(2 * np.pi * x / 2.7))[None, :].repeat(512, 0).astype(np.float32)
    out, _ = resample(image, 0.5)
    assert out[64:-64, 64:-64].std() < 1.0


def test_a_surface_is_fitted_around_what_stands_out() -> None:
    r, c = np.mgrid[-1:1:256j, -1:1:256j].astype(np.float32)
    ground = 5 + 2 * r - c * c
    image = ground.copy()
    image[80:160, 80:160] -= 6
    fitted = robust_surface(block_means(image), 3, image.shape).whole
    outside = np.ones(image.shape, bool)
    outside[80:160, 80:160] = False
    assert np.abs(fitted - ground)[outside].mean() < 0.1


def test_a_ramp_with_poisson_noise_becomes_even() -> None:
    c = np.linspace(50, 800, 256, dtype=np.float32)
    image = np.random.default_rng(1).poisson(c[None, :].repeat(256, 0)).astype(np.float32)
    flat = standardise(image, SETTINGS)
    left, right = flat[:, :64], flat[:, -64:]
    assert abs(left.mean() - right.mean()) < 0.1
    assert 0.8 < left.std() / right.std() < 1.25


def test_a_constant_frame_gives_zeros() -> None:
    assert not standardise(np.full((64, 64), 7, np.float32), SETTINGS).any()


def test_labels_come_back_to_the_frames_own_grid() -> None:
    prepared = canonical(noise(size=256), 0.025, SETTINGS)
    labels = np.zeros(prepared.image.shape, np.int32)
    labels[20:40, 50:90] = 3
    back = prepared.to_frame(labels)
    assert back.shape == (256, 256)
    rows, cols = np.nonzero(back)
    assert (rows.min(), rows.max()) == (pytest.approx(40, abs=2), pytest.approx(79, abs=2))
    assert (cols.min(), cols.max()) == (pytest.approx(100, abs=2), pytest.approx(179, abs=2))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_a_detectors_gaps_leave_the_rest_of_the_frame_alone(dtype: type) -> None:
    rng = np.random.default_rng(3)
    frame = rng.poisson(200, (256, 256)).astype(dtype)
    frame[100:140, 60:110] -= 60
    gaps = frame.copy()
    gaps[:, 128:140] = np.iinfo(dtype).max
    gaps[30:36, 30:36] = np.iinfo(dtype).max
    as_it_is, with_gaps = (canonical(image, 0.05, Preprocessing()).image for image in (frame, gaps))
    away = np.ones(frame.shape, bool)
    away[:, 124:144] = away[26:40, 26:40] = False
    assert np.abs(as_it_is - with_gaps)[away].max() < 0.35
    assert np.abs(with_gaps[:, 128:140]).max() < 2


def test_an_overexposed_frame_and_a_white_picture_are_left_as_they_are() -> None:
    over = np.full((64, 64), 65535, np.uint16)
    over[:, :40] = 1000
    assert (fill_masked(over) == over).all()
    picture = np.full((64, 64), 100, np.uint8)
    picture[5:9, 5:9] = 255
    assert (fill_masked(picture) == picture).all()
    assert fill_masked(picture.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("side", "factor"), [(200, 0.5), (333, 0.83), (128, 1.4), (205, 1.25), (205, 0.7), (1100, 1.2)]
)
def test_resampling_is_that_of_the_whole_transform(side: int, factor: float) -> None:
    """What is left out of the transforms is what the result has no room for."""
    image = noise(3, side)
    found, (exact, _) = resample(image, factor)
    inside = fft.next_fast_len(side + 16, real=True)
    outside = round(exact * inside)
    whole = fft.rfft2(np.pad(image, (0, inside - side), mode="symmetric"))
    kept, half = np.zeros((outside, outside // 2 + 1), np.complex64), min(inside, outside) // 2
    kept[:half, :half], kept[-half:, :half] = whole[:half, :half], whole[-half:, :half]
    expected = fft.irfft2(kept, s=(outside, outside)) * (outside / inside) ** 2
    n = len(found)
    np.testing.assert_allclose(found, expected[:n, :n], rtol=0, atol=1e-3)


def test_only_outliers_are_changed() -> None:
    image = np.asfortranarray(noise(4))
    image[20, 30], image[50, 60] = 9000, -9000
    found = remove_outliers(image, 6.0)
    assert np.argwhere(found != image).tolist() == [[20, 30], [50, 60]]
    assert found[20, 30] == np.median(image[19:22, 29:32])
