"""Regions from the network's maps, and tiling."""

import numpy as np
import torch

from models.examples.batches import targets
from models.segment import OVERLAP, STRIDE, TILE, Segmentation, probability_maps, regions

STEP = 0.05


def disc(size: int, row: float, col: float, radius: float) -> np.ndarray:
    r, c = np.mgrid[:size, :size]
    return np.hypot(r - row, c - col) < radius


def maps_of(particle: np.ndarray, core: np.ndarray) -> np.ndarray:
    return np.stack([particle, core]).astype(np.float32) * 0.9 + 0.02


def test_regions_are_numbered_from_the_top() -> None:
    particle = disc(256, 180, 60, 25) | disc(256, 60, 180, 25)
    labels = regions(maps_of(particle, particle), STEP, Segmentation())
    assert labels.max() == 2
    assert labels[60, 180] == 1
    assert labels[180, 60] == 2


def test_touching_particles_are_parted_by_their_cores() -> None:
    a, b = disc(256, 128, 95, 36), disc(256, 128, 160, 36)
    cores = disc(256, 128, 95, 26) | disc(256, 128, 160, 26)
    parted = regions(maps_of(a | b, cores), STEP, Segmentation())
    assert parted.max() == 2
    assert parted[128, 95] != parted[128, 160]
    assert (parted > 0).sum() == (a | b).sum()
    whole = regions(maps_of(a | b, a | b), STEP, Segmentation())
    assert whole.max() == 1


def test_holes_are_filled_and_specks_dropped() -> None:
    particle = disc(256, 128, 128, 40) & ~disc(256, 128, 128, 10)
    particle |= disc(256, 20, 20, 4)  # 0.4 nm across
    labels = regions(maps_of(particle, particle), STEP, Segmentation())
    assert labels.max() == 1
    assert labels[128, 128] == 1
    assert not labels[20, 20]


def test_nothing_gives_nothing() -> None:
    assert regions(np.zeros((2, 64, 64), np.float32), STEP, Segmentation()).max() == 0


def test_tiles_join_without_a_seam() -> None:
    """A network that looks at single pixels gives the same in tiles as in one piece, on sizes that fit no grid."""

    def network(image: np.ndarray) -> np.ndarray:
        assert image.shape[2] % STRIDE == 0
        assert image.shape[3] % STRIDE == 0
        assert max(image.shape) <= TILE + STRIDE
        return np.concatenate([image, -image], axis=1)

    for shape in ((TILE + 1, 40), (2 * TILE - 2 * OVERLAP, 33), (40, 3 * TILE + 7)):
        image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        maps = probability_maps(image, network)
        np.testing.assert_allclose(maps[0], 1 / (1 + np.exp(-image)), atol=1e-6)


def test_training_targets_part_touching_particles() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[10:50, 10:32], labels[10:50, 32:54] = 1, 2
    particle, core = targets(torch.from_numpy(labels)[None], STEP)[0].numpy()
    assert particle[30, 31] == particle[30, 32] == 1
    assert core[30, 31] == core[30, 32] == 0
    assert core[30, 21] == core[30, 43] == 1
