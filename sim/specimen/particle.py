"""Nanoparticles: a stacking word cut to a shape and turned in the beam.

In an image the structure's x runs along the rows and its y along the columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from scipy.spatial.transform import Rotation

from sim.specimen.materials import Material, hollow_letters
from sim.specimen.shapes import inside
from sim.specimen.stacking import LAMELLA, Fault, find_faults, word
from sim.specimen.truth import FAMILIES, FaultGeometry, Visibility, edges, nearest_zone, visibility

Points = npt.NDArray[np.float64]

MIXTURES = ("lamella", "half")
"""Of two polytypes: a lamella of the other one inside, or all from about the middle on."""


@dataclass(frozen=True)
class Nanoparticle:
    """Atoms of one particle in the laboratory's frame, the beam along z, centred on the origin."""

    material: Material
    positions: Points
    """(N, 3) [nm]."""
    numbers: npt.NDArray[np.int64]
    """(N,) atomic numbers."""
    stack: str
    """The word of the layers that are left after cutting."""
    faults: tuple[FaultGeometry, ...]
    rotation: npt.NDArray[np.float64]
    """(3, 3) from the crystal's frame (x ⟨11-20⟩, y ⟨1-100⟩, z stacking axis) to the laboratory's."""
    seen: Visibility
    shape: str
    diameter_nm: float
    orientation: str
    """How the orientation was drawn: `near`, `random` or the name of a zone."""
    zone: str | None = None
    """The low-index zone axis nearest to the beam; none for several grains."""
    zone_tilt: float | None = None
    """The beam's tilt off it [°]."""

    def atoms(self) -> Atoms:
        """The particle as ASE knows it: positions in Å, centred on the origin, no cell."""
        return Atoms(self.numbers, self.positions * 10, info={"material": self.material.name})

    def record(self) -> dict[str, Any]:
        """What the truth rule needs of it, and what a reader wants to know, as plain values for JSON.

        `zone` and `zone_tilt` [°] name the nearest zone axis of all; `zone_tilt_deg` is the tilt off the nearest zone
        that shows the stacking (see `sim.specimen.truth.Visibility`).
        """
        return {
            "material": self.material.name,
            "diameter_nm": round(self.diameter_nm, 3),
            "shape": self.shape,
            "orientation": self.orientation,
            "zone": self.zone,
            "zone_tilt": None if self.zone_tilt is None else round(self.zone_tilt, 2),
            "zone_tilt_deg": round(self.seen.zone_tilt_deg, 2),
            "plane_tilt_deg": round(self.seen.plane_tilt_deg, 2),
            "weight": round(self.seen.weight, 4),
            "weight_elsewhere": round(self.seen.elsewhere, 4),
            "resolved_weight": round(self.seen.resolved_weight, 4),
            "resolved_plane": "own" if self.seen.by_own_plane else "other",
            "stack": self.stack,
            "lateral_rc": list(self.lateral_rc),
            "stacking_rc": list(self.stacking_rc),
            "resolved_lateral_rc": list(self.resolved_lateral_rc),
            "resolved_stacking_rc": list(self.resolved_stacking_rc),
            "faults": [
                {
                    "kind": f.fault.kind,
                    "family": FAMILIES[f.fault.kind],
                    "plane": self.material.stacking_plane,
                    "place_nm": round(f.place_nm, 3),
                    "trace_rc": [round(n, 3) for n in f.trace_rc],
                    "layer": f.fault.layer,
                    "layers": f.fault.layers,
                    "depth_layers": f.depth_layers,
                    "chord_nm": round(f.chord_nm, 3),
                    "thickness_nm": round(f.thickness_nm, 3),
                }
                for f in self.faults
            ],
        }

    @property
    def lateral_rc(self) -> tuple[float, float]:
        """Unit vector (row, column) in the image along which the letters A, B, C are apart."""
        return _in_image(self.rotation @ self.seen.lateral)

    @property
    def stacking_rc(self) -> tuple[float, float]:
        """Unit vector (row, column) of the stacking axis in the image."""
        return _in_image(self.rotation[:, 2])

    @property
    def resolved_lateral_rc(self) -> tuple[float, float]:
        """`lateral_rc` of the plane that resolves the stacking best."""
        return _in_image(self.rotation @ self.seen.resolved_lateral)

    @property
    def resolved_stacking_rc(self) -> tuple[float, float]:
        """`stacking_rc` of the plane that resolves the stacking best."""
        return _in_image(self.rotation @ self.seen.resolved_normal)


