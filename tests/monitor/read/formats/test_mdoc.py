"""Notes of SerialEM beside MRC and TIFF files."""

from __future__ import annotations

import mrcfile
import pytest
import tifffile

from monitor.read import open_frames


def _read(path):
    with open_frames(path) as file:
        return file.frame(0)


def test_serialem_notes_are_read(picture, tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(picture(2))
        file.voxel_size = 1.0  # what is written where it is not known
    (tmp_path / "a.mrc.mdoc").write_text(
        "PixelSpacing = 0.213\n\n[T = SerialEM: camera]\n\n[ZValue = 0]\nMagnification = 500000\n\n"
        "[ZValue = 1]\nExposureTime = 0.4\nExposureDose = 120\nDateTime = 05-Sep-19  15:04:05\n"
    )
    with open_frames(tmp_path / "a.mrc") as file:
        first, second = file.frame(0), file.frame(1)
    assert first.pixel_size_nm == pytest.approx(0.0213)
    assert first.magnification == 500_000
    assert (second.exposure_s, second.dose_e_per_A2) == (0.4, 120)
    assert second.acquired is not None
    assert second.metadata["mdoc"]["PixelSpacing"] == "0.213"


def test_notes_beside_a_tiff(picture, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(1)[0], resolution=(72, 72))
    (tmp_path / "a.tif.mdoc").write_text("[ZValue = 0]\nPixelSpacing = 0.3\nExposureTime = 2\n")
    frame = _read(tmp_path / "a.tif")
    assert frame.pixel_size_nm == pytest.approx(0.03)
    assert frame.exposure_s == 2
