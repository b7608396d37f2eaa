"""Particles, carbon and the rule that names a particle's class."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from sim.carbon import ATOMS_PER_NM3_AT_1_G_PER_CM3, BOND_NM, amorphous_slab, piece_of_slab
from sim.materials import MATERIALS
from sim.particle import SHAPES, build, build_polycrystal, crystal
from sim.specimen import Placed, projected_mask
from sim.stacking import Fault, word
from sim.truth import FaultGeometry, classify, fringe_signal_to_noise, visibility

X, Y, Z = np.eye(3)


@pytest.mark.parametrize("name", MATERIALS)
def test_nearest_neighbours_stand_at_the_bond_length(name: str) -> None:
    """Au 0.2884 nm, CdSe 0.263 nm: a faulted stack keeps every bond of the perfect one."""
    material = MATERIALS[name]
    base = "h" if material.hexagonal else "c"
    faults = [("I1", 4)] if base == "h" else [("intrinsic", 4)]
    positions, _, _ = crystal(material, word(base, 12, faults), 3.0)
    core = positions[np.linalg.norm(positions, axis=1) < 1.0]
    distance, _ = cKDTree(positions).query(core, k=2)
    bond = material.net_nm if len(material.basis) == 1 else 0.75 * material.layer_nm
    np.testing.assert_allclose(distance[:, 1], bond, rtol=0.01)


def test_zinc_blende_and_wurtzite_cdse_have_the_same_density() -> None:
    volumes = [
        MATERIALS[n].net_nm ** 2 * np.sqrt(3) / 2 * MATERIALS[n].layer_nm
        for n in ("CdSe-wurtzite", "CdSe-zincblende")
    ]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.01)
    assert volumes[0] == pytest.approx(0.0561, rel=0.01)  # nm³ a formula unit, from a³/4 of zinc blende


@pytest.mark.parametrize("shape", SHAPES)
def test_a_particle_has_about_the_diameter_asked_for(shape: str) -> None:
    particle = build(MATERIALS["Au"], 5.0, shape, [], "near", 0.0, np.random.default_rng(2))
    extent = np.ptp(particle.positions, axis=0)
    assert 3.5 < np.median(extent) < 7.0
    assert np.abs(particle.positions.max(axis=0) + particle.positions.min(axis=0)).max() < 1e-9


def test_faults_survive_the_cutting_and_know_their_depth() -> None:
    particle = build(MATERIALS["CdSe-wurtzite"], 6.0, "sphere", ["I2"], "near", 0.0, np.random.default_rng(5))
    (geometry,) = particle.faults
    assert geometry.fault.kind == "I2"
    inner = particle.stack[geometry.fault.layer - 1 : geometry.fault.layer + geometry.fault.layers + 1]
    assert len(set(inner)) == 3  # three letters meet at an I2, two in perfect wurtzite
    assert geometry.depth_layers == min(
        geometry.fault.layer, len(particle.stack) - geometry.fault.layer - geometry.fault.layers
    )


def test_grains_do_not_overlap() -> None:
    particle = build_polycrystal(MATERIALS["Au"], 4.0, "sphere", 3, np.random.default_rng(1))
    distance, _ = cKDTree(particle.positions).query(particle.positions, k=2)
    # At a boundary two lattices meet as they are cut: close pairs are there, but few.
    assert np.mean(distance[:, 1] < 0.2) < 0.2


def test_visibility_by_zone() -> None:
    cdse = MATERIALS["CdSe-wurtzite"]
    assert visibility(cdse, X, 5.0).weight == pytest.approx(1.0)
    assert visibility(cdse, Y, 5.0).weight < 0.25  # ⟨10-10⟩
    assert visibility(cdse, Z, 5.0).weight < 0.25  # [0001] hides the sequence
    tilts = [
        visibility(cdse, np.array([np.cos(t), 0, np.sin(t)]), 5.0).weight for t in np.radians([0, 2, 4, 6])
    ]
    assert tilts == sorted(tilts, reverse=True)
    sixty = np.array([0.5, np.sqrt(3) / 2, 0])
    assert visibility(cdse, sixty, 5.0).weight == pytest.approx(1.0)  # the next ⟨11-20⟩


def test_the_rule_of_classes() -> None:
    cdse = MATERIALS["CdSe-wurtzite"]
    in_zone, off = visibility(cdse, X, 4.0), visibility(cdse, Z, 4.0)
    deep = FaultGeometry(Fault("I1", 6, 1), depth_layers=5, chord_nm=3.0, thickness_nm=4.0)
    shallow = FaultGeometry(Fault("I1", 1, 1), depth_layers=1, chord_nm=3.0, thickness_nm=4.0)
    assert classify(cdse, in_zone, (), 5.0) == "no"
    assert classify(cdse, in_zone, (deep,), 5.0) == "yes"
    assert classify(cdse, in_zone, (shallow,), 5.0) is None  # never `no`
    assert classify(cdse, in_zone, (shallow, deep), 5.0) == "yes"
    assert classify(cdse, off, (deep,), 5.0) == "null"
    assert classify(cdse, in_zone, (deep,), 0.1) == "null"  # the dose hides it
    assert classify(cdse, in_zone, (deep,), 1.0) is None


def test_fringe_signal_to_noise_of_a_known_fringe() -> None:
    """A fringe of amplitude 0.1 over N electrons a layer: 0.1 √(N/2), whatever its phase, and none without it."""
    material, pixel = MATERIALS["CdSe-wurtzite"], 0.025
    rows, cols = np.mgrid[:240, :240] * pixel
    mask = np.hypot(rows - 3, cols - 3) < 2.5
    fringe = 1 + 0.1 * np.cos(2 * np.pi * material.row_per_nm * rows + 1.0)
    dose = 4e4
    measured = fringe_signal_to_noise(fringe, mask, (1, 0), (0, 1), material, pixel, dose)
    chord = 4.0  # about the median chord of a disc of radius 2.5 nm
    expected = 0.1 * np.sqrt(dose * material.layer_nm * chord / 2)
    assert measured == pytest.approx(expected, rel=0.15)
    assert fringe_signal_to_noise(np.ones_like(rows), mask, (1, 0), (0, 1), material, pixel, dose) < 1e-6


def test_carbon_is_dense_and_keeps_its_distance() -> None:
    slab = amorphous_slab(4.0, 3.0, seed=3, density_g_cm3=1.9)
    box = np.array([4.0, 4.0, 3.0])
    assert len(slab) == round(ATOMS_PER_NM3_AT_1_G_PER_CM3 * 1.9 * 48)
    close = cKDTree(slab.astype(float) % box, boxsize=box).query_pairs(0.95 * BOND_NM)
    assert len(close) < 0.005 * len(slab)
    np.testing.assert_array_equal(slab, amorphous_slab(4.0, 3.0, seed=3, density_g_cm3=1.9))
    piece = piece_of_slab(slab, 4.0, 3.0, 1.5, np.random.default_rng(0))
    assert len(piece) == pytest.approx(len(slab) / 2, rel=0.1)
    assert piece[:, 2].max() < 1.5
    with pytest.raises(ValueError, match="from a slab of 3"):
        piece_of_slab(slab, 4.0, 3.0, 5.0, np.random.default_rng(0))


def test_masks_are_periodic_and_whole_at_the_border() -> None:
    particle = build(MATERIALS["Au"], 4.0, "sphere", [], "near", 0.0, np.random.default_rng(0))
    middle = projected_mask(Placed(particle, (6.4, 6.4, 0)), 12.8, 256)
    corner = projected_mask(Placed(particle, (0.0, 0.0, 0)), 12.8, 256)
    np.testing.assert_array_equal(np.roll(middle, (128, 128), (0, 1)), corner)
    radius = np.sqrt(middle.sum() / np.pi) * 0.05
    assert 1.7 < radius < 2.3
