"""Labelled data sets: specimens drawn from a seed, imaged many times, written as HDF5 shards.

A shard `<preset>-<number>.h5` holds N images of a few specimens; `docs/data-set.md` describes it for readers without
this project.

=============  ==========================  ================================================================
dataset        shape, type                 meaning
=============  ==========================  ================================================================
`images`       (N, 256, 256) float16       counts, divided by the image's mean
`labels`       (N, 256, 256) uint8         instance labels, 0 background
`about`        (N,) JSON                   specimen, split, conditions, carbon thickness [nm], particles
=============  ==========================  ================================================================

with the attributes `format`, `pixel_size_nm`, `preset`, `seed` and `order` (JSON: all that it follows from). Splits are
by specimen, and each split has its own slabs of carbon.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from models.examples.shards import FORMAT
from sim.dataset.background import Backgrounds
from sim.dataset.presets import Order
from sim.optics.conditions import Conditions, draw_conditions
from sim.optics.imaging import exposure, record
from sim.optics.multislice import exit_wave
from sim.optics.transfer import resample
from sim.specimen.carbon import amorphous_slab
from sim.specimen.draw import SlabOfCarbon, Specimen, draw_specimen, label_image
from sim.specimen.thickness import mass_thickness
from sim.specimen.truth import classify, counted, fringe_signal_to_noise

CANONICAL_NM = 0.05
"""Pixel size of the images [nm]."""
TILE = 256
GPTS = 512
SPECIMENS_A_SHARD = 16
SLAB_SIDE_NM = 12.8
SLAB_NM = 10.0
SLABS = {"train": 4, "validation": 1, "test": 1}
"""Slabs of carbon of each split."""
ENERGIES_KEV = {300.0: 0.6, 200.0: 0.25, 80.0: 0.15}

Truth = dict[str, Any]


def split_of(index: int) -> str:
    """The split of a specimen: of every ten, eight are for training, one for validation, one for the test."""
    return {8: "validation", 9: "test"}.get(index % 10, "train")


def slab_for(folder: Path, side_nm: float, seed: int, split: str, number: int) -> SlabOfCarbon:
    """A slab of carbon of this split, from the folder's cache or made and kept there.

    Wider fields are laid out with copies of one slab: a tile of `TILE` pixels holds each atom of it once.
    """
    path = folder / f"carbon-{split}-{number}.npz"
    if not path.exists():
        code = zlib.crc32(f"{seed} {split} {number}".encode())
        slab = amorphous_slab(SLAB_SIDE_NM, SLAB_NM, code, density_g_cm3=1.7 + 0.1 * number)
        partial = path.with_suffix(f".{os.getpid()}.tmp.npz")
        np.savez(partial, positions=slab, seed=seed)
        partial.replace(path)
    with np.load(path) as stored:
        if int(stored["seed"]) != seed:
            raise ValueError(
                f"{path} was made from seed {int(stored['seed'])}, not {seed}; choose another folder"
            )
        positions = stored["positions"]
    copies = round(side_nm / SLAB_SIDE_NM)
    moves = [(i * SLAB_SIDE_NM, j * SLAB_SIDE_NM, 0.0) for i in range(copies) for j in range(copies)]
    laid_out = np.concatenate([positions + np.array(move, np.float32) for move in moves])
    return SlabOfCarbon(laid_out, side_nm, SLAB_NM)


def particle_truth(
    specimen: Specimen,
    labels: npt.NDArray[np.uint8],
    clean: npt.NDArray[np.float32],
    pixel_size_nm: float,
    conditions: Conditions,
    kinds: str = "planar",
) -> list[Truth]:
    """What is true of each particle in one noise-free image (H, W) of the specimen, its labels (H, W) beside it.

    Parameters
    ----------
    kinds : which faults make it `yes` (`sim.specimen.truth.COUNTED`).
    """
    found = []
    for i, placed in enumerate(specimen.particles):
        p = placed.particle
        snr = fringe_signal_to_noise(
            clean,
            labels == i + 1,
            p.resolved_lateral_rc,
            p.resolved_stacking_rc,
            p.material,
            pixel_size_nm,
            conditions.dose_e_per_A2 * 100 * conditions.camera.dqe,
        )
        scored = p.orientation != "polycrystal"  # several grains have no class
        faulted = counted((fault.fault.kind for fault in p.faults), kinds)
        true_class = classify(p.seen, faulted, snr) if scored else None
        found.append({"label": i + 1, "class": true_class, "snr": round(snr, 3), **p.record()})
    return found


def images_of(
    specimen: Specimen,
    wave: npt.NDArray[np.complex64],
    labels: npt.NDArray[np.uint8],
    draws: int,
    energy_kev: float,
    rng: np.random.Generator,
    background: Backgrounds | None = None,
    kinds: str = "planar",
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], Conditions, list[Truth]]]:
    """Images (256, 256) of one exit wave under fresh conditions, shifted at random, each with labels and truth.

    Parameters
    ----------
    wave : (gpts, gpts), or (P, gpts, gpts) for frozen phonons.
    background : real frames of empty support, one of which each image is laid on.
    kinds : which faults make a particle `yes`.
    """
    gpts = wave.shape[-1]
    pixel, size = specimen.side_nm / gpts, round(specimen.side_nm / CANONICAL_NM)
    gold_nm = mass_thickness(specimen, gpts)
    centres = np.array([p.centre[:2] for p in specimen.particles]).reshape(-1, 2) / pixel
    for _ in range(draws):
        shift = rng.integers(0, gpts, 2)
        moved = np.roll(wave, shift, (-2, -1))
        moved_labels = np.roll(labels, shift, (0, 1))
        conditions = draw_conditions(rng, energy_kev=energy_kev, field_nm=specimen.side_nm)
        clean = exposure(moved, np.roll(gold_nm, shift, (0, 1)), pixel, conditions)
        if background is not None:
            clean = clean * background.draw(gpts, pixel, rng)
        truth = particle_truth(specimen, moved_labels, clean, pixel, conditions, kinds)
        for told, centre in zip(truth, (centres + shift) % gpts * (size / gpts), strict=True):
            told["centre_rc"] = [round(float(x), 1) for x in centre]
        counts = record(clean, pixel, conditions, rng)
        if size != gpts:
            counts = resample(counts, (size, size))
            moved_labels = moved_labels[:: gpts // size, :: gpts // size]
        yield from _tiles(counts, moved_labels, conditions, truth)


def _tiles(
    counts: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8], conditions: Conditions, truth: list[Truth]
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], Conditions, list[Truth]]]:
    """The field's tiles, each with what is true of the particles in it."""
    size = counts.shape[0]
    area = np.bincount(labels.ravel(), minlength=len(truth) + 1)
    for r in range(0, size, TILE):
        for c in range(0, size, TILE):
            tile = labels[r : r + TILE, c : c + TILE]
            seen = np.bincount(tile.ravel(), minlength=len(truth) + 1)
            border = np.concatenate([tile[0], tile[-1], tile[:, 0], tile[:, -1]])
            about = []
            for told in truth:
                n = told["label"]
                if seen[n] > 0:
                    whole = bool(seen[n] >= 0.95 * area[n] and n not in border)
                    row, col = told["centre_rc"]
                    about.append({**told, "centre_rc": [row - r, col - c], "whole": whole})
            yield counts[r : r + TILE, c : c + TILE], tile, conditions, about


