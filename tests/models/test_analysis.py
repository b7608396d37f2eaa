"""Regions come back to the frame's own pixels one by one as they do all at once."""

import numpy as np
import pytest

from models.analysis import _on_frame, _outlined
from models.preprocess import Canonical


@pytest.mark.parametrize("scale", [(0.371, 0.373), (1.0, 1.0), (2.31, 2.29)])
def test_each_region_is_where_the_whole_frame_has_it(scale: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    h, w = 150, 170
    labels = np.zeros((h, w), np.int32)
    rows, cols = np.mgrid[:h, :w]
    boxes = []
    for n in range(1, 12):
        row, col, radius = rng.uniform(0, h), rng.uniform(0, w), rng.uniform(1.5, 15)
        labels[np.hypot(rows - row, cols - col) < radius] = n
    labels[3, 5] = 12  # a single pixel: a coarser frame may not show it
    for n in range(1, 13):
        own = np.argwhere(labels == n)
        boxes.append(tuple(slice(own[:, k].min(), own[:, k].max() + 1) for k in (0, 1)) if len(own) else None)
    shape = round(h / scale[0]), round(w / scale[1])
    prepared = Canonical(np.zeros((h, w), np.float32), scale, shape)
    whole, seen = prepared.to_frame(labels), 0
    assert whole.shape == shape
    for n, box in enumerate(boxes, start=1):
        if box is None:
            continue
        mask, at = _on_frame(labels[box] == n, box, prepared.nearest())
        expected = np.argwhere(whole == n)
        if len(expected) == 0:
            assert mask.size == 0
            continue
        seen += 1
        assert (at[0].start, at[1].start) == tuple(expected.min(axis=0))
        assert (at[0].stop, at[1].stop) == tuple(expected.max(axis=0) + 1)
        np.testing.assert_array_equal(mask, whole[at] == n)
        told = _outlined(mask.view(np.uint8), at, 0.1)
        assert told["centroid"] == pytest.approx(tuple(expected.mean(axis=0)))
        assert told["area_nm2"] == pytest.approx(len(expected) * 0.01)
    assert seen >= 8