def _in_image(direction: Points) -> tuple[float, float]:
    length = float(np.hypot(direction[0], direction[1]))
    return (float(direction[0] / length), float(direction[1] / length)) if length > 1e-9 else (1.0, 0.0)


def crystal(
    material: Material, stack: str, width_nm: float
) -> tuple[Points, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions (N, 3) [nm], atomic numbers (N,) and layers (N,) of a stack, `width_nm` wide, centred on the origin."""
    reach = ceil(width_nm / material.net_nm) + 2
    i, j = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1), indexing="ij")
    net = np.stack([(i + j / 2).ravel(), (j * np.sqrt(3) / 2).ravel()], axis=1) * material.net_nm
    net = net[np.abs(net).max(axis=1) <= width_nm / 2 + material.net_nm]
    hollow = np.array([0.5, np.sqrt(3) / 6]) * material.net_nm  # from A to B; twice that to C
    parts, numbers, layers = [], [], []
    hollows = hollow_letters(stack)
    for layer, letter in enumerate(stack):
        for atomic_number, site in zip(material.numbers, material.basis, strict=True):
            z = (layer + site.height - (len(stack) - 1) / 2) * material.layer_nm
            shift = "ABC".index(hollows[layer] if site.hollow else letter) * hollow
            parts.append(np.column_stack([net + shift, np.full(len(net), z)]))
            numbers.append(np.full(len(net), atomic_number))
            layers.append(np.full(len(net), layer))
    return np.concatenate(parts), np.concatenate(numbers), np.concatenate(layers)


def faulted_word(
    material: Material,
    layers: int,
    within: tuple[int, int],
    kinds: list[str],
    rng: np.random.Generator,
    mixture: str | None = None,
) -> str:
    """A word with faults of these kinds, as many as fit, each beginning at a random layer of the half-open `within`.

    Parameters
    ----------
    mixture : a name of `MIXTURES`, for a word of two polytypes; a lamella fills at most half of `within`.

    Raises
    ------
    ValueError
        An unknown mixture.
    """
    base = material.base
    lamellas = []
    if mixture == "lamella":
        count = int(rng.integers(LAMELLA, max(LAMELLA, (within[1] - within[0]) // 2) + 1))
        lamellas = [(int(rng.integers(within[0], max(within[0], within[1] - count) + 1)), count)]
    elif mixture == "half":
        middle = round((within[0] + within[1]) / 2 + rng.normal(0, 0.1) * (within[1] - within[0]))
        middle = min(max(middle, LAMELLA + 1), layers - LAMELLA - 1)
        lamellas = [(middle, layers - middle) if rng.random() < 0.5 else (0, middle)]
    elif mixture is not None:
        raise ValueError(f"no mixture {mixture}; there are {', '.join(MIXTURES)}")
    faults: list[tuple[str, int]] = []
    for kind in kinds:
        for first in rng.permutation(np.arange(*within)):
            try:
                stack = word(base, layers, [*faults, (kind, int(first))], lamellas)
            except ValueError:
                continue
            if len(find_faults(stack, base)) == len(faults) + len(lamellas) + 1:
                faults.append((kind, int(first)))
                break
    return word(base, layers, faults, lamellas)


def draw_rotation(
    orientation: str, tilt_deg: float, rng: np.random.Generator, cubic_sense: int | None = None
) -> npt.NDArray[np.float64]:
    """A rotation (3, 3) from the crystal to the laboratory: `orientation` along the beam, then a tilt off it.

    `near` and `11-20`: a zone that shows the stacking; `10-10`: y; `0001`: z; `111`: a further close-packed zone of fcc
    and zinc blende; `100`, `112`: of the cubic crystal; `random`: any.

    Parameters
    ----------
    cubic_sense : of a cubic stack (see `sim.specimen.truth.edges`), whose `near` is any of the six ⟨110⟩: three lie in
        the plane of the word and three do not. `None` for wurtzite, whose `near` is any of the three ⟨11-20⟩.
    """
    if orientation == "random":
        return np.asarray(Rotation.random(random_state=rng.integers(2**31)).as_matrix())
    zones = {
        "near": [1, 0, 0],
        "11-20": [1, 0, 0],
        "10-10": [0, 1, 0],
        "0001": [0, 0, 1],
        "112": [0, 1, 0],
        "100": [0, 2 / 3**0.5 / 2**0.5, 1 / 3**0.5],
        "111": [0, 2 * 2**0.5 / 3, -1 / 3],
    }
    zone = np.asarray(zones[orientation], dtype=float)
    zone /= np.linalg.norm(zone)
    if orientation == "near" or orientation == "11-20":
        turn = int(rng.integers(6))
        zone = Rotation.from_rotvec([0, 0, turn * np.pi / 3]).apply(zone)
        if cubic_sense is not None and turn % 2:
            i, j = ((0, 1), (1, 2), (2, 0))[turn // 2]
            zone = (edges(cubic_sense)[i] + edges(cubic_sense)[j]) / np.sqrt(2)
    to_beam, _ = Rotation.align_vectors([[0.0, 0.0, 1.0]], [zone])
    spin = Rotation.from_rotvec([0, 0, rng.uniform(0, 2 * np.pi)])
    axis = rng.uniform(0, 2 * np.pi)
    tilt = Rotation.from_rotvec(np.radians(tilt_deg) * np.array([np.cos(axis), np.sin(axis), 0.0]))
    return np.asarray((tilt * spin * to_beam).as_matrix())


def build(
    material: Material,
    diameter_nm: float,
    shape: str,
    kinds: list[str],
    orientation: str,
    tilt_deg: float,
    rng: np.random.Generator,
    displacement_nm: float = 0.007,
    roughness: float = 0.25,
    mixture: str | None = None,
) -> Nanoparticle:
    """One particle: a word with the faults asked for, cut to its shape, roughened, displaced, turned.

    Parameters
    ----------
    kinds : the faults to put in (see `sim.specimen.stacking.RUNS`).
    orientation, tilt_deg : see `draw_rotation`.
    displacement_nm : root mean square displacement of an atom along each axis: one frozen phonon [nm].
    roughness : share of the outermost shell's atoms (0.15 nm) that is missing.
    mixture : a name of `MIXTURES` for a particle of two polytypes; what the cutting leaves of it counts.
    """
    layers = max(3 * LAMELLA, ceil(1.6 * diameter_nm / material.layer_nm))
    half = 0.42 * diameter_nm / material.layer_nm
    within = (max(2, round(layers / 2 - half)), max(3, round(layers / 2 + half)))
    stack = faulted_word(material, layers, within, kinds, rng, mixture)
    cut = _cut(material, stack, diameter_nm, shape, roughness, rng)

    sense = _sense(stack)
    rotation = draw_rotation(orientation, tilt_deg, rng, None if material.hexagonal else sense)
    turned = cut.positions @ rotation.T
    beam = rotation.T @ np.array([0.0, 0.0, 1.0])
    seen = visibility(material, beam, float(np.ptp(turned[:, 2])), sense)
    zone, zone_tilt = nearest_zone(material, beam, sense)
    displaced = turned + rng.normal(0, displacement_nm, turned.shape)
    centre = (displaced.max(axis=0) + displaced.min(axis=0)) / 2
    left = stack[cut.first : cut.last + 1]
    return Nanoparticle(
        material,
        displaced - centre,
        cut.numbers,
        left,
        tuple(
            _geometry(fault, cut, material, turned - centre, centre, seen, rotation)
            for fault in find_faults(left, material.base)
        ),
        rotation,
        seen,
        shape,
        diameter_nm,
        orientation,
        zone,
        zone_tilt,
    )


@dataclass(frozen=True)
class Cut:
    """The atoms of a crystal that lie in a particle, in the crystal's frame."""

    positions: Points
    """(N, 3) [nm]."""
    numbers: npt.NDArray[np.int64]
    """(N,) atomic numbers."""
    layer: npt.NDArray[np.int64]
    """(N,) layer of each atom, as in the word before cutting."""
    layers: int
    """Layers of the word before cutting."""
    first: int
    """The first layer that is left, ..."""
    last: int
    """... and the last one: layers with fewer than three atoms do not count."""
    height_nm: float
    """By how much the word's middle was shifted down along the stacking axis [nm]."""


def _cut(
    material: Material,
    stack: str,
    diameter_nm: float,
    shape: str,
    roughness: float,
    rng: np.random.Generator,
) -> Cut:
    """A crystal cut to a shape at a random place, and roughened; parameters as of `build`."""
    positions, numbers, layer = crystal(material, stack, 1.7 * diameter_nm)
    shift = rng.uniform(-0.5, 0.5, 3) * [material.net_nm, material.net_nm, material.layer_nm]
    positions -= shift
    state = rng.integers(2**31)
    kept = inside(positions, shape, diameter_nm, np.random.default_rng(state))
    core = inside(positions * (1 + 0.3 / diameter_nm), shape, diameter_nm, np.random.default_rng(state))
    kept &= core | (rng.random(len(positions)) > roughness)
    layer = layer[kept]
    present = np.flatnonzero(np.bincount(layer, minlength=len(stack)) >= 3)
    first, last = int(present.min()), int(present.max())
    return Cut(positions[kept], numbers[kept], layer, len(stack), first, last, float(shift[2]))


def _sense(stack: str) -> int:
    """Whether most steps of a word go A to B to C (1) or back (-1)."""
    up = sum(pair in ("AB", "BC", "CA") for pair in (a + b for a, b in pairwise(stack)))
    return 1 if 2 * up >= len(stack) - 1 else -1


def build_polycrystal(
    material: Material, diameter_nm: float, shape: str, grains: int, rng: np.random.Generator
) -> Nanoparticle:
    """One particle of several grains, each atom in the grain whose centre is nearest; its class is not scored."""
    state = int(rng.integers(2**31))
    centres = rng.normal(0, 0.3 * diameter_nm, (grains, 3))
    parts = []
    for i in range(grains):
        # The same outline for every grain, cut in the laboratory's frame from a crystal of its own orientation.
        layers = max(5, ceil(1.8 * diameter_nm / material.layer_nm))
        stack = faulted_word(material, layers, (2, layers - 4), [], rng)
        positions, numbers, _ = crystal(material, stack, 1.8 * diameter_nm)
        positions = positions @ draw_rotation("random", 0.0, rng).T
        kept = inside(positions, shape, diameter_nm, np.random.default_rng(state))
        distance = np.linalg.norm(positions[:, None] - centres[None], axis=2)
        kept &= distance.argmin(axis=1) == i
        parts.append((positions[kept], numbers[kept]))
    positions = np.concatenate([p for p, _ in parts]) + 0.0
    positions += rng.normal(0, 0.007, positions.shape)
    centre = (positions.max(axis=0) + positions.min(axis=0)) / 2
    seen = Visibility(0.0, 90.0, 90.0, np.array([0.0, 1.0, 0.0]))
    numbers = np.concatenate([n for _, n in parts])
    return Nanoparticle(
        material, positions - centre, numbers, "", (), np.eye(3), seen, shape, diameter_nm, "polycrystal"
    )


def _geometry(
    fault: Fault,
    cut: Cut,
    material: Material,
    turned: Points,
    centre: Points,
    seen: Visibility,
    rotation: npt.NDArray[np.float64],
) -> FaultGeometry:
    """How deep, how long and how thick a fault is in the particle as cut, and where.

    Parameters
    ----------
    turned : (N, 3) the atoms in the laboratory's frame, from the particle's centre [nm].
    centre : (3,) that centre, from the crystal's origin [nm].
    """
    layer, last, axis = cut.layer - cut.first, cut.last - cut.first, rotation[:, 2]
    # Height of the middle of a layer's atoms above the particle's centre, as a line in the layer's index.
    bottom = (np.mean([site.height for site in material.basis]) - (cut.layers - 1) / 2) * material.layer_nm
    bottom -= cut.height_nm + float(centre @ axis)
    place_nm = float(bottom + (fault.centre + cut.first) * material.layer_nm)
    at = (layer >= fault.layer) & (layer < fault.layer + fault.layers)
    depth = float(min(fault.layer, last - (fault.layer + fault.layers - 1)))
    middle = turned[at].mean(axis=0)
    middle += (place_nm - middle @ axis) * axis  # the fault's layers need not hold as many atoms each
    return FaultGeometry(
        fault,
        depth,
        chord_nm=float(np.ptp(cut.positions[at] @ seen.lateral)),
        thickness_nm=float(np.ptp(turned[at, 2])),
        place_nm=place_nm,
        trace_rc=(float(middle[0]), float(middle[1])),
    )
