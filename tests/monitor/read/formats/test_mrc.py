"""MRC files: byte orders, the extended header of FEI, files without a mark."""

from __future__ import annotations

import struct

import mrcfile
import numpy as np
import pytest

from monitor.errors import NoPixelSize
from monitor.read import open_frames, resolve_pixel_size


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_mrc_of_the_other_byte_order(dtype, marked, picture, tmp_path):
    stack = (picture(2, 1024, 64) // 2).astype(f">{dtype}")
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(stack)
        file.voxel_size = 0.25
        assert file.header.machst[0] == 0x11
    if not marked:
        raw = bytearray((tmp_path / "a.mrc").read_bytes())
        raw[212:216] = bytes(4)
        (tmp_path / "a.mrc").write_bytes(raw)
    with open_frames(tmp_path / "a.mrc") as file:
        assert file.count == 2
        frame = file.frame(1)
    np.testing.assert_array_equal(frame.pixels, stack[1])
    assert frame.pixel_size_nm == pytest.approx(0.025)


def test_fei_extended_header_has_the_pixel_size(picture, tmp_path):
    dtype = mrcfile.dtypes.get_ext_header_dtype(b"FEI2", "<")
    entry = np.zeros(1, dtype)
    entry["Metadata size"], entry["Pixel size X"], entry["Pixel size Y"] = dtype.itemsize, 2.5e-11, 2.5e-11
    entry["Dose"], entry["Timestamp"] = 5e22, 43832.5
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(picture(1)[0])
        file.set_extended_header(entry)
        file.header.exttyp = b"FEI2"
        file.voxel_size = 7.0
    with open_frames(tmp_path / "a.mrc") as file:
        frame = file.frame(0)
    assert frame.pixel_size_nm == pytest.approx(0.025)
    assert frame.dose_e_per_A2 == pytest.approx(500)
    assert frame.acquired == pytest.approx(1_577_966_400, abs=1)  # 2 January 2020, noon


def test_mrc_without_a_mark_is_known_by_its_name(picture, tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(picture(1)[0].astype(">f4"))
        file.header.map = b"    "
    with open_frames(tmp_path / "a.mrc") as file:
        np.testing.assert_array_equal(file.frame(0).pixels, picture(1)[0])


def bytes_file(path, pixels, *, flags=None, dmin=0.0, dmax=0.0):
    """A file of mode 0 with these bytes; `flags`: IMOD's, with its stamp."""
    with mrcfile.new(path) as file:
        file.set_data(pixels.view("i1"))
        file.voxel_size = 0.25
    raw = bytearray(path.read_bytes())
    raw[76:84] = struct.pack("<2f", dmin, dmax)
    if flags is not None:
        raw[152:160] = struct.pack("<2i", 1146047817, flags)
    path.write_bytes(raw)


@pytest.fixture
def shades():
    """(64, 64) bytes about 128, none near 0 or 255."""
    return np.random.default_rng(2).normal(128, 25, (64, 64)).clip(5, 250).astype("u1")


@pytest.mark.parametrize(
    ("how", "unsigned", "why"),
    [
        ({"flags": 0}, True, "IMOD"),
        ({"flags": 1}, False, "IMOD"),
        ({"flags": 0, "dmin": -120.0, "dmax": 90.0}, True, "IMOD"),
        ({"dmin": 5.0, "dmax": 250.0}, True, "maximum"),
        ({"dmin": -120.0, "dmax": 120.0}, False, "minimum"),
    ],
)
def test_the_header_says_whether_bytes_are_signed(how, unsigned, why, shades, tmp_path):
    stored = shades if unsigned else (shades.astype("i2") - 128).astype("i1").view("u1")
    bytes_file(tmp_path / "a.mrc", stored, **how)
    with open_frames(tmp_path / "a.mrc") as file:
        frame = file.frame(0)
    np.testing.assert_array_equal(frame.pixels, shades if unsigned else shades.astype("i2") - 128)
    assert why in frame.notes[0]
    assert ("unsigned" in frame.notes[0]) == unsigned


@pytest.mark.parametrize("unsigned", [True, False])
def test_without_a_word_the_histogram_says_whether_bytes_are_signed(unsigned, shades, tmp_path):
    stored = shades if unsigned else (shades.astype("i2") - 128).astype("i1").view("u1")
    bytes_file(tmp_path / "a.mrc", stored)
    with open_frames(tmp_path / "a.mrc") as file:
        frame = file.frame(0)
    assert (frame.pixels.min() >= 0) == unsigned
    assert "torn" in frame.notes[0]


def test_exactly_one_angstrom_is_not_believed_unless_told(picture, tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(picture(1)[0])
        file.voxel_size = 1.0
    with open_frames(tmp_path / "a.mrc") as file:
        frame = file.frame(0)
    assert frame.pixel_size_nm is None
    with pytest.raises(NoPixelSize, match=r"exactly 1 Å.*--pixel-size"):
        resolve_pixel_size(frame, None, None)
    assert resolve_pixel_size(frame, 0.025, None) == 0.025
    assert resolve_pixel_size(frame, None, 0.1) == 0.1


def test_intervals_of_zero_leave_the_cell_to_the_whole_picture(picture, tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(picture(1)[0])
        file.voxel_size = 0.25
        file.header.mx = file.header.my = file.header.mz = 0
    with open_frames(tmp_path / "a.mrc") as file:
        assert file.frame(0).pixel_size_nm == pytest.approx(0.025)
