"""Ways of telling touching particles apart, on shapes whose parts are known."""

from pathlib import Path

import numpy as np
import pytest

from models.evaluation.judge import Judge
from models.preprocess import Preprocessing
from models.segment import Segmentation
from models.studies.separation import WAYS, by_distance, compare, table_of, touch

STEP = 0.05


def dumbbell(gap: float) -> tuple[np.ndarray, np.ndarray]:
    """(particle, core) maps (2, 160, 160) of two discs of radius 30 px, and their labels."""
    r, c = np.mgrid[:160, :160]
    distances = [np.hypot(r - 80, c - col) for col in (80 - gap / 2, 80 + gap / 2)]
    labels = np.where(np.minimum(*distances) < 30, 1 + np.argmin(distances, axis=0), 0)
    core = np.minimum(*distances) < 22
    particle = labels > 0
    return 0.02 + 0.96 * np.stack([particle, core]).astype(np.float32), labels.astype(np.uint8)


@pytest.mark.parametrize("way", WAYS)
def test_particles_apart_are_told_apart(way: str) -> None:
    maps, labels = dumbbell(70)
    found = WAYS[way](maps, STEP, Segmentation())
    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, labels > 0)


@pytest.mark.parametrize(("way", "parts"), [("core", 2), ("distance", 2), ("connected", 1)])
def test_touching_particles(way: str, parts: int) -> None:
    maps, labels = dumbbell(52)
    found = WAYS[way](maps, STEP, Segmentation())
    assert found.max() == parts
    assert ((found > 0) == (labels > 0)).mean() > 0.99
    if parts == 2:
        for label in (1, 2):
            inside = np.bincount(found[labels == label], minlength=3)
            assert inside.max() > 0.95 * inside.sum()


def test_one_particle_stays_one_by_its_distance() -> None:
    """Also one that is longer than wide, has a ragged outline, or is cut by the border."""
    r, c = np.mgrid[:160, :160]
    angle = np.arctan2(r - 80, c - 80)
    ragged = np.hypot(r - 80, c - 80) < 40 + 2 * np.sin(9 * angle)
    long = np.hypot((r - 80) / 25, (c - 80) / 60) < 1
    cut = np.hypot(r - 0, c - 80) < 40
    for shape in (ragged, long, cut):
        maps = np.stack([shape, np.zeros_like(shape)]).astype(np.float32)
        found = by_distance(maps, STEP, Segmentation())
        assert found.max() == 1
        np.testing.assert_array_equal(found > 0, shape)


def test_adjoining_labels_touch() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[2:4, 2:4], labels[2:4, 5:7] = 1, 2
    assert not touch(labels)
    labels[2:4, 4] = 1
    assert touch(labels)


def test_they_are_compared_on_a_data_set(discs: Path) -> None:
    """A network that sees what is dark, and says that everything dark is core."""

    def dark(image: np.ndarray) -> np.ndarray:
        return np.repeat(np.where(image < -0.5, 8.0, -8.0), 2, axis=1).astype(np.float32)

    by = Judge(dark, Preprocessing(), Segmentation())
    result = compare(by, discs, "validation", 4, 0)
    assert result["images"] == {"all": 4, "touching": 0}
    for row in result["ways"].values():
        assert row["all"]["instance_f1"] > 0.6
        assert "touching" not in row
    assert table_of(result).as_text().count("\n") == 3
