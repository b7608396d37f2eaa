"""Materials and particles: what is built obeys the stacking rule."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial import cKDTree

from sim.specimen.materials import MATERIALS, Material, hollow_letters, parse_material
from sim.specimen.particle import MIXTURES, build, build_polycrystal, crystal
from sim.specimen.shapes import SHAPES
from sim.specimen.stacking import POLYTYPE, RUNS, find_faults, surroundings, word

FAULTED = [(name, kind) for name in MATERIALS for kind in RUNS[MATERIALS[name].base]]
OF_EVERY_POLYTYPE = ["CdSe-wurtzite", "CdSe-zincblende", "PbS", "Au"]
TEXTS = {
    "fcc:Cu:0.3615": ("fcc", (29,), 0.2556),
    "zincblende:GaAs:0.56533": ("zinc blende", (31, 33), 0.2448),
    "zincblende:Ga:As:0.56533": ("zinc blende", (31, 33), 0.2448),
    "wurtzite:Zn:O:0.3250:0.5207": ("wurtzite", (30, 8), 0.1953),
    "wurtzite:GaN:0.3189:0.5186": ("wurtzite", (31, 7), 0.1945),
    "rocksalt:Pb:S:0.5936": ("rock salt", (82, 16), 0.2968),
    "rocksalt:MgO:0.4212": ("rock salt", (12, 8), 0.2106),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.items())
def test_a_material_is_one_text_away(text: str, expected: tuple[str, tuple[int, ...], float]) -> None:
    material = parse_material(text)
    assert (material.polytype, material.numbers) == expected[:2]
    assert material.bond_nm == pytest.approx(expected[2], abs=1e-4)
    assert parse_material(material.name) == material


def test_known_names_are_materials_too() -> None:
    for name, material in MATERIALS.items():
        assert parse_material(name) is material
    assert parse_material("rocksalt:Pb:S:0.5936") == replace(MATERIALS["PbS"], name="rocksalt:Pb:S:0.5936")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no material"),
        ("unobtainium", "no material"),
        ("hcp:Co:0.2507:0.4070", "no material"),
        ("fcc", "no material"),
        ("fcc:Cu", "takes 1 element"),
        ("fcc:Cu:Cu:0.3615", "takes 1 element"),
        ("zincblende:Ga:0.56533", "takes 2 element"),
        ("zincblende:gaas:0.56533", "takes 2 element"),
        ("wurtzite:ZnO:0.3250", "takes 2 element"),
        ("fcc:Xx:0.3615", "no element"),
        ("fcc:X:0.3615", "no element"),
        ("fcc:Cu:wide", "must be numbers"),
        ("fcc:Cu:3.615", "2.5562 nm apart"),  # Å taken for nm
        ("fcc:Cu:nan", "nm apart"),
        ("fcc:Cu:-0.3615", "nm apart"),
        ("wurtzite:ZnO:0.3250:0.9", "c/a is 2.769"),
        ("wurtzite:ZnO:0:0.5", "c/a is nan"),
    ],
)
def test_nonsense_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_material(text)


@pytest.mark.parametrize("name", MATERIALS)
def test_nearest_neighbours_stand_at_the_bond_length(name: str) -> None:
    """Au 0.2884 nm, CdSe 0.263 nm, PbS 0.2968 nm: a faulted stack keeps every bond of the perfect one."""
    material = MATERIALS[name]
    kind = "I1" if material.hexagonal else "intrinsic"
    positions, _, _ = crystal(material, word(material.base, 12, [(kind, 4)]), 3.0)
    core = positions[np.linalg.norm(positions, axis=1) < 1.0]
    distance, _ = cKDTree(positions).query(core, k=2)
    np.testing.assert_allclose(distance[:, 1], material.bond_nm, rtol=0.01)


@pytest.mark.parametrize(
    ("name", "neighbours"), [("Au", 12), ("PbS", 6), ("CdSe-zincblende", 4), ("CdSe-wurtzite", 4)]
)
def test_every_atom_has_its_neighbours(name: str, neighbours: int) -> None:
    """Coordination 12, 6, 4, 4, in compounds all of the other kind."""
    material = MATERIALS[name]
    positions, numbers, _ = crystal(material, word(material.base, 12), 4.0)
    core = np.flatnonzero(np.linalg.norm(positions, axis=1) < 1.0)
    around = cKDTree(positions).query_ball_point(positions[core], 1.1 * material.bond_nm)
    for atom, near in zip(core, around, strict=True):
        assert len(near) == neighbours + 1
        if len(material.basis) > 1:
            assert sum(numbers[near] == numbers[atom]) == 1


def test_cubic_lattice_constants_come_out_again() -> None:
    """Density of formula units is 4 / a³."""
    for name, a_nm in (("Au", 0.4078), ("PbS", 0.5936), ("CdSe-zincblende", 0.6077)):
        m = MATERIALS[name]
        assert m.net_nm**2 * np.sqrt(3) / 2 * m.layer_nm == pytest.approx(a_nm**3 / 4)
    m = MATERIALS["CdSe-wurtzite"]  # as dense as zinc blende
    assert m.net_nm**2 * np.sqrt(3) / 2 * m.layer_nm == pytest.approx(0.6077**3 / 4, rel=0.01)


def letters_from_positions(
    material: Material, positions: npt.NDArray[np.float64], site: int, numbers: npt.NDArray[np.int64]
) -> str:
    """The word of one kind of atoms of a crystal in its own frame, from where they are: A is the lowest layer's."""
    atoms = positions[numbers == material.numbers[site]]
    # Whole layers apart: any origin will do that is not on an edge.
    layer = np.rint((atoms[:, 2] - atoms[:, 2].min()) / material.layer_nm).astype(int)
    first = atoms[layer == 0][0]
    # In units of the net's two vectors, letters lie 1/3 of both apart; modulo one, the net itself drops out.
    cell = np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]]) * material.net_nm
    steps = (atoms[:, :2] - first[:2]) @ np.linalg.inv(cell) * 3
    whole = np.rint(steps).astype(int)
    assert np.abs(steps - whole).max() < 0.01
    assert ((whole[:, 0] - whole[:, 1]) % 3 == 0).all()
    return "".join("ABC"[int(np.unique(whole[layer == i][:, 0] % 3).item())] for i in range(layer.max() + 1))


