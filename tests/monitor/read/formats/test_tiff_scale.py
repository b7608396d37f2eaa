"""Pixel sizes of TIFF files, as each program writes them."""

from __future__ import annotations

import pytest
import tifffile

from monitor.errors import UnreadableFrame
from monitor.read import open_frames


def _read(path):
    with open_frames(path) as file:
        return file.frame(0)


@pytest.mark.parametrize("dpi", [1, 72, 96, 300, 600, 2400, 25_400])
@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER", "NONE"])
def test_dots_per_inch_are_no_pixel_size(dpi, unit, picture, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(1)[0], resolution=(dpi, dpi), resolutionunit=unit)
    assert _read(tmp_path / "a.tif").pixel_size_nm is None


def test_resolution_finer_than_any_print_is_one(picture, tmp_path):
    # 0.02 nm are 5e8 pixels a centimetre, as cameras' own programs write it.
    tifffile.imwrite(tmp_path / "a.tif", picture(1)[0], resolution=(5e8, 5e8), resolutionunit="CENTIMETER")
    assert _read(tmp_path / "a.tif").pixel_size_nm == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [("nm", 50, 0.02), ("um", 5e4, 0.02), ("micron", 5e4, 0.02), ("\\u00B5m", 5e4, 0.02), ("Å", 5, 0.02),
     ("inch", 72, None), ("pixel", 1, None), ("cm", 28.35, None)],
)  # fmt: skip
def test_imagej_units(unit, per_unit, expected, picture, tmp_path):
    metadata = {"unit": unit.encode("ascii", "backslashreplace").decode().replace("\\xc5", "\\u00C5")}
    tifffile.imwrite(
        tmp_path / "a.tif", picture(1)[0], imagej=True, resolution=(per_unit, per_unit), metadata=metadata
    )
    size = _read(tmp_path / "a.tif").pixel_size_nm
    assert size == (expected if expected is None else pytest.approx(expected, rel=1e-4))


def test_gatan_tags(picture, tmp_path):
    extra = [(65003, "s", 0, "nm", True), (65004, "s", 0, "nm", True)]
    extra += [(65009, "d", 1, 0.021, True), (65010, "d", 1, 0.021, True)]
    tifffile.imwrite(tmp_path / "a.tif", picture(1)[0], extratags=extra, resolution=(72, 72))
    assert _read(tmp_path / "a.tif").pixel_size_nm == pytest.approx(0.021)


def test_gatan_tags_of_a_diffraction_pattern(picture, tmp_path):
    extra = [(65003, "s", 0, "1/nm", True), (65009, "d", 1, 0.021, True)]
    tifffile.imwrite(tmp_path / "a.tif", picture(1)[0], extratags=extra)
    with pytest.raises(UnreadableFrame, match="diffraction"):
        open_frames(tmp_path / "a.tif")


def test_ome_physical_size(picture, tmp_path):
    metadata = {
        "PhysicalSizeX": 0.2,
        "PhysicalSizeXUnit": "Å",
        "PhysicalSizeY": 0.2,
        "PhysicalSizeYUnit": "Å",
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", picture(1)[0], ome=True, metadata=metadata)
    assert _read(tmp_path / "a.ome.tif").pixel_size_nm == pytest.approx(0.02)


def test_fei_text_in_metres(picture, tmp_path):
    text = "[Scan]\r\nPixelWidth=2.1e-011\r\nPixelHeight=2.1e-011\r\nDwelltime=1e-6\r\n"
    tifffile.imwrite(tmp_path / "a.tif", picture(1)[0], extratags=[(34682, "s", 0, text, True)])
    assert _read(tmp_path / "a.tif").pixel_size_nm == pytest.approx(0.021)
