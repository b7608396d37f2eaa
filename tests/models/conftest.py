"""A data set small enough for every test: dark discs on noise, in all three splits."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from models.examples.shards import FORMAT

STEP = 0.05
SIZE = 128


def disc_image(rng: np.random.Generator, discs: int) -> tuple[np.ndarray, np.ndarray, list[dict]]:
    """(SIZE, SIZE) counts with the labels and records of its discs, 2.4 to 3.6 nm across and apart."""
    rows, cols = np.mgrid[:SIZE, :SIZE]
    counts, labels = rng.normal(100, 4, (SIZE, SIZE)), np.zeros((SIZE, SIZE), np.uint8)
    told = []
    for n, (row, col) in enumerate([(36, 36), (92, 92)][:discs], start=1):
        radius = float(rng.uniform(24, 36))
        inside = np.hypot(rows - row, cols - col) < radius
        counts[inside] -= 30
        labels[inside] = n
        told.append(
            {"label": n, "class": "null", "material": "Au", "diameter_nm": 2 * radius * STEP, "whole": True}
        )
    return counts / 100, labels, told


def write_shard(folder: Path, preset: str, discs: int, seed: int) -> None:
    """Twelve images of six specimens, two of each split."""
    rng = np.random.default_rng(seed)
    images, labels, about = [], [], []
    for n in range(12):
        image, truth, particles = disc_image(rng, discs)
        conditions = {
            "microscope": ("corrected", "uncorrected")[n % 2],
            "energy_kev": 300.0,
            "dose_e_per_A2": (80.0, 500.0)[n % 2],
            "camera": {"name": "direct"},
        }
        told = {
            "specimen": f"{preset}-{seed}-{n // 2}",
            "split": ("train", "validation", "test")[n // 4],
            "carbon_nm": 4.0,
            "conditions": conditions,
            "particles": particles,
        }
        images.append(image.astype(np.float16))
        labels.append(truth)
        about.append(json.dumps(told))
    with h5py.File(folder / f"{preset}-00000.h5", "w") as shard:
        shard.attrs.update({"format": FORMAT, "pixel_size_nm": STEP, "seed": seed, "preset": preset})
        shard["images"], shard["labels"] = np.stack(images), np.stack(labels)
        shard.create_dataset("about", data=about, dtype=h5py.string_dtype())


@pytest.fixture(scope="session")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set's folder: `lattice` with two discs an image, `bare` with none."""
    folder = tmp_path_factory.mktemp("discs")
    write_shard(folder, "lattice", 2, 1)
    write_shard(folder, "bare", 0, 2)
    return folder
