"""The torch forms of the optics give what abTEM and the NumPy forms give."""

import zlib

import numpy as np
import pytest
import torch

from models.examples.chance import Chance
from sim.dataset.presets import PRESETS
from sim.optics.batched import camera, imaging, multislice
from sim.optics.batched.parameters import Parameters, rows
from sim.optics.camera import CAMERAS
from sim.optics.conditions import Conditions, draw_conditions
from sim.optics.imaging import exposure
from sim.optics.multislice import exit_wave
from sim.specimen.draw import draw_specimen
from sim.specimen.thickness import mass_thickness

GPTS = 256


@pytest.fixture(scope="module")
def specimen():
    """Particles in vacuum, a few thousand atoms."""
    rng = np.random.default_rng([5, zlib.crc32(b"lattice"), 1])
    return draw_specimen(PRESETS["lattice"].recipe, None, rng)


@pytest.fixture(scope="module")
def wave(specimen) -> np.ndarray:
    return exit_wave(specimen, GPTS, 300.0)


@pytest.mark.parametrize("energy", [300.0, 80.0])
def test_exit_waves_are_those_of_abtem(specimen, energy: float) -> None:
    expected = exit_wave(specimen, GPTS, energy)
    positions, numbers = specimen.atoms()
    found = multislice.Multislice(GPTS)(
        positions, numbers, specimen.side_nm, specimen.height_nm, energy
    ).numpy()
    scattered = np.linalg.norm(expected - expected.mean())
    assert np.linalg.norm(found - expected) < 1e-3 * scattered


def test_scattering_factors_are_those_of_abtem() -> None:
    from abtem.parametrizations import KirklandParametrization

    k2 = np.linspace(0, 9, 50)
    for number, symbol in ((1, "H"), (16, "S"), (48, "Cd"), (79, "Au"), (82, "Pb")):
        expected = KirklandParametrization().projected_scattering_factor(symbol)(k2)
        found = multislice.projected_factor(number, torch.from_numpy(k2)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_mass_thickness_is_that_of_the_specimen(specimen) -> None:
    positions, numbers = specimen.atoms()
    found = multislice.mass_thickness(positions, numbers, specimen.side_nm, GPTS).numpy()
    expected = mass_thickness(specimen, GPTS)
    assert np.abs(found - expected).max() < 0.01 * expected.max()


@pytest.mark.parametrize("microscope", ["corrected", "uncorrected", "overview"])
def test_intensities_are_those_of_the_numpy_form(specimen, wave: np.ndarray, microscope: str) -> None:
    rng = np.random.default_rng(3)
    drawn = [
        draw_conditions(rng, preset=microscope, energy_kev=e, field_nm=specimen.side_nm)
        for e in (300.0, 200.0, 80.0)
    ]
    gold, pixel = mass_thickness(specimen, GPTS), specimen.side_nm / GPTS
    expected = np.stack([exposure(wave, gold, pixel, c) for c in drawn])
    waves, thick = (torch.from_numpy(np.stack([a] * 3)) for a in (wave, gold))
    found = imaging.exposure(waves, thick, pixel, Parameters.of(drawn)).numpy()
    for one, other in zip(found, expected, strict=True):
        assert np.linalg.norm(one - other) < 1e-4 * np.linalg.norm(other - other.mean())


@pytest.mark.parametrize("name", CAMERAS)
def test_counts_have_the_mean_and_the_noise_of_the_numpy_form(name: str) -> None:
    from sim.optics.imaging import record

    conditions = Conditions(dose_e_per_A2=200.0, camera=CAMERAS[name])
    flat = np.ones((GPTS, GPTS), np.float32)
    expected = record(flat, 0.025, conditions, np.random.default_rng(1))
    found = camera.record(torch.from_numpy(flat)[None], 0.025, Parameters.of([conditions]), Chance(1))[
        0
    ].numpy()
    assert found.mean() == pytest.approx(expected.mean(), rel=0.01)
    inner = [np.diff(np.clip(x, *np.percentile(x, [1, 99])), axis=0).std() for x in (found, expected)]
    assert inner[0] == pytest.approx(inner[1], rel=0.03)


def test_illumination_departs_by_what_the_conditions_say() -> None:
    lit = camera.illumination((64, 64), Parameters.of([Conditions(illumination=0.3)] * 4), Chance(2))
    assert float((lit - 1).abs().amax((1, 2)).min()) == pytest.approx(0.3, abs=1e-5)


def test_one_seed_gives_one_image() -> None:
    p = Parameters.of([Conditions()] * 2)
    flat = torch.ones(2, 64, 64)
    one, again, other = (camera.record(flat, 0.05, p, Chance(seed)) for seed in ((4, 1), (4, 1), (4, 2)))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


def test_a_row_holds_every_number_of_the_conditions() -> None:
    c = Conditions(defocus_nm=-17.0, camera=CAMERAS["direct"])
    p = Parameters(torch.from_numpy(rows([c])))
    assert float(p["defocus_nm"]) == -17.0
    assert float(p["mtf_nyquist"]) == pytest.approx(0.55)
    assert float(p.with_energy(torch.tensor([80.0]))["wavelength_nm"]) == pytest.approx(0.004176, rel=1e-3)
