"""Berkeley EMD files: which axes are rows and columns."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from monitor.read import open_frames


@pytest.mark.parametrize(
    ("names", "transposed"), [(("x", "y"), True), (("y", "x"), False), ((None, None), True)]
)
def test_berkeley_axes_by_name(names, transposed, picture, tmp_path):
    array = picture(1)[0]  # (24, 40)
    with h5py.File(tmp_path / "a.emd", "w") as file:
        group = file.create_group("data/image")
        group.attrs["emd_group_type"] = 1
        group["data"] = array
        for i, name in enumerate(names, start=1):
            group[f"dim{i}"] = np.arange(array.shape[i - 1]) * 0.3
            group[f"dim{i}"].attrs["units"] = b"[\xc3\x85]"
            if name:
                group[f"dim{i}"].attrs["name"] = name
    with open_frames(tmp_path / "a.emd") as file:
        frame = file.frame(0)
    np.testing.assert_array_equal(frame.pixels, array.T if transposed else array)
    assert frame.pixel_size_nm == pytest.approx(0.03)
