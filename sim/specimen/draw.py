"""A specimen: particles on a film of amorphous carbon, in a periodic box."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt
from ase import Atoms
from scipy.spatial import cKDTree

from sim.specimen.carbon import (
    piece_of_slab,
    soot_aggregate,
    soot_particle,
    within_curved_edge,
    within_hole_edge,
)
from sim.specimen.materials import Material, parse_material
from sim.specimen.particle import MIXTURES, Nanoparticle, build, build_polycrystal
from sim.specimen.shapes import SHAPES
from sim.specimen.stacking import RUNS

ATOM_RADIUS_NM = 0.19
"""The mask is the union of discs of this radius around the projected atoms, closed and filled [nm], ..."""
OUTLINE_NM = 0.07
"""... then drawn in until it reaches this far beyond the outermost atoms: where an eye puts the outline, for what lies
further out is the bright Fresnel fringe of an underfocused edge [nm]."""

TOUCHING_NM = 0.25
"""Distance in projection of the nearest atoms of two particles that touch [nm]."""
CONTACT_NM = 0.2
"""Distance of a particle from the film that carries it, and of carbon from a particle that it covers [nm]."""


@dataclass(frozen=True)
class Placed:
    """A particle and where its centre lies in the box [nm]."""

    particle: Nanoparticle
    centre: tuple[float, float, float]


@dataclass(frozen=True)
class Specimen:
    """One box of side `side_nm` (periodic in the plane), `height_nm` along the beam."""

    side_nm: float
    height_nm: float
    particles: tuple[Placed, ...]
    carbon: npt.NDArray[np.float64]
    """(M, 3) [nm]; none for a specimen in vacuum."""
    carbon_nm: float
    notes: dict[str, str | float] = field(default_factory=dict)

    def atoms(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Positions (N, 3) [nm], folded into the box, and atomic numbers (N,)."""
        positions = [self.carbon] + [p.particle.positions + p.centre for p in self.particles]
        numbers = [np.full(len(self.carbon), 6)] + [p.particle.numbers for p in self.particles]
        folded = np.concatenate(positions)
        folded[:, :2] %= self.side_nm
        return folded, np.concatenate(numbers)

    def ase_atoms(self) -> Atoms:
        """The specimen as ASE knows it: positions and cell in Å, periodic in the plane, the beam along z."""
        positions, numbers = self.atoms()
        cell = [self.side_nm * 10, self.side_nm * 10, self.height_nm * 10]
        return Atoms(numbers, positions * 10, cell=cell, pbc=(True, True, False))


@dataclass(frozen=True)
class SlabOfCarbon:
    """A cached periodic slab to cut films from."""

    positions: npt.NDArray[np.float32]
    side_nm: float
    thickness_nm: float


@dataclass(frozen=True)
class Recipe:
    """From what specimens are drawn; every share is a probability."""

    side_nm: float
    materials: dict[str, float]
    """Weight of each material, by name or text (see `sim.specimen.materials.parse_material`)."""
    particles: tuple[int, int]
    """How many, from and to (inclusive)."""
    diameter_nm: tuple[float, float]
    carbon_nm: tuple[float, float] = (2.0, 8.0)
    near_zone: float = 0.6
    named_zone: float = 0.2
    faulted: float = 0.5
    polycrystal: float = 0.0
    """Share of particles of two to four grains."""
    polytype: float = 0.0
    """Share of two polytypes in one particle, of those that are wurtzite or zinc blende."""
    roughness: tuple[float, float] = (0.0, 0.5)
    """Share of the outermost shell's atoms that is missing, from and to."""
    displacement_nm: tuple[float, float] = (0.003, 0.012)
    """Root mean square displacement of an atom along each axis, from and to [nm]."""
    largest_tilt_deg: float = 12.0
    no_particle: float = 0.06
    no_carbon: float = 0.05
    edge_of_carbon: float = 0.08
    """Share of films that end in view, along a line or around a hole."""
    overlapping: float = 0.2
    """Share with particles on both sides of the film, so that they overlap in projection."""
    clusters: float = 0.0
    """Share in which each particle touches another one side by side."""
    soot: float = 0.05
    """Share with one small particle of soot: curved fringes that are no particle of the kind looked for."""
    soot_only: bool = False
    """No particles but soot: an aggregate of touching primary particles."""
    soot_nm: tuple[float, float] = (8.0, 25.0)
    """Diameter of the aggregate's primary particles [nm]; at most `sim.specimen.carbon.SOOT_SHARE` of the field."""
    contamination: float = 0.12
    """Share with a dome of further amorphous carbon."""
    inside_nm: float | None = None
    """Keep every particle so far from the box's border [nm], so that fields can be put side by side."""


