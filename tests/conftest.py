"""What tests of several rooms share."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# Small networks and pictures only lose by being shared out over cores, on a busy machine many times over.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def sparse_films() -> Callable[[Path, int], None]:
    """Puts films of few atoms where a data set of a seed keeps its own, which take a minute to make."""

    def put(folder: Path, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        atoms = np.random.default_rng(0).uniform(0, 1, (4000, 3)) * [12.8, 12.8, 10]
        for name in ("train-0", "train-1", "train-2", "train-3", "validation-0", "test-0"):
            np.savez(folder / f"carbon-{name}.npz", positions=atoms.astype(np.float32), seed=seed)

    return put
