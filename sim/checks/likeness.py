"""Simulated frames beside real ones: as pictures, power spectra and histograms of grey values.

`python -m sim.checks.likeness OUT.png GOLD=PIXEL_NM HEATED=PIXEL_NM` takes a real frame of gold grains that
show their lattice
and one of heated particles that show by their thickness, and simulates a counterpart of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft, stats

from sim.dataset.sheet import grey
from sim.optics.camera import CAMERAS, Camera
from sim.optics.conditions import Conditions
from sim.optics.imaging import exposure, record
from sim.optics.multislice import exit_wave
from sim.optics.transfer import resample
from sim.specimen.carbon import amorphous_slab
from sim.specimen.draw import Recipe, SlabOfCarbon, draw_specimen
from sim.specimen.thickness import mass_thickness

Picture = npt.NDArray[np.float32]
PIXEL_NM = 0.05
SIDE = 256
SMOOTH_NM = 3.0
"""What varies over more than this is illumination, and is taken out before frames are compared."""


@dataclass(frozen=True)
class Counterpart:
    """What is simulated to stand beside a real frame; set by hand to look like it."""

    recipe: Recipe
    conditions: Conditions
    seed: int


_SLAB_NM = 8.0
GOLD = Counterpart(
    Recipe(
        12.8, {"Au": 1.0}, particles=(3, 3), diameter_nm=(3.5, 5.5), carbon_nm=(3, 3.1), near_zone=0.4,
        no_particle=0.0, no_carbon=0.0, polycrystal=0.4, contamination=0.0, soot=0.0, edge_of_carbon=0.0,
    ),
    Conditions(
        defocus_nm=-18, cs_um=-8, astigmatism_nm=2, dose_e_per_A2=110, camera=CAMERAS["direct"], stobbs=2.4,
        illumination=0.05, vibration_nm=0.04, smoothing_nm=0.025,
    ),
    seed=4,
)  # fmt: skip
HEATED = Counterpart(
    Recipe(
        12.8, {"Au": 1.0}, particles=(4, 4), diameter_nm=(2.0, 3.5), carbon_nm=(7, 7.1), near_zone=0.1,
        no_particle=0.0, no_carbon=0.0, polycrystal=0.5, contamination=0.0, soot=0.0, edge_of_carbon=0.0,
        overlapping=0.0,
    ),
    Conditions(
        "overview", defocus_nm=-120, cs_um=10, focal_spread_nm=4, angular_spread_mrad=0.2, aperture_per_nm=6,
        absorption_per_nm=0.05, stobbs=1.5, dose_e_per_A2=350, vibration_nm=0.05, smoothing_nm=0.035,
        camera=Camera(mtf_nyquist=0.1, read_noise_e=1.0),
    ),
    seed=8,
)  # fmt: skip


def simulated(counterpart: Counterpart) -> Picture:
    """A frame (256, 256) at 0.05 nm/px."""
    rng = np.random.default_rng(counterpart.seed)
    side, gpts = counterpart.recipe.side_nm, 512
    slab = SlabOfCarbon(amorphous_slab(side, _SLAB_NM, counterpart.seed), side, _SLAB_NM)
    specimen = draw_specimen(counterpart.recipe, slab, rng)
    pixel, c = side / gpts, counterpart.conditions
    clean = exposure(exit_wave(specimen, gpts, c.energy_kev), mass_thickness(specimen, gpts), pixel, c)
    counts = record(clean, pixel, c, rng)
    return resample(counts, (round(side / PIXEL_NM),) * 2)[:SIDE, :SIDE]


def real(path: Path, pixel_size_nm: float) -> Picture:
    """The middle (256, 256), or what there is of it, of a real frame at 0.05 nm/px."""
    frame = np.asarray(Image.open(path).convert("F"), dtype=np.float32)
    scale = pixel_size_nm / PIXEL_NM
    if abs(scale - 1) > 0.01:
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=how)
    top, left = (max(0, (n - SIDE) // 2) for n in frame.shape)
    return frame[top : top + SIDE, left : left + SIDE]


def evened(frame: npt.NDArray[np.floating]) -> Picture:
    """A frame (H, W) less what varies slowly, of unit variance."""
    smooth = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), SMOOTH_NM / PIXEL_NM)
    flat = frame - smooth
    return np.asarray(flat / flat.std(), dtype=np.float32)


def power_spectrum(frame: npt.NDArray[np.floating]) -> tuple[Picture, Picture]:
    """Spatial frequencies [nm⁻¹] and the radial mean of the power of a frame (H, W), evened and windowed."""
    rows, cols = frame.shape
    window = np.hanning(rows)[:, None] * np.hanning(cols)[None, :]
    power = np.abs(fft.fft2(evened(frame) * window)) ** 2 / (window**2).sum()
    k = np.hypot(fft.fftfreq(rows, PIXEL_NM)[:, None], fft.fftfreq(cols, PIXEL_NM)[None, :])
    ring = 1 / (min(rows, cols) * PIXEL_NM)
    index = np.round(k / ring).astype(int).ravel()
    mean = np.bincount(index, power.ravel()) / np.maximum(np.bincount(index), 1)
    last = int(0.5 / PIXEL_NM / ring)
    return (np.arange(1, last) * ring).astype(np.float32), mean[1:last].astype(np.float32)


def figures(frame: npt.NDArray[np.floating]) -> dict[str, float]:
    """What two frames are compared by: skewness and excess kurtosis of the grey values, and share of power by band."""
    k, power = power_spectrum(frame)
    weight = k * power  # rings grow with their radius
    values = evened(frame).ravel()
    bands = {"below 1": (0, 1), "1 to 3": (1, 3), "3 to 6": (3, 6), "above 6": (6, 99)}
    return {
        "skewness": float(stats.skew(values)),
        "excess kurtosis": float(stats.kurtosis(values)),
        **{
            f"power {name} nm⁻¹": float(weight[(k >= low) & (k < high)].sum() / weight.sum())
            for name, (low, high) in bands.items()
        },
    }


def draw(pairs: Sequence[tuple[str, Picture, Picture]]) -> Any:
    """A figure: for each (name, real, simulated) the two frames, their spectra and their histograms."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.2 * len(pairs)), dpi=100, layout="constrained")
    axes = figure.subplots(len(pairs), 4, squeeze=False)
    for line, (name, taken, made) in zip(axes, pairs, strict=True):
        for axis, frame, told in ((line[0], taken, "real"), (line[1], made, "simulated")):
            axis.imshow(grey(frame), cmap="gray", interpolation="nearest")
            axis.set(xticks=[], yticks=[], title=f"{name}, {told}")
        for frame, told, style in ((taken, "real", "-"), (made, "simulated", "--")):
            line[2].semilogy(*power_spectrum(frame), style, label=told)
            line[3].hist(
                evened(frame).ravel(), 80, range=(-5, 5), density=True, histtype="step", label=told, ls=style
            )
        line[2].set(xlabel="spatial frequency [1/nm]", title="power, radial mean")
        line[3].set(xlabel="grey value [standard deviations]", title="histogram")
        line[3].legend()
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the figure, and print what the frames are compared by."""
    parser = argparse.ArgumentParser(description="Set simulated frames beside real ones.")
    parser.add_argument("out", type=Path)
    parser.add_argument("gold", metavar="GOLD=PIXEL_NM")
    parser.add_argument("heated", metavar="HEATED=PIXEL_NM")
    options = parser.parse_args(arguments)
    pairs = []
    for name, given, counterpart in (("gold", options.gold, GOLD), ("heated", options.heated, HEATED)):
        path, _, pixel_size = given.rpartition("=")
        taken, made = real(Path(path), float(pixel_size)), simulated(counterpart)
        pairs.append((name, taken, made))
        for told, frame in (("real", taken), ("simulated", made)):
            print(name, told, {key: round(value, 3) for key, value in figures(frame).items()})
    draw(pairs).savefig(options.out)


if __name__ == "__main__":
    main()
