"""Imaging conditions: microscopes and cameras by name, and conditions drawn within their ranges."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any

import numpy as np

from sim.optics.camera import CAMERAS, Camera
from sim.optics.transfer import wavelength_nm


@dataclass(frozen=True)
class Conditions:
    """Imaging conditions of one frame."""

    microscope: str = "corrected"
    """Name of the preset it was drawn from."""
    energy_kev: float = 300.0
    defocus_nm: float = -8.0
    """C1 [nm], of the plane where the wave is given; negative is underfocus."""
    cs_um: float = -10.0
    """Third-order spherical aberration C3 [µm]."""
    astigmatism_nm: float = 0.0
    """Two-fold, A1 [nm]."""
    astigmatism_deg: float = 0.0
    coma_nm: float = 0.0
    """Axial, B2 [nm], in the convention of `sim.optics.imaging.aberration_phase`."""
    coma_deg: float = 0.0
    trefoil_nm: float = 0.0
    """Three-fold astigmatism, A2 [nm]."""
    trefoil_deg: float = 0.0
    focal_spread_nm: float = 3.0
    """Standard deviation of the focus [nm]."""
    angular_spread_mrad: float = 0.1
    """Standard deviation of the illumination's angle [mrad]."""
    aperture_per_nm: float = 20.0
    """Radius of the objective aperture [nm⁻¹]."""
    absorption_per_nm: float = 0.0
    """Share of electrons lost in a nanometre of gold, beyond those that multislice takes out of the aperture [nm⁻¹]."""
    stobbs: float = 1.0
    """By how much real contrast is below that of multislice (see `sim.optics.imaging.weaken`)."""
    vibration_nm: float = 0.02
    """Standard deviation of the specimen's vibration [nm]."""
    drift_nm: float = 0.0
    """Way that the specimen drifts during the exposure [nm]."""
    drift_deg: float = 0.0
    dose_e_per_A2: float = 400.0
    """On the specimen [e⁻/Å²]; 0 is a frame with the beam off."""
    camera: Camera = CAMERAS["scintillator"]
    illumination: float = 0.0
    """Largest relative departure from even illumination."""
    illumination_seed: int = 0
    smoothing_nm: float = 0.0
    """Standard deviation of a blur of the finished picture (reduced or filtered exports) [nm]."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; an endless saturation level is `None`."""
        plain = asdict(self)
        if not np.isfinite(self.camera.saturation_counts):
            plain["camera"]["saturation_counts"] = None
        return plain


@dataclass(frozen=True)
class Microscope:
    """From what ranges the conditions of one kind of microscope are drawn."""

    name: str
    cs_um: tuple[float, float]
    defocus_nm: tuple[float, float]
    """Of the middle of the range, from `scherzer` or from 0."""
    scherzer: bool
    """Whether the defocus counts from Scherzer's, -1.2 √(C3 λ)."""
    focal_spread_nm: tuple[float, float]
    angular_spread_mrad: tuple[float, float]
    astigmatism_nm: float
    """Standard deviations of what is left of the aberrations [nm]."""
    coma_nm: float
    trefoil_nm: float
    aperture: float
    """Share of frames with an objective aperture of 3 to 8 nm⁻¹."""
    absorption_per_nm: float
    """Largest (see `Conditions`); for surveys more than is physical, which stands for thicker particles [nm⁻¹]."""


MICROSCOPES: dict[str, Microscope] = {
    microscope.name: microscope
    for microscope in (
        Microscope("corrected", (-20, 5), (-25, 25), False, (1, 4), (0.02, 0.2), 1.5, 40, 40, 0.1, 0.02),
        Microscope("uncorrected", (400, 1300), (-30, 30), True, (2, 7), (0.05, 0.4), 4, 200, 100, 0.1, 0.02),
        # Survey frames: contrast from thickness and from far out of focus, on either side.
        Microscope("overview", (-20, 1300), (-700, 200), False, (3, 7), (0.05, 0.5), 5, 0, 0, 0.5, 0.1),
    )
}


