"""Files of every format: pixels, scale and type come back; what holds for all of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from monitor.errors import UnreadableFrame
from monitor.read import open_frames, why_incomplete

FORMATS = [
    "dm3", "dm4", "ser", "mrc", "tif", "imagej", "npy", "velox", "berkeley", "hspy", "rosetta-emd",
]  # fmt: skip


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("kind", FORMATS)
def test_pixels_and_scale_come_back(kind, frames, writers, picture, tmp_path):
    stack = picture(frames)
    path = writers[kind](tmp_path / "frame", stack, 0.0213)
    with open_frames(path) as file:
        assert file.count == frames
        for index in reversed(range(frames)):
            frame = file.frame(index)
            np.testing.assert_array_equal(frame.pixels, stack[index])
            assert frame.pixels.dtype == np.uint16
            assert json.loads(json.dumps(frame.metadata, allow_nan=False)) == frame.metadata
            assert frame.pixel_size_nm == (None if kind == "npy" else pytest.approx(0.0213, rel=1e-5))
    assert why_incomplete(path) is None


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, dtype) for kind in ("tif", "npy", "velox") for dtype in ("u1", "i2", "i4", "f4", ">u2", ">f4")]
    + [(kind, dtype) for kind in ("dm4", "ser") for dtype in ("u1", "i2", "i4", "f4")]
    + [("mrc", dtype) for dtype in ("i1", "i2", "f4", ">u2", ">f4")],
)
def test_types_and_byte_orders(kind, dtype, writers, picture, tmp_path):
    stack = (picture(1) // 2).astype(dtype)
    with open_frames(writers[kind](tmp_path / "frame", stack, 0.02)) as file:
        pixels = file.frame(0).pixels
    np.testing.assert_array_equal(pixels, stack[0])
    assert pixels.dtype.isnative


def test_content_decides_not_the_name(picture, writers, tmp_path):
    stack = picture(1)
    path = writers["npy"](tmp_path / "frame", stack, 0.02).rename(tmp_path / "frame.tif")
    with open_frames(path) as file:
        np.testing.assert_array_equal(file.frame(0).pixels, stack[0])


def test_frames_stay_when_the_file_is_closed(picture, writers, tmp_path):
    for kind in FORMATS:
        with open_frames(writers[kind](tmp_path / kind, picture(1), 0.02)) as file:
            frame = file.frame(0)
        assert frame.pixels.sum() == picture(1).sum()


def test_there_is_no_frame_beyond_the_last(picture, writers, tmp_path):
    with open_frames(writers["tif"](tmp_path / "a", picture(2), 0.02)) as file:
        for index in (2, -1):
            with pytest.raises(UnreadableFrame, match="it has 2"):
                file.frame(index)
