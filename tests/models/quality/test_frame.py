"""Figures of frames whose defocus, astigmatism, blur, dose and illumination are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from models.preprocess import Preprocessing, canonical
from models.quality.frame import Quality, frame_quality, of_blocks
from models.quality.rings import wavelength_nm
from sim.microscope import play
from sim.microscope.library import load_library
from sim.microscope.story import BlankField, OffFocus, Story

STEP = 0.05
REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "segmented"


def film(
    *,
    defocus_nm: float = -6.0,
    astigmatism_nm: float = 0.0,
    along_deg: float = 0.0,
    blur_nm: float = 0.0,
    blur_deg: float = 0.0,
    electrons: float = 25.0,
    energy_kev: float = 300.0,
    pixel_nm: float = 0.025,
    side: int = 768,
    contrast: float = 0.06,
    reach_per_nm: float = 6.0,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """(side, side) counts of an amorphous film: white scattering behind sin(π λ (C1 + A1 cos 2(θ - φ)) k²).

    An electron gives 20 counts, with a transfer of 0.4 at Nyquist, on a dark level of 100. Directions: from the rows'
    axis to the columns'.
    """
    rng = np.random.default_rng(seed)
    kr, kc = np.fft.fftfreq(side, pixel_nm)[:, None], np.fft.rfftfreq(side, pixel_nm)[None]
    k, angle = np.hypot(kr, kc), np.arctan2(kc, kr)
    focus = defocus_nm + astigmatism_nm * np.cos(2 * (angle - np.radians(along_deg)))
    transfer = np.sin(np.pi * wavelength_nm(energy_kev) * focus * k**2) * np.exp(-((k / reach_per_nm) ** 2))
    along = blur_nm * (kr * np.cos(np.radians(blur_deg)) + kc * np.sin(np.radians(blur_deg)))
    scattered = np.fft.rfft2(rng.normal(size=(side, side))) / pixel_nm * 0.25 * contrast
    grain = np.fft.irfft2(scattered * transfer * np.sinc(along), s=(side, side))
    counted = rng.poisson(electrons * np.clip(1 + grain, 0, None))
    spread = 1 / (1 + (np.hypot(kr, kc) * 2 * pixel_nm) ** 2 * 1.5)
    seen = np.fft.irfft2(np.fft.rfft2(counted) * spread, s=(side, side)) + 0.3 * rng.normal(size=(side, side))
    return 100 + 20 * seen


def quality_of(counts: npt.NDArray[Any], pixel_nm: float = 0.025, energy_kev: float = 300.0) -> Quality:
    """The figures, by way of the preprocessing."""
    prepared = canonical(counts, pixel_nm, Preprocessing())
    return frame_quality(counts, prepared.image, STEP, pixel_nm, energy_kev)[0]


@pytest.mark.parametrize("defocus_nm", [-45.0, 60.0, -90.0, -150.0])
def test_thon_rings_tell_the_defocus(defocus_nm: float) -> None:
    quality = quality_of(film(defocus_nm=defocus_nm))
    assert quality["defocus_nm"] == pytest.approx(abs(defocus_nm), rel=0.03)
    assert float(quality.get("astigmatism_nm", 0.0)) < 0.05 * abs(defocus_nm)


def test_thon_rings_tell_the_astigmatism_and_its_direction() -> None:
    quality = quality_of(film(defocus_nm=80.0, astigmatism_nm=10.0, along_deg=30.0))
    assert quality["defocus_nm"] == pytest.approx(80.0, rel=0.03)
    assert quality["astigmatism_nm"] == pytest.approx(10.0, abs=2.0)
    assert quality["astigmatism_deg"] == pytest.approx(30.0, abs=8.0)


def test_the_energy_counts() -> None:
    counts = film(defocus_nm=-60.0, energy_kev=80.0)
    assert quality_of(counts, energy_kev=80.0)["defocus_nm"] == pytest.approx(60.0, rel=0.03)
    assert quality_of(counts)["defocus_nm"] == pytest.approx(
        60.0 * wavelength_nm(80.0) / wavelength_nm(300.0), rel=0.03
    )


def test_in_focus_no_rings_are_told() -> None:
    assert [seed for seed in range(8) if "defocus_nm" in quality_of(film(seed=seed))] == []


@pytest.mark.parametrize("blur_deg", [20.0, 75.0, 140.0])
def test_a_directional_blur_is_told_in_nanometres(blur_deg: float) -> None:
    quality = quality_of(film(defocus_nm=-15.0, blur_nm=0.25, blur_deg=blur_deg))
    assert quality["blur_nm"] == pytest.approx(0.25, abs=0.05)
    off = (float(quality["blur_deg"]) - blur_deg + 90) % 180 - 90
    assert abs(off) < 10


def test_without_blur_there_is_little_of_it_and_more_sharpness() -> None:
    still, smeared = quality_of(film(defocus_nm=-15.0)), quality_of(film(defocus_nm=-15.0, blur_nm=0.3))
    assert float(still["blur_nm"]) < 0.12
    assert float(smeared["sharpness_per_nm"]) < float(still["sharpness_per_nm"])
    assert float(smeared["information_limit_per_nm"]) <= float(still["information_limit_per_nm"])


def test_the_information_limit_falls_with_the_envelope_and_is_missing_without_specimen() -> None:
    sharp, soft = quality_of(film(defocus_nm=-10.0)), quality_of(film(defocus_nm=-10.0, reach_per_nm=3.0))
    assert 5.0 < float(sharp["information_limit_per_nm"]) < 9.0
    assert float(soft["information_limit_per_nm"]) < 0.75 * float(sharp["information_limit_per_nm"])
    vacuum = quality_of(film(contrast=0.0))
    assert "information_limit_per_nm" not in vacuum
    assert abs(float(vacuum["signal"])) < 0.1


def test_the_noise_goes_with_the_dose_and_not_with_the_dark_level() -> None:
    usual, low = quality_of(film()), quality_of(film(electrons=5.0) + 1000)
    assert float(low["noise_power"]) / float(usual["noise_power"]) == pytest.approx(0.2, rel=0.2)
    assert float(usual["noise_whiteness"]) == pytest.approx(0.16, abs=0.05)


def test_dark_frames_are_white_noise() -> None:
    dark = quality_of(100 + 6 * np.random.default_rng(1).normal(size=(512, 512)))
    assert float(dark["noise_whiteness"]) > 0.9
    assert "information_limit_per_nm" not in dark


def test_gain_and_offset_change_no_figure_of_the_imaging() -> None:
    counts = film(defocus_nm=-90.0)
    usual, other = quality_of(counts), quality_of(7 * counts + 3000)
    for name in ("defocus_nm", "information_limit_per_nm", "sharpness_per_nm", "signal", "noise_whiteness"):
        assert other[name] == pytest.approx(usual[name], rel=1e-3), name


def test_a_half_dark_frame_says_how_much_is_dark() -> None:
    counts = film(defocus_nm=-90.0)
    counts[:, :192] = 100 + 6 * np.random.default_rng(2).normal(size=(768, 192))
    assert quality_of(counts)["dark_share"] == pytest.approx(0.25, abs=0.04)
    assert quality_of(film(defocus_nm=-90.0))["dark_share"] < 0.01


def test_a_constant_frame_and_a_small_one_have_no_spectrum() -> None:
    constant = quality_of(np.full((512, 512), 7.0))
    assert constant["verdict"] == "constant"
    assert "noise_power" not in constant
    small = quality_of(film(side=160, pixel_nm=0.05), 0.05)
    assert "noise_power" in small
    assert "noise_power" not in quality_of(film(side=100, pixel_nm=0.05), 0.05)


def test_blocks_are_put_together() -> None:
    parts: list[Quality] = [
        {"verdict": "saturated", "signal": 1.0, "likeness": 0.004, "unlike": True, "blur_deg": 170.0},
        {
            "verdict": "ok",
            "signal": 3.0,
            "likeness": 0.5,
            "unlike": False,
            "defocus_nm": 60.0,
            "blur_deg": 2.0,
        },
    ]
    assert of_blocks(parts) == {
        "verdict": "ok",
        "signal": 2.0,
        "likeness": pytest.approx(0.008),
        "unlike": True,
        "blur_deg": 170.0,
        "defocus_nm": 60.0,
    }


def test_in_a_filtered_picture_the_noise_is_not_known() -> None:
    filtered = quality_of(cv2.GaussianBlur(film(defocus_nm=-90.0), (0, 0), 2.0))
    assert "signal" not in filtered
    assert "information_limit_per_nm" not in filtered
    assert float(filtered["sharpness_per_nm"]) > 0


@pytest.mark.slow
def test_frames_of_the_virtual_microscope() -> None:
    story = Story(
        frames=3,
        size=768,
        seed=5,
        events=(OffFocus(first=1, last=1, defocus_nm=-84.0), BlankField(first=2)),
    )
    good, off, blank = (quality_of(taken.counts) for taken in play.take_frames(story, load_library()))
    assert "defocus_nm" not in good
    assert off["defocus_nm"] == pytest.approx(90.0, abs=8.0)
    assert float(off["sharpness_per_nm"]) < 0.75 * float(good["sharpness_per_nm"])
    assert "information_limit_per_nm" in good
    assert "information_limit_per_nm" not in blank


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real frames are not there (../shared/data)")
def test_real_frames_have_finite_figures_and_none_is_dark() -> None:
    paths = sorted(REAL.glob("heated-particles/0*_image.png")) + sorted(REAL.glob("gold-330kx/00_image.png"))
    assert paths
    for path in paths:
        quality = quality_of(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), 0.05)
        assert all(np.isfinite(value) for value in quality.values() if not isinstance(value, str)), path.name
        assert "sharpness_per_nm" in quality, path.name
        assert quality["verdict"] == "ok", path.name
        assert float(quality["dark_share"]) < 0.2, path.name


def test_the_document_lists_every_figure() -> None:
    document = (Path(__file__).parents[3] / "docs" / "alarms.md").read_text(encoding="utf-8")
    counts = film(defocus_nm=80.0, astigmatism_nm=10.0)
    figures = {
        *quality_of(counts),
        "covered",
        "likeness",
        "unlike",
        "unlike_by",
    }
    assert len(figures) > 15
    assert [name for name in figures if f"`{name}`" not in document] == []


def test_replaced_conditions_are_those_of_the_story() -> None:
    """The defocus that the tests above rely on is the one that the frame was taken with."""
    story = Story(frames=1, size=256, seed=5, defocus_nm=-84.0)
    (taken,) = play.take_frames(replace(story), load_library())
    assert taken.conditions.defocus_nm == pytest.approx(-84.0, abs=6.0)
