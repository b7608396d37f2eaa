"""Where the regions of a label image lie, and what surrounds them, found without going over it for each."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from models.features.contrast import FEWEST, RING_NM, spreads
from models.features.regions import boxes_of, region_of

PIXEL = 0.05


def scattered(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Labels of blocks that touch one another and the border, some of them in several pieces."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 6, (shape[0] // 9 + 1, shape[1] // 9 + 1)).astype(np.int32)
    coarse.ravel()[:5] = np.arange(1, 6)
    return np.ascontiguousarray(np.kron(coarse, np.ones((9, 9), np.int32))[: shape[0], : shape[1]])


@pytest.mark.parametrize("shape", [(50, 61), (9, 90), (64, 64)])
def test_boxes_are_those_of_the_labels(shape: tuple[int, int]) -> None:
    labels = scattered(shape, sum(shape))
    assert boxes_of(labels) == ndimage.find_objects(labels)
    labels[:] = 0
    assert boxes_of(labels) == []
    labels[4, 3:] = labels[5, :2] = 1  # one run of the memory, but two rows
    assert boxes_of(labels) == [(slice(4, 6), slice(0, shape[1]))]


def test_a_label_that_is_left_out_is_an_error() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[2:5, 2:5], labels[10:15, 10:15] = 1, 3
    with pytest.raises(ValueError, match="the label 2"):
        boxes_of(labels)


@pytest.mark.parametrize("crowded", [False, True])
def test_a_region_is_compared_with_what_is_free_around_it(crowded: bool) -> None:
    rng = np.random.default_rng(1)
    image = rng.standard_normal((120, 130)).astype(np.float32)
    labels = np.zeros(image.shape, np.int32)
    labels[20:60, 5:50] = 1
    labels[:, 50:] = 2
    if crowded:
        labels[labels == 0] = 2
        labels[61, 20:30] = 0  # fewer than make a surrounding
    pad = round(RING_NM / PIXEL)
    region = region_of(labels, 1, boxes_of(labels)[0], PIXEL)
    grown = cv2.dilate((labels == 1).astype(np.uint8), np.ones((2 * pad + 1, 2 * pad + 1), np.uint8))
    ring = (grown > 0) & (labels == 0)
    assert (ring.sum() > FEWEST) == (not crowded)
    rows, cols = (slice(max(0, side.start - pad), side.stop + pad) for side in region.here)
    around = image[rows, cols] if crowded else image[ring]
    own = image[labels == 1]
    expected = (own.mean(), own.std(), around.mean(), around.std())
    assert spreads(image, labels, region, PIXEL) == pytest.approx(expected, rel=1e-4, abs=1e-5)
