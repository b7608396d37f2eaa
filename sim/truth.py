"""The rule that gives a particle its true class: one place, its thresholds written down.

`yes`   a fault is present, the beam lies in its plane, and the columns that tell the stacking are resolved;
`no`    it would show, and there is none in the structure at all;
`null`  a fault would not show: for geometry (zone, tilt), dose or transfer;
`None`  in between, or a fault that fails only in depth: not scored, never called `no`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, sqrt

import numpy as np
import numpy.typing as npt

from models.results import ParticleClass
from sim.materials import Material
from sim.stacking import Fault

Vector = npt.NDArray[np.float64]

RESOLVED = 0.6
"""A pair of reflections weighs at least this: the columns are resolved."""
UNRESOLVED = 0.25
"""At most this: they are not."""
SHAPE_FACTOR = 0.75
"""Effective thickness of a rounded particle as a share of its largest one."""
WIDTH_LAYERS = 1.0
"""The fault's projected width t·tan(tilt of its plane), at most, in layers."""
DEPTH_LAYERS = {"wurtzite": 2.0, "zinc blende": 2.0, "fcc": 3.0}
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


def visibility(material: Material, beam: Vector, thickness_nm: float) -> Visibility:
    """How well the stacking sequence shows along `beam`.

    Parameters
    ----------
    beam : unit vector (3,) of the beam in the crystal's frame (x ⟨11-20⟩, y ⟨1-100⟩, z stacking axis).
    thickness_nm : largest thickness along the beam [nm].

    Each reflection g of the nearest zone weighs w = |sinc(0.75 t g·beam)|: the kinematic shape function of the
    thickness at the deviation that the tilt causes (Hirsch et al., *Electron Microscopy of Thin Crystals*, ch. 4).
    """
    angles = np.array([0.0, np.pi / 3, 2 * np.pi / 3])
    zones = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=1)
    nearest = int(np.argmax(np.abs(zones @ beam)))
    zone = zones[nearest]
    lateral = np.array([-zone[1], zone[0], 0.0])

    d, row = material.layer_nm, material.row_per_nm
    # A fault or a twin brings the mirror image of the cubic rows, so both senses of the stack are looked at.
    along = (
        (0.0, 1 / (2 * d), 1 / d)
        if material.hexagonal
        else (1 / (3 * d), -1 / (3 * d), 2 / (3 * d), -2 / (3 * d))
    )
    sensitive = np.array([row * lateral + np.array([0.0, 0.0, height]) for height in along])
    basal = np.array([0.0, 0.0, 1 / d])

    def weight(g: Vector) -> float:
        return float(abs(np.sinc(SHAPE_FACTOR * thickness_nm * (g @ beam))))

    pairs = [min(weight(g), weight(basal)) for g in sensitive]
    pairs += [min(weight(g), weight(h)) for i, g in enumerate(sensitive) for h in sensitive[:i]]
    return Visibility(
        weight=max(pairs),
        zone_tilt_deg=float(np.degrees(np.arccos(min(1.0, abs(float(beam @ zone)))))),
        plane_tilt_deg=float(np.degrees(asin(min(1.0, abs(float(beam[2])))))),
        lateral=lateral,
    )


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


def classify(
    material: Material, seen: Visibility, faults: tuple[FaultGeometry, ...], signal_to_noise: float
) -> ParticleClass | None:
    """The true class of one particle in one image; `None`: not scored.

    Parameters
    ----------
    seen : from `visibility`.
    faults : every fault of the structure, none for a faultless one.
    signal_to_noise : of one layer's stacking-sensitive fringe in this image, from `fringe_signal_to_noise`.
    """
    if seen.weight <= UNRESOLVED or signal_to_noise <= UNSEEN:
        return "null"
    if seen.weight < RESOLVED or signal_to_noise < SEEN:
        return None
    if not faults:
        return "no"
    slope = np.tan(np.radians(seen.plane_tilt_deg))
    shown = any(
        fault.thickness_nm * slope <= WIDTH_LAYERS * material.layer_nm
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
