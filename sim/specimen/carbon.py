"""Carbon: amorphous films with measured density and pair distances, and turbostratic soot.

The film is a network of threefold and fourfold atoms, relaxed by bond springs and a repulsion of all further pairs. It
has what neutron diffraction finds in amorphous carbon: a first peak of the radial distribution at 0.146 nm with 3.3
neighbours, an empty gap, and a second peak at 0.25 nm (Li and Lannin, Phys. Rev. Lett. 65 (1990) 1905; Robertson,
Mater. Sci. Eng. R 37 (2002) 129). Rings, stresses and electronic structure are not modelled.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

Points = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

ATOMS_PER_NM3_AT_1_G_PER_CM3 = 50.14
"""Carbon atoms per nm³ at 1 g/cm³: Avogadro's number / 12.011 u."""
BOND_NM = 0.145
"""Length of a bond of a threefold atom [nm]: between graphite's 0.142 and a single bond."""
FOURFOLD_BOND_NM = 0.152
"""Length of a bond between two fourfold atoms [nm]."""
FOURFOLD = 0.4
"""Share of fourfold (sp³) atoms; the others are threefold."""
SECOND_NM = 0.248
"""Atoms that are not bonded are at least about so far apart: second neighbours at 120° [nm]."""
REACH_NM = 0.27
"""A bond is begun between atoms up to so far apart [nm]."""
LIST_NM = 0.278
"""Reach of the list of pairs, renewed every `RENEW` steps [nm]."""
RENEW = 4

GRAPHENE_NM = 0.246
"""Lattice constant of graphene [nm]."""
SHELL_NM = 0.348
"""Distance of the layers of turbostratic carbon [nm]; graphite has 0.335."""
FLAKE_NM = 1.5
"""Width of the flakes that a shell of soot is made of [nm]."""

SOOT_SHARE = 0.7
"""Largest diameter of a primary particle in an aggregate, in units of the field's side, which is periodic."""


def amorphous_slab(
    side_nm: float, thickness_nm: float, seed: int, density_g_cm3: float = 1.9, steps: int = 48
) -> npt.NDArray[np.float32]:
    """A slab (N, 3) [nm] of amorphous carbon, periodic in all three directions; its density is exact.

    From random places, every step moves each atom by a share of what its springs ask for: bonds (`_bonds`) towards
    their length, all other pairs apart to `SECOND_NM`. In the first half a fading random motion frees what is stuck.
    """
    rng = np.random.default_rng(seed)
    box = np.array([side_nm, side_nm, thickness_nm])
    count = round(ATOMS_PER_NM3_AT_1_G_PER_CM3 * density_g_cm3 * float(np.prod(box)))
    positions = rng.uniform(0, 1, (count, 3)) * box
    valence = np.where(rng.random(count) < FOURFOLD, 4, 3)
    warm = steps // 2
    first = second = np.zeros(0, np.int64)
    bonded = np.zeros(0, bool)
    for step in range(steps):
        renew = step % RENEW == 0
        if step < warm:
            positions += rng.normal(0, 0.03 * (1 - step / warm), positions.shape)
        if renew:
            positions = _folded(positions, box)
            pairs = cKDTree(positions, boxsize=box).query_pairs(LIST_NM, output_type="ndarray")
            first, second = pairs[:, 0], pairs[:, 1]
        apart = positions[first] - positions[second]
        apart -= box * np.round(apart / box)
        distance = np.sqrt(np.einsum("ij,ij->i", apart, apart))
        if renew:
            bonded = _bonds(first, second, distance, valence)
            both_fourfold = (valence[first] == 4) & (valence[second] == 4)
            length = np.where(both_fourfold, FOURFOLD_BOND_NM, BOND_NM)
        # Shares of the two springs: small enough that three neighbours together do not overshoot.
        move = np.where(bonded, 0.25 * (length - distance), 0.22 * np.clip(SECOND_NM - distance, 0, None))
        push = apart * (move / np.maximum(distance, 1e-3))[:, None]
        for axis in range(3):
            positions[:, axis] += np.bincount(first, push[:, axis], count)
            positions[:, axis] -= np.bincount(second, push[:, axis], count)
    return np.asarray(positions % box, dtype=np.float32)


def _folded(positions: Points, box: Points) -> Points:
    return np.minimum(positions % box, np.nextafter(box, 0))


def _bonds(first: Numbers, second: Numbers, distance: Points, valence: Numbers) -> npt.NDArray[np.bool_]:
    """Which pairs are bonds: each of the two is among the nearest that the other's valence has room for."""
    bonded = np.zeros(len(first), bool)
    left = valence.copy()
    for _ in range(2):  # the second time with what the first has left over
        open_pairs = np.flatnonzero(~bonded & (distance < REACH_NM) & (left[first] > 0) & (left[second] > 0))
        i, j = first[open_pairs], second[open_pairs]
        rank_of_j, rank_of_i = _ranks(i, j, distance[open_pairs], len(valence))
        chosen = (rank_of_j < left[i]) & (rank_of_i < left[j])
        bonded[open_pairs[chosen]] = True
        for atoms in (i[chosen], j[chosen]):
            left -= np.bincount(atoms, minlength=len(valence))
    return bonded


