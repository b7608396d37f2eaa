"""Arrays of NumPy: shapes, types, orders, and what is never loaded."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from monitor.errors import UnreadableFrame
from monitor.read import open_frames


def test_one_channel_is_no_stack(picture, tmp_path):
    np.save(tmp_path / "a.npy", picture(1)[0][..., None])
    with open_frames(tmp_path / "a.npy") as file:
        assert file.count == 1
        np.testing.assert_array_equal(file.frame(0).pixels, picture(1)[0])


def test_float_frames_may_be_half_precision(picture, writers, tmp_path):
    stack = picture(1).astype(np.float16)
    with open_frames(writers["npy"](tmp_path / "frame", stack, 0.02)) as file:
        assert file.frame(0).pixels.dtype == np.float32


def test_pickled_objects_are_never_loaded(tmp_path):
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (20, 20), }\n"
    code = b"cos\nsystem\n(S'touch pwned'\ntR."
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + code)
    with pytest.raises(UnreadableFrame, match="pickled"):
        open_frames(tmp_path / "a.npy")


@pytest.mark.parametrize("frames", [1, 3])
def test_column_major_arrays(frames, picture, tmp_path):
    stack = picture(frames)
    np.save(tmp_path / "a.npy", np.asfortranarray(stack))
    with open_frames(tmp_path / "a.npy") as file:
        np.testing.assert_array_equal(file.frame(frames - 1).pixels, stack[-1])
