"""A streamed image is what the simulation of data sets makes of the same specimen under the same conditions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.examples.chance import Chance
from models.preprocess import Preprocessing, standardise
from sim.optics.batched.parameters import Parameters
from sim.optics.camera import CAMERAS
from sim.optics.imaging import exposure
from sim.optics.multislice import exit_wave
from sim.optics.transfer import resample
from sim.specimen.draw import label_image
from sim.specimen.thickness import mass_thickness
from sim.streaming.images import photographed, reduced, tiles
from sim.streaming.specimens import Drawn, Plan, draw, specimen_of
from sim.streaming.waves import Kept, Ring, Waves, fields

ENDLESS = 1e7
"""A dose at which the noise is below a thousandth [e⁻/Å²]."""


@pytest.fixture(scope="module")
def waves(plan: Plan) -> Waves:
    return Waves(4, plan.presets, plan.gpts, "cpu")


@pytest.fixture(scope="module")
def kept(waves: Waves, lattice: Drawn) -> Kept:
    return waves.exit_wave(lattice)


def test_it_is_the_image_that_a_data_set_would_have(plan: Plan, lattice: Drawn, kept: Kept) -> None:
    """abTEM, the NumPy imaging and the NumPy preprocessing on one side, torch on the other; without noise."""
    preset, specimen, _ = specimen_of(plan, lattice.number)
    assert preset == lattice.preset == "lattice"
    wave, gold_nm = exit_wave(specimen, plan.gpts, lattice.energy_kev), mass_thickness(specimen, plan.gpts)
    labels = label_image(specimen, plan.gpts)
    pixel = specimen.side_nm / plan.gpts
    plain = {"camera": CAMERAS["ideal"], "dose_e_per_A2": ENDLESS, "illumination": 0.0, "smoothing_nm": 0.0}
    conditions = [replace(c, **plain) for c in lattice.conditions]
    batch = fields([kept] * len(conditions), Parameters.of(conditions).table)
    found, truth = photographed(batch, specimen.side_nm, Chance(3))
    again = Chance(3)
    shifts = list(zip(*(again.integers(len(conditions), plan.gpts).tolist() for _ in range(2)), strict=True))
    assert len(set(shifts)) == len(conditions)
    for image, marked, shift, c in zip(found.numpy(), truth.numpy(), shifts, conditions, strict=True):
        expected = np.roll(exposure(wave, gold_nm, pixel, c), shift, (0, 1))
        expected = expected / expected.mean()
        assert np.linalg.norm(image - expected) < 0.01 * np.linalg.norm(expected - 1)
        seen = [standardise(x.astype(np.float32), Preprocessing()) for x in (image, expected)]
        assert np.sqrt(np.mean((seen[0] - seen[1]) ** 2)) < 0.02
        np.testing.assert_array_equal(marked, np.roll(labels, shift, (0, 1)))


def test_noise_and_camera_are_there(lattice: Drawn, kept: Kept) -> None:
    """The same wave twice under the same conditions: two images whose noise is their own."""
    batch = fields([kept] * 2, kept.conditions[:1].repeat(2, 1))
    (one, other), _ = photographed(batch, lattice.side_nm, Chance(1))
    assert one.isfinite().all()
    assert float(one.mean()) == pytest.approx(1, abs=1e-3)
    assert not torch.equal(one, other)


def test_reduction_is_that_of_the_numpy_form() -> None:
    image = np.random.default_rng(0).normal(1, 0.1, (64, 64)).astype(np.float32)
    found = reduced(torch.from_numpy(image)[None], 32)[0].numpy()
    np.testing.assert_allclose(found, resample(image, (32, 32)), atol=1e-5)


def test_wide_fields_are_cut_into_tiles() -> None:
    field = torch.arange(2 * 512 * 512).reshape(2, 512, 512)
    parts = tiles(field)
    assert parts.shape == (8, 256, 256)
    assert torch.equal(parts[5], field[1, :256, 256:])


def test_a_specimen_follows_from_plan_and_number(plan: Plan, lattice: Drawn) -> None:
    again, other = draw(plan, 1), draw(replace(plan, seed=(plan.seed[0], 7)), 1)
    assert np.array_equal(again.positions, lattice.positions)
    assert again.conditions == lattice.conditions
    assert np.array_equal(again.empty, lattice.empty)
    assert other.positions.shape != lattice.positions.shape


def test_those_to_validate_by_are_others(plan: Plan, lattice: Drawn) -> None:
    apart = draw(replace(plan, split="validation"), 1)
    assert apart.positions.shape != lattice.positions.shape


def test_the_oldest_waves_are_replaced(waves: Waves, lattice: Drawn) -> None:
    """Of four places three are for the lattice, one for bare films."""
    few = replace(lattice, positions=lattice.positions[:1], numbers=lattice.numbers[:1], height_nm=0.2)
    for energy in (80.0, 200.0, 300.0, 300.0):
        conditions = tuple(replace(c, energy_kev=energy) for c in few.conditions)
        waves.add(replace(few, energy_kev=energy, conditions=conditions))
    waves.add(replace(few, preset="bare"))
    assert len(waves) == 4
    drawn = waves.draw(["lattice"], [1.0], 60, Chance(0))
    energies = drawn.parameters["energy_kev"].flatten().tolist()
    assert set(energies) == {200.0, 300.0}
    assert energies.count(200.0) == pytest.approx(20, abs=12)


def test_a_ring_keeps_the_newest() -> None:
    ring = Ring(4, 2, torch.half, "cpu")
    for n in range(3):
        ring.add(torch.full((2, 2, 2), float(n)))
    assert ring.filled == 4
    assert sorted(ring.at(torch.arange(4))[:, 0, 0].tolist()) == [1, 1, 2, 2]
    ring.add(torch.arange(9.0)[:, None, None].expand(9, 2, 2))
    assert sorted(ring.at(torch.arange(4))[:, 0, 0].tolist()) == [5, 6, 7, 8]
    assert set(ring.draw(50, Chance(0))[:, 0, 0].tolist()) == {5, 6, 7, 8}
