"""NeXus files: the default group, axes with units, older spellings."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from monitor.read import open_frames


def test_the_default_picture_with_its_axes(picture, writers, tmp_path):
    path = writers["nexus"](tmp_path / "a", picture(2), 0.021)
    with h5py.File(path, "a") as file:
        other = file["entry"].create_group("other")
        other.attrs["NX_class"] = "NXdata"
        other["data"] = np.zeros((30, 30))
    with open_frames(path) as file:
        assert file.count == 2
        frame = file.frame(1)
    np.testing.assert_array_equal(frame.pixels, picture(2)[1])
    assert frame.pixel_size_nm == pytest.approx(0.021)
    assert frame.acquired == 1_777_896_000


def test_older_files_name_their_signal_and_axes_at_the_array(picture, tmp_path):
    with h5py.File(tmp_path / "a.nxs.h5", "w") as file:
        group = file.create_group("entry/data")
        group.attrs["NX_class"] = "NXdata"
        group["counts"] = picture(1)[0]
        group["counts"].attrs["signal"], group["counts"].attrs["axes"] = 1, "y:x"
        for i, name in enumerate("yx"):
            group[name] = np.arange(picture(1).shape[i + 1]) * 2e-5
            group[name].attrs["units"] = "um"
    with open_frames(tmp_path / "a.nxs.h5") as file:
        assert file.frame(0).pixel_size_nm == pytest.approx(0.02)


def test_a_scale_without_units_is_not_believed(picture, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("data")
        group.attrs["NX_class"], group.attrs["signal"], group.attrs["axes"] = "NXdata", "data", ["y", "x"]
        group["data"] = picture(1)[0]
        for i, name in enumerate("yx"):
            group[name] = np.arange(picture(1).shape[i + 1])
    with open_frames(tmp_path / "a.h5") as file:
        frame = file.frame(0)
    assert frame.pixel_size_nm is None
    assert "without a unit" in frame.scale_doubt