def draw_kinds(material: Material, faulted: float, rng: np.random.Generator) -> list[str]:
    """No fault, or one to three of the kinds that the material can have."""
    if rng.random() >= faulted:
        return []
    kinds = list(RUNS[material.base])
    return [
        str(kind) for kind in rng.choice(kinds, size=1 + int(rng.random() < 0.3) + int(rng.random() < 0.1))
    ]


def draw_particle(recipe: Recipe, rng: np.random.Generator) -> Nanoparticle:
    """One particle of a recipe; the tilt of those near a zone is half-normal."""
    names = list(recipe.materials)
    weights = np.array([recipe.materials[name] for name in names])
    material = parse_material(names[int(rng.choice(len(names), p=weights / weights.sum()))])
    low, high = recipe.diameter_nm
    diameter = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    if recipe.polycrystal > 0 and rng.random() < recipe.polycrystal:
        shape = str(rng.choice(["sphere", "ellipsoid", "irregular"]))
        return build_polycrystal(material, diameter, shape, int(rng.integers(2, 5)), rng)
    chance = rng.random()
    if chance < recipe.near_zone:
        orientation, tilt = (
            "near",
            min(abs(rng.normal(0, 0.35)) * recipe.largest_tilt_deg, recipe.largest_tilt_deg),
        )
    elif chance < recipe.near_zone + recipe.named_zone:
        zones = ("10-10", "0001") if material.hexagonal else ("112", "0001", "100", "111")
        orientation, tilt = str(rng.choice(zones)), float(abs(rng.normal(0, 2)))
    else:
        orientation, tilt = "random", 0.0
    mixture = None
    if material.polytype in ("wurtzite", "zinc blende") and rng.random() < recipe.polytype:
        mixture = str(rng.choice(MIXTURES))
    return build(
        material,
        diameter,
        str(rng.choice(SHAPES)),
        draw_kinds(material, recipe.faulted, rng),
        orientation,
        float(tilt),
        rng,
        displacement_nm=rng.uniform(*recipe.displacement_nm),
        roughness=rng.uniform(*recipe.roughness),
        mixture=mixture,
    )


def draw_specimen(
    recipe: Recipe, slab: SlabOfCarbon | None, rng: np.random.Generator, *, whole_slab: bool = False
) -> Specimen:
    """One specimen of a recipe. The slab's side must be the recipe's; without one the particles float in vacuum.

    With `whole_slab` the film is the slab as it stands, the same for every specimen.
    """
    margin = 0.5
    carbon_nm = float(rng.uniform(*recipe.carbon_nm))
    carbon = np.zeros((0, 3))
    if slab is not None and whole_slab:
        carbon, carbon_nm = slab.positions.astype(np.float64), slab.thickness_nm
    elif slab is not None and rng.random() >= recipe.no_carbon:
        carbon = piece_of_slab(slab.positions, slab.side_nm, slab.thickness_nm, carbon_nm, rng)
        if rng.random() < recipe.edge_of_carbon:
            edge = within_hole_edge if rng.random() < 0.4 else within_curved_edge
            carbon = carbon[edge(carbon, recipe.side_nm, rng)]
    else:
        carbon_nm = 0.0
    if recipe.soot_only:
        soot = soot_aggregate(recipe.side_nm, recipe.soot_nm, rng)
        soot[:, 2] += margin + carbon_nm - soot[:, 2].min()
        atoms = np.vstack([carbon + np.array([0.0, 0.0, margin]), soot])
        height = float(soot[:, 2].max()) + margin
        return Specimen(recipe.side_nm, height, (), atoms, carbon_nm, {"kind": "soot"})
    wanted = (
        0
        if rng.random() < recipe.no_particle
        else int(rng.integers(recipe.particles[0], recipe.particles[1] + 1))
    )
    drawn = [draw_particle(recipe, rng) for _ in range(wanted)]
    largest = max((float(np.ptp(p.positions[:, 2])) for p in drawn), default=0.0)
    below = bool(drawn) and rng.random() < recipe.overlapping
    clustered = rng.random() < recipe.clusters
    bottom = margin + (largest + CONTACT_NM if below else 0.0)
    height = bottom + carbon_nm + (largest + CONTACT_NM) + margin

    placed: list[Placed] = []
    for particle in drawn:
        half = float(np.ptp(particle.positions[:, 2])) / 2
        side = -1 if below and rng.random() < 0.4 else 1
        z = bottom - CONTACT_NM - half if side < 0 else bottom + carbon_nm + CONTACT_NM + half
        beside = [p for p in placed if (p.centre[2] > bottom) == (side > 0)]
        if clustered and beside:
            xy = _touching_place(particle, beside, recipe, rng)
        else:
            xy = _free_place(particle, beside, recipe, rng)
        if xy is not None:
            placed.append(Placed(particle, (*xy, z)))
    carbon = carbon + np.array([0.0, 0.0, bottom])
    for cover in _covers(recipe, slab, bottom + carbon_nm, rng):
        left = cover[_clear_of(cover, placed, recipe.side_nm)]
        carbon, height = np.vstack([carbon, left]), max(height, float(left[:, 2].max(initial=0.0)) + margin)
    return Specimen(recipe.side_nm, height, tuple(placed), carbon, carbon_nm)


