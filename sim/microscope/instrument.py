"""The virtual microscope as an instrument: how it is aligned, and the conditions of every frame of a story."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
from scipy import fft

from sim.microscope.story import Charging, OffFocus, Story
from sim.optics.camera import CAMERAS
from sim.optics.conditions import Conditions, draw_conditions, scherzer_nm
from sim.optics.transfer import wavelength_nm

LATTICE_PER_NM = 5.0
"""Spatial frequency of the finest fringes that matter [nm⁻¹]."""


def aligned(story: Story, energy_kev: float) -> Conditions:
    """The microscope at the beginning of the session, aligned as well as it can be, at what the story has as defocus 0.

    A corrected one is as good as such a microscope is. An uncorrected one is drawn from its kind
    (`sim.optics.conditions.MICROSCOPES`) and stands at Scherzer's defocus.
    """
    rng = np.random.default_rng([story.seed, 1])
    corrected = Conditions(
        energy_kev=energy_kev,
        defocus_nm=0.0,
        cs_um=-8.0,
        astigmatism_nm=float(abs(rng.normal(0, 0.8))),
        astigmatism_deg=float(rng.uniform(0, 180)),
        coma_nm=float(abs(rng.normal(0, 20))),
        coma_deg=float(rng.uniform(0, 360)),
        camera=replace(CAMERAS["scintillator"], mtf_nyquist=0.4, pattern_seed=int(rng.integers(2**31))),
        illumination=0.08,
        illumination_seed=int(rng.integers(2**31)),
    )
    stobbs = float(rng.uniform(*story.stobbs))
    if story.corrected:
        return replace(corrected, stobbs=stobbs)
    drawn = draw_conditions(rng, energy_kev=energy_kev, preset="uncorrected")
    return replace(
        drawn,
        defocus_nm=scherzer_nm(drawn.cs_um, energy_kev),
        aperture_per_nm=corrected.aperture_per_nm,
        absorption_per_nm=0.0,
        stobbs=stobbs,
        vibration_nm=corrected.vibration_nm,
        camera=corrected.camera,
        illumination=corrected.illumination,
        illumination_seed=corrected.illumination_seed,
        smoothing_nm=0.0,
    )


def conditions_of(
    story: Story, start: Conditions, frame: int, here: range, focus_nm: float, rng: np.random.Generator
) -> Conditions:
    """The conditions of a frame of the field `here`: random ones, then those of the story.

    Parameters
    ----------
    focus_nm : where the focus has wandered.
    """
    taken = replace(
        start,
        defocus_nm=start.defocus_nm
        + story.defocus_nm
        + focus_nm
        + story.focus_drift_nm * (frame - here.start),
        dose_e_per_A2=story.dose_e_per_A2 * story.dose_factor(frame) * float(np.exp(rng.normal(0, 0.1))),
        drift_nm=float(abs(rng.normal(0, 0.02))),
        drift_deg=float(rng.uniform(0, 180)),
    )
    for event in story.events:
        if isinstance(event, OffFocus) and event.progress(frame):
            taken = replace(taken, defocus_nm=taken.defocus_nm + event.defocus_nm)
        elif isinstance(event, Charging):
            grown = event.progress(frame)
            taken = replace(
                taken,
                drift_nm=taken.drift_nm + grown * event.blur_nm,
                defocus_nm=taken.defocus_nm + grown * event.defocus_nm,
                astigmatism_nm=taken.astigmatism_nm + grown * event.astigmatism_nm,
                illumination=taken.illumination + grown * event.illumination,
            )
    return taken


def margin_px(story: Story, pixel_size_nm: float, start: Conditions) -> int:
    """How far a frame's wave must reach beyond it, so that what wraps around stays outside, and transforms are fast.

    Defocus C1 and spherical aberration C3 displace a detail of frequency k by λk (C1 + C3 λ²k²): of a lattice, k about
    5 nm⁻¹, by a hundredth of the defocus at 300 kV.

    Parameters
    ----------
    start : the microscope as it is aligned.
    """
    largest = max(
        (abs(e.defocus_nm) for e in story.events if isinstance(e, OffFocus | Charging)), default=0.0
    )
    defocus_nm = (
        abs(start.defocus_nm + story.defocus_nm)
        + 15
        + largest
        + abs(story.focus_drift_nm) * min(story.frames_per_field, 100)
    )
    angle = wavelength_nm(start.energy_kev) * LATTICE_PER_NM
    reach_nm = 1.2 + angle * (defocus_nm + abs(start.cs_um) * 1e3 * angle**2)
    side = story.size + 2 * ceil(min(reach_nm, 8.0) / pixel_size_nm)
    while (fast := fft.next_fast_len(side)) % 2 != story.size % 2:
        side = fast + 1
    return int(fast - story.size) // 2
