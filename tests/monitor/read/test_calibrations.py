"""Scales that nobody calibrated are not believed, in any format, and --pixel-size is taken in their place."""

from __future__ import annotations

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
from PIL import Image

from monitor.errors import NoPixelSize
from monitor.read import open_frames, resolve_pixel_size
from monitor.read.scale import doubt


def _dm(path, picture, tags, scale, unit):
    build = tags(4)
    path.write_bytes(build.file(build.image(picture, unit, (scale, scale))))


def _imagej(path, picture, per_unit, **metadata):
    tifffile.imwrite(path, picture, imagej=True, resolution=(per_unit, per_unit), metadata=metadata)


def _ome(path, picture, size, unit):
    metadata = {f"PhysicalSize{axis}": size for axis in "XY"} | {
        f"PhysicalSize{axis}Unit": unit for axis in "XY"
    }
    tifffile.imwrite(path, picture, ome=True, metadata=metadata)


def _gatan(path, picture, size, unit):
    extra = [(65003, "s", 0, unit, True), (65009, "d", 1, size, True), (65010, "d", 1, size, True)]
    tifffile.imwrite(path, picture, extratags=extra)


def _mrc(path, picture, angstrom):
    with mrcfile.new(path) as file:
        file.set_data(picture)
        file.voxel_size = angstrom


def _emd(path, picture, size, unit):
    with h5py.File(path, "w") as file:
        group = file.create_group("data/picture")
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", data=picture)
        for i, name in enumerate("yx", start=1):
            vector = group.create_dataset(f"dim{i}", data=np.arange(picture.shape[i - 1]) * size)
            vector.attrs["name"], vector.attrs["units"] = name, unit


def _plain(path, picture, size, unit):
    with h5py.File(path, "w") as file:
        file["picture"] = picture
        file["picture"].attrs["pixel_size"] = size
        if unit:
            file["picture"].attrs["pixel_size_unit"] = unit


UNSET = {
    "dm without a unit": ("a.dm4", lambda path, array, tags: _dm(path, array, tags, 1.0, "")),
    "dm, exactly 1 nm": ("a.dm4", lambda path, array, tags: _dm(path, array, tags, 1.0, "nm")),
    "dm, a number without a unit": ("a.dm4", lambda path, array, tags: _dm(path, array, tags, 0.02, "")),
    "imagej without a unit": ("a.tif", lambda path, array, tags: _imagej(path, array, 40.0)),
    "imagej, 72 dpi": ("a.tif", lambda path, array, tags: _imagej(path, array, 72, unit="inch")),
    "imagej, dots per cm": ("a.tif", lambda path, array, tags: _imagej(path, array, 28.35, unit="cm")),
    "imagej, exactly 1 µm": ("a.tif", lambda path, array, tags: _imagej(path, array, 1, unit="um")),
    "ome, exactly 1 µm": ("a.ome.tif", lambda path, array, tags: _ome(path, array, 1.0, "µm")),
    "ome, 72 dpi": ("a.ome.tif", lambda path, array, tags: _ome(path, array, 352.7778, "µm")),
    "gatan's tags, 1 nm": ("a.tif", lambda path, array, tags: _gatan(path, array, 1.0, "nm")),
    "tags, 96 dpi": (
        "a.tif",
        lambda path, array, tags: tifffile.imwrite(path, array, resolution=(96, 96), resolutionunit="INCH"),
    ),
    "mrc, exactly 1 Å": ("a.mrc", lambda path, array, tags: _mrc(path, array, 1.0)),
    "emd, exactly 1 Å": ("a.emd", lambda path, array, tags: _emd(path, array, 1.0, "Å")),
    "emd, 1 without a unit": ("a.emd", lambda path, array, tags: _emd(path, array, 1.0, "")),
    "hdf5, 1 without a unit": ("a.h5", lambda path, array, tags: _plain(path, array, 1.0, None)),
    "png, 96 dpi": ("a.png", lambda path, array, tags: Image.fromarray(array).save(path, dpi=(96, 96))),
}


@pytest.mark.parametrize("kind", UNSET)
def test_what_nobody_calibrated_is_refused_and_pixel_size_counts(kind, picture, tags, tmp_path):
    name, write = UNSET[kind]
    write(tmp_path / name, picture(1, dtype="u1" if name.endswith("png") else "u2")[0], tags)
    with open_frames(tmp_path / name) as file:
        frame = file.frame(0)
    assert frame.pixel_size_nm is None
    assert frame.scale_problem is None
    with pytest.raises(NoPixelSize, match=r"(believed|calibration).*--pixel-size"):
        resolve_pixel_size(frame, None, None)
    assert resolve_pixel_size(frame, 0.03, None) == 0.03


@pytest.mark.parametrize(
    ("size", "unit"), [(0.1, "nm"), (1.001, "Å"), (2e-11, "m"), (5.0, "nm"), (20.0, "pm"), (1.0, "1/nm")]
)
def test_what_may_be_a_calibration_is_not_doubted(size, unit):
    """A survey image of 5 nm/px is calibrated: it is outside of what can be analysed, which is another matter."""
    assert doubt(size, size, unit) is None


def test_a_calibration_in_another_tag_is_taken_before_one_that_nobody_made(picture, tmp_path):
    extra = [(65003, "s", 0, "", True), (65009, "d", 1, 1.0, True)]
    tifffile.imwrite(
        tmp_path / "a.tif", picture(1)[0], extratags=extra, resolution=(5e8, 5e8), resolutionunit="CENTIMETER"
    )
    with open_frames(tmp_path / "a.tif") as file:
        assert file.frame(0).pixel_size_nm == pytest.approx(0.02)
