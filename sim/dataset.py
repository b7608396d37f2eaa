"""Labelled data sets: specimens drawn from a seed, imaged many times, written as HDF5 shards.

A shard `<preset>-<number>.h5` holds, for N images of a few specimens:

=============  ==========================  ================================================================
dataset        shape, type                 meaning
=============  ==========================  ================================================================
`images`       (N, 256, 256) float16       electrons, divided by the image's mean
`labels`       (N, 256, 256) uint8         instance labels, 0 background
`about`        (N,) JSON                   specimen, split, conditions, carbon thickness [nm], particles
=============  ==========================  ================================================================

with the attributes `pixel_size_nm`, `seed`, `preset`, `format`. Each particle's JSON has its `label`, true `class`
(`null` in JSON where the rule does not score it), material, diameter, orientation, tilts, visibility, faults, stacking
word, signal to noise and `whole` (false where the image's border cuts it). Splits are by specimen, and each split has
its own slabs of carbon.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from sim.carbon import amorphous_slab
from sim.imaging import Conditions, draw_conditions, expected_image, record_electrons, resample
from sim.multislice import exit_wave
from sim.specimen import Recipe, SlabOfCarbon, Specimen, draw_specimen, label_image
from sim.truth import classify, fringe_signal_to_noise

FORMAT = "faultwatch data set 1"
CANONICAL_NM = 0.05
"""Pixel size of the images [nm]."""
TILE = 256
GPTS = 512
SPECIMENS_A_SHARD = 16
SLAB_NM = 9.0

_MIX = {"CdSe-wurtzite": 0.45, "CdSe-zincblende": 0.12, "Au": 0.30, "Ag": 0.05, "Pt": 0.08}


@dataclass(frozen=True)
class Preset:
    """A recipe and how often each specimen is imaged."""

    recipe: Recipe
    draws: int


PRESETS: dict[str, Preset] = {
    "lattice": Preset(
        Recipe(
            12.8,
            _MIX,
            particles=(1, 3),
            diameter_nm=(2.2, 7.5),
            near_zone=0.68,
            named_zone=0.17,
            faulted=0.58,
        ),
        draws=8,
    ),
    "overview": Preset(
        Recipe(
            25.6,
            {**_MIX, "Au": 0.6},
            particles=(4, 20),
            diameter_nm=(1.6, 10.0),
            carbon_nm=(2, 9),
            near_zone=0.3,
        ),
        draws=3,
    ),
    "grains": Preset(
        Recipe(
            25.6,
            {"Au": 0.6, "Pt": 0.1, "Ag": 0.1, "CdSe-wurtzite": 0.2},
            particles=(3, 14),
            diameter_nm=(2.0, 12.0),
            carbon_nm=(2, 9),
            near_zone=0.2,
            polycrystal=0.6,
            overlapping=0.4,
        ),
        draws=3,
    ),
}


def split_of(index: int) -> str:
    """The split of a specimen: of every ten, eight are for training, one for validation, one for the test."""
    return {8: "validation", 9: "test"}.get(index % 10, "train")


def slab_for(folder: Path, side_nm: float, seed: int, split: str, number: int) -> SlabOfCarbon:
    """A slab of carbon of this split, from the folder's cache or made and kept there."""
    path = folder / f"carbon-{side_nm:.1f}nm-{split}-{number}.npz"
    if not path.exists():
        code = zlib.crc32(f"{seed} {side_nm:.1f} {split} {number}".encode())
        slab = amorphous_slab(side_nm, SLAB_NM, code, density_g_cm3=1.7 + 0.15 * number)
        partial = path.with_suffix(f".{os.getpid()}.tmp.npz")
        np.savez(partial, positions=slab)
        partial.replace(path)
    with np.load(path) as stored:
        return SlabOfCarbon(stored["positions"], side_nm, SLAB_NM)


def particle_truth(
    specimen: Specimen,
    labels: npt.NDArray[np.uint8],
    clean: npt.NDArray[np.float32],
    pixel_size_nm: float,
    conditions: Conditions,
) -> list[dict[str, Any]]:
    """What is true of each particle in one noise-free image (H, W) of the specimen, its labels (H, W) beside it."""
    found = []
    for i, placed in enumerate(specimen.particles):
        p = placed.particle
        mask = labels == i + 1
        snr = fringe_signal_to_noise(
            clean,
            mask,
            p.lateral_rc,
            p.stacking_rc,
            p.material,
            pixel_size_nm,
            conditions.dose_e_per_A2 * 100 * conditions.dqe,
        )
        scored = p.orientation != "polycrystal"  # several grains have no class
        found.append(
            {
                "label": i + 1,
                "class": classify(p.material, p.seen, p.faults, snr) if scored else None,
                "snr": round(snr, 3),
                **p.record(),
            }
        )
    return found


