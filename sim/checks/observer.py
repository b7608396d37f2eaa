"""How much of a network's error is the image's own: `python -m sim.checks.observer --help`.

Specimens are imaged under the data sets' conditions, and each image is kept without noise too. Then the same network
judges the image as it was recorded, the same image taken with `MANY` electrons, and the noise-free one; and its
Dice is counted again with the particles left out that nobody could see at that dose (`visibility`). Where an observer
of the noise-free image is no better, the net is weak; where it is, the electrons were too few.

Each image is also recorded at two magnifications, with the same dose.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.bundle import load_bundle
from models.errors import ModelError
from models.evaluation.evaluate import judge_of
from models.evaluation.judge import Judge
from models.evaluation.scores import match
from models.evaluation.tables import Table, shown
from models.examples.strata import DOSE_RANGE, MICROSCOPES, row_order
from models.preprocess import canonical
from models.runtime import one_opencv_thread
from models.segment import probability_maps
from sim.dataset.make import CANONICAL_NM, ENERGIES_KEV, GPTS, TILE, Truth, particle_truth, slab_for
from sim.dataset.presets import PRESETS
from sim.optics.conditions import Conditions, draw_conditions
from sim.optics.imaging import exposure, record
from sim.optics.multislice import exit_wave
from sim.optics.transfer import resample
from sim.specimen.draw import draw_specimen, label_image
from sim.specimen.thickness import mass_thickness

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

SMALLEST_NM = 1.6
MANY = 10_000.0
"""A dose at which next to no noise is left, and which the network knows [e⁻/Å²]."""
ELEMENT_NM = 0.2
"""Side of the piece of an image over which an observer counts electrons [nm]."""
RING_NM = 1.0
"""So far around a particle its surroundings reach [nm]."""
VISIBLE = 1.0
"""Particles of a lower visibility nobody could see."""
DOSES = (60.0, 100.0, 200.0, 400.0, 1000.0)
SIZES = (1.6, 2.0, 3.0, 5.0, inf)
VISIBILITIES = (0.0, 0.5, 1.0, 2.0, inf)
WAYS = ("recorded", "many electrons", "noise-free")


def visibility(
    clean: Image, mask: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_], dose: float
) -> float:
    """Contrast to noise of a particle in a noise-free image (H, W) at `CANONICAL_NM`.

    √((m - m₀)² + max(0, v - v₀)) / √(m₀²/n + v₀): m and v are mean and variance within the particle, m₀ and v₀ those
    of its surroundings, `RING_NM` around it; n is the number of electrons in a square of `ELEMENT_NM`. So mean
    contrast and lattice count as signal, shot noise and the film's speckle as noise.

    Parameters
    ----------
    mask, others : (H, W) the particle; every particle.
    dose : electrons that are counted [e⁻/nm²].
    """
    reach = round(RING_NM / CANONICAL_NM)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    ring = (cv2.dilate(mask.astype(np.uint8), kernel) > 0) & ~others
    if ring.sum() < 50:
        ring = ~others
    if not ring.any():
        return inf
    inside, around = clean[mask].astype(float), clean[ring].astype(float)
    signal = (inside.mean() - around.mean()) ** 2 + max(0.0, inside.var() - around.var())
    noise = around.mean() ** 2 / max(dose * ELEMENT_NM**2, 1e-9) + around.var()
    return float(np.sqrt(signal / max(noise, 1e-12)))


@dataclass(frozen=True)
class Particle:
    """One judged particle."""

    diameter_nm: float
    dose: float
    visibility: float
    found: tuple[bool, ...]
    """In each of `WAYS`."""


@dataclass
class Sums:
    """2 |A ∩ B| and |A| + |B| of each column, added up over images."""

    rows: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def add(self, row: str, column: int, marked: npt.NDArray[np.bool_], true: npt.NDArray[np.bool_]) -> None:
        """Count an image in."""
        sums = self.rows.setdefault(row, np.zeros((len(WAYS) + 4, 2)))
        sums[column] += [2 * int((marked & true).sum()), int(marked.sum()) + int(true.sum())]

    def dice(self) -> dict[str, list[float | None]]:
        """{row: Dice of each column}; `None` where nothing was counted."""
        return {row: [a / b if b else None for a, b in sums] for row, sums in self.rows.items()}


@dataclass(frozen=True)
class Exposed:
    """One image of a specimen, in all its forms."""

    counts: tuple[Image, ...]
    """(256, 256) in each of `WAYS`."""
    magnified: tuple[tuple[Image, float], tuple[Image, float]]
    """Recorded with more pixels and with fewer: (H, W) and pixel size [nm]."""
    labels: Labels
    """(256, 256)."""
    diameters: dict[int, float]
    conditions: Conditions
    truth: list[Truth] = field(default_factory=list)
    """Of each particle as the image was recorded (`sim.dataset.make.particle_truth`)."""


def exposures(slabs: Path, seed: int, specimens: int, draws: int) -> Iterator[Exposed]:
    """Images of fresh specimens on the test slab of carbon of a data set with this seed."""
    recipe = PRESETS["lattice"].recipe
    recipe = replace(recipe, diameter_nm=(SMALLEST_NM, recipe.diameter_nm[1]), no_particle=0.0)
    slab = slab_for(slabs, recipe.side_nm, seed, "test", 0)
    size = round(recipe.side_nm / CANONICAL_NM)
    assert size == TILE
    pixel = recipe.side_nm / GPTS
    for n in range(specimens):
        rng = np.random.default_rng([seed, 4711, n])
        specimen = draw_specimen(recipe, slab, rng)
        energy = float(rng.choice(list(ENERGIES_KEV), p=list(ENERGIES_KEV.values())))
        wave = exit_wave(specimen, GPTS, energy)
        labels, gold_nm = label_image(specimen, GPTS), mass_thickness(specimen, GPTS)
        diameters = {i + 1: p.particle.diameter_nm for i, p in enumerate(specimen.particles)}
        for _ in range(draws):
            conditions = _within(rng, energy, recipe.side_nm)
            clean = exposure(wave, gold_nm, pixel, conditions)
            wide = resample(clean, (size, size))
            counted = [
                record(clean, pixel, c, rng) for c in (conditions, replace(conditions, dose_e_per_A2=MANY))
            ]
            yield Exposed(
                (*(resample(image, (size, size)) for image in counted), wide),
                ((counted[0], pixel), (record(wide, CANONICAL_NM, conditions, rng), CANONICAL_NM)),
                labels[:: GPTS // size, :: GPTS // size],
                diameters,
                conditions,
                particle_truth(specimen, labels, clean, pixel, conditions),
            )


def _within(rng: np.random.Generator, energy_kev: float, side_nm: float) -> Conditions:
    """Conditions of the range for which the bars are."""
    while True:
        drawn = draw_conditions(rng, energy_kev=energy_kev, field_nm=side_nm)
        if DOSE_RANGE[0] <= drawn.dose_e_per_A2 <= DOSE_RANGE[1] and drawn.microscope in MICROSCOPES:
            return drawn


def observe(by: Judge, images: Iterable[Exposed]) -> dict[str, Any]:
    """Dice by dose and recall by size and visibility, of each way to see the same images; and the magnifications."""
    sums, particles, count = Sums(), list[Particle](), 0
    for image in images:
        count += 1
        dose, truth = image.conditions.dose_e_per_A2, image.labels
        found = [by.regions(counts) for counts in image.counts]
        seen = {
            label: visibility(
                image.counts[-1], truth == label, truth > 0, 100 * dose * image.conditions.camera.dqe
            )
            for label in np.unique(truth[truth > 0]).tolist()
        }
        hidden = np.isin(truth, [label for label, value in seen.items() if value < VISIBLE])
        larger, smaller = (_marked(counts, pixel, by, truth.shape) for counts, pixel in image.magnified)
        for row in ("all", _band(dose, DOSES, "e/Å²")):
            for way, labels in enumerate(found):
                sums.add(row, way, labels > 0, truth > 0)
            sums.add(row, 3, (found[0] > 0) & ~hidden, (truth > 0) & ~hidden)
            sums.add(row, 4, larger, truth > 0)
            sums.add(row, 5, smaller, truth > 0)
            sums.add(row, 6, larger, smaller)
        matchings = [match(labels, truth, CANONICAL_NM, image.diameters) for labels in found]
        for n, label in matchings[0].labels.items():
            if n in matchings[0].overlaps and n not in matchings[0].hidden:
                hit = tuple(n in matching.hits for matching in matchings)
                particles.append(Particle(image.diameters[label], dose, seen[label], hit))
    return {"images": count, "dice": sums.dice(), "recall": _recalls(particles)}


def _marked(counts: Image, pixel_nm: float, by: Judge, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """What is marked on a frame, at canonical sampling (H, W)."""
    prepared = canonical(counts, pixel_nm, by.preprocessing)
    found = by.regions_of(probability_maps(prepared.image, by.network))
    assert found.shape == shape
    return np.asarray(found > 0)


def _band(value: float, edges: Sequence[float], unit: str) -> str:
    for low, high in pairwise(edges):
        if low <= value < high:
            return f"{low:g} to {high:g} {unit}" if high < inf else f"from {low:g} {unit}"
    return f"from {edges[-2]:g} {unit}"


def _recalls(particles: Sequence[Particle]) -> dict[str, dict[str, Any]]:
    """Number, share of visible ones, and recall in each way: by size, dose and visibility."""
    groups: dict[str, list[Particle]] = {"all": list(particles)}
    tables: tuple[tuple[str, Sequence[float], str, Callable[[Particle], float]], ...] = (
        ("size", SIZES, "nm", lambda p: p.diameter_nm),
        ("dose", DOSES, "e/Å²", lambda p: p.dose),
        ("visibility", VISIBILITIES, "", lambda p: p.visibility),
    )
    for name, edges, unit, of in tables:
        for low in edges[:-1]:
            row = _band(low, edges, unit)
            groups[f"{name} {row}".strip()] = [p for p in particles if _band(of(p), edges, unit) == row]
    return {
        row: {
            "particles": len(group),
            "visible": float(np.mean([p.visibility >= VISIBLE for p in group])),
            "recall": np.mean([p.found for p in group], axis=0).tolist(),
            "recall_visible": float(np.mean(clear)) if (clear := _of_visible(group)) else None,
        }
        for row, group in groups.items()
        if group
    }


def _of_visible(group: Sequence[Particle]) -> list[bool]:
    return [p.found[0] for p in group if p.visibility >= VISIBLE]


def tables_of(result: dict[str, Any]) -> Iterator[Table]:
    """The tables of a result of `observe`."""
    dice = sorted(result["dice"].items(), key=lambda item: row_order(item[0]))
    yield Table(
        "Dice by dose",
        ("recorded", "visible particles alone", f"at {MANY:g} e/Å²", "noise-free image"),
        tuple((row, *(shown(f[k], ".3f") for k in (0, 3, 1, 2))) for row, f in dice),
    )
    yield Table(
        "particles found",
        ("particles", "visible", "recorded", "of the visible", f"at {MANY:g} e/Å²", "noise-free image"),
        tuple(
            (
                row,
                str(f["particles"]),
                f"{f['visible']:.0%}",
                f"{f['recall'][0]:.3f}",
                shown(f["recall_visible"], ".3f"),
                f"{f['recall'][1]:.3f}",
                f"{f['recall'][2]:.3f}",
            )
            for row, f in result["recall"].items()
        ),
    )
    yield Table(
        "two magnifications, Dice",
        ("0.025 nm/px", "0.05 nm/px", "both results", "differ by", "bar", ""),
        tuple(
            (
                row,
                *(shown(f[k], ".3f") for k in (4, 5, 6)),
                f"{abs(f[4] - f[5]):.3f}",
                "≤ 0.03",
                "met" if abs(f[4] - f[5]) <= 0.03 else "NOT met",
            )
            for row, f in dice
        ),
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.checks.observer", description="Which of a network's errors are the image's own."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--slabs", type=Path, metavar="DIR", required=True, help="folder of carbon, made there"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="gets observer.json and .md")
    parser.add_argument("--specimens", type=int, default=40)
    parser.add_argument("--draws", type=int, default=6, help="images of each specimen (6)")
    parser.add_argument("--seed", type=int, default=31)
    options = parser.parse_args(arguments)
    try:
        by = judge_of(load_bundle(options.bundle, "cpu"))
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    with one_opencv_thread():
        result = observe(by, exposures(options.slabs, options.seed, options.specimens, options.draws))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "observer.json").write_text(json.dumps(result, indent=1))
    tables = list(tables_of(result))
    (options.out / "observer.md").write_text("\n\n".join(t.as_markdown() for t in tables) + "\n")
    print("\n\n".join(table.as_text() for table in tables))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
