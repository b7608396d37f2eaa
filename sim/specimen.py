"""A specimen: particles on a film of amorphous carbon, in a periodic box."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from sim.carbon import piece_of_slab
from sim.materials import MATERIALS, Material
from sim.particle import SHAPES, Nanoparticle, build, build_polycrystal
from sim.stacking import RUNS

ATOM_RADIUS_NM = 0.19
"""The mask is the union of discs of this radius around the projected atoms, closed and filled [nm], ..."""
OUTLINE_NM = 0.07
"""... then drawn in until it reaches this far beyond the outermost atoms: where an eye puts the outline, for what lies
further out is the bright Fresnel fringe of an underfocused edge [nm]."""


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
    particles: tuple[int, int]
    """How many, from and to (inclusive)."""
    diameter_nm: tuple[float, float]
    carbon_nm: tuple[float, float] = (2.0, 8.0)
    near_zone: float = 0.6
    named_zone: float = 0.2
    faulted: float = 0.5
    polycrystal: float = 0.0
    """Share of particles of two to four grains."""
    largest_tilt_deg: float = 12.0
    no_particle: float = 0.06
    no_carbon: float = 0.05
    edge_of_carbon: float = 0.08
    overlapping: float = 0.2
    soot: float = 0.05
    """Share with a carbon onion: curved fringes that are no particle of the kind looked for."""
    contamination: float = 0.12
    """Share with a dome of further amorphous carbon."""
    inside_nm: float | None = None
    """Keep every particle so far from the box's border [nm], so that fields can be put side by side."""


def draw_kinds(material: Material, faulted: float, rng: np.random.Generator) -> list[str]:
    """No fault, or one to three of the kinds that the material can have."""
    if rng.random() >= faulted:
        return []
    kinds = list(RUNS["h" if material.hexagonal else "c"])
    return [
        str(kind) for kind in rng.choice(kinds, size=1 + int(rng.random() < 0.3) + int(rng.random() < 0.1))
    ]


def draw_particle(recipe: Recipe, rng: np.random.Generator) -> Nanoparticle:
    """One particle of a recipe; the tilt of those near a zone is half-normal."""
    names = list(recipe.materials)
    weights = np.array([recipe.materials[name] for name in names])
    material = MATERIALS[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
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
    return build(
        material,
        diameter,
        str(rng.choice(SHAPES)),
        draw_kinds(material, recipe.faulted, rng),
        orientation,
        float(tilt),
        rng,
        displacement_nm=rng.uniform(0.003, 0.012),
        roughness=rng.uniform(0.0, 0.5),
    )


def draw_specimen(
    recipe: Recipe, slab: SlabOfCarbon | None, rng: np.random.Generator, *, whole_slab: bool = False
) -> Specimen:
    """One specimen of a recipe. The slab's side must be the recipe's; without one the particles float in vacuum.

    With `whole_slab` the film is the slab as it stands, the same for every specimen.
    """
    carbon_nm = float(rng.uniform(*recipe.carbon_nm))
    carbon = np.zeros((0, 3))
    if slab is not None and whole_slab:
        carbon, carbon_nm = slab.positions.astype(np.float64), slab.thickness_nm
    elif slab is not None and rng.random() >= recipe.no_carbon:
        carbon = piece_of_slab(slab.positions, slab.side_nm, slab.thickness_nm, carbon_nm, rng)
        if rng.random() < recipe.edge_of_carbon:
            carbon = carbon[_within_curved_edge(carbon, recipe.side_nm, rng)]
    else:
        carbon_nm = 0.0
    wanted = (
        0
        if rng.random() < recipe.no_particle
        else int(rng.integers(recipe.particles[0], recipe.particles[1] + 1))
    )
    margin = 0.5
    drawn = [draw_particle(recipe, rng) for _ in range(wanted)]
    largest = max((float(np.ptp(p.positions[:, 2])) for p in drawn), default=0.0)
    below = bool(drawn) and rng.random() < recipe.overlapping
    bottom = margin + (largest + 0.1 if below else 0.0)
    height = bottom + carbon_nm + (largest + 0.1) + margin

    placed: list[Placed] = []
    for particle in drawn:
        half = float(np.ptp(particle.positions[:, 2])) / 2
        side = -1 if below and rng.random() < 0.4 else 1
        z = bottom - 0.1 - half if side < 0 else bottom + carbon_nm + 0.1 + half
        xy = _free_place(particle, [p for p in placed if (p.centre[2] > bottom) == (side > 0)], recipe, rng)
        if xy is not None:
            placed.append(Placed(particle, (*xy, z)))
    carbon = carbon + np.array([0.0, 0.0, bottom])
    if slab is not None and rng.random() < recipe.contamination:
        dome = carbon_dome(slab, rng) + np.array([0.0, 0.0, bottom + carbon_nm])
        carbon, height = np.vstack([carbon, dome]), max(height, float(dome[:, 2].max()) + margin)
    if rng.random() < recipe.soot:
        onion = carbon_onion(float(rng.uniform(2, min(6, 0.3 * recipe.side_nm))), rng)
        onion += [*rng.uniform(0, recipe.side_nm, 2), bottom + carbon_nm - onion[:, 2].min()]
        carbon, height = np.vstack([carbon, onion]), max(height, float(onion[:, 2].max()) + margin)
    return Specimen(recipe.side_nm, height, tuple(placed), carbon, carbon_nm)


def carbon_dome(slab: SlabOfCarbon, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Contamination (M, 3) [nm]: a cap of amorphous carbon, its foot at z = 0."""
    piece = piece_of_slab(slab.positions, slab.side_nm, slab.thickness_nm, slab.thickness_nm, rng)
    height, width = rng.uniform(1, 0.9 * slab.thickness_nm), rng.uniform(2, 0.45 * slab.side_nm)
    apart = piece[:, :2] - rng.uniform(0, slab.side_nm, 2)
    apart -= slab.side_nm * np.round(apart / slab.side_nm)
    top = height * np.exp(-(apart**2).sum(axis=1) / (2 * (width / 2) ** 2))
    return np.asarray(piece[piece[:, 2] < top])


def carbon_onion(radius_nm: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Soot (M, 3) [nm]: concentric, slightly crumpled graphene shells 0.345 nm apart, 38.2 atoms/nm², on the origin."""
    shells = []
    bumps = rng.normal(0, 1.6, (5, 3))
    phases = rng.uniform(0, 2 * np.pi, 5)
    for radius in np.arange(0.4, radius_nm, 0.345):
        count = int(38.2 * 4 * np.pi * radius**2)
        direction = rng.normal(size=(count, 3))
        direction /= np.linalg.norm(direction, axis=1)[:, None]
        crumple = 1 + 0.05 * np.cos(direction @ bumps.T + phases).sum(axis=1)
        shells.append(direction * (radius * crumple + rng.normal(0, 0.01, count))[:, None])
    return np.concatenate(shells)


def _within_curved_edge(
    points: npt.NDArray[np.float64], side_nm: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """A film that ends along a wavy line: periodic across, a strip of vacuum between its two ends."""
    along, across = (points[:, 0], points[:, 1]) if rng.random() < 0.5 else (points[:, 1], points[:, 0])
    wave = rng.uniform(0.2, 0.8) * np.sin(2 * np.pi * along / side_nm + rng.uniform(0, 2 * np.pi))
    ends = np.abs((across + rng.uniform(0, side_nm) + wave) % side_nm - side_nm / 2)
    return np.asarray(ends < side_nm * rng.uniform(0.2, 0.4))


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
    """Where the particle projects to, (gpts, gpts), periodic: discs on its atoms, closed, filled, drawn in.

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