def _covers(
    recipe: Recipe, slab: SlabOfCarbon | None, top_nm: float, rng: np.random.Generator
) -> list[npt.NDArray[np.float64]]:
    """Contamination and soot on the film's upper side, each (M, 3) positions of carbon [nm]."""
    covers = []
    if slab is not None and rng.random() < recipe.contamination:
        covers.append(carbon_dome(slab, rng) + np.array([0.0, 0.0, top_nm]))
    if rng.random() < recipe.soot:
        grain = soot_particle(float(rng.uniform(4, min(12, 0.6 * recipe.side_nm))), rng)
        place = [*rng.uniform(0, recipe.side_nm, 2), top_nm - grain[:, 2].min()]
        covers.append(grain + np.array(place))
    return covers


def _clear_of(points: npt.NDArray[np.float64], placed: list[Placed], side_nm: float) -> npt.NDArray[np.bool_]:
    """Which points (N, 3) lie outside of all particles, in a field periodic in the plane."""
    clear = np.ones(len(points), bool)
    for other in placed:
        apart = points - other.centre
        apart[:, :2] -= side_nm * np.round(apart[:, :2] / side_nm)
        reach = float(np.abs(other.particle.positions).max()) + CONTACT_NM
        close = np.flatnonzero((np.abs(apart) <= reach).all(axis=1))
        distance, _ = cKDTree(other.particle.positions).query(apart[close])
        clear[close] = distance > CONTACT_NM
    return clear


