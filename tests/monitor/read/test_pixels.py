"""Colours, dead pixels, blank and tiny frames, and pixel sizes that are none."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from monitor.errors import UnreadableFrame
from monitor.read import open_frames
from monitor.read.pixels import to_picture


def _read(path):
    with open_frames(path) as file:
        return file.frame(0)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_equal_channels_are_one(suffix, picture, tmp_path):
    grey = picture(1, dtype="u1")[0]
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / f"a{suffix}")
    frame = _read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(frame.pixels, grey)
    assert frame.pixels.dtype == np.uint8
    assert frame.notes == ()


def test_nearly_equal_channels_are_averaged_and_noted(picture, tmp_path):
    grey = picture(1, dtype="u1")[0]
    Image.fromarray(np.stack([grey, grey + 1, grey + 2], axis=-1)).save(tmp_path / "a.png")
    frame = _read(tmp_path / "a.png")
    np.testing.assert_allclose(frame.pixels, grey + 1)
    assert "averaged" in frame.notes[0]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_coloured_pictures_are_refused(suffix, tmp_path):
    colours = np.zeros((32, 32, 3), np.uint8)
    colours[:16, :, 0], colours[16:, :, 2] = 250, 250
    Image.fromarray(colours).save(tmp_path / f"a{suffix}")
    with pytest.raises(UnreadableFrame, match="coloured"):
        _read(tmp_path / f"a{suffix}")


def test_a_coloured_scale_bar_does_not_make_a_picture_coloured(picture, tmp_path):
    rgb = np.stack([picture(1, 128, 128, "u1")[0]] * 3, axis=-1)
    rgb[-6:-3, 10:40] = (255, 255, 0)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    assert _read(tmp_path / "a.png").pixels.shape == (128, 128)


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA", "1", "I;16", "L"])
def test_modes_of_png(mode, picture, tmp_path):
    grey = picture(1, dtype="u1")[0]
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 100)
        expected = grey.astype(np.uint16) * 100
    elif mode == "1":
        image, expected = Image.fromarray(grey > 100), grey > 100
    else:
        image, expected = Image.fromarray(grey).convert(mode), grey
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(_read(tmp_path / "a.png").pixels, expected)


def test_coloured_palette_is_refused(tmp_path):
    image = Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32), mode=None).convert("P")
    image.putpalette([value for i in range(256) for value in (i, 255 - i, 0)])
    image.save(tmp_path / "a.png")
    with pytest.raises(UnreadableFrame, match="coloured"):
        _read(tmp_path / "a.png")


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


def test_few_dead_pixels_take_the_median(picture):
    pixels = picture(1, dtype="f4")[0]
    pixels[3, 4], pixels[5, 6] = np.nan, np.inf
    mended, notes = to_picture(pixels)
    assert np.isfinite(mended).all()
    assert mended[3, 4] == np.median(pixels[np.isfinite(pixels)])
    assert "2 pixels" in notes[0]


def test_many_dead_pixels_are_refused(picture):
    pixels = picture(1, dtype="f4")[0]
    pixels[:12] = np.nan
    with pytest.raises(UnreadableFrame, match="50%"):
        to_picture(pixels)


@pytest.mark.parametrize("value", [0, 7.5])
def test_blank_frames_are_refused(value):
    with pytest.raises(UnreadableFrame, match=f"blank: every pixel has the value {value}"):
        to_picture(np.full((32, 32), value))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.ones((3, 2)), "too small: 3 × 2"),
        (np.ones((15, 400)), "too small: 15 × 400"),
        (np.ones(500), "500 points"),
        (np.ones((1, 500)), "500 points"),
        (np.ones((64, 64), complex), "complex"),
        (np.zeros((64, 64), "U4"), "type"),
        (np.zeros((0, 64, 64)), "0 frames"),
    ],
)
def test_what_is_no_frame(array, reason, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UnreadableFrame, match=reason):
        open_frames(tmp_path / "a.npy")


@given(
    arrays.arrays(
        st.sampled_from(["u1", "i2", ">u2", "f4", ">f8", "?"]),
        st.tuples(st.integers(16, 20), st.integers(16, 20)),
    )
)
def test_a_picture_is_always_finite_native_and_the_same(array):
    try:
        pixels, notes = to_picture(array)
    except UnreadableFrame:
        return
    assert pixels.shape == array.shape
    assert pixels.dtype.isnative
    assert np.isfinite(pixels).all()
    same = np.isfinite(array)
    np.testing.assert_array_equal(pixels[same], array[same])
    assert bool(notes) == (not same.all())


# -- pixel sizes of TIFF --------------------------------------------------------------------------------


@pytest.mark.parametrize("dpi", [1, 72, 96, 300, 600, 2400, 25_400])
@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER", "NONE"])
def test_dots_per_inch_are_no_pixel_size(dpi, unit, picture, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(1)[0], resolution=(dpi, dpi), resolutionunit=unit)
    assert _read(tmp_path / "a.tif").pixel_size_nm is None


@pytest.mark.parametrize("dpi", [72, 300])
def test_dots_per_inch_of_png_and_jpeg(dpi, picture, tmp_path):
    for suffix in (".png", ".jpg"):
        Image.fromarray(picture(1, dtype="u1")[0]).save(tmp_path / f"a{suffix}", dpi=(dpi, dpi))
        assert _read(tmp_path / f"a{suffix}").pixel_size_nm is None


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


def test_notes_beside_a_tiff(picture, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(1)[0], resolution=(72, 72))
    (tmp_path / "a.tif.mdoc").write_text("[ZValue = 0]\nPixelSpacing = 0.3\nExposureTime = 2\n")
    frame = _read(tmp_path / "a.tif")
    assert frame.pixel_size_nm == pytest.approx(0.03)
    assert frame.exposure_s == 2
