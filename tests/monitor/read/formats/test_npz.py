"""Archives of NumPy: one array, its pixel size, and what is refused."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from monitor.errors import UnreadableFrame
from monitor.read import open_frames


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_one_array_with_its_pixel_size(save, order, picture, tmp_path):
    stack = np.asarray(picture(3), order=order)
    save(tmp_path / "a.npz", frames=stack, pixel_size_nm=0.021, exposure_s=0.5, times=np.arange(3))
    with open_frames(tmp_path / "a.npz") as file:
        assert file.count == 3
        frame = file.frame(2)
    np.testing.assert_array_equal(frame.pixels, stack[2])
    assert frame.pixel_size_nm == pytest.approx(0.021)
    assert frame.metadata["values"]["exposure_s"] == 0.5


def test_several_arrays_are_refused_by_name(picture, tmp_path):
    np.savez(tmp_path / "a.npz", image=picture(1)[0], mask=picture(1)[0])
    with pytest.raises(UnreadableFrame, match=r"2 arrays \(image\.npy, mask\.npy\)"):
        open_frames(tmp_path / "a.npz")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", objects=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UnreadableFrame, match="no picture"):
        open_frames(tmp_path / "a.npz")


def test_an_archive_of_other_things_is_no_frame(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(UnreadableFrame):
        open_frames(tmp_path / "a.npz")


def test_more_than_can_be_packed_is_not_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", image=np.zeros((32, 32), np.uint8))
    raw = (tmp_path / "a.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (12000, 12000), }"
        archive.writestr(
            "image.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(99)
        )
    assert len(raw) > 100
    with pytest.raises(UnreadableFrame, match="should have"):
        open_frames(tmp_path / "b.npz")
