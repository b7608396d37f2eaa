"""The rule that gives a particle its true class: one place, its thresholds written down.

`yes`   a fault is present, the beam lies in its plane, and the columns that tell the stacking are resolved;
`no`    it would show, and there is none in the structure at all;
`null`  a fault would not show: for geometry (zone, tilt), dose or transfer;
`None`  in between, or a fault that fails only in depth: not scored, never called `no`.

Of a cubic crystal all four {111} can carry faults; the word lies in one. Where that one does not show and another one
does, nobody can tell a faulted particle from a faultless one, and it is not scored.

A lamella of the other polytype (`polytype`, see `sim.specimen.stacking`) is no stacking fault: it never makes
a particle `yes`.
Nor is such a particle faultless, so it is never `no`. Where it has no fault beside the lamella that shows, it is not
scored; where the stacking would not show at all, it is `null` as any other.
"""

from __future__ import annotations

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
"""A pair of reflections weighs at least this: the columns are resolved."""
UNRESOLVED = 0.25
"""At most this: they are not."""
SHAPE_FACTOR = 0.75
"""Effective thickness of a rounded particle as a share of its largest one."""
WIDTH_LAYERS = 1.0
"""The fault's projected width t·tan(tilt of its plane), at most, in layers."""
DEPTH_LAYERS = {"wurtzite": 2.0, "zinc blende": 2.0, "fcc": 3.0, "rock salt": 3.0}
"""Whole layers between the fault and either cap, at least."""
CHORD_NM = 1.5
"""Length of the fault's trace in the image, at least [nm]."""
SEEN = 1.5
"""Signal to noise of one layer's stacking-sensitive fringe from which the dose and the transfer resolve it."""
UNSEEN = 0.6
"""The same, below which they do not."""


@dataclass(frozen=True)
class Visibility:
    """How far the projection shows the stacking sequence."""

    weight: float
    """Of the weaker reflection of the best pair, 0 to 1 (kinematic shape function)."""
    zone_tilt_deg: float
    """Angle between the beam and the nearest ⟨11-20⟩ (⟨110⟩) in the stacking plane [°]."""
    plane_tilt_deg: float
    """Angle between the beam and the stacking plane [°]."""
    lateral: Vector
    """Unit vector in the crystal's frame along which A, B, C are apart, for the nearest zone."""
    elsewhere: float = 0.0
    """The largest weight of the three other {111} of a cubic crystal, in which its word does not lie."""


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
    # Half a turn about an edge of the cube brings the crystal onto itself and another {111} to this one's place.
    turns = [] if material.hexagonal else [2 * np.outer(e, e) - np.eye(3) for e in _edges(sense)]
    return Visibility(
        weight=weight,
        zone_tilt_deg=float(np.degrees(np.arccos(min(1.0, abs(float(beam @ zone)))))),
        plane_tilt_deg=float(np.degrees(asin(min(1.0, abs(float(beam[2])))))),
        lateral=lateral,
        elsewhere=max(
            (_weight_of_pair(material, turn @ beam, thickness_nm)[2] for turn in turns), default=0.0
        ),
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


def _edges(sense: int) -> Vector:
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
        families = {
            name: np.array(_family(indices)) @ _edges(sense) for name, indices in _CUBIC_ZONES.items()
        }
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


def classify(
    material: Material, seen: Visibility, faults: tuple[FaultGeometry, ...], signal_to_noise: float
) -> ParticleClass | None:
    """The true class of one particle in one image; `None`: not scored.

    Parameters
    ----------
    seen : from `visibility`.
    faults : every fault and lamella of the structure, none for a faultless one.
    signal_to_noise : of one layer's stacking-sensitive fringe in this image, from `fringe_signal_to_noise`.
    """
    if seen.weight <= UNRESOLVED < seen.elsewhere:
        return None
    if seen.weight <= UNRESOLVED or signal_to_noise <= UNSEEN:
        return "null"
    if seen.weight < RESOLVED or signal_to_noise < SEEN:
        return None
    if not faults:
        return "no"
    slope = np.tan(np.radians(seen.plane_tilt_deg))
    shown = any(
        fault.fault.kind != POLYTYPE
        and fault.thickness_nm * slope <= WIDTH_LAYERS * material.layer_nm
        and fault.depth_layers >= DEPTH_LAYERS[material.polytype]
        and fault.chord_nm >= CHORD_NM
        for fault in faults
    )
    return "yes" if shown else None


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

    A fringe of relative amplitude A over a layer of N electrons is known to A √(N/2) (the Cramér-Rao bound of a
    sinusoid's amplitude in Poisson noise). The amplitude is that of the layers' sums at the row's lateral frequency,
    less (in squares) what stands a fifth of it to either side: speckle and thickness contrast are no fringes.

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
    return amplitude * sqrt(electrons / 2)