def _ranks(i: Numbers, j: Numbers, distance: Points, count: int) -> tuple[Numbers, Numbers]:
    """For each pair how many of i's pairs are shorter, and how many of j's."""
    atom = np.concatenate([i, j])
    order = np.lexsort((np.concatenate([distance, distance]), atom))
    pairs_of = np.bincount(atom, minlength=count)
    begin = np.cumsum(pairs_of) - pairs_of
    rank = np.empty(len(atom), np.int64)
    rank[order] = np.arange(len(atom)) - begin[atom[order]]
    return rank[: len(i)], rank[len(i) :]


def radial_distribution(
    positions: npt.NDArray[np.floating], box: npt.NDArray[np.floating], largest_nm: float, bins: int
) -> tuple[Points, Points]:
    """Distances (bins,) [nm] and g(r) (bins,) of a periodic set of atoms: 1 where they are placed by chance.

    Parameters
    ----------
    positions : (N, 3) [nm]; folded into the box.
    box : (3,) sides of the periodic box [nm].
    largest_nm : up to this distance, at most half the box.

    Raises
    ------
    ValueError
        `largest_nm` is more than half the box.
    """
    sides = np.asarray(box, dtype=np.float64)
    if largest_nm > sides.min() / 2:
        raise ValueError(
            f"distances up to {largest_nm} nm in a periodic box of {sides.min()} nm; half of it at most"
        )
    folded = _folded(np.asarray(positions, dtype=np.float64), sides)
    pairs = cKDTree(folded, boxsize=sides).query_pairs(largest_nm, output_type="ndarray")
    apart = folded[pairs[:, 0]] - folded[pairs[:, 1]]
    apart -= sides * np.round(apart / sides)
    counts, edges = np.histogram(np.linalg.norm(apart, axis=1), bins, (0, largest_nm))
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    by_chance = len(folded) * (len(folded) - 1) / 2 * shells / float(np.prod(sides))
    return (edges[:-1] + edges[1:]) / 2, counts / by_chance


def coordination(
    positions: npt.NDArray[np.floating], box: npt.NDArray[np.floating], within_nm: float = 0.19
) -> float:
    """Mean number of neighbours within a distance [nm] in a periodic box; the first gap lies at 0.19 nm."""
    sides = np.asarray(box, dtype=np.float64)
    tree = cKDTree(_folded(np.asarray(positions, dtype=np.float64), sides), boxsize=sides)
    return 2 * len(tree.query_pairs(within_nm, output_type="ndarray")) / len(positions)


def piece_of_slab(
    slab: npt.NDArray[np.float32],
    side_nm: float,
    slab_nm: float,
    thickness_nm: float,
    rng: np.random.Generator,
) -> Points:
    """A thinner piece (M, 3) [nm] of a periodic slab: shifted, flipped and turned at random, its bottom at z = 0.

    Raises
    ------
    ValueError
        The slab is thinner than the piece.
    """
    if thickness_nm > slab_nm:
        raise ValueError(f"{thickness_nm:.1f} nm of carbon from a slab of {slab_nm:.1f} nm")
    piece = slab.astype(np.float64)
    piece[:, :2] = (piece[:, :2] + rng.uniform(0, side_nm, 2)) % side_nm
    piece[:, 2] = (piece[:, 2] + rng.uniform(0, slab_nm)) % slab_nm
    if rng.random() < 0.5:
        piece[:, 0] = side_nm - piece[:, 0]
    if rng.random() < 0.5:
        piece = piece[:, [1, 0, 2]]
    return piece[piece[:, 2] < thickness_nm]