def carbon_dome(slab: SlabOfCarbon, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Contamination (M, 3) [nm]: a cap of amorphous carbon, its foot at z = 0."""
    piece = piece_of_slab(slab.positions, slab.side_nm, slab.thickness_nm, slab.thickness_nm, rng)
    height, width = rng.uniform(1, 0.9 * slab.thickness_nm), rng.uniform(2, 0.45 * slab.side_nm)
    apart = piece[:, :2] - rng.uniform(0, slab.side_nm, 2)
    apart -= slab.side_nm * np.round(apart / slab.side_nm)
    top = height * np.exp(-(apart**2).sum(axis=1) / (2 * (width / 2) ** 2))
    return np.asarray(piece[piece[:, 2] < top])


def _touching_place(
    particle: Nanoparticle, others: list[Placed], recipe: Recipe, rng: np.random.Generator
) -> tuple[float, float] | None:
    """A centre [nm] at which the particle's outline meets that of another one and cuts none; `None` if there is none.

    From far away it is moved towards the other one until the nearest atoms of the two projections are `TOUCHING_NM`
    apart.
    """
    side_nm = recipe.side_nm
    own, edge = particle.positions[:, :2], _edge(particle)
    reach = float(np.hypot(*own.T).max())
    reaches = [float(np.hypot(*other.particle.positions[:, :2].T).max()) for other in others]
    trees = [cKDTree(other.particle.positions[:, :2]) for other in others]
    for _ in range(20):
        index = int(rng.integers(len(others)))
        other, angle = others[index], rng.uniform(0, 2 * np.pi)
        direction = np.array([np.cos(angle), np.sin(angle)])
        near, far = abs(reach - reaches[index]), reach + reaches[index] + 2 * TOUCHING_NM
        while far - near > 0.01:
            middle = (near + far) / 2
            gap = trees[index].query(edge + middle * direction)[0].min()
            near, far = (near, middle) if gap > TOUCHING_NM else (middle, far)
        xy = np.array(other.centre[:2]) + far * direction
        if recipe.inside_nm is not None:
            margin = recipe.inside_nm + reach
            if (xy < margin).any() or (xy > side_nm - margin).any():
                continue
        if all(
            _gap(own, xy, reach, tree, np.array(other.centre[:2]), its_reach, side_nm) > TOUCHING_NM - 0.02
            for tree, other, its_reach in zip(trees, others, reaches, strict=True)
        ):
            return float(xy[0] % side_nm), float(xy[1] % side_nm)
    return None


def _edge(particle: Nanoparticle) -> npt.NDArray[np.float64]:
    """The atoms (M, 2) [nm] that lie outermost in projection: within 0.3 nm of the outermost one of their direction."""
    xy = particle.positions[:, :2]
    radius = np.hypot(*xy.T)
    sector = ((np.arctan2(xy[:, 1], xy[:, 0]) / (2 * np.pi) + 0.5) * 90).astype(int) % 90
    outermost = np.zeros(90)
    np.maximum.at(outermost, sector, radius)
    return np.asarray(xy[radius > outermost[sector] - 0.3])


def _gap(
    own: npt.NDArray[np.float64],
    xy: npt.NDArray[np.float64],
    reach: float,
    tree: cKDTree,
    centre: npt.NDArray[np.float64],
    its_reach: float,
    side_nm: float,
) -> float:
    """Distance in projection [nm] of the nearest atoms of two particles in a periodic field; infinite beyond reach."""
    nearest = np.inf
    for image in product((-side_nm, 0.0, side_nm), repeat=2):
        apart = xy - centre
        apart = apart - side_nm * np.round(apart / side_nm) + image
        if np.hypot(*apart) < reach + its_reach + TOUCHING_NM:
            close = own[((own + apart) ** 2).sum(axis=1) < (its_reach + TOUCHING_NM) ** 2] + apart
            if len(close):
                nearest = min(nearest, float(tree.query(close)[0].min()))
    return nearest


def _free_place(
    particle: Nanoparticle, others: list[Placed], recipe: Recipe, rng: np.random.Generator
) -> tuple[float, float] | None:
    """A centre [nm] at which the particle at most touches the others of its side; `None` where there is no room."""
    radius, side_nm = float(np.abs(particle.positions[:, :2]).max()), recipe.side_nm
    margin = 0.0 if recipe.inside_nm is None else recipe.inside_nm + radius
    if margin >= side_nm / 2:
        return None
    for _ in range(40):
        xy = rng.uniform(margin, side_nm - margin, 2)
        gaps = []
        for other in others:
            apart = xy - np.array(other.centre[:2])
            apart -= side_nm * np.round(apart / side_nm)
            gaps.append(np.hypot(*apart) - radius - float(np.abs(other.particle.positions[:, :2]).max()))
        if all(gap > -0.15 for gap in gaps):
            return float(xy[0]), float(xy[1])
    return None


def projected_mask(placed: Placed, side_nm: float, gpts: int) -> npt.NDArray[np.bool_]:
    """Where the particle projects to, (gpts, gpts) bool, periodic.

    The definition of the mask: the union of discs of `ATOM_RADIUS_NM` around all projected atoms, closed by the same
    disc, its holes filled, then drawn in until it ends `OUTLINE_NM` beyond the outermost atoms. It follows the atoms
    and knows neither carbon nor imaging.

    It is drawn on a canvas that reaches over the border and folded afterwards, or masks would be bitten at the edge.
    """
    pixel = side_nm / gpts
    pad = gpts // 2
    xy = (placed.particle.positions[:, :2] + placed.centre[:2]) / pixel
    index = np.floor(xy + pad).astype(int)
    index = index[((index >= 0) & (index < gpts + 2 * pad)).all(axis=1)]
    canvas = np.zeros((gpts + 2 * pad, gpts + 2 * pad), np.uint8)
    canvas[index[:, 0], index[:, 1]] = 1
    radius = ATOM_RADIUS_NM / pixel
    size = 2 * int(np.ceil(radius)) + 1
    disc = (np.hypot(*np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1]) <= radius).astype(
        np.uint8
    )
    canvas = cv2.morphologyEx(cv2.dilate(canvas, disc), cv2.MORPH_CLOSE, disc)
    contours, _ = cv2.findContours(canvas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, 1, thickness=cv2.FILLED)
    # A hair less than the distance itself, for pixels whose centres lie exactly on it.
    inwards = cv2.distanceTransform(canvas, cv2.DIST_L2, 5) * pixel
    canvas = (inwards > ATOM_RADIUS_NM - OUTLINE_NM - 1e-3).astype(np.uint8)
    folded = np.zeros((gpts, gpts), bool)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            r0, c0 = pad + i * gpts, pad + j * gpts
            part = canvas[max(r0, 0) : r0 + gpts, max(c0, 0) : c0 + gpts].astype(bool)
            folded[max(-r0, 0) : max(-r0, 0) + part.shape[0], max(-c0, 0) : max(-c0, 0) + part.shape[1]] |= (
                part
            )
    return folded


def label_image(specimen: Specimen, gpts: int) -> npt.NDArray[np.uint8]:
    """Instance labels (gpts, gpts): particle i of the specimen is i + 1; where two overlap, the later one shows."""
    labels = np.zeros((gpts, gpts), np.uint8)
    for i, placed in enumerate(specimen.particles):
        labels[projected_mask(placed, specimen.side_nm, gpts)] = i + 1
    return labels