def draw_camera(rng: np.random.Generator) -> Camera:
    """A scintillator, a direct-electron or a nearly ideal camera, each with a spread of its figures."""
    kind = str(rng.choice(["scintillator", "direct", "ideal"], p=[0.55, 0.35, 0.1]))
    camera = replace(CAMERAS[kind], pattern_seed=int(rng.integers(2**31)))
    if kind == "ideal":
        return camera
    scintillator = kind == "scintillator"
    return replace(
        camera,
        mtf_nyquist=float(rng.uniform(0.1, 0.45) if scintillator else rng.uniform(0.4, 0.8)),
        dqe=float(rng.uniform(0.5, 0.85) if scintillator else rng.uniform(0.75, 0.97)),
        gain_spread=float(rng.uniform(0, 0.015)),
        dark_counts=float(rng.uniform(0, 300)) if scintillator else 0.0,
        read_noise_e=float(rng.uniform(0, 1)) if scintillator else 0.0,
        hot_pixels=float(10 ** rng.uniform(-6, -3.5)) if rng.random() < 0.3 else 0.0,
        dead_pixels=float(10 ** rng.uniform(-6, -3.5)) if rng.random() < 0.3 else 0.0,
        xrays_per_megapixel=float(rng.uniform(0, 20)) if rng.random() < 0.3 else 0.0,
    )


def scherzer_nm(cs_um: float, energy_kev: float) -> float:
    """Scherzer's defocus for a positive spherical aberration, -1.2 √(C3 λ) [nm]."""
    return -1.2 * sqrt(cs_um * 1e3 * wavelength_nm(energy_kev))


def draw_conditions(
    rng: np.random.Generator,
    *,
    energy_kev: float = 300.0,
    preset: str | None = None,
    field_nm: float = 12.8,
    dose_e_per_A2: tuple[float, float] = (20.0, 2000.0),
) -> Conditions:
    """Imaging conditions of one frame.

    Parameters
    ----------
    preset : a name of `MICROSCOPES`; without one it is drawn, wide fields being overviews more often.
    field_nm : side of the field [nm].
    dose_e_per_A2 : drawn log-uniformly between these [e⁻/Å²].

    Raises
    ------
    ValueError
        No such preset.
    """
    if preset is None:
        shares = [0.5, 0.3, 0.2] if field_nm < 20 else [0.25, 0.2, 0.55]
        preset = str(rng.choice(list(MICROSCOPES), p=shares))
    if preset not in MICROSCOPES:
        raise ValueError(f"no preset {preset}; there are {', '.join(MICROSCOPES)}")
    m = MICROSCOPES[preset]
    cs = float(rng.uniform(*m.cs_um))
    scherzer = scherzer_nm(cs, energy_kev) if m.scherzer else 0.0

    def remaining(spread: float) -> float:
        return float(abs(rng.normal(0, spread)))

    camera = draw_camera(rng)
    dose = float(np.exp(rng.uniform(*np.log(dose_e_per_A2))))
    return Conditions(
        microscope=preset,
        energy_kev=energy_kev,
        defocus_nm=scherzer + float(rng.uniform(*m.defocus_nm)),
        cs_um=cs,
        astigmatism_nm=remaining(m.astigmatism_nm),
        astigmatism_deg=float(rng.uniform(0, 180)),
        coma_nm=remaining(m.coma_nm),
        coma_deg=float(rng.uniform(0, 360)),
        trefoil_nm=remaining(m.trefoil_nm),
        trefoil_deg=float(rng.uniform(0, 120)),
        focal_spread_nm=float(rng.uniform(*m.focal_spread_nm)),
        angular_spread_mrad=float(rng.uniform(*m.angular_spread_mrad)),
        aperture_per_nm=float(rng.uniform(3, 8)) if rng.random() < m.aperture else 20.0,
        absorption_per_nm=float(rng.uniform(0, m.absorption_per_nm)) if rng.random() < 0.6 else 0.0,
        stobbs=float(rng.uniform(1, 2.5)) if rng.random() < 0.3 else 1.0,
        vibration_nm=float(rng.uniform(0.01, 0.05)),
        drift_nm=remaining(0.05) if rng.random() < 0.5 else 0.0,
        drift_deg=float(rng.uniform(0, 180)),
        dose_e_per_A2=dose,
        camera=camera,
        illumination=float(rng.uniform(0, 0.35)) if rng.random() < 0.5 else 0.0,
        illumination_seed=int(rng.integers(2**31)),
        smoothing_nm=float(rng.uniform(0.02, 0.12)) if rng.random() < 0.3 else 0.0,
    )
