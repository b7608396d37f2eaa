"""A plan of few atoms: narrow fields at the images' own sampling, on sparse films."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sim.streaming.specimens import Drawn, Plan, draw

SEED = 5


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory, sparse_films: Callable[[Path, int], None]) -> Path:
    folder = tmp_path_factory.mktemp("films")
    sparse_films(folder, SEED)
    return folder


@pytest.fixture(scope="session")
def plan(films: Path) -> Plan:
    return Plan(films, (SEED, 0), "train", {"bare": 0.2, "lattice": 0.8}, gpts=256, images=4, empty=2)


@pytest.fixture(scope="session")
def lattice(plan: Plan) -> Drawn:
    """Number 1 is the first of the second preset."""
    return draw(plan, 1)