def make_shard(out: Path, order: Order, first: int, count: int) -> int:
    """Simulate specimens `first` to `first + count` into one shard; returns the number of images written."""
    preset = order.preset_as_ordered()
    recipe = preset.recipe
    backgrounds = Backgrounds.load(out) if order.background > 0 else None
    images, labels, about = [], [], []
    for index in range(first, first + count):
        rng = np.random.default_rng([order.seed, zlib.crc32(order.preset.encode()), index])
        split = order.split or split_of(index)
        number = int(rng.integers(SLABS[split]))
        on_real = backgrounds is not None and rng.random() < order.background
        slab = None if on_real else slab_for(out, recipe.side_nm, order.seed, split, number)
        specimen = draw_specimen(recipe, slab, rng)
        energy = float(rng.choice(list(ENERGIES_KEV), p=list(ENERGIES_KEV.values())))
        wave = exit_wave(
            specimen, GPTS, energy, order.device, phonons=order.phonons, seed=int(rng.integers(2**31))
        )
        shown = label_image(specimen, GPTS)
        support = backgrounds.of_split(split) if on_real and backgrounds is not None else None
        for image, image_labels, conditions, truth in images_of(
            specimen, wave, shown, preset.draws, energy, rng, support, order.kinds
        ):
            images.append((image / max(float(image.mean()), 1e-6)).astype(np.float16))
            labels.append(image_labels)
            told = {
                "specimen": f"{order.preset}-{order.seed}-{index}",
                "split": split,
                "carbon_nm": round(specimen.carbon_nm, 2),
                "support": "real frame" if on_real else "simulated",
                "conditions": conditions.as_dict(),
                "particles": truth,
            }
            about.append(json.dumps(told))
    told = {"preset": order.preset, "seed": order.seed, "order": order.as_json()}
    write_shard(shard_path(out, order.preset, first), told, np.stack(images), np.stack(labels), about)
    return len(images)


def shard_path(out: Path, preset: str, first: int) -> Path:
    """The shard that holds specimen `first`."""
    return out / f"{preset}-{first // SPECIMENS_A_SHARD:05d}.h5"


def write_shard(
    path: Path,
    told: dict[str, Any],
    images: npt.NDArray[np.float16],
    labels: npt.NDArray[np.uint8],
    about: list[str],
) -> None:
    """Write one shard, whole or not at all; `told`: its attributes `preset`, `seed` and `order`."""
    partial = path.with_suffix(".partial")
    with h5py.File(partial, "w") as shard:
        shard.attrs.update({"format": FORMAT, "pixel_size_nm": CANONICAL_NM, **told})
        shard.create_dataset("images", data=images, chunks=(1, TILE, TILE))
        shard.flush()  # or where it lies would hang on when the last reference to it goes (a profiler holds one)
        shard.create_dataset("labels", data=labels, chunks=(1, TILE, TILE), compression="gzip")
        shard.flush()
        shard.create_dataset("about", data=about, dtype=h5py.string_dtype())
    partial.replace(path)