@pytest.mark.parametrize(("name", "kind"), FAULTED)
def test_built_atoms_obey_the_stacking_rule(name: str, kind: str) -> None:
    """The word read back from the atoms' places is the one asked for, and holds the one fault."""
    material = MATERIALS[name]
    stack = word(material.base, 14, [(kind, 5)])
    positions, numbers, _ = crystal(material, stack, 2.0)
    assert letters_from_positions(material, positions, 0, numbers) == stack
    (fault,) = find_faults(letters_from_positions(material, positions, 0, numbers), material.base)
    assert (fault.kind, fault.layer) == (kind, 5)


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, k in FAULTED if len(MATERIALS[n].basis) > 1])
def test_anions_follow_the_word(name: str, kind: str) -> None:
    """Over the cations in wurtzite and zinc blende, in the hollow between two layers in rock salt."""
    material = MATERIALS[name]
    stack = word(material.base, 14, [(kind, 5)])
    positions, numbers, _ = crystal(material, stack, 2.0)
    cations, anions = (positions[numbers == n] for n in material.numbers)
    for i, (this, after) in enumerate(pairwise(stack)):
        level = (i - 13 / 2) * material.layer_nm
        anion = anions[np.abs(anions[:, 2] - level - material.basis[1].height * material.layer_nm) < 1e-6]
        anion = anion[np.argmin(np.hypot(anion[:, 0], anion[:, 1]))]
        below = cations[np.abs(cations[:, 2] - level) < 1e-6]
        above = cations[np.abs(cations[:, 2] - level - material.layer_nm) < 1e-6]
        aside = [np.hypot(*(layer - anion)[:, :2].T).min() for layer in (below, above)]
        third = material.net_nm / np.sqrt(3)
        np.testing.assert_allclose(
            aside, [third if material.polytype == "rock salt" else 0.0, third], atol=1e-9
        )
        assert hollow_letters(stack)[i] not in (this, after)


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, k in FAULTED if n in OF_EVERY_POLYTYPE])
def test_a_particle_carries_its_word(name: str, kind: str) -> None:
    """Turned back into the crystal's frame, the atoms of a particle spell the word of its record."""
    rng = np.random.default_rng(1)
    particle = build(
        MATERIALS[name], 5.0, "sphere", [kind], "random", 0.0, rng, displacement_nm=0.0, roughness=0.0
    )
    crystal_frame = particle.positions @ particle.rotation
    # Layers of fewer than three atoms at the caps are not in the word.
    cations = crystal_frame[particle.numbers == particle.material.numbers[0]]
    level = np.rint((cations[:, 2] - cations[:, 2].min()) / particle.material.layer_nm).astype(int)
    full = np.flatnonzero(np.bincount(level) >= 3)
    within = np.isin(level, full)
    numbers = np.full(int(within.sum()), particle.material.numbers[0])
    found = letters_from_positions(particle.material, cations[within], 0, numbers)
    assert surroundings(found) in surroundings(particle.stack)
    assert kind in [fault.fault.kind for fault in particle.faults]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("diameter", [2.0, 5.0, 12.0])
