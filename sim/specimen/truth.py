"""The rule that gives a particle its true class.

The fraction that the project estimates is: of the particles whose stacking is resolved, the share that holds at least
one planar fault. The rule follows from that sentence and treats faulted and faultless particles alike:

`yes`   the stacking is resolved, and the structure holds at least one planar fault;
`no`    the stacking is resolved, and the structure holds none;
`null`  the stacking is not resolved, because of the zone, the tilt, the dose or the contrast transfer function;
`None`  in a narrow band between resolved and not resolved, in which an expert could not decide either: unscored.

The stacking is resolved by geometry (`Visibility.resolved_weight`) and by signal to noise (`fringe_signal_to_noise`).
How deep a fault lies, how wide its projection is and how long its trace is do not change the class: shallow and tilted
faults are found less often, and the confusion matrix says how much less. They are in the particle's record.

A cubic crystal has four {111} planes and its faults lie in one of them. The plane that resolves the stacking can be
another one: then a fault is harder to find, and the particle is `yes` all the same.

Every deviation from the perfect stacking is a planar fault. `FAMILIES` names the kinds apart: stacking faults, twin
boundaries, and interfaces to a lamella of the other polytype. Where stacking faults alone are to be counted
(`COUNTED`), a particle that holds only the others is `no`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations, product
from math import asin, sqrt

import numpy as np
import numpy.typing as npt

from models.results import ParticleClass
from sim.specimen.materials import Material
from sim.specimen.stacking import POLYTYPE, Fault

Vector = npt.NDArray[np.float64]

RESOLVED = 0.6
"""From this weight of a pair of reflections on, the geometry resolves the stacking."""
UNRESOLVED = 0.4
"""Up to this weight the geometry does not resolve the stacking."""
SHAPE_FACTOR = 0.75
"""Effective thickness of a rounded particle as a share of its largest one."""
SEEN = 1.5
"""Signal to noise of one layer's stacking-sensitive fringe from which the image resolves the stacking."""
UNSEEN = 1.0
"""Signal to noise up to which the image does not resolve the stacking."""
TIE = 1e-6
"""Two planes of a cubic crystal whose weights differ by less resolve the stacking alike."""
FAMILIES = {
    "I1": "stacking fault",
    "I2": "stacking fault",
    "E": "stacking fault",
    "intrinsic": "stacking fault",
    "extrinsic": "stacking fault",
    "other": "stacking fault",
    "twin": "twin boundary",
    POLYTYPE: "polytype interface",
}
"""Family of each kind of planar fault (see `sim.specimen.stacking`)."""
COUNTED = {"planar": frozenset(FAMILIES.values()), "stacking": frozenset({"stacking fault"})}
"""Families that make a particle `yes`: of all planar faults, or of stacking faults alone."""


def counted(kinds_of_faults: Iterable[str], kinds: str = "planar") -> bool:
    """Whether a structure with faults of these kinds holds one that counts.

    Parameters
    ----------
    kinds_of_faults : names of `FAMILIES`.
    kinds : a name of `COUNTED`.
    """
    return any(FAMILIES[kind] in COUNTED[kinds] for kind in kinds_of_faults)


@dataclass(frozen=True)
class Visibility:
    """How far the projection shows the stacking sequence.

    Directions are unit vectors (3,) in the crystal's frame: x ⟨11-20⟩ (⟨110⟩), z normal to the plane of the word.
    """

    weight: float
    """Of the weaker reflection of the best pair, 0 to 1 (kinematic shape function), for the plane of the word."""
    zone_tilt_deg: float
    """Angle between the beam and the nearest ⟨11-20⟩ (⟨110⟩) in the plane of the word [°]."""
    plane_tilt_deg: float
    """Angle between the beam and the plane of the word [°]."""
    lateral: Vector
    """Direction along which the letters A, B, C are apart, for the nearest zone."""
    elsewhere: float = 0.0
    """The largest weight of the three other {111} of a cubic crystal."""
    elsewhere_lateral: Vector | None = None
    """`lateral` of that other plane."""
    elsewhere_normal: Vector | None = None
    """Normal of that other plane."""

    @property
    def resolved_weight(self) -> float:
        """Weight of the plane that resolves the stacking best."""
        return max(self.weight, self.elsewhere)

    @property
    def by_own_plane(self) -> bool:
        """Whether the plane that resolves the stacking best is the plane of the word."""
        return self.elsewhere_normal is None or self.weight >= self.elsewhere - TIE

    @property
    def resolved_lateral(self) -> Vector:
        """Direction along which the letters are apart, in the plane that resolves the stacking best."""
        other = self.elsewhere_lateral
        return self.lateral if self.by_own_plane or other is None else other

    @property
    def resolved_normal(self) -> Vector:
        """Normal of the plane that resolves the stacking best."""
        other = self.elsewhere_normal
        return np.array([0.0, 0.0, 1.0]) if self.by_own_plane or other is None else other