def soot_particle(diameter_nm: float, rng: np.random.Generator) -> Points:
    """A primary particle of soot (M, 3) [nm], on the origin: turbostratic shells of graphene flakes.

    The shells follow one another at `SHELL_NM`, bent together and broken where a flake is missing; each flake is turned
    and a little tilted by chance, and towards the centre the order is lost. So it shows the curved (002) fringes of
    carbon black, and no others that go on (Harris, *Carbon Nanotubes and Related Structures*, Cambridge 1999).
    """
    flake = _graphene(2 * FLAKE_NM)
    bends = rng.normal(0, 2.0, (8, 3))
    phases = rng.uniform(0, 2 * np.pi, 8)
    depths = rng.normal(0, 0.12, 8)
    shells = []
    for radius in np.arange(diameter_nm / 2, 0.3, -SHELL_NM):
        flakes = max(4, round(4 * np.pi * radius**2 / FLAKE_NM**2))
        turns = Rotation.random(flakes, random_state=rng.integers(2**31)).as_matrix()
        poles = turns[:, :, 2]
        raised = flake + np.array([0.0, 0.0, radius])
        points = np.einsum("fij,nj->fni", turns, raised).reshape(-1, 3)
        owner = np.repeat(np.arange(flakes), len(flake))
        direction = points / np.linalg.norm(points, axis=1)[:, None]
        here = rng.random(flakes) > 0.08
        _, nearest = cKDTree(poles).query(direction)
        kept = (nearest == owner) & here[owner]
        direction, owner = direction[kept], owner[kept]
        slopes = rng.normal(0, 0.1, (flakes, 3))
        tilted = np.einsum("ni,ni->n", radius * (direction - poles[owner]), slopes[owner])
        disorder = 0.03 + 0.12 * np.exp(-radius / 0.8)
        bent = np.cos(direction @ bends.T + phases) @ depths * min(1.0, radius / 3)
        height = radius + bent + tilted + rng.normal(0, disorder, flakes)[owner]
        height += rng.normal(0, 0.008, len(owner))
        shells.append(direction * height[:, None])
    atoms = np.concatenate(shells)
    seams = cKDTree(atoms).query_pairs(0.12, output_type="ndarray")
    return np.asarray(np.delete(atoms, np.unique(seams[:, 1]), axis=0))


def _graphene(width_nm: float) -> Points:
    """A round flake (N, 3) [nm] of graphene in the plane z = 0."""
    reach = int(np.ceil(width_nm / GRAPHENE_NM)) + 1
    i, j = (n.ravel() for n in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    net = np.stack([i + j / 2, j * np.sqrt(3) / 2], axis=1) * GRAPHENE_NM
    both = np.concatenate([net, net + np.array([0.0, GRAPHENE_NM / np.sqrt(3)])])
    both = both[np.hypot(both[:, 0], both[:, 1]) <= width_nm / 2 + 1e-9]
    return np.column_stack([both, np.zeros(len(both))])


def soot_aggregate(side_nm: float, diameter_nm: tuple[float, float], rng: np.random.Generator) -> Points:
    """A chain (M, 3) [nm] of two to five touching primary particles of soot, at about one height.

    Parameters
    ----------
    side_nm : of the field, periodic in the plane; a particle that comes back into another one is cut there.
    diameter_nm : of the primary particles, from and to (log-uniform); at most `SOOT_SHARE` of the side.
    """
    low, high = (min(nm, SOOT_SHARE * side_nm) for nm in diameter_nm)
    centre = np.array([*rng.uniform(0, side_nm, 2), 0.0])
    direction = rng.uniform(0, 2 * np.pi)
    parts: list[Points] = []
    balls: list[tuple[Points, float]] = []
    for _ in range(int(rng.integers(2, 6))):
        radius = float(np.exp(rng.uniform(np.log(low), np.log(high)))) / 2
        if balls:
            direction += rng.normal(0, 0.7)
            way = balls[-1][1] + radius + SHELL_NM / 2
            centre = centre + way * np.array([np.cos(direction), np.sin(direction), 0.0])
            centre[2] = rng.uniform(-0.15, 0.15) * radius
        part = soot_particle(2 * radius, rng) + centre
        for other, other_radius in balls:
            apart = part - other
            apart[:, :2] -= side_nm * np.round(apart[:, :2] / side_nm)
            # A shell's distance, as far as the other one's bends can reach.
            clear = np.linalg.norm(apart, axis=1) > other_radius + SHELL_NM
            part = part[clear]
        parts.append(part)
        balls.append((centre, radius))
    return np.concatenate(parts)


def within_curved_edge(points: Points, side_nm: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """A film that ends along a wavy line: periodic across, a strip of vacuum between its two ends."""
    along, across = (points[:, 0], points[:, 1]) if rng.random() < 0.5 else (points[:, 1], points[:, 0])
    wave = rng.uniform(0.2, 0.8) * np.sin(2 * np.pi * along / side_nm + rng.uniform(0, 2 * np.pi))
    ends = np.abs((across + rng.uniform(0, side_nm) + wave) % side_nm - side_nm / 2)
    return np.asarray(ends < side_nm * rng.uniform(0.2, 0.4))


def within_hole_edge(points: Points, side_nm: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """A film with one hole whose edge is wavy."""
    apart = points[:, :2] - rng.uniform(0, side_nm, 2)
    apart -= side_nm * np.round(apart / side_nm)
    angle = np.arctan2(apart[:, 1], apart[:, 0])
    waves = sum(
        rng.normal(0, 0.04) * np.cos(n * angle + phase)
        for n, phase in enumerate(rng.uniform(0, 2 * np.pi, 4), 2)
    )
    return np.asarray(np.hypot(*apart.T) > side_nm * rng.uniform(0.2, 0.42) * (1 + waves))
