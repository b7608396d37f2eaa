"""The camera, step by step: each does what its equation says, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from sim.optics.camera import (
    CAMERAS,
    Camera,
    bad_pixels,
    convert,
    detect,
    electrons_a_pixel,
    illumination,
    modulation_transfer,
    saturate,
    spread,
    take,
    xray_hits,
)

IDEAL = CAMERAS["ideal"]
EVEN = np.ones((256, 256), np.float32)


def test_electrons_are_poisson_before_the_mtf() -> None:
    expected = electrons_a_pixel(100, 0.025, 1.0)
    assert expected == pytest.approx(100 * 0.25**2)  # 0.25 Å a pixel
    counted = detect(EVEN, expected, np.random.default_rng(0))
    assert counted.mean() == pytest.approx(expected, rel=0.01)
    assert counted.var() == pytest.approx(expected, rel=0.02)
    # Neighbours know nothing of each other, and the third moment is that of Poisson's law too.
    assert abs(np.corrcoef(counted[:, 1:].ravel(), counted[:, :-1].ravel())[0, 1]) < 0.015
    assert ((counted - expected) ** 3).mean() == pytest.approx(expected, rel=0.15)


def test_the_dqe_takes_electrons_away() -> None:
    assert electrons_a_pixel(100, 0.05, 0.5) == pytest.approx(0.5 * electrons_a_pixel(100, 0.05, 1.0))


def test_spreading_keeps_the_mean_and_correlates_the_noise() -> None:
    counted = detect(EVEN, 20.0, np.random.default_rng(1))
    after = spread(counted, Camera(mtf_nyquist=0.3))
    assert after.mean() == pytest.approx(counted.mean(), rel=1e-4)
    assert after.var() < 0.5 * counted.var()
    assert np.corrcoef(after[:, 1:].ravel(), after[:, :-1].ravel())[0, 1] > 0.2


def test_the_mtf_has_its_value_at_nyquist_and_falls() -> None:
    transfer = modulation_transfer((64, 64), 0.3)
    assert transfer[0, 0] == 1
    assert transfer[0, 32] == pytest.approx(0.3)
    assert (np.diff(transfer[0]) < 0).all()
    assert (modulation_transfer((8, 8), 1.0) == 1).all()


def test_gain_and_dark_level_are_a_straight_line() -> None:
    camera = replace(IDEAL, gain_counts_per_e=20.0, dark_counts=100.0)
    counts = convert(np.full((8, 8), 7, np.float32), camera, np.random.default_rng(0))
    np.testing.assert_allclose(counts, 240)


def test_the_gain_pattern_stays_and_the_read_noise_does_not() -> None:
    rng = np.random.default_rng(0)
    pattern = replace(IDEAL, gain_spread=0.01, pattern_seed=4)
    first, second = (convert(EVEN * 100, pattern, rng) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.std() == pytest.approx(1.0, rel=0.03)
    noisy = replace(IDEAL, read_noise_e=2.0)
    first, second = (convert(EVEN * 100, noisy, rng) for _ in range(2))
    assert (first - second).std() == pytest.approx(2 * np.sqrt(2), rel=0.03)


def test_bad_pixels_are_the_same_in_every_frame() -> None:
    camera = Camera(hot_pixels=1e-3, dead_pixels=1e-3, pattern_seed=9)
    one, other = bad_pixels(EVEN * 1000, camera), bad_pixels(EVEN * 2000, camera)
    hot, dead = one > 1000, one == camera.dark_counts
    assert 30 < hot.sum() < 110
    assert 30 < dead.sum() < 110
    np.testing.assert_array_equal(hot, other > 2000)
    np.testing.assert_array_equal(dead, other == camera.dark_counts)


def test_xrays_hit_as_often_as_they_should_and_elsewhere_each_time() -> None:
    camera = Camera(xrays_per_megapixel=200)
    rng = np.random.default_rng(0)
    frames = [xray_hits(EVEN * 0, camera, rng) > 0 for _ in range(50)]
    # Two pixels a hit.
    assert np.mean([frame.sum() for frame in frames]) == pytest.approx(2 * 200 * EVEN.size / 1e6, rel=0.15)
    assert (frames[0] & frames[1]).sum() <= 1


def test_saturation_is_a_ceiling() -> None:
    counts = saturate(np.array([[-5, 10, 70_000]], np.float32), Camera())
    np.testing.assert_array_equal(counts, [[0, 10, 65535]])


def test_uneven_illumination_has_its_amplitude() -> None:
    field = illumination((64, 96), 0.2, 3)
    assert abs(field - 1).max() == pytest.approx(0.2, abs=1e-6)
    assert (illumination((8, 8), 0.0, 3) == 1).all()


@pytest.mark.parametrize("name", CAMERAS)
def test_without_beam_there_is_the_dark_level(name: str) -> None:
    camera = replace(CAMERAS[name], hot_pixels=0.0, xrays_per_megapixel=0.0)
    counts = take(EVEN, 0.025, camera, 0.0, np.random.default_rng(0))
    assert counts.mean() == pytest.approx(camera.dark_counts, abs=0.5)
    lit = take(EVEN, 0.025, camera, 400.0, np.random.default_rng(0))
    assert lit.mean() - camera.dark_counts == pytest.approx(
        electrons_a_pixel(400, 0.025, camera.dqe) * camera.gain_counts_per_e, rel=0.01
    )
