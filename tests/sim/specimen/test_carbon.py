"""Amorphous carbon has the density and the pair distances that are measured; soot has its shells."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial import cKDTree

from sim.specimen.carbon import (
    ATOMS_PER_NM3_AT_1_G_PER_CM3,
    SHELL_NM,
    SOOT_SHARE,
    amorphous_slab,
    coordination,
    piece_of_slab,
    radial_distribution,
    soot_aggregate,
    soot_particle,
    within_curved_edge,
    within_hole_edge,
)

BOX = np.array([4.0, 4.0, 3.0])


@pytest.fixture(scope="module", params=[1.7, 1.9, 2.2])
def slab(request: pytest.FixtureRequest) -> npt.NDArray[np.float32]:
    return amorphous_slab(4.0, 3.0, seed=3, density_g_cm3=request.param)


def test_the_density_is_exact() -> None:
    """1.9 g/cm³ of 12.011 u an atom in 48 nm³."""
    expected = 1.9e-21 * 48 * 6.02214076e23 / 12.011
    assert len(amorphous_slab(4.0, 3.0, seed=3, density_g_cm3=1.9)) == pytest.approx(expected, rel=1e-3)
    per_gram_and_nm3 = 6.02214076e23 / 12.011 * 1e-21
    assert abs(ATOMS_PER_NM3_AT_1_G_PER_CM3 / per_gram_and_nm3 - 1) < 1e-4


def test_pair_distances_are_those_of_amorphous_carbon(slab: npt.NDArray[np.float32]) -> None:
    """First peak at 0.142 to 0.15 nm, an empty gap, second peak near 0.25 nm, no order further out."""
    distance, g = radial_distribution(slab, BOX, 1.4, 560)
    first, gap, second = (
        distance < 0.18,
        (distance > 0.18) & (distance < 0.21),
        (distance > 0.21) & (distance < 0.3),
    )
    assert 0.142 <= distance[first][g[first].argmax()] <= 0.150
    assert g[first].max() > 4
    assert g[gap].mean() < 0.1
    assert 0.240 <= distance[second][g[second].argmax()] <= 0.258
    assert g[second].max() > 2
    assert g[distance > 1.0].mean() == pytest.approx(1.0, abs=0.01)
    assert np.abs(g[distance > 1.0].reshape(-1, 16).mean(axis=1) - 1).max() < 0.05
    assert g[distance < 0.11].max() == 0


def test_atoms_have_three_to_three_and_a_half_neighbours(slab: npt.NDArray[np.float32]) -> None:
    assert 3.0 < coordination(slab, BOX) < 3.5


def test_a_slab_is_reproducible_and_its_seed_matters() -> None:
    np.testing.assert_array_equal(amorphous_slab(2.5, 2.0, seed=3), amorphous_slab(2.5, 2.0, seed=3))
    assert not np.array_equal(amorphous_slab(2.5, 2.0, seed=3), amorphous_slab(2.5, 2.0, seed=4))


def test_a_slab_is_periodic_in_all_directions(slab: npt.NDArray[np.float32]) -> None:
    """No seam: the pair distances stay the same when the box is cut anywhere else."""
    _, as_made = radial_distribution(slab, BOX, 0.5, 50)
    _, moved = radial_distribution(slab + np.array([1.3, 2.7, 0.9]), BOX, 0.5, 50)
    np.testing.assert_allclose(moved, as_made, atol=0.05)
    layers = np.histogram(slab[:, 2], 6, (0, 3.0))[0]
    assert layers.std() < 0.05 * layers.mean()


def test_the_radial_distribution_of_known_sets() -> None:
    """A simple cubic lattice has 6 neighbours at a and 12 at √2 a; a random set has none to prefer."""
    lattice = np.stack(np.meshgrid(*[np.arange(8) * 0.5] * 3), axis=-1).reshape(-1, 3)
    distance, g = radial_distribution(lattice, np.array([4.0, 4.0, 4.0]), 0.8, 80)
    shells = 4 / 3 * np.pi * ((distance + 0.005) ** 3 - (distance - 0.005) ** 3) * (len(lattice) - 1) / 64
    neighbours = g * shells
    assert neighbours[distance < 0.6].sum() == pytest.approx(6)
    assert neighbours[(distance > 0.6) & (distance < 0.75)].sum() == pytest.approx(12)
    by_chance = np.random.default_rng(0).uniform(0, 4, (6000, 3))
    _, flat = radial_distribution(by_chance, np.array([4.0, 4.0, 4.0]), 1.0, 5)
    np.testing.assert_allclose(flat[2:], 1, atol=0.02)
    with pytest.raises(ValueError, match="half of it at most"):
        radial_distribution(by_chance, np.array([4.0, 4.0, 1.0]), 0.6, 10)


def test_a_piece_of_a_slab_keeps_density_and_distances(slab: npt.NDArray[np.float32]) -> None:
    piece = piece_of_slab(slab, 4.0, 3.0, 1.5, np.random.default_rng(0))
    assert len(piece) == pytest.approx(len(slab) / 2, rel=0.05)
    assert piece[:, 2].max() < 1.5
    assert piece[:, 2].min() >= 0
    # Free surfaces cost neighbours there, nothing else changes.
    padded = np.array([4.0, 4.0, 4.0])
    assert 0.8 * coordination(slab, BOX) < coordination(piece, padded) < coordination(slab, BOX)
    with pytest.raises(ValueError, match="from a slab of 3"):
        piece_of_slab(slab, 4.0, 3.0, 5.0, np.random.default_rng(0))


@pytest.mark.slow
def test_the_largest_slab_is_made_as_well() -> None:
    """12.8 × 12.8 × 10 nm: the same pair distances in 156,000 atoms."""
    large = amorphous_slab(12.8, 10.0, seed=1)
    box = np.array([12.8, 12.8, 10.0])
    distance, g = radial_distribution(large, box, 0.3, 120)
    assert len(large) > 155_000
    assert 0.142 <= distance[g.argmax()] <= 0.150
    assert 3.0 < coordination(large, box) < 3.5


def test_soot_has_shells_of_carbon_at_their_distance() -> None:
    """Along any radius the atoms repeat at 0.348 nm; the density is that of carbon black, 1.6 to 2.1 g/cm³."""
    atoms = soot_particle(12.0, np.random.default_rng(2))
    radius = np.linalg.norm(atoms, axis=1)
    assert 5.5 < radius.max() < 6.8
    density = (radius < 5.0).sum() / (4 / 3 * np.pi * 5.0**3) / ATOMS_PER_NM3_AT_1_G_PER_CM3
    assert 1.6 < density < 2.1
    # The shells are bent together, so they are looked at in narrow cones.
    axes = np.random.default_rng(3).normal(size=(60, 3))
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    order = {}
    for spacing in (0.8 * SHELL_NM, SHELL_NM, 1.25 * SHELL_NM):
        sums = []
        for axis in axes:
            cone = radius[(atoms @ axis > 0.985 * radius) & (radius > 2.0)]
            sums.append(abs(np.exp(2j * np.pi * cone / spacing).mean()))
        order[spacing] = np.mean(sums)
    assert order[SHELL_NM] > 2 * max(order[0.8 * SHELL_NM], order[1.25 * SHELL_NM])


@pytest.mark.parametrize("seed", [0, 3])
def test_an_aggregate_of_soot_touches_and_does_not_overlap(seed: int) -> None:
    side = 20.0
    atoms = soot_aggregate(side, (8.0, 25.0), np.random.default_rng(seed))
    atoms[:, 2] -= atoms[:, 2].min() - 1.0
    box = np.array([side, side, 40.0])
    assert np.ptp(atoms[:, 2]) < 1.3 * SOOT_SHARE * side
    tree = cKDTree(np.minimum(atoms % box, np.nextafter(box, 0)), boxsize=box)
    assert len(tree.query_pairs(0.12)) < 0.01 * len(atoms)


@pytest.mark.parametrize("edge", [within_curved_edge, within_hole_edge])
def test_films_end_in_vacuum(edge: Callable[..., npt.NDArray[np.bool_]]) -> None:
    """Part of the field is film and part is not, and no film begins at the border of the periodic field."""
    grid = np.stack(np.meshgrid(*[np.arange(64) * 0.2] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    points = np.column_stack([grid, np.zeros(len(grid))])
    for seed in range(5):
        film = edge(points, 12.8, np.random.default_rng(seed)).reshape(64, 64)
        assert 0.15 < film.mean() < 0.95
        rows, columns = (film != np.roll(film, 1, 0)).sum(axis=1), (film != np.roll(film, 1, 1)).sum(axis=0)
        assert rows[0] < 64 * 0.3
        assert columns[0] < 64 * 0.3
