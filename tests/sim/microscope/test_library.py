"""The library of waves as it is read."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from sim.microscope.library import (
    PIXEL_NM,
    WAVE_PIXEL_NM,
    Library,
    load_library,
    propagated,
    regridded,
    resampled,
    true_class,
)


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library()


def test_the_shipped_library_holds_what_sessions_need(library: Library) -> None:
    assert len(library.particles) == 96
    assert len(library.of_class("unscored")) >= 3
    for material in ("CdSe-wurtzite", "CdSe-zincblende", "Au"):
        for name in ("yes", "no", "null"):
            assert len(library.of_class(name, material)) >= 4
    for particle, name in zip(library.particles, library.classes, strict=True):
        assert (true_class(particle.record, np.inf) or "unscored") == name
        assert particle.wave.shape == particle.mask.shape
        # Cropped where it no longer differs from vacuum.
        border = np.concatenate(
            [particle.wave[0], particle.wave[-1], particle.wave[:, 0], particle.wave[:, -1]]
        )
        assert np.abs(border - 1).mean() < 0.05
        assert np.abs(particle.wave[particle.mask] - 1).mean() > 0.1
    assert library.path.stat().st_size < 16e6


def test_every_voltage_has_waves_of_the_same_particles(library: Library) -> None:
    """The interaction constant grows by half from 300 to 80 kV, and with it what a wave differs from vacuum by."""
    slow = load_library(energy_kev=80.0)
    assert (library.energy_kev, slow.energy_kev) == (300.0, 80.0)
    assert [p.record for p in slow.particles] == [p.record for p in library.particles]
    differ = [
        float(np.abs(other.wave - 1)[other.mask].mean() / np.abs(one.wave - 1)[one.mask].mean())
        for one, other in zip(library.particles, slow.particles, strict=True)
    ]
    assert np.median(differ) > 1.1
    with pytest.raises(ValueError, match="no waves of 120 kV; it has 300, 200, 80"):
        load_library(energy_kev=120.0)


def test_a_wave_on_the_coarser_grid_comes_back_as_it_was() -> None:
    """A band-limited detail off the middle, on grids of odd size: it stays where it is, and so do its values."""
    rows, columns = np.mgrid[-40:41, -52:53] * PIXEL_NM
    wave = (1 + 0.4 * np.exp(-((rows - 0.2) ** 2 + (columns + 0.3) ** 2) / 0.08)).astype(np.complex64)
    coarse = regridded(wave, (53, 67), PIXEL_NM, WAVE_PIXEL_NM)
    assert coarse.shape == (53, 67)
    middle = coarse.real[26, 33]
    assert middle == pytest.approx(wave.real[40, 52], abs=1e-3)
    np.testing.assert_allclose(regridded(coarse, wave.shape, WAVE_PIXEL_NM, PIXEL_NM), wave, atol=2e-3)


def test_propagation_there_and_back_changes_nothing() -> None:
    wave = np.exp(1j * np.random.default_rng(0).normal(0, 0.2, (64, 64))).astype(np.complex64)
    there = propagated(wave, 0.05, 300.0, 12.0)
    assert abs(there - wave).max() > 0.05
    np.testing.assert_allclose(propagated(there, 0.05, 300.0, -12.0), wave, atol=1e-4)
    assert (np.abs(there) ** 2).sum() == pytest.approx((np.abs(wave) ** 2).sum(), rel=1e-4)


def test_resampling_a_wave_keeps_its_values() -> None:
    x = np.arange(64) / 64 * 2 * np.pi
    wave = np.exp(0.3j * np.cos(3 * x))[None, :].repeat(64, 0).astype(np.complex64)
    np.testing.assert_allclose(resampled(wave, 128)[::2, ::2], wave, atol=1e-5)


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not there; make it with"):
        load_library(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("not at all")
    with pytest.raises(ValueError, match="no library of waves"):
        load_library(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "faultwatch wave library 2"
    with pytest.raises(ValueError, match=r"of this version .*; make it with: faultwatch simulate"):
        load_library(tmp_path / "other.h5")