def sensitive_heights(material: Material) -> tuple[float, ...]:
    """Where the reflections of the row that faults change (h - k not 3n) lie along the stacking axis, in 1 / layer.

    Wurtzite: halves. The cubic structures: thirds, of which one sense of the stack has 1/3 and -2/3 ({111} and {200})
    and its twin the others; a fault brings them, so both are looked at. Rock salt has the same ones: its {111} carry
    the difference of the two atoms' scattering and its {200} the sum.
    """
    return (0.0, 1 / 2, -1 / 2, 1.0, -1.0) if material.hexagonal else (1 / 3, -1 / 3, 2 / 3, -2 / 3)


def visibility(material: Material, beam: Vector, thickness_nm: float, sense: int = 1) -> Visibility:
    """How well the stacking sequence shows along `beam`.

    Parameters
    ----------
    beam : unit vector (3,) of the beam in the crystal's frame (x ⟨11-20⟩, y ⟨1-100⟩, z stacking axis).
    thickness_nm : largest thickness along the beam [nm].
    sense : of a cubic stack, as in `nearest_zone`.

    Each reflection g of the nearest zone weighs w = |sinc(0.75 t g·beam)|: the kinematic shape function of the
    thickness at the deviation that the tilt causes (Hirsch et al., *Electron Microscopy of Thin Crystals*, ch. 4).
    """
    zone, lateral, weight = _weight_of_pair(material, beam, thickness_nm)
    elsewhere, elsewhere_lateral, elsewhere_normal = 0.0, None, None
    if not material.hexagonal:
        # A half turn about an edge of the cube maps the crystal onto itself and another {111} onto the word's plane.
        turns = [2 * np.outer(edge, edge) - np.eye(3) for edge in edges(sense)]
        others = [_weight_of_pair(material, turn @ beam, thickness_nm) for turn in turns]
        best = int(np.argmax([other[2] for other in others]))
        elsewhere = others[best][2]
        elsewhere_lateral, elsewhere_normal = turns[best] @ others[best][1], turns[best][:, 2]
    return Visibility(
        weight=weight,
        zone_tilt_deg=float(np.degrees(np.arccos(min(1.0, abs(float(beam @ zone)))))),
        plane_tilt_deg=float(np.degrees(asin(min(1.0, abs(float(beam[2])))))),
        lateral=lateral,
        elsewhere=elsewhere,
        elsewhere_lateral=elsewhere_lateral,
        elsewhere_normal=elsewhere_normal,
    )


def _weight_of_pair(material: Material, beam: Vector, thickness_nm: float) -> tuple[Vector, Vector, float]:
    """The nearest zone in the stacking plane, the lateral direction that it shows, and the best pair's weight."""
    angles = np.array([0.0, np.pi / 3, 2 * np.pi / 3])
    zones = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=1)
    zone = zones[int(np.argmax(np.abs(zones @ beam)))]
    lateral = np.array([-zone[1], zone[0], 0.0])
    along = np.array(sensitive_heights(material))[:, None] / material.layer_nm
    sensitive = material.row_per_nm * lateral + along * np.array([0.0, 0.0, 1.0])
    basal = np.array([0.0, 0.0, 1 / material.layer_nm])

    def weight(g: Vector) -> float:
        return float(abs(np.sinc(SHAPE_FACTOR * thickness_nm * (g @ beam))))

    pairs = [min(weight(g), weight(basal)) for g in sensitive]
    pairs += [min(weight(g), weight(h)) for i, g in enumerate(sensitive) for h in sensitive[:i]]
    return zone, lateral, max(pairs)


def edges(sense: int) -> Vector:
    """(3, 3) unit vectors along the edges of the cube of a stack ABC (`sense` 1) or CBA (-1)."""
    # The three shortest vectors from a layer to the next, ½⟨110⟩; their sums and differences are the cube's edges.
    up = sqrt(2 / 3)
    steps = np.array([[0.5, sqrt(3) / 6, up], [-0.5, sqrt(3) / 6, up], [0.0, -sqrt(3) / 3, up]])
    return np.asarray((steps.sum(axis=0) - 2 * steps) * [sense, sense, 1] / sqrt(2))


def nearest_zone(material: Material, beam: Vector, sense: int = 1) -> tuple[str, float]:
    """The nearest low-index zone axis and the beam's tilt off it [°].

    Of wurtzite `[11-20]`, `[10-10]` and `[0001]` are looked at, of the cubic structures `[110]`, `[100]`, `[111]` and
    `[112]`, each standing for its whole family.

    Parameters
    ----------
    beam : as in `visibility`.
    sense : of a cubic stack, 1 for ABC and -1 for CBA: the one is the other turned by 180° about the stacking axis.
    """
    if material.hexagonal:
        angles = np.arange(6) * np.pi / 6
        in_plane = np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=1)
        families = {"[11-20]": in_plane[::2], "[10-10]": in_plane[1::2], "[0001]": np.eye(3)[2:]}
    else:
        families = {name: np.array(_family(indices)) @ edges(sense) for name, indices in _CUBIC_ZONES.items()}
    tilts = {
        name: float(
            np.degrees(np.arccos(min(1.0, float(np.abs(zones @ beam).max() / np.linalg.norm(zones[0])))))
        )
        for name, zones in families.items()
    }
    nearest = min(tilts, key=tilts.__getitem__)
    return nearest, tilts[nearest]


