"""HDF5 files of no known layout."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from monitor.errors import UnreadableFrame
from monitor.read import open_frames


def test_any_hdf5_with_an_array(picture, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/frames"] = picture(4)
        file["entry/frames"].attrs["pixel_size_nm"] = 0.05
        file["entry/times"] = np.arange(4.0)
    with open_frames(tmp_path / "a.h5") as file:
        assert file.count == 4
        assert file.frame(3).pixel_size_nm == pytest.approx(0.05)


def test_hdf5_without_pictures(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["times"] = np.arange(4.0)
    with pytest.raises(UnreadableFrame, match="no image"):
        open_frames(tmp_path / "a.h5")
