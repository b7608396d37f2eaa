"""Regions from the network's maps, and tiling."""

import numpy as np
import pytest
import torch
from scipy import ndimage

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


def plainly(maps: np.ndarray, settings: Segmentation) -> np.ndarray:
    """Regions as they are defined, part by part over the whole frame; no two cores here are the same way off."""
    mask = ndimage.binary_fill_holes(maps[0] > settings.threshold)
    smallest = np.pi / 4 * (settings.smallest_nm / STEP) ** 2
    parts, count = ndimage.label(mask)
    cores, cores_count = ndimage.label(mask & (maps[1] > settings.core_threshold))
    found = []
    for part in range(1, count + 1):
        inside = parts == part
        own = [n for n in range(1, cores_count + 1) if (inside & (cores == n)).sum() >= 0.2 * smallest]
        if len(own) < 2:
            found.append(inside)
            continue
        away = [ndimage.distance_transform_edt(cores != n) for n in own]
        found += [inside & (np.argmin(away, axis=0) == n) for n in range(len(own))]
    kept = [one for one in found if one.sum() >= smallest and maps[0][one].mean() >= settings.smallest_mean]
    labels = np.zeros(mask.shape, np.int32)
    for n, one in enumerate(sorted(kept, key=lambda one: int(np.flatnonzero(one)[0])), start=1):
        labels[one] = n
    return labels


@pytest.mark.parametrize("seed", range(4))
def test_regions_are_those_of_the_definition(seed: int) -> None:
    """Of maps like a network's at a low threshold: some parts touch, some have holes, many are specks."""
    noise = np.random.default_rng(seed).standard_normal((2, 190, 230))
    smooth = np.stack([ndimage.gaussian_filter(n, s) for n, s in zip(noise, (7, 5), strict=True)])
    maps = (1 / (1 + np.exp(-40 * smooth))).astype(np.float32)
    settings = Segmentation(threshold=0.35, core_threshold=0.6, smallest_mean=0.5)
    found, expected = regions(maps, STEP, settings), plainly(maps, settings)
    assert found.max() == expected.max() > 5
    # The distance to a core is taken in steps of a chess-like board there, so that borders lie elsewhere by pixels.
    assert (found != expected).mean() < 0.03
    parted = [n for n in range(1, found.max() + 1) if (ndimage.label(found > 0)[0][found == n]).size]
    assert len(parted) > ndimage.label(found > 0)[1]  # some part was parted


def test_a_pixel_goes_to_a_core_of_its_own_part() -> None:
    """A thin arm of a part with two cores reaches past the core of its neighbour, which it does not touch."""
    arm, other = np.zeros((120, 160), bool), disc(160, 30, 80, 14)[:120]
    arm[50:54, 20:140] = True
    part = arm | disc(160, 52, 22, 18)[:120] | disc(160, 52, 138, 18)[:120]
    cores = disc(160, 52, 22, 12)[:120] | disc(160, 52, 138, 12)[:120] | other
    labels = regions(maps_of(part | other, cores), STEP, Segmentation())
    assert labels.max() == 3
    assert len(np.unique(labels[other])) == 1
    assert (labels[part] > 0).all()
    assert len(np.unique(labels[part])) == 2
