"""The library of waves, and fields composed of it against full multislice."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from sim.microscope.layout import Planner
from sim.microscope.library import (
    PIXEL_NM,
    Library,
    draw_of_class,
    film_wave,
    load_library,
    make_library,
    propagated,
    resampled,
    true_class,
)
from sim.microscope.story import Story
from sim.optics.conditions import Conditions
from sim.optics.imaging import expected_image
from sim.optics.multislice import exit_wave
from sim.specimen.carbon import amorphous_slab
from sim.specimen.draw import Specimen

SIDE_NM = 9.6


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library()


def test_the_shipped_library_holds_what_sessions_need(library: Library) -> None:
    assert len(library.particles) == 96
    for name in ("yes", "no", "null", "unscored"):
        assert len(library.of_class(name)) >= 6
    for material in ("CdSe-wurtzite", "CdSe-zincblende", "Au"):
        for name in ("yes", "no", "null"):
            assert library.of_class(name, material)
    for particle, name in zip(library.particles, library.classes, strict=True):
        assert (true_class(particle.record, np.inf) or "unscored") == name
        assert particle.wave.shape == particle.mask.shape
        # Cropped where it no longer differs from vacuum.
        border = np.concatenate(
            [particle.wave[0], particle.wave[-1], particle.wave[:, 0], particle.wave[:, -1]]
        )
        assert np.abs(border - 1).mean() < 0.05
        assert np.abs(particle.wave[particle.mask] - 1).mean() > 0.1
    assert library.path.stat().st_size < 20e6


def test_a_film_on_a_film_is_what_full_multislice_gives() -> None:
    upper, lower = film_wave(4.8, 1.0, 1), film_wave(4.8, 0.8, 2)
    both = np.vstack(
        [
            amorphous_slab(4.8, 0.8, 2) + np.array([0, 0, 0.2]),
            amorphous_slab(4.8, 1.0, 1) + np.array([0, 0, 1.0]),
        ]
    ).astype(np.float64)
    wave = exit_wave(Specimen(4.8, 2.2, (), both, 1.8), 192)
    full = propagated(wave, PIXEL_NM, 300.0, -0.7)  # to the upper film's middle
    product = upper.wave * propagated(lower.wave, PIXEL_NM, 300.0, 0.9)
    images = [expected_image(w, PIXEL_NM, Conditions(defocus_nm=-40)) for w in (full, product)]
    assert np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] > 0.999
    assert (images[0] - images[1]).std() < 0.03 * images[0].std()


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


def test_a_made_library_is_read_back(tmp_path: Path) -> None:
    import sim.microscope.library as module

    path = tmp_path / "small.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FILMS", ((4.8, 0.8), (4.0, 0.8)))
        make_library(path, waves=2, seed=1)
        again = tmp_path / "again.h5"
        make_library(again, waves=2, seed=1)
    read = load_library(path)
    assert read.classes == ("yes", "no")
    assert [f.thickness_nm for f in read.films] == [0.8, 0.8]
    assert path.read_bytes() == again.read_bytes()
    with pytest.raises(ValueError, match=r"no particle of CdSe-wurtzite.* of the class null"):
        Planner(Story(), read)


def test_a_class_that_is_drawn_is_that_class() -> None:
    rng = np.random.default_rng(0)
    for wanted in ("yes", "no", "null"):
        assert true_class(draw_of_class("Au", wanted, rng).record(), np.inf) == wanted


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not there; make it with"):
        load_library(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("not at all")
    with pytest.raises(ValueError, match="no library of waves"):
        load_library(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "faultwatch wave library 1"
    with pytest.raises(ValueError, match="of this version"):
        load_library(tmp_path / "other.h5")
