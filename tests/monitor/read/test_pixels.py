"""Loaded pixels made into a picture: colours, dead pixels, blank and tiny frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from monitor.errors import UnreadableFrame
from monitor.read import open_frames
from monitor.read.pixels import to_picture


def _read(path):
    with open_frames(path) as file:
        return file.frame(0)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_equal_channels_are_one(suffix, picture, tmp_path):
    grey = picture(1, dtype="u1")[0]
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / f"a{suffix}")
    frame = _read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(frame.pixels, grey)
    assert frame.pixels.dtype == np.uint8
    assert frame.notes == ()


def test_nearly_equal_channels_are_averaged_and_noted(picture, tmp_path):
    grey = picture(1, dtype="u1")[0]
    Image.fromarray(np.stack([grey, grey + 1, grey + 2], axis=-1)).save(tmp_path / "a.png")
    frame = _read(tmp_path / "a.png")
    np.testing.assert_allclose(frame.pixels, grey + 1)
    assert "averaged" in frame.notes[0]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_coloured_pictures_are_refused(suffix, tmp_path):
    colours = np.zeros((32, 32, 3), np.uint8)
    colours[:16, :, 0], colours[16:, :, 2] = 250, 250
    Image.fromarray(colours).save(tmp_path / f"a{suffix}")
    with pytest.raises(UnreadableFrame, match="coloured"):
        _read(tmp_path / f"a{suffix}")


def test_a_coloured_scale_bar_does_not_make_a_picture_coloured(picture, tmp_path):
    rgb = np.stack([picture(1, 128, 128, "u1")[0]] * 3, axis=-1)
    rgb[-6:-3, 10:40] = (255, 255, 0)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    assert _read(tmp_path / "a.png").pixels.shape == (128, 128)


def test_few_dead_pixels_take_the_median(picture):
    pixels = picture(1, dtype="f4")[0]
    pixels[3, 4], pixels[5, 6] = np.nan, np.inf
    mended, notes = to_picture(pixels)
    assert np.isfinite(mended).all()
    assert mended[3, 4] == np.median(pixels[np.isfinite(pixels)])
    assert "2 pixels" in notes[0]


def test_many_dead_pixels_are_refused(picture):
    pixels = picture(1, dtype="f4")[0]
    pixels[:12] = np.nan
    with pytest.raises(UnreadableFrame, match="50%"):
        to_picture(pixels)


@pytest.mark.parametrize("value", [0, 7.5])
def test_blank_frames_are_refused(value):
    with pytest.raises(UnreadableFrame, match=f"blank: every pixel has the value {value}"):
        to_picture(np.full((32, 32), value))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.ones((3, 2)), "too small: 3 × 2"),
        (np.ones((15, 400)), "too small: 15 × 400"),
        (np.ones(500), "500 points"),
        (np.ones((1, 500)), "500 points"),
        (np.ones((64, 64), complex), "complex"),
        (np.zeros((64, 64), "U4"), "type"),
        (np.zeros((0, 64, 64)), "0 frames"),
    ],
)
def test_what_is_no_frame(array, reason, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UnreadableFrame, match=reason):
        open_frames(tmp_path / "a.npy")


@given(
    arrays.arrays(
        st.sampled_from(["u1", "i2", ">u2", "f4", ">f8", "?"]),
        st.tuples(st.integers(16, 20), st.integers(16, 20)),
    )
)
def test_a_picture_is_always_finite_native_and_the_same(array):
    try:
        pixels, notes = to_picture(array)
    except UnreadableFrame:
        return
    assert pixels.shape == array.shape
    assert pixels.dtype.isnative
    assert np.isfinite(pixels).all()
    same = np.isfinite(array)
    np.testing.assert_array_equal(pixels[same], array[same])
    assert bool(notes) == (not same.all())