def test_a_particle_has_about_the_diameter_asked_for(shape: str, diameter: float) -> None:
    particle = build(MATERIALS["Au"], diameter, shape, [], "near", 0.0, np.random.default_rng(2))
    extent = np.ptp(particle.positions, axis=0)
    assert 0.7 * diameter < np.median(extent) < 1.4 * diameter
    assert np.abs(particle.positions.max(axis=0) + particle.positions.min(axis=0)).max() < 1e-9


def test_several_faults_in_one_particle() -> None:
    counts = {
        len(
            build(MATERIALS["Au"], 7.0, "sphere", ["twin", "intrinsic", "extrinsic"], "near", 0.0, rng).faults
        )
        for rng in map(np.random.default_rng, range(6))
    }
    assert max(counts) == 3


def test_roughness_and_disorder_are_set() -> None:
    def particle(**settings: float) -> npt.NDArray[np.float64]:
        rng = np.random.default_rng(3)
        return build(MATERIALS["Au"], 4.0, "sphere", [], "near", 0.0, rng, **settings).positions

    smooth = particle(roughness=0.0, displacement_nm=0.0)
    rough = particle(roughness=0.5, displacement_nm=0.0)
    # The outermost 0.15 nm of 2 nm hold 1 - (1 - 0.075)³ = 21 % of the atoms; half of them are gone.
    assert len(rough) / len(smooth) == pytest.approx(1 - 0.5 * 0.21, abs=0.03)
    shaken = particle(roughness=0.0, displacement_nm=0.01)
    nearest = [cKDTree(p).query(p, k=2)[0][:, 1] for p in (smooth, shaken)]
    assert nearest[0].std() < 1e-6
    assert 0.003 < nearest[1].std() < 0.02


@pytest.mark.parametrize("name", ["CdSe-wurtzite", "CdSe-zincblende"])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_mixtures_of_polytypes_hold_a_lamella_and_no_fault(name: str, mixture: str) -> None:
    material = MATERIALS[name]
    shares = []
    for seed in range(8):
        particle = build(
            material, 6.0, "sphere", [], "near", 0.0, np.random.default_rng(seed), mixture=mixture
        )
        assert [fault.fault.kind for fault in particle.faults] == [POLYTYPE]
        (lamella,) = particle.faults
        other = "c" if material.hexagonal else "h"
        layers = surroundings(particle.stack)[lamella.fault.layer - 1 :][: lamella.fault.layers]
        assert layers == other * lamella.fault.layers
        shares.append(lamella.fault.layers / len(particle.stack))
    assert (0.35 < np.mean(shares) < 0.65) if mixture == "half" else (0.2 < np.mean(shares) < 0.45)


def test_an_unknown_mixture_or_shape_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no mixture"):
        build(MATERIALS["Au"], 4.0, "sphere", [], "near", 0.0, rng, mixture="marbled")
    with pytest.raises(ValueError, match="no shape"):
        build(MATERIALS["Au"], 4.0, "banana", [], "near", 0.0, rng)


def test_grains_do_not_overlap() -> None:
    particle = build_polycrystal(MATERIALS["Au"], 4.0, "sphere", 3, np.random.default_rng(1))
    distance, _ = cKDTree(particle.positions).query(particle.positions, k=2)
    # At a boundary two lattices meet as they are cut: close pairs are there, but few.
    assert np.mean(distance[:, 1] < 0.2) < 0.2
    assert particle.record()["zone"] is None
