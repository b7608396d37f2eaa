"""Imaging: laws and known numbers."""

from dataclasses import replace

import numpy as np
import pytest

from sim.optics.conditions import MICROSCOPES, Conditions, draw_conditions
from sim.optics.imaging import aberration_phase, expected_image, image_wave, record
from sim.optics.transfer import frequencies, resample, wavelength_nm


@pytest.mark.parametrize(("energy", "picometres"), [(80, 4.176), (200, 2.508), (300, 1.969)])
def test_wavelengths(energy: float, picometres: float) -> None:
    """The values in every textbook's table."""
    assert wavelength_nm(energy) * 1e3 == pytest.approx(picometres, abs=2e-3)


def test_vacuum_stays_vacuum() -> None:
    wave = np.ones((64, 64), np.complex64)
    np.testing.assert_allclose(image_wave(wave, 0.05, Conditions(defocus_nm=-60, cs_um=1200)), 1, atol=1e-4)


def test_a_weak_phase_grating_shows_by_twice_its_phase_times_sin_chi() -> None:
    """I - 1 = 2 φ sin χ cos(2πkx): linear imaging of a weak phase object (Kirkland, ch. 3)."""
    pixel, cycles, size, phase = 0.025, 10, 128, 0.01
    x = np.arange(size) * pixel
    k = cycles / (size * pixel)
    wave = np.exp(1j * phase * np.cos(2 * np.pi * k * x))[None, :].repeat(size, 0).astype(np.complex64)
    for defocus in (-8.0, -20.0, 12.0):
        c = Conditions(defocus_nm=defocus, cs_um=0.0, focal_spread_nm=0, angular_spread_mrad=0)
        image = image_wave(wave, pixel, c)
        amplitude = 2 * float(np.mean((image[0] - 1) * np.cos(2 * np.pi * k * x)))
        chi = np.pi * wavelength_nm(300) * defocus * k**2
        # exp(-iχ) on both sidebands turns iφ into φ sin χ.
        assert amplitude == pytest.approx(2 * phase * np.sin(chi), abs=0.03 * 2 * phase)


def test_aberrations_have_their_symmetry() -> None:
    kr, kc = frequencies((64, 64), 0.05)
    flat = replace(Conditions(), defocus_nm=0.0, cs_um=0.0)
    turned = {
        2: replace(flat, astigmatism_nm=5.0, astigmatism_deg=20),
        1: replace(flat, coma_nm=100.0, coma_deg=20),
        3: replace(flat, trefoil_nm=100.0, trefoil_deg=20),
    }
    for fold, conditions in turned.items():
        half_turn = aberration_phase(-kr, -kc, conditions)
        sign = 1 if fold % 2 == 0 else -1
        np.testing.assert_allclose(half_turn, sign * aberration_phase(kr, kc, conditions), atol=1e-3)
    assert abs(aberration_phase(kr, kc, turned[3])).max() > 0


def test_resampling_keeps_values() -> None:
    x = np.arange(128) / 128
    image = (1 + 0.3 * np.cos(2 * np.pi * 5 * x))[None].repeat(128, 0).astype(np.float32)
    half = resample(image, (64, 64))
    np.testing.assert_allclose(half, image[::2, ::2], atol=1e-5)


def test_blurring_lowers_contrast_and_keeps_the_mean() -> None:
    wave = np.exp(1j * np.random.default_rng(0).normal(0, 0.1, (64, 64))).astype(np.complex64)
    sharp, soft = (expected_image(wave, 0.05, Conditions(vibration_nm=v)) for v in (0.0, 0.1))
    assert soft.mean() == pytest.approx(sharp.mean(), rel=1e-4)
    assert soft.std() < sharp.std()


def test_frozen_phonons_add_their_intensities() -> None:
    rng = np.random.default_rng(0)
    waves = np.exp(1j * rng.normal(0, 0.1, (3, 64, 64))).astype(np.complex64)
    one_by_one = [expected_image(wave, 0.05, Conditions()) for wave in waves]
    np.testing.assert_allclose(
        expected_image(waves, 0.05, Conditions()), np.mean(one_by_one, axis=0), atol=1e-5
    )


def test_smoothing_an_export_lowers_its_noise_only() -> None:
    image = np.ones((128, 128), np.float32)
    sharp, smooth = (
        record(image, 0.05, Conditions(smoothing_nm=s), np.random.default_rng(3)) for s in (0.0, 0.1)
    )
    assert smooth.mean() == pytest.approx(sharp.mean(), rel=1e-3)
    assert smooth.std() < 0.6 * sharp.std()


@pytest.mark.parametrize("preset", MICROSCOPES)
def test_drawn_conditions_stay_within_their_preset(preset: str) -> None:
    rng = np.random.default_rng(7)
    drawn = [draw_conditions(rng, preset=preset, dose_e_per_A2=(60, 1000)) for _ in range(200)]
    low, high = MICROSCOPES[preset].cs_um
    assert all(low <= c.cs_um <= high for c in drawn)
    assert all(60 <= c.dose_e_per_A2 <= 1000 for c in drawn)
    assert min(c.dose_e_per_A2 for c in drawn) < 80
    assert max(c.dose_e_per_A2 for c in drawn) > 750


def test_an_uncorrected_microscope_is_drawn_about_scherzers_defocus() -> None:
    rng = np.random.default_rng(1)
    for c in (draw_conditions(rng, preset="uncorrected") for _ in range(50)):
        assert abs(c.defocus_nm + 1.2 * np.sqrt(c.cs_um * 1e3 * wavelength_nm(300))) <= 30


def test_drawn_conditions_follow_the_seed() -> None:
    a, b = (draw_conditions(np.random.default_rng(7)) for _ in range(2))
    assert a == b
    assert 20 <= a.dose_e_per_A2 <= 2000
    with pytest.raises(ValueError, match="no preset"):
        draw_conditions(np.random.default_rng(0), preset="cryo")
