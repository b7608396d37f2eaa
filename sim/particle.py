"""Nanoparticles: a stacking word cut to a shape and turned in the beam."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from sim.materials import Material
from sim.stacking import Fault, find_faults, word
from sim.truth import FaultGeometry, Visibility, visibility

Points = npt.NDArray[np.float64]

SHAPES = ("sphere", "ellipsoid", "rod", "faceted", "irregular")


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

    def record(self) -> dict[str, Any]:
        """What the truth rule needs of it, and what a reader wants to know, as plain values for JSON."""
        return {
            "material": self.material.name,
            "diameter_nm": round(self.diameter_nm, 3),
            "shape": self.shape,
            "orientation": self.orientation,
            "zone_tilt_deg": round(self.seen.zone_tilt_deg, 2),
            "plane_tilt_deg": round(self.seen.plane_tilt_deg, 2),
            "weight": round(self.seen.weight, 4),
            "stack": self.stack,
            "lateral_rc": list(self.lateral_rc),
            "stacking_rc": list(self.stacking_rc),
            "faults": [
                {
                    "kind": f.fault.kind,
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
    for layer, letter in enumerate(stack):
        for atomic_number, (_, height) in zip(material.numbers, material.basis, strict=True):
            z = (layer + height - (len(stack) - 1) / 2) * material.layer_nm
            parts.append(np.column_stack([net + "ABC".index(letter) * hollow, np.full(len(net), z)]))
            numbers.append(np.full(len(net), atomic_number))
            layers.append(np.full(len(net), layer))
    return np.concatenate(parts), np.concatenate(numbers), np.concatenate(layers)


def inside(points: Points, shape: str, diameter_nm: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which of the points (N, 3) lie in a particle of the given shape, of about the given diameter [nm]."""
    radius = diameter_nm / 2
    unit = points / radius
    if shape == "sphere":
        return np.asarray((unit**2).sum(axis=1) <= 1)
    if shape == "ellipsoid":
        axes = np.clip(rng.normal(1, 0.12, 3), 0.75, 1.2)
        turned = unit @ Rotation.random(random_state=rng.integers(2**31)).as_matrix()
        return np.asarray(((turned / axes) ** 2).sum(axis=1) <= 1)
    if shape == "rod":
        long = rng.uniform(1.15, 1.5)
        lateral = np.hypot(unit[:, 0], unit[:, 1]) / (0.95 / np.sqrt(long))
        return np.asarray((lateral**4 + (unit[:, 2] / long) ** 4) <= 1)
    if shape == "faceted":
        angles = np.arange(6) * np.pi / 3 + (np.pi / 6 if rng.random() < 0.5 else 0.0)
        sides = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(6)])
        pyramids = [[np.cos(a) * 0.82, np.sin(a) * 0.82, s * 0.57] for a in angles[::2] for s in (1, -1)]
        normals = np.vstack([sides, [[0, 0, 1], [0, 0, -1]], pyramids])
        limits = rng.uniform(0.82, 1.0, len(normals))
        return np.asarray((unit @ normals.T <= limits).all(axis=1) & ((unit**2).sum(axis=1) <= 1.3))
    if shape == "irregular":
        length = np.linalg.norm(unit, axis=1)
        direction = unit / np.maximum(length, 1e-9)[:, None]
        waves = rng.normal(0, 2.2, (6, 3))
        bumps = np.cos(direction @ waves.T + rng.uniform(0, 2 * np.pi, 6)) @ rng.normal(0, 0.07, 6)
        return np.asarray(length <= np.clip(0.97 + bumps, 0.6, 1.25))
    raise ValueError(f"no shape {shape}; there are {', '.join(SHAPES)}")


def faulted_word(
    material: Material, layers: int, within: tuple[int, int], kinds: list[str], rng: np.random.Generator
) -> str:
    """A word with faults of these kinds, as many as fit, each beginning at a random layer of the half-open `within`."""
    base = "h" if material.hexagonal else "c"
    faults: list[tuple[str, int]] = []
    for kind in kinds:
        for first in rng.permutation(np.arange(*within)):
            try:
                stack = word(base, layers, [*faults, (kind, int(first))])
            except ValueError:
                continue
            if len(find_faults(stack, base)) == len(faults) + 1:
                faults.append((kind, int(first)))
                break
    return word(base, layers, faults)


def draw_rotation(orientation: str, tilt_deg: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A rotation (3, 3) from the crystal to the laboratory: `orientation` along the beam, then a tilt off it.

    `near` and `11-20`: x along the beam; `10-10`: y; `0001`: z; `111`: a further close-packed zone of fcc and zinc
    blende; `100`, `112`: of the cubic crystal; `random`: any.
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
        zone = Rotation.from_rotvec([0, 0, rng.integers(6) * np.pi / 3]).apply(zone)
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
) -> Nanoparticle:
    """One particle: a word with the faults asked for, cut to its shape, roughened, displaced, turned.

    Parameters
    ----------
    kinds : the faults to put in (see `sim.stacking.RUNS`).
    orientation, tilt_deg : see `draw_rotation`.
    displacement_nm : root mean square displacement of an atom along each axis: one frozen phonon [nm].
    roughness : share of the outermost shell's atoms (0.15 nm) that is missing.
    """
    layers = max(5, ceil(1.6 * diameter_nm / material.layer_nm))
    half = 0.42 * diameter_nm / material.layer_nm
    within = (max(2, round(layers / 2 - half)), max(3, round(layers / 2 + half)))
    stack = faulted_word(material, layers, within, kinds, rng)
    positions, numbers, layer = crystal(material, stack, 1.7 * diameter_nm)
    positions -= rng.uniform(-0.5, 0.5, 3) * [material.net_nm, material.net_nm, material.layer_nm]
    state = rng.integers(2**31)
    kept = inside(positions, shape, diameter_nm, np.random.default_rng(state))
    core = inside(positions * (1 + 0.3 / diameter_nm), shape, diameter_nm, np.random.default_rng(state))
    kept &= core | (rng.random(len(positions)) > roughness)
    positions, numbers, layer = positions[kept], numbers[kept], layer[kept]
    present = np.flatnonzero(np.bincount(layer, minlength=layers) >= 3)
    first, last = int(present.min()), int(present.max())

    rotation = draw_rotation(orientation, tilt_deg, rng)
    turned = positions @ rotation.T
    thickness = float(np.ptp(turned[:, 2]))
    beam = rotation.T @ np.array([0.0, 0.0, 1.0])
    seen = visibility(material, beam, thickness)
    stack = stack[first : last + 1]
    faults = tuple(
        _geometry(fault, layer - first, last - first, positions, turned, seen)
        for fault in find_faults(stack, "h" if material.hexagonal else "c")
    )
    turned += rng.normal(0, displacement_nm, turned.shape)
    centre = (turned.max(axis=0) + turned.min(axis=0)) / 2
    return Nanoparticle(
        material, turned - centre, numbers, stack, faults, rotation, seen, shape, diameter_nm, orientation
    )


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
    layer: npt.NDArray[np.int64],
    last: int,
    positions: Points,
    turned: Points,
    seen: Visibility,
) -> FaultGeometry:
    """How deep, how long and how thick a fault is in the particle as cut."""
    at = (layer >= fault.layer) & (layer < fault.layer + fault.layers)
    depth = min(fault.layer, last - (fault.layer + fault.layers - 1))
    if at.sum() < 2:
        return FaultGeometry(fault, float(depth), 0.0, 0.0)
    chord = float(np.ptp(positions[at] @ seen.lateral))
    return FaultGeometry(fault, float(depth), chord, float(np.ptp(turned[at][:, 2])))
