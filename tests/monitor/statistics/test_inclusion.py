"""Inclusion weights undo what the frame's border does, by throwing particles at a frame."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.statistics.inclusion import seen_weight, whole_probability, whole_weight


def test_by_hand() -> None:
    assert whole_probability((10, 20), (100, 100)) == pytest.approx(0.9 * 0.8)
    assert whole_weight((10, 20), (100, 100)) == pytest.approx(1 / 0.72)
    assert seen_weight((10, 20), (100, 100)) == pytest.approx(1 / (1.1 * 1.2))
    assert whole_probability((120, 20), (100, 100)) == 0
    assert whole_weight((120, 20), (100, 100)) == float("inf")
    with pytest.raises(ValueError, match="size above 0"):
        whole_probability((1, 1), (0, 10))


def test_the_share_of_large_ones_comes_out_right() -> None:
    """Half of the particles are 8 wide, half 30; of whole ones and of seen ones alike the weights give a half."""
    rng = np.random.default_rng(6)
    frame, n = (100.0, 60.0), 60_000
    size = np.where(rng.random(n) < 0.5, 8.0, 30.0)
    centre = rng.uniform(-60, 160, (n, 2))
    low, high = centre - size[:, None] / 2, centre + size[:, None] / 2
    whole = ((low >= 0) & (high <= np.array(frame))).all(axis=1)
    seen = ((high > 0) & (low < np.array(frame))).all(axis=1)
    for chosen, weight in ((whole, whole_weight), (seen, seen_weight)):
        of = {s: weight((s, s), frame) * (chosen & (size == s)).sum() for s in (8.0, 30.0)}
        assert abs((chosen & (size == 30)).sum() / chosen.sum() - 0.5) > 0.05
        assert of[30.0] / (of[8.0] + of[30.0]) == pytest.approx(0.5, abs=0.02)
