"""Amorphous carbon: a periodic slab of atoms with a physical density and no two of them closer than a bond."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

ATOMS_PER_NM3_AT_1_G_PER_CM3 = 50.14
"""Carbon atoms per nm³ at 1 g/cm³: Avogadro's number / 12.011 u."""

BOND_NM = 0.142
"""Shortest distance that is left standing [nm]; the sp² bond."""


def amorphous_slab(
    side_nm: float, thickness_nm: float, seed: int, density_g_cm3: float = 1.9, steps: int = 40
) -> npt.NDArray[np.float32]:
    """A periodic slab (N, 3) [nm] of amorphous carbon, by random placement and repulsion of what is too close.

    Every pair closer than a bond is pushed apart by its deficit, until few are left: the first peak of the radial
    distribution then stands at the bond length, the density is exact, and nothing further is ordered. It is a
    hard-sphere glass, not a network of sp² and sp³ bonds.
    """
    rng = np.random.default_rng(seed)
    box = np.array([side_nm, side_nm, thickness_nm])
    count = round(ATOMS_PER_NM3_AT_1_G_PER_CM3 * density_g_cm3 * float(np.prod(box)))
    positions = rng.uniform(0, 1, (count, 3)) * box
    for _ in range(steps):
        positions %= box
        np.minimum(positions, np.nextafter(box, 0), out=positions)
        pairs = cKDTree(positions, boxsize=box).query_pairs(BOND_NM, output_type="ndarray")
        if len(pairs) == 0:
            break
        first, second = pairs[:, 0], pairs[:, 1]
        apart = positions[first] - positions[second]
        apart -= box * np.round(apart / box)
        distance = np.linalg.norm(apart, axis=1)
        # A little further than needed, or two neighbours push the same atom back and forth without end.
        push = apart * (0.55 * (1.02 * BOND_NM - distance) / np.maximum(distance, 1e-3))[:, None]
        for axis in range(3):
            positions[:, axis] += np.bincount(first, push[:, axis], count)
            positions[:, axis] -= np.bincount(second, push[:, axis], count)
    return np.asarray(positions % box, dtype=np.float32)


def piece_of_slab(
    slab: npt.NDArray[np.float32],
    side_nm: float,
    slab_nm: float,
    thickness_nm: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
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
