"""MRC files: byte orders, the extended header of FEI, files without a mark."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest

from monitor.read import open_frames


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
