"""A picture of what is simulated: kinds of specimen down, imaging conditions across.

`python -m sim.checks.gallery OUT.png --seed S` draws it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sim.dataset.presets import PRESETS
from sim.dataset.sheet import grey
from sim.optics.camera import CAMERAS
from sim.optics.conditions import Conditions
from sim.optics.imaging import exposure, record
from sim.optics.multislice import exit_wave
from sim.optics.transfer import wavelength_nm
from sim.specimen.carbon import amorphous_slab
from sim.specimen.draw import Placed, SlabOfCarbon, Specimen, draw_specimen
from sim.specimen.materials import parse_material
from sim.specimen.particle import Nanoparticle, build
from sim.specimen.thickness import mass_thickness

Picture = npt.NDArray[np.float32]
SIDE_NM = 12.8
GPTS = 512
SHOWN_PX = 300
"""Of a wave's 512: the middle 7.5 nm."""
DIRECT = CAMERAS["direct"]
WHOLE = ("two touching", "edge of the film", "soot")
"""Kinds of which the whole wave is shown."""

_SCHERZER = -1.2 * sqrt(1.2e6 * wavelength_nm(300))
CONDITIONS: dict[str, Conditions] = {
    "corrected, 1000 e/Å²": Conditions(defocus_nm=-8, dose_e_per_A2=1000, camera=DIRECT),
    "corrected, 80 e/Å²": Conditions(defocus_nm=-8, dose_e_per_A2=80, camera=DIRECT),
    "corrected, overfocus": Conditions(defocus_nm=14, dose_e_per_A2=400, astigmatism_nm=2),
    "uncorrected, Scherzer": Conditions(
        "uncorrected", defocus_nm=_SCHERZER, cs_um=1200, focal_spread_nm=5, dose_e_per_A2=400
    ),
    "80 kV, corrected": Conditions(energy_kev=80, defocus_nm=-8, dose_e_per_A2=400),
    "survey, -400 nm": Conditions(
        "overview", defocus_nm=-400, cs_um=1200, focal_spread_nm=5, dose_e_per_A2=200, absorption_per_nm=0.04
    ),
}


@dataclass(frozen=True)
class Film:
    """Carbon to lay particles on."""

    slab: SlabOfCarbon
    thickness_nm: float = 3.0

    def with_particles(self, *placed: tuple[Nanoparticle, tuple[float, float]]) -> Specimen:
        """Particles at (x, y) [nm] from the middle of the film."""
        bottom, tallest, lying = 0.5, 0.0, []
        carbon = self.slab.positions[self.slab.positions[:, 2] < self.thickness_nm].astype(np.float64)
        carbon[:, 2] += bottom
        for particle, (x, y) in placed:
            half = float(np.ptp(particle.positions[:, 2])) / 2
            tallest = max(tallest, 2 * half)
            centre = (SIDE_NM / 2 + x, SIDE_NM / 2 + y, bottom + self.thickness_nm + 0.1 + half)
            lying.append(Placed(particle, centre))
        height = bottom + self.thickness_nm + tallest + 0.6
        return Specimen(SIDE_NM, height, tuple(lying), carbon, self.thickness_nm)