def simulate(
    out: Path, order: Order, *, specimens: int, processes: int = 1, scheduler: str | None = None
) -> int:
    """Simulate a data set into `out`; shards that are there already are kept, so it goes on after an interruption.

    A picture of what was made, `contact-sheet-<preset>.png`, is put beside the shards. Returns the number of shards
    made now.

    Parameters
    ----------
    processes : at work at once on this machine.
    scheduler : address of a Dask scheduler, whose workers are used instead; they must see `out` at the same path.

    Raises
    ------
    ValueError
        An unknown preset, a folder whose shards were made to another order, or no scheduler at the address,
        or one without workers, or with workers that lack this program or do not see `out`.
    """
    from tqdm import tqdm

    from sim.dataset.sheet import contact_sheet

    order.preset_as_ordered()
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    todo = _missing(out, order, specimens)
    with tqdm(total=specimens, unit="specimen", disable=None) as bar:
        bar.update(specimens - sum(count for _, count in todo))
        if processes <= 1 and scheduler is None:
            for first, count in todo:
                make_shard(out, order, first, count)
                bar.update(count)
        elif todo:
            # FFTs are planned once, before several processes would each do it.
            exit_wave(Specimen(SLAB_SIDE_NM, 1.0, (), np.full((1, 3), 0.5), 0.0), GPTS)
            with _executor(processes, scheduler, out) as pool:
                _prepare_slabs(out, order, pool)
                running = {pool.submit(make_shard, out, order, *task): task for task in todo}
                try:
                    for done in as_completed(running):
                        done.result()
                        bar.update(running[done][1])
                except KeyboardInterrupt:
                    for waiting in running:
                        waiting.cancel()
                    raise
    contact_sheet(
        [shard_path(out, order.preset, first) for first in range(0, specimens, SPECIMENS_A_SHARD)]
    ).save(out / f"contact-sheet-{order.preset}.png")
    return len(todo)


def _missing(out: Path, order: Order, specimens: int) -> Sequence[tuple[int, int]]:
    """(first, count) of the shards that are not there yet."""
    todo = []
    for first in range(0, specimens, SPECIMENS_A_SHARD):
        path, count = shard_path(out, order.preset, first), min(SPECIMENS_A_SHARD, specimens - first)
        if not path.exists():
            todo.append((first, count))
            continue
        with h5py.File(path) as shard:
            made = str(shard.attrs.get("order", ""))
            held = len({json.loads(text)["specimen"] for text in shard["about"].asstr()[:]})
        if made != order.as_json():
            raise ValueError(f"{path} was made to another order ({made}); choose another folder")
        if held < count:
            todo.append((first, count))
    return todo


def _prepare_slabs(out: Path, order: Order, pool: Executor) -> None:
    """Have the slabs of carbon made before each process would make them for itself."""
    side_nm = order.preset_as_ordered().recipe.side_nm
    making = [
        pool.submit(slab_for, out, side_nm, order.seed, split, number)
        for split, numbers in SLABS.items()
        for number in range(numbers)
    ]
    for slab in making:
        slab.result()


@contextmanager
def _executor(processes: int, scheduler: str | None, out: Path) -> Iterator[Executor]:
    """What runs the shards: processes of this machine, or the workers of a Dask cluster."""
    if scheduler is None:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            yield pool
        return
    from distributed import Client

    connect: Any = Client  # ships no types
    try:
        client = connect(scheduler, timeout="10s", set_as_default=False)
    except (OSError, TypeError) as error:
        raise ValueError(f"no Dask scheduler answers at {scheduler}") from error
    with client:
        _refuse_workers(client, scheduler, out)
        with client.get_executor(pure=False) as executor:
            yield executor


def _refuse_workers(client: Any, scheduler: str, out: Path) -> None:
    """Say what is wrong with the workers before any work is lost on them.

    Raises
    ------
    ValueError
        There is none, or one that lacks this program or does not see `out`.
    """
    if not client.nthreads():
        raise ValueError(
            f"no worker has joined the scheduler at {scheduler}; start some with: dask worker {scheduler}"
        )
    probe = out / f".seen-{os.getpid()}"
    probe.touch()
    try:
        seen = client.run(_sees, probe, on_error="return")
    finally:
        probe.unlink()
    for worker, answer in seen.items():
        if isinstance(answer, ModuleNotFoundError):
            raise ValueError(
                f"the worker at {worker} lacks {answer.name}: start it where faultwatch[cluster,training] is installed"
            )
        if answer is not True:
            raise ValueError(f"the worker at {worker} does not see {out}; it must, under the same path")


def _sees(path: Path) -> bool:
    return path.exists()
