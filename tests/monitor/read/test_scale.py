"""Units, and the choice between the pixel sizes of file, sender and operator."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import NoPixelSize
from monitor.frames import Frame
from monitor.read import check_pixel_size, resolve_pixel_size
from monitor.read.scale import parse_unit, plausible, square_pixel


def _frame(size: float | None = None, problem: str | None = None) -> Frame:
    return Frame(np.zeros((16, 16)), size, problem)


@pytest.mark.parametrize(
    ("spelling", "nm"),
    [("nm", 1), ("NM", 1), ("[n_m]", 1), ("Å", 0.1), ("\u212b", 0.1), ("A\u030a", 0.1), ("A", 0.1),
     ("Angstrom", 0.1), ("µm", 1e3), ("\u03bcm", 1e3), ("um", 1e3), ("micron", 1e3), ("\\u00B5m", 1e3),
     ("pm", 1e-3),
     ("m", 1e9), ("meters", 1e9), (" nm\0", 1)],
)  # fmt: skip
def test_lengths(spelling, nm):
    assert parse_unit(spelling) == ("length", nm)


@pytest.mark.parametrize(
    "spelling", ["1/nm", "1 / nm", "nm^-1", "nm⁻¹", "1/Å", "A^-1", "1/m", "mrad", "rad", "1/µm"]
)
def test_reciprocal_lengths_and_angles(spelling):
    assert parse_unit(spelling)[0] == "reciprocal"


@pytest.mark.parametrize("spelling", [None, "", "px", "pixels", "<undefined>"])
def test_no_unit(spelling):
    assert parse_unit(spelling)[0] == "none"


@pytest.mark.parametrize("spelling", ["µ", "µn", "eV", "s", "counts", "1/s", "inch"])
def test_other_units(spelling):
    assert parse_unit(spelling)[0] == "other"


@pytest.mark.parametrize("size", [None, 0.0, math.nan, math.inf, -math.inf])
def test_what_is_no_size(size):
    assert plausible(size) is None


def test_a_negative_scale_is_a_direction():
    assert plausible(-0.02) == 0.02


@given(st.floats(0.003, 0.2), st.floats(-0.019, 0.019))
def test_nearly_square_pixels_take_the_geometric_mean(size, stretch):
    merged, problem = square_pixel(size, size * math.exp(stretch))
    assert problem is None
    assert merged == pytest.approx(size * math.exp(stretch / 2))


@given(st.floats(0.003, 0.2), st.floats(0.021, 5))
def test_other_pixels_are_a_problem(size, stretch):
    assert square_pixel(size, size * math.exp(stretch))[0] is None
    assert square_pixel(size * math.exp(stretch), size)[1] is not None


def test_one_side_stands_for_both():
    assert square_pixel(None, 0.02) == (0.02, None)
    assert square_pixel(0.03, 0.0) == (0.03, None)
    assert square_pixel(None, None) == (None, None)


@pytest.mark.parametrize("size", [0.003, 0.02, 0.2, float(np.float32(0.2))])
def test_the_ends_of_the_range_belong_to_it(size):
    assert check_pixel_size(size) == size


@pytest.mark.parametrize(
    ("size", "number"), [(0.0029, "0.0029"), (0.21, "0.21"), (352.8, "352.8"), (math.nan, "nan")]
)
def test_outside_of_the_range_is_refused_with_the_number_and_the_way_out(size, number):
    with pytest.raises(NoPixelSize) as caught:
        check_pixel_size(size)
    assert number in str(caught.value)
    assert "--force-pixel-size" in str(caught.value)


@pytest.mark.parametrize(
    ("file", "given_nm", "forced", "announced", "taken"),
    [
        (0.02, 0.03, 0.04, 0.05, 0.04),
        (0.02, 0.03, None, 0.05, 0.05),
        (0.02, 0.03, None, None, 0.02),
        (None, 0.03, None, None, 0.03),
        (None, 0.03, None, 0.0, 0.03),
    ],
)
def test_whose_word_is_taken(file, given_nm, forced, announced, taken):
    assert resolve_pixel_size(_frame(file), given_nm, forced, announced) == taken


def test_nobody_knows():
    with pytest.raises(NoPixelSize, match="--pixel-size"):
        resolve_pixel_size(_frame(), None, None)


def test_what_is_given_does_not_mend_a_file_that_says_otherwise():
    with pytest.raises(NoPixelSize, match="352"):
        resolve_pixel_size(_frame(352.8), 0.02, None)
    with pytest.raises(NoPixelSize, match="not square"):
        resolve_pixel_size(_frame(None, "the pixels are not square"), 0.02, None)
    assert resolve_pixel_size(_frame(None, "the pixels are not square"), None, 0.02) == 0.02