def kinds(film: Film, rng: np.random.Generator) -> dict[str, Callable[[], Specimen]]:
    """What the gallery shows, by name."""

    def one(
        material: str, faults: Sequence[str], diameter: float = 5.0, shape: str = "faceted", zone: str = "11-20",
        tilt: float = 0.5,
    ) -> Callable[[], Specimen]:  # fmt: skip
        def make() -> Specimen:
            particle = build(parse_material(material), diameter, shape, list(faults), zone, tilt, rng)
            return film.with_particles((particle, (0, 0)))

        return make

    def pair(apart: float, offset: float) -> Callable[[], Specimen]:
        def make() -> Specimen:
            both = [build(parse_material("Au"), 4.0, "sphere", [], z, 1.0, rng) for z in ("11-20", "random")]
            return film.with_particles((both[0], (-apart / 2, offset)), (both[1], (apart / 2, -offset)))

        return make

    def drawn(preset: str, **changes: Any) -> Callable[[], Specimen]:
        recipe = replace(PRESETS[preset].recipe, side_nm=SIDE_NM, carbon_nm=(2.0, 4.0), **changes)
        return lambda: draw_specimen(recipe, film.slab, rng)

    wurtzite, blende = "CdSe-wurtzite", "CdSe-zincblende"
    return {
        "CdSe wurtzite, no fault": one(wurtzite, []),
        "CdSe wurtzite, I1": one(wurtzite, ["I1"]),
        "CdSe wurtzite, I2": one(wurtzite, ["I2"]),
        "CdSe wurtzite, E": one(wurtzite, ["E"]),
        "CdSe wurtzite rod, I1 + I2": one(wurtzite, ["I1", "I2"], shape="rod"),
        "CdSe wurtzite [0001]": one(wurtzite, ["I1"], zone="0001"),
        "CdSe zinc blende, twin": one(blende, ["twin"]),
        "Au, intrinsic": one("Au", ["intrinsic"], shape="irregular"),
        "Au, twin": one("Au", ["twin"], shape="sphere"),
        "PbS, no fault": one("PbS", []),
        "two touching": pair(4.1, 0.4),
        "two overlapping": pair(2.4, 0.3),
        "edge of the film": drawn("bare", edge_of_carbon=1.0, contamination=1.0, soot=0.0),
        "soot": drawn("soot"),
    }


def image(
    specimen: Specimen, waves: dict[float, Any], conditions: Conditions, rng: np.random.Generator
) -> Picture:
    """One frame (512, 512) of a specimen; waves are kept by energy."""
    energy = conditions.energy_kev
    if energy not in waves:
        waves[energy] = exit_wave(specimen, GPTS, energy)
    pixel = specimen.side_nm / GPTS
    clean = exposure(waves[energy], mass_thickness(specimen, GPTS), pixel, conditions)
    return record(clean, pixel, conditions, rng)


def draw_gallery(seed: int) -> Any:
    """The gallery as a matplotlib figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rng = np.random.default_rng(seed)
    film = Film(SlabOfCarbon(amorphous_slab(SIDE_NM, 6.0, seed), SIDE_NM, 6.0))
    rows = kinds(film, rng)
    half = -(-len(rows) // 2)
    columns = 2 * len(CONDITIONS) + 1
    widths = [1.0] * len(CONDITIONS) + [0.9] + [1.0] * len(CONDITIONS)
    figure = Figure(figsize=(1.25 * columns + 1, 1.22 * half + 0.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(half, columns, width_ratios=widths)
    for axis in axes.flat:
        axis.set_axis_off()
    for n, (name, make) in enumerate(rows.items()):
        specimen, waves = make(), dict[float, Any]()
        line = axes[n % half, n // half * (len(CONDITIONS) + 1) :][: len(CONDITIONS)]
        for axis, (told, conditions) in zip(line, CONDITIONS.items(), strict=True):
            frame = image(specimen, waves, conditions, rng)
            at = (GPTS - SHOWN_PX) // 2 if name not in WHOLE else 0
            axis.imshow(grey(frame[at : GPTS - at, at : GPTS - at]), cmap="gray")
            axis.set_axis_on()
            axis.set(xticks=[], yticks=[])
            if n % half == 0:
                axis.set_title(told.replace(", ", ",\n"), fontsize=7)
        line[0].set_ylabel(name.replace(", ", ",\n"), fontsize=7, rotation=0, ha="right", va="center")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the gallery into a file."""
    parser = argparse.ArgumentParser(description="Draw the gallery of simulated kinds and conditions.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args(arguments)
    figure = draw_gallery(options.seed)
    figure.canvas.draw()
    grey_page = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("L")
    grey_page.quantize(64).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
