"""Specimens hold what their recipe asks for, and masks follow the particles."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from sim.specimen.carbon import amorphous_slab
from sim.specimen.draw import (
    ATOM_RADIUS_NM,
    CONTACT_NM,
    OUTLINE_NM,
    TOUCHING_NM,
    Placed,
    Recipe,
    SlabOfCarbon,
    Specimen,
    draw_specimen,
    label_image,
    projected_mask,
)
from sim.specimen.materials import MATERIALS
from sim.specimen.particle import build

SLAB = SlabOfCarbon(amorphous_slab(9.6, 3.0, seed=5), 9.6, 3.0)
PLAIN = Recipe(
    9.6,
    {"CdSe-wurtzite": 1.0, "fcc:Cu:0.3615": 1.0},
    particles=(2, 3),
    diameter_nm=(2.0, 3.2),
    carbon_nm=(1.0, 3.0),
    no_particle=0.0,
    no_carbon=0.0,
    edge_of_carbon=0.0,
    overlapping=0.0,
    soot=0.0,
    contamination=0.0,
)


def gaps_in_projection(specimen: Specimen) -> list[float]:
    """Distance of the nearest atoms in projection, for every two particles of a periodic field [nm]."""
    side = specimen.side_nm
    flat = [(p.particle.positions[:, :2] + p.centre[:2]) % side for p in specimen.particles]
    trees = [cKDTree(np.minimum(xy, np.nextafter(side, 0)), boxsize=side) for xy in flat]
    return [
        float(trees[j].query(flat[i])[0].min()) for i in range(len(flat)) for j in range(len(flat)) if i < j
    ]


def test_specimens_are_reproducible_from_the_seed() -> None:
    recipe = replace(PLAIN, soot=0.5, contamination=0.5, polytype=0.5, clusters=0.5, edge_of_carbon=0.5)
    one, same, another = (draw_specimen(recipe, SLAB, np.random.default_rng(n)) for n in (1, 1, 2))
    np.testing.assert_array_equal(one.atoms()[0], same.atoms()[0])
    assert [p.particle.record() for p in one.particles] == [p.particle.record() for p in same.particles]
    assert len(one.atoms()[0]) != len(another.atoms()[0])


def test_materials_of_a_recipe_can_be_texts() -> None:
    specimens = [draw_specimen(PLAIN, SLAB, np.random.default_rng(n)) for n in range(4)]
    names = {p.particle.material.name for s in specimens for p in s.particles}
    assert names == {"CdSe-wurtzite", "fcc:Cu:0.3615"}


def test_clusters_touch_and_are_not_cut_into_each_other() -> None:
    clustered = replace(PLAIN, clusters=1.0, particles=(3, 3))
    touching = []
    for seed in range(6):
        gaps = gaps_in_projection(draw_specimen(clustered, SLAB, np.random.default_rng(seed)))
        assert min(gaps) > TOUCHING_NM - 0.03
        touching.append(sum(gap < TOUCHING_NM + 0.03 for gap in gaps))
    assert min(touching) >= 1
    assert max(touching) >= 2
    apart = [gaps_in_projection(draw_specimen(PLAIN, SLAB, np.random.default_rng(n))) for n in range(6)]
    assert sum(gap < TOUCHING_NM + 0.03 for gaps in apart for gap in gaps) <= 1


def test_overlapping_particles_lie_on_both_sides_of_the_film() -> None:
    recipe = replace(PLAIN, overlapping=1.0, particles=(3, 3))
    sides = []
    for seed in range(6):
        specimen = draw_specimen(recipe, SLAB, np.random.default_rng(seed))
        film = specimen.carbon[:, 2]
        for placed in specimen.particles:
            z = placed.particle.positions[:, 2] + placed.centre[2]
            assert z.min() >= film.max() + CONTACT_NM - 1e-9 or z.max() <= film.min() - CONTACT_NM + 0.05
            assert z.min() > 0
            assert z.max() < specimen.height_nm
            sides.append(bool(z.min() > film.max()))
    assert set(sides) == {True, False}


@pytest.mark.parametrize("cover", ["soot", "contamination"])
def test_what_covers_a_particle_leaves_its_place_free(cover: str) -> None:
    recipe = replace(PLAIN, no_carbon=0.0, **{cover: 1.0})
    more = 0
    for seed in range(4):
        plain = draw_specimen(PLAIN, SLAB, np.random.default_rng(seed))
        specimen = draw_specimen(recipe, SLAB, np.random.default_rng(seed))
        more += len(specimen.carbon) - len(plain.carbon)
        for placed in specimen.particles:
            tree = cKDTree(placed.particle.positions + placed.centre)
            assert tree.query(specimen.carbon)[0].min() > 0.9 * CONTACT_NM
        assert specimen.carbon[:, 2].max() < specimen.height_nm
    assert more > 500


def test_fields_of_soot_alone() -> None:
    recipe = replace(PLAIN, soot_only=True, soot_nm=(4.0, 6.0))
    for slab, film_nm in ((SLAB, 1.0), (None, 0.0)):
        specimen = draw_specimen(recipe, slab, np.random.default_rng(4))
        assert specimen.particles == ()
        assert not label_image(specimen, 64).any()
        assert specimen.carbon_nm >= film_nm
        assert len(specimen.carbon) > 3000
        assert specimen.carbon[:, 2].min() > 0
        assert specimen.carbon[:, 2].max() < specimen.height_nm < 14


def test_empty_fields_and_vacuum() -> None:
    empty = draw_specimen(replace(PLAIN, no_particle=1.0), SLAB, np.random.default_rng(0))
    assert (empty.particles, len(empty.carbon) > 1000) == ((), True)
    nothing = draw_specimen(replace(PLAIN, no_particle=1.0, no_carbon=1.0), SLAB, np.random.default_rng(0))
    assert (nothing.particles, len(nothing.carbon)) == ((), 0)
    assert nothing.height_nm > 0


def test_the_share_near_a_zone_is_as_set() -> None:
    for share in (0.0, 1.0):
        recipe = replace(PLAIN, near_zone=share, named_zone=0.0, largest_tilt_deg=5.0)
        tilts = [
            (p.particle.zone_tilt or 0.0) if p.particle.zone in ("[11-20]", "[110]") else 90.0
            for n in range(6)
            for p in draw_specimen(recipe, None, np.random.default_rng(n)).particles
        ]
        assert (max(tilts) <= 5.001) == (share == 1.0)


def test_ase_gets_the_same_atoms_in_angstrom() -> None:
    particle = build(MATERIALS["PbS"], 4.0, "rod", [], "near", 0.0, np.random.default_rng(0))
    atoms = particle.atoms()
    np.testing.assert_allclose(atoms.positions, particle.positions * 10)
    assert set(atoms.get_chemical_symbols()) == {"Pb", "S"}
    specimen = Specimen(8.0, 6.0, (Placed(particle, (1.0, 4.0, 3.0)),), np.full((1, 3), 0.5), 1.0)
    whole = specimen.ase_atoms()
    assert len(whole) == len(particle.positions) + 1
    np.testing.assert_allclose(whole.cell.lengths(), [80, 80, 60])
    positions, numbers = specimen.atoms()
    np.testing.assert_allclose(whole.positions, positions * 10)
    np.testing.assert_array_equal(whole.numbers, numbers)
    assert (whole.positions[:, :2] >= 0).all()
    assert (whole.positions[:, :2] <= 80).all()


def test_masks_are_periodic_and_whole_at_the_border() -> None:
    particle = build(MATERIALS["Au"], 4.0, "sphere", [], "near", 0.0, np.random.default_rng(0))
    middle = projected_mask(Placed(particle, (6.4, 6.4, 0)), 12.8, 256)
    corner = projected_mask(Placed(particle, (0.0, 0.0, 0)), 12.8, 256)
    np.testing.assert_array_equal(np.roll(middle, (128, 128), (0, 1)), corner)
    radius = np.sqrt(middle.sum() / np.pi) * 0.05
    assert 1.7 < radius < 2.3


def test_a_mask_ends_just_beyond_the_outermost_atoms() -> None:
    """0.07 nm, to a pixel of 0.025 nm; every atom lies in it, and nothing is further from all of them than a disc."""
    rng = np.random.default_rng(0)
    particle = build(MATERIALS["PbS"], 4.0, "irregular", [], "near", 3.0, rng)
    mask = projected_mask(Placed(particle, (3.2, 3.2, 0)), 6.4, 256)
    xy = particle.positions[:, :2] + 3.2
    assert mask[tuple((xy / 0.025).astype(int).T)].all()
    distance, _ = cKDTree(xy).query((np.argwhere(mask) + 0.5) * 0.025)
    assert distance.max() < ATOM_RADIUS_NM
    for axis in (0, 1):
        inside = np.flatnonzero(mask.any(axis=1 - axis)) * 0.025
        assert xy[:, axis].min() - inside.min() == pytest.approx(OUTLINE_NM, abs=0.04)
        assert inside.max() + 0.025 - xy[:, axis].max() == pytest.approx(OUTLINE_NM, abs=0.04)
