"""A data set of every wave of a library: `python -m sim.checks.waves LIBRARY OUT --help`.

Each particle of a library is imaged alone on films of carbon, several times, under conditions that are drawn as for a
data set. `faultwatch evaluate --data OUT` then tells what becomes of every one of them. Nothing learns from libraries:
all specimens belong to the test. An image follows from the seed and its own numbers alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from sim.dataset.make import CANONICAL_NM, ENERGIES_KEV, TILE, write_shard
from sim.microscope.fields import Composer
from sim.microscope.layout import FieldPlan, Seat
from sim.microscope.library import Library, load_library
from sim.microscope.play import sighting
from sim.microscope.story import Story
from sim.optics.conditions import draw_conditions
from sim.optics.imaging import expected_image, record, weaken
from sim.optics.transfer import resample

MARGIN_PX = 104
"""About a frame, so that what wraps around stays outside of it: 2.6 nm."""
AWAY_PX = 60
"""Of the particle's centre from the frame's, at most, along each axis."""
CARBON_NM = (2.2, 10.0)
WAVES_A_SHARD = 16
NAME = "library"

Entry = tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8], dict[str, Any]]
"""Image (256, 256), labels (256, 256), and what is told of them."""


def images_of(library: Library, wave: int, composer: Composer, draws: int, seed: int) -> Iterator[Entry]:
    """Images of one wave of a library, each with its labels and its truth."""
    size = round(TILE * CANONICAL_NM / library.pixel_size_nm)
    for draw in range(draws):
        rng = np.random.default_rng([seed, wave, draw])
        row, column = (int(size // 2 + n) for n in rng.integers(-AWAY_PX, AWAY_PX + 1, 2))
        turns, mirrored, below = int(rng.integers(4)), bool(rng.integers(2)), bool(rng.integers(2))
        seat = Seat(f"{wave}", wave, (row, column), turns, mirrored, below)
        plan = FieldPlan(wave * draws + draw, range(1), ((0, 0),), (seat,), False, False)
        field = composer.compose(plan, MARGIN_PX)
        conditions = replace(draw_conditions(rng, energy_kev=library.energy_kev), absorption_per_nm=0.0)
        wide = weaken(
            expected_image(field.view(0, size, MARGIN_PX, 0.0), library.pixel_size_nm, conditions), conditions
        )
        clean = np.ascontiguousarray(wide[MARGIN_PX : MARGIN_PX + size, MARGIN_PX : MARGIN_PX + size])
        standing = field.standing[0]
        told = sighting(standing, (row, column), clean, conditions, library.pixel_size_nm)
        counts = resample(record(clean, library.pixel_size_nm, conditions, rng), (TILE, TILE))
        labels = np.zeros((size, size), np.uint8)
        half = [n // 2 for n in standing.mask.shape]
        top, left = row - half[0], column - half[1]
        rows, columns = np.nonzero(standing.mask)
        inside = (rows + top >= 0) & (rows + top < size) & (columns + left >= 0) & (columns + left < size)
        labels[rows[inside] + top, columns[inside] + left] = 1
        about = {
            "specimen": f"{NAME}-{seed}-{wave}",
            "split": "test",
            "carbon_nm": round(field.carbon_nm, 2),
            "support": "simulated",
            "conditions": conditions.as_dict(),
            "particles": [] if told is None else [{**told, "label": 1}],
        }
        step = size // TILE
        yield (counts / max(float(counts.mean()), 1e-6)).astype(np.float16), labels[::step, ::step], about


def make(path: Path, out: Path, *, waves: int, draws: int, seed: int) -> None:
    """Images of the first `waves` particles of a library as shards in `out`; shards that are there are kept.

    A wave is taken at one voltage, drawn as for a data set.

    Raises
    ------
    ValueError
        No such library.
    """
    from tqdm import tqdm

    with h5py.File(path) as file:
        waves = min(waves, len(file["particles"]))
    out.mkdir(parents=True, exist_ok=True)
    shards = np.array_split(np.arange(waves), max(1, round(waves / WAVES_A_SHARD)))
    voltage = np.random.default_rng(seed).choice(
        list(ENERGIES_KEV), size=len(shards), p=list(ENERGIES_KEV.values())
    )
    story = Story(seed=seed, carbon_nm=CARBON_NM)
    with tqdm(total=len(shards), unit="shard", disable=None) as bar:
        for kev in ENERGIES_KEV:
            todo = [(n, which) for n, which in enumerate(shards) if voltage[n] == kev]
            if all((out / f"{NAME}-{n:05d}.h5").exists() for n, _ in todo):
                bar.update(len(todo))
                continue
            library = load_library(path, kev)
            composer = Composer(library, story)
            for n, which in todo:
                shard = out / f"{NAME}-{n:05d}.h5"
                if not shard.exists():
                    entries = [e for w in which for e in images_of(library, int(w), composer, draws, seed)]
                    images, labels, about = (list(column) for column in zip(*entries, strict=True))
                    told = {"preset": NAME, "seed": seed, "order": f"{draws} images a wave of {path.name}"}
                    write_shard(
                        shard, told, np.stack(images), np.stack(labels), [json.dumps(a) for a in about]
                    )
                bar.update()


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.checks.waves", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("library", type=Path, metavar="LIBRARY", help="of waves")
    parser.add_argument("out", type=Path, metavar="OUT", help="the data set's folder")
    parser.add_argument("--waves", type=int, default=100_000, help="so many of them at the most")
    parser.add_argument("--draws", type=int, default=4, help="images of each (4)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        make(options.library, options.out, waves=options.waves, draws=options.draws, seed=options.seed)
    except (ValueError, OSError) as error:
        parser.exit(1, f"{error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
