"""The gallery, and what frames are compared by."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim.checks.figure import draw_carbon
from sim.checks.gallery import CONDITIONS, Film, image, kinds
from sim.checks.likeness import PIXEL_NM, draw, evened, figures, power_spectrum, real
from sim.specimen.carbon import amorphous_slab
from sim.specimen.draw import SlabOfCarbon


def test_a_kind_of_the_gallery_is_imaged_under_each_condition() -> None:
    rng = np.random.default_rng(0)
    film = Film(SlabOfCarbon(amorphous_slab(12.8, 1.0, 0), 12.8, 1.0), 1.0)
    specimen, waves = kinds(film, rng)["Au, twin"](), {}
    assert [f.fault.kind for p in specimen.particles for f in p.particle.faults] == ["twin"]
    frames = [image(specimen, waves, c, rng) for c in list(CONDITIONS.values())[:2]]
    assert len(waves) == 1
    assert all(frame.shape == (512, 512) for frame in frames)
    # The first has more than ten times the second's dose.
    assert frames[0].mean() > 8 * frames[1].mean()


def test_a_sinusoid_has_its_peak_where_it_belongs() -> None:
    x = np.arange(256) * PIXEL_NM
    frame = 100 + np.random.default_rng(0).normal(0, 1, (256, 256)) + 5 * np.sin(2 * np.pi * 4.2 * x)
    k, spectrum = power_spectrum(frame)
    assert k[spectrum.argmax()] == pytest.approx(4.2, abs=0.08)
    assert figures(frame)["power 3 to 6 nm⁻¹"] > 0.5


def test_noise_has_no_skewness_and_its_power_grows_with_the_ring() -> None:
    told = figures(np.random.default_rng(1).normal(50, 3, (256, 256)))
    assert abs(told["skewness"]) < 0.05
    assert abs(told["excess kurtosis"]) < 0.1
    assert told["power above 6 nm⁻¹"] > 0.5


def test_real_frames_come_at_the_common_sampling(tmp_path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (200, 220), np.uint8)
    Image.fromarray(picture).save(tmp_path / "frame.png")
    assert real(tmp_path / "frame.png", 0.05).shape == (200, 220)
    assert real(tmp_path / "frame.png", 0.1).shape == (256, 256)
    figure = draw([("noise", evened(picture), evened(picture))])
    assert len(figure.axes) == 4


def test_the_picture_of_carbon_says_its_peaks(tmp_path: Path) -> None:
    said: list[str] = []
    draw_carbon(tmp_path / "carbon.png", said.append)
    assert len(said) == 3
    peaks = [float(line.split("first peak ")[1].split()[0]) for line in said]
    assert all(0.142 <= peak <= 0.152 for peak in peaks)
    with Image.open(tmp_path / "carbon.png") as picture:
        assert picture.size == (700, 340)
