"""Large frames in blocks: nothing lost at the borders, nothing twice, and the same as in one piece."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import blocks
from models.analysis import analyse
from models.blocks import blocks_of
from models.bundle import load_bundle
from sim.microscope.library import load_library
from sim.microscope.play import Story, take_frames


@given(st.integers(64, 9000), st.integers(64, 9000), st.sampled_from([0.06, 0.5, 1.0, 2.0, 4.0]))
def test_every_point_is_owned_once_and_lies_well_inside_its_block(h: int, w: int, scale: float) -> None:
    found = blocks_of((h, w), scale)
    if max(h, w) * scale <= blocks.LARGEST:
        assert len(found) == 1
    rng = np.random.default_rng(0)
    for row, col in rng.uniform(0, 1, (20, 2)) * [h, w]:
        owners = [
            b for b in found if b.own_rows[0] <= row < b.own_rows[1] and b.own_cols[0] <= col < b.own_cols[1]
        ]
        assert len(owners) == 1
        margin = 0.45 * blocks.OVERLAP / scale
        for at, length, extent in ((row, h, owners[0].rows), (col, w, owners[0].cols)):
            assert extent.start <= at < extent.stop + 1
            assert at - extent.start >= margin or extent.start == 0
            assert extent.stop - at >= margin - 1 or extent.stop == length
    for b in found:
        assert (b.rows.stop - b.rows.start) * scale <= blocks.LARGEST + 2 * scale
        assert (b.cols.stop - b.cols.start) * scale <= blocks.LARGEST + 2 * scale


def test_blocks_see_what_the_whole_frame_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(device="cpu")
    (taken,) = take_frames(Story(frames=1, size=1536, seed=4), load_library())
    whole = analyse(taken.counts, taken.pixel_size_nm, bundle)
    monkeypatch.setattr(blocks, "LARGEST", 600)
    monkeypatch.setattr(blocks, "BLOCK", 540)
    monkeypatch.setattr(blocks, "OVERLAP", 260)
    assert len(blocks_of(taken.counts.shape, 0.5)) == 4
    parted = analyse(taken.counts, taken.pixel_size_nm, bundle)
    assert parted.shape == whole.shape
    assert [p.label for p in parted.particles] == list(range(1, len(parted.particles) + 1))
    assert len(parted.particles) == pytest.approx(len(whole.particles), abs=2)
    assert ((parted.labels > 0) == (whole.labels > 0)).mean() > 0.99
    same = 0
    for p in parted.particles:
        inside = parted.labels == p.label
        if p.particle_class == "empty":
            assert not inside.any()
            continue
        rows, cols = np.nonzero(inside)
        assert p.bbox == (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1)
        same += any(
            q.particle_class == p.particle_class and np.hypot(*np.subtract(q.centroid, p.centroid)) < 20
            for q in whole.particles
        )
    assert same >= 0.85 * len(parted.particles)