_CUBIC_ZONES = {"[110]": (1, 1, 0), "[100]": (1, 0, 0), "[111]": (1, 1, 1), "[112]": (1, 1, 2)}


def _family(indices: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """All permutations and signs of cubic indices."""
    signs = list(product((1, -1), repeat=3))
    return [(i[0] * s[0], i[1] * s[1], i[2] * s[2]) for i in permutations(indices) for s in signs]


@dataclass(frozen=True)
class FaultGeometry:
    """A fault as the projection has it."""

    fault: Fault
    depth_layers: float
    """Whole layers between the fault and the nearer cap."""
    chord_nm: float
    """Length of its trace across the particle, perpendicular to the beam [nm]."""
    thickness_nm: float
    """Of the particle along the beam, where the fault lies [nm]."""
    place_nm: float = 0.0
    """Signed distance of its plane from the particle's centre, along the stacking axis [nm]."""
    trace_rc: tuple[float, float] = (0.0, 0.0)
    """Where the middle of its trace lies in the image, from the particle's centre: row and column [nm]."""


def classify(seen: Visibility, faulted: bool, signal_to_noise: float) -> ParticleClass | None:
    """The true class of one particle in one image; `None`: unscored.

    Parameters
    ----------
    seen : from `visibility`.
    faulted : whether the structure holds at least one planar fault, of any kind.
    signal_to_noise : of one layer's fringe in the plane that resolves the stacking best (`fringe_signal_to_noise`).
    """
    if seen.resolved_weight <= UNRESOLVED or signal_to_noise <= UNSEEN:
        return "null"
    if seen.resolved_weight < RESOLVED or signal_to_noise < SEEN:
        return None
    return "yes" if faulted else "no"


def fringe_signal_to_noise(
    clean: npt.NDArray[np.floating],
    mask: npt.NDArray[np.bool_],
    lateral_rc: tuple[float, float],
    stacking_rc: tuple[float, float],
    material: Material,
    pixel_size_nm: float,
    electrons_per_nm2: float,
) -> float:
    """Signal to noise of one layer's fringe in the stacking-sensitive row, from the noise-free image.

    A is the relative amplitude of the fringe and N the number of electrons of one layer. Shot noise gives A a variance
    of 2/N (the Cramér-Rao bound of a sinusoid's amplitude in Poisson noise). The film's speckle is noise too: let b be
    its mean squared modulus, per half layer, at a fifth of the row's frequency to either side of it. A layer is the
    mean of two half layers and A is twice the real part, so that speckle gives a variance of 4 · (b/2) / 2 = b. The
    signal to noise is A / √(2/N + b), with A² reduced by 4b, because speckle is no fringe.

    Parameters
    ----------
    clean : (H, W) expected intensity, mean about 1, all transfer applied.
    mask : (H, W) the particle.
    lateral_rc, stacking_rc : unit vectors (row, column) of the lateral and the stacking direction in the image.
    electrons_per_nm2 : dose times detective quantum efficiency [e⁻/nm²].
    """
    rows, cols = np.nonzero(mask)
    if len(rows) < 16:
        return 0.0
    values = clean[rows, cols]
    mean = float(values.mean())
    x = (rows * lateral_rc[0] + cols * lateral_rc[1]) * pixel_size_nm
    z = (rows * stacking_rc[0] + cols * stacking_rc[1]) * pixel_size_nm
    layer = np.floor(2 * (z - z.min()) / material.layer_nm).astype(
        int
    )  # half layers: enough to follow the letters
    count = np.bincount(layer)
    full = count >= 0.5 * np.median(count[count > 0])

    def power(per_nm: float) -> float:
        wave = (values / mean - 1) * np.exp(-2j * np.pi * per_nm * x)
        total = np.bincount(layer, wave.real) + 1j * np.bincount(layer, wave.imag)
        return float(np.mean(np.abs(total[full] / count[full]) ** 2))

    beside = (power(0.8 * material.row_per_nm) + power(1.2 * material.row_per_nm)) / 2
    amplitude = 2 * sqrt(max(0.0, power(material.row_per_nm) - beside))
    electrons = float(np.median(count[full])) * 2 * pixel_size_nm**2 * electrons_per_nm2 * mean
    return amplitude / sqrt(2 / max(electrons, 1e-9) + beside)
