"""Row 0 is at the top of a picture: the one flip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.geometry import to_page


def test_the_first_row_comes_to_lie_at_the_top_and_the_first_column_at_the_left() -> None:
    rows, cols = np.array([0, 0, 3]), np.array([0, 5, 0])  # three marks on a frame of 4 x 6

    x, y = to_page(rows, cols, height=4, pixel_size_nm=0.5)

    assert x.tolist() == [0.25, 2.75, 0.25]
    assert y.tolist() == [1.75, 1.75, 0.25]


def test_the_outer_corners_of_the_frame_are_the_corners_of_the_chart() -> None:
    x, y = to_page([-0.5, 3.5], [-0.5, 5.5], height=4, pixel_size_nm=0.5)
    assert (x.tolist(), y.tolist()) == ([0, 3], [2, 0])


@given(st.integers(1, 4096), st.floats(0.003, 0.2), st.floats(0, 4095), st.floats(0, 4095))
def test_distances_stay_what_they_are(height: int, pixel: float, row: float, col: float) -> None:
    x, y = to_page([0, row], [0, col], height, pixel)
    assert np.hypot(*np.diff([x, y])) == pytest.approx(pixel * np.hypot(row, col), abs=1e-9)
