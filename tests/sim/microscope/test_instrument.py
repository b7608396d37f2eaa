"""The virtual microscope as an instrument: corrected and not, its voltage, its contrast."""

import numpy as np
import pytest

from sim.microscope.instrument import aligned, margin_px
from sim.microscope.library import Library, load_library
from sim.microscope.play import take_frames
from sim.microscope.story import Story
from sim.optics.conditions import MICROSCOPES, scherzer_nm


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library()


def test_an_uncorrected_microscope_is_drawn_from_its_kind() -> None:
    kind = MICROSCOPES["uncorrected"]
    drawn = [aligned(Story(seed=seed, corrected=False), 200.0) for seed in range(20)]
    for start in drawn:
        assert start.microscope == "uncorrected"
        assert kind.cs_um[0] <= start.cs_um <= kind.cs_um[1]
        assert start.defocus_nm == pytest.approx(scherzer_nm(start.cs_um, 200.0))
    assert np.ptp([start.cs_um for start in drawn]) > 300
    assert aligned(Story(), 300.0).cs_um < 0


def test_scherzers_defocus() -> None:
    """-1.2 √(C3 λ): 1 mm and 2.51 pm at 200 kV give -60 nm."""
    assert scherzer_nm(1000.0, 200.0) == pytest.approx(-60.1, abs=0.2)


def test_the_stobbs_factor_of_a_session_is_drawn_once(library: Library) -> None:
    story = Story(frames=3, size=256, seed=2, stobbs=(1.0, 2.5))
    factors = {taken.conditions.stobbs for taken in take_frames(story, library)}
    assert len(factors) == 1
    drawn = [aligned(Story(seed=seed, stobbs=(1.0, 2.5)), 300.0).stobbs for seed in range(200)]
    assert np.mean(drawn) == pytest.approx(1.75, abs=0.1)


def test_the_stobbs_factor_takes_contrast(library: Library) -> None:
    """The power of speckle and fringes falls by its square; at this dose the electrons' noise is little beside it."""

    def power(factor: float) -> float:
        story = Story(frames=1, size=512, seed=5, dose_e_per_A2=2e4, defocus_nm=-60, stobbs=(factor, factor))
        (taken,) = take_frames(story, library)
        counts = taken.counts - float(taken.conditions.camera.dark_counts)
        along = np.fft.fftfreq(512, taken.pixel_size_nm)
        k = np.hypot(along[:, None], along[None, :])
        return float((np.abs(np.fft.fft2(counts / counts.mean())) ** 2)[(k > 0.7) & (k < 2.5)].mean())

    assert power(1.0) / power(2.5) == pytest.approx(2.5**2, rel=0.1)


@pytest.mark.parametrize("energy_kev", [200.0, 80.0])
def test_a_story_is_played_at_its_voltage(energy_kev: float) -> None:
    story = Story(frames=1, size=512, seed=5, energy_kev=energy_kev, corrected=False, dose_e_per_A2=2000)
    (taken,) = take_frames(story, load_library(energy_kev=energy_kev))
    assert taken.conditions.energy_kev == energy_kev
    assert taken.truth()["conditions"]["microscope"] == "uncorrected"
    assert taken.truth()["carbon_nm"] > 2
    assert len(taken.particles) > 0


def test_the_margin_holds_what_aberrations_displace() -> None:
    corrected = aligned(Story(), 300.0)
    wide = aligned(Story(corrected=False), 200.0)
    assert margin_px(Story(corrected=False), 0.025, wide) > margin_px(Story(), 0.025, corrected) > 40
