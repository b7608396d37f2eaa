"""TIFF pages: channels, reduced copies, inverted pictures, compressions."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

from monitor.errors import UnreadableFrame
from monitor.read import open_frames


def _read(path):
    with open_frames(path) as file:
        return file.frame(0)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_keeps_channels_together_or_apart(planar, picture, tmp_path):
    grey = picture(1, dtype="u2")[0]
    stack = np.stack([grey] * 3, axis=-1 if planar == "contig" else 0)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb", planarconfig=planar)
    np.testing.assert_array_equal(_read(tmp_path / "a.tif").pixels, grey)


def test_a_reduced_copy_in_a_tiff_is_no_frame(picture, tmp_path):
    full = picture(1, 64, 64)[0]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(full)
        file.write(full[::2, ::2], subfiletype=1)
    with open_frames(tmp_path / "a.tif") as file:
        assert file.count == 1
        np.testing.assert_array_equal(file.frame(0).pixels, full)


def test_white_may_be_zero(picture, tmp_path):
    grey = picture(1, dtype="u1")[0]
    tifffile.imwrite(tmp_path / "a.tif", 255 - grey, photometric="miniswhite")
    np.testing.assert_array_equal(_read(tmp_path / "a.tif").pixels, grey)


def test_unknown_compression_of_a_tiff_is_a_reason(picture, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(1)[0], compression="zlib")
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    at = raw.index(struct.pack("<HHI", 259, 3, 1)) + 8
    raw[at : at + 2] = struct.pack("<H", 31337)
    (tmp_path / "a.tif").write_bytes(raw)
    with open_frames(tmp_path / "a.tif") as file, pytest.raises(UnreadableFrame):
        file.frame(0)