def images_of(
    specimen: Specimen,
    wave: npt.NDArray[np.complex64],
    labels: npt.NDArray[np.uint8],
    draws: int,
    energy_kev: float,
    rng: np.random.Generator,
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], Conditions, list[dict[str, Any]]]]:
    """Images (256, 256) of one exit wave under fresh conditions, shifted at random, each with labels and truth."""
    gpts = wave.shape[0]
    pixel = specimen.side_nm / gpts
    for _ in range(draws):
        shift = tuple(int(s) for s in rng.integers(0, gpts, 2))
        moved, moved_labels = np.roll(wave, shift, (0, 1)), np.roll(labels, shift, (0, 1))
        conditions = draw_conditions(rng, energy_kev=energy_kev, field_nm=specimen.side_nm)
        clean = expected_image(moved, pixel, conditions)
        truth = particle_truth(specimen, moved_labels, clean, pixel, conditions)
        counts = record_electrons(clean, pixel, conditions, rng)
        size = round(specimen.side_nm / CANONICAL_NM)
        if size != gpts:
            counts = resample(counts, (size, size))
            moved_labels = moved_labels[:: gpts // size, :: gpts // size]
        area = np.bincount(moved_labels.ravel(), minlength=len(truth) + 1)
        for r in range(0, size, TILE):
            for c in range(0, size, TILE):
                tile, tile_labels = (
                    counts[r : r + TILE, c : c + TILE],
                    moved_labels[r : r + TILE, c : c + TILE],
                )
                seen = np.bincount(tile_labels.ravel(), minlength=len(truth) + 1)
                border = np.concatenate(
                    [tile_labels[0], tile_labels[-1], tile_labels[:, 0], tile_labels[:, -1]]
                )
                about = [
                    {
                        **t,
                        "whole": bool(
                            seen[t["label"]] >= 0.95 * area[t["label"]] and t["label"] not in border
                        ),
                    }
                    for t in truth
                    if seen[t["label"]] > 0
                ]
                yield tile, tile_labels, conditions, about


def make_shard(out: Path, preset_name: str, seed: int, first: int, count: int) -> int:
    """Simulate specimens `first` to `first + count` into one shard; returns the number of images written."""
    import abtem

    abtem.config.set({"fft": "fftw", "fftw.threads": 1})
    preset = PRESETS[preset_name]
    images, labels, about = [], [], []
    for index in range(first, first + count):
        rng = np.random.default_rng([seed, zlib.crc32(preset_name.encode()), index])
        split = split_of(index)
        number = int(rng.integers(3 if split == "train" else 1))
        slab = slab_for(out, preset.recipe.side_nm, seed, split, number)
        specimen = draw_specimen(preset.recipe, slab, rng)
        energy = float(rng.choice([300.0, 200.0, 80.0], p=[0.7, 0.22, 0.08]))
        wave = exit_wave(specimen, GPTS, energy)
        shown = label_image(specimen, GPTS)
        for image, image_labels, conditions, truth in images_of(
            specimen, wave, shown, preset.draws, energy, rng
        ):
            images.append((image / max(float(image.mean()), 1e-6)).astype(np.float16))
            labels.append(image_labels)
            about.append(
                json.dumps(
                    {
                        "specimen": f"{preset_name}-{seed}-{index}",
                        "split": split,
                        "carbon_nm": round(specimen.carbon_nm, 2),
                        "conditions": conditions.as_dict(),
                        "particles": truth,
                    }
                )
            )
    path = out / f"{preset_name}-{first // SPECIMENS_A_SHARD:05d}.h5"
    partial = path.with_suffix(".partial")
    with h5py.File(partial, "w") as shard:
        shard.attrs.update(
            {"format": FORMAT, "pixel_size_nm": CANONICAL_NM, "seed": seed, "preset": preset_name}
        )
        shard.create_dataset("images", data=np.stack(images), chunks=(1, TILE, TILE))
        shard.create_dataset("labels", data=np.stack(labels), chunks=(1, TILE, TILE), compression="gzip")
        shard.create_dataset("about", data=about, dtype=h5py.string_dtype())
    partial.replace(path)
    return len(images)


def simulate(out: Path, *, specimens: int, seed: int, preset: str = "lattice", processes: int = 1) -> int:
    """Simulate a data set into `out`; shards that are there already are kept, so it goes on after an interruption.

    Returns the number of shards made now.

    Raises
    ------
    ValueError
        An unknown preset, or a folder whose shards came from another seed.
    """
    from tqdm import tqdm

    if preset not in PRESETS:
        raise ValueError(f"no preset {preset}; there are {', '.join([*PRESETS, 'library'])}")
    out.mkdir(parents=True, exist_ok=True)
    todo = []
    for first in range(0, specimens, SPECIMENS_A_SHARD):
        path = out / f"{preset}-{first // SPECIMENS_A_SHARD:05d}.h5"
        if not path.exists():
            todo.append((out, preset, seed, first, min(SPECIMENS_A_SHARD, specimens - first)))
            continue
        with h5py.File(path) as shard:
            if shard.attrs["seed"] != seed:
                raise ValueError(
                    f"{path} was made from seed {shard.attrs['seed']}, not {seed}; choose another folder"
                )
    with tqdm(total=sum(task[-1] for task in todo), unit="specimen", disable=None) as bar:
        if processes <= 1:
            for task in todo:
                make_shard(*task)
                bar.update(task[-1])
        else:
            with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
                running = {pool.submit(make_shard, *task): task for task in todo}
                try:
                    for done in as_completed(running):
                        done.result()
                        bar.update(running[done][-1])
                except KeyboardInterrupt:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
    return len(todo)
