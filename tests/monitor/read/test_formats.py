"""Every format brings back the picture, its scale and what is known of it, frame by frame."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read import open_frames, why_incomplete

FORMATS = [
    "dm3", "dm4", "ser", "mrc", "tif", "imagej", "npy", "velox", "berkeley", "hspy", "rosetta-emd",
]  # fmt: skip


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("kind", FORMATS)
def test_pixels_and_scale_come_back(kind, frames, writers, picture, tmp_path):
    stack = picture(frames)
    path = writers[kind](tmp_path / "frame", stack, 0.0213)
    with open_frames(path) as file:
        assert file.count == frames
        for index in reversed(range(frames)):
            frame = file.frame(index)
            np.testing.assert_array_equal(frame.pixels, stack[index])
            assert frame.pixels.dtype == np.uint16
            assert json.loads(json.dumps(frame.metadata, allow_nan=False)) == frame.metadata
            assert frame.pixel_size_nm == (None if kind == "npy" else pytest.approx(0.0213, rel=1e-5))
    assert why_incomplete(path) is None


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, dtype) for kind in ("tif", "npy", "velox") for dtype in ("u1", "i2", "i4", "f4", ">u2", ">f4")]
    + [(kind, dtype) for kind in ("dm4", "ser") for dtype in ("u1", "i2", "i4", "f4")]
    + [("mrc", dtype) for dtype in ("i1", "i2", "f4", ">u2", ">f4")],
)
def test_types_and_byte_orders(kind, dtype, writers, picture, tmp_path):
    stack = (picture(1) // 2).astype(dtype)
    with open_frames(writers[kind](tmp_path / "frame", stack, 0.02)) as file:
        pixels = file.frame(0).pixels
    np.testing.assert_array_equal(pixels, stack[0])
    assert pixels.dtype.isnative


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


def test_one_channel_is_no_stack(picture, tmp_path):
    np.save(tmp_path / "a.npy", picture(1)[0][..., None])
    with open_frames(tmp_path / "a.npy") as file:
        assert file.count == 1
        np.testing.assert_array_equal(file.frame(0).pixels, picture(1)[0])


def test_float_frames_may_be_half_precision(picture, writers, tmp_path):
    stack = picture(1).astype(np.float16)
    with open_frames(writers["npy"](tmp_path / "frame", stack, 0.02)) as file:
        assert file.frame(0).pixels.dtype == np.float32


def test_content_decides_not_the_name(picture, writers, tmp_path):
    stack = picture(1)
    path = writers["npy"](tmp_path / "frame", stack, 0.02).rename(tmp_path / "frame.tif")
    with open_frames(path) as file:
        np.testing.assert_array_equal(file.frame(0).pixels, stack[0])


def test_velox_details_are_of_each_frame(picture, writers, tmp_path):
    path = writers["velox"](tmp_path / "frame", picture(2), 0.02)
    with h5py.File(path, "r+") as file:
        metadata = file["Data/Image/0123456789abcdef/Metadata"]
        text = bytes(metadata[:, 1]).rstrip(b"\0").replace(b"1575540224", b"1575540231")
        metadata[:, 1] = np.frombuffer(text.ljust(2000, b"\0"), np.uint8)
    with open_frames(path) as file:
        first, second = file.frame(0), file.frame(1)
    assert (first.acquired, second.acquired) == (1575540224.0, 1575540231.0)
    assert first.exposure_s == 0.8
    assert first.magnification == 1e6
    assert first.title == "Ceta"
    assert not first.scanning


def test_velox_scanning_images_are_flagged(picture, writers, tmp_path):
    path = writers["velox"](tmp_path / "frame", picture(1), 0.02)
    with h5py.File(path, "r+") as file:
        metadata = file["Data/Image/0123456789abcdef/Metadata"]
        text = bytes(metadata[:, 0]).rstrip(b"\0").replace(b"ImagingDetector", b"ScanningDetector")
        metadata[:, 0] = np.frombuffer(text.ljust(2000, b"\0"), np.uint8)
    with open_frames(path) as file:
        assert file.frame(0).scanning


def test_several_detectors_are_several_frames(picture, writers, tmp_path):
    path = writers["velox"](tmp_path / "frame", picture(1), 0.02)
    with h5py.File(path, "r+") as file:
        file.copy("Data/Image/0123456789abcdef", "Data/Image/fedcba9876543210")
    with open_frames(path) as file:
        assert file.count == 2


def test_velox_fourier_transform_is_refused(tmp_path):
    pair = np.dtype([("realFloatHalfEven", "<f4"), ("imagFloatHalfEven", "<f4")])
    with h5py.File(tmp_path / "fft.emd", "w") as file:
        file.create_dataset("Version", data=[b'{"format":"Velox"}'])
        file.create_dataset("Data/Image/ab/Data", data=np.ones((32, 32, 1), pair))
    with pytest.raises(UnreadableFrame, match="complex"):
        open_frames(tmp_path / "fft.emd")


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


def test_any_hdf5_with_an_array(picture, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/frames"] = picture(4)
        file["entry/frames"].attrs["pixel_size_nm"] = 0.05
        file["entry/times"] = np.arange(4.0)
    with open_frames(tmp_path / "a.h5") as file:
        assert file.count == 4
        assert file.frame(3).pixel_size_nm == pytest.approx(0.05)


def test_hyperspy_spectra_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.hspy", "w") as file:
        group = file.create_group("Experiments/eels")
        group["data"] = np.ones((30, 30, 30), np.float32)
        for i in range(3):
            group.create_group(f"axis-{i}").attrs.update({"navigate": i < 2, "scale": 1.0, "units": ""})
    with pytest.raises(UnreadableFrame, match="spectr"):
        open_frames(tmp_path / "a.hspy")


def test_hdf5_without_pictures(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["times"] = np.arange(4.0)
    with pytest.raises(UnreadableFrame, match="no image"):
        open_frames(tmp_path / "a.h5")


# -- DigitalMicrograph ----------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [True, False])
def test_dm_never_gives_the_thumbnail(listed, picture, tags, tmp_path):
    build, array = tags(4), picture(1)[0]
    thumb = build.image(np.full((32, 32, 4), 9, np.uint8), "", (1.0, 1.0))
    raw = build.file(thumb, build.image(array, "nm", (0.02, 0.02)), thumbnail=0 if listed else None)
    (tmp_path / "a.dm4").write_bytes(raw)
    with open_frames(tmp_path / "a.dm4") as file:
        assert file.count == 1
        np.testing.assert_array_equal(file.frame(0).pixels, array)


def test_dm_diffraction_pattern_is_refused_with_its_scale(picture, tags, tmp_path):
    build = tags(3)
    (tmp_path / "a.dm3").write_bytes(build.file(build.image(picture(1)[0], "1/nm", (0.1744, 0.1744))))
    with pytest.raises(UnreadableFrame, match=r"diffraction.*0\.1744 1/nm"):
        open_frames(tmp_path / "a.dm3")


def test_dm_scanning_and_details(picture, tags, tmp_path):
    build = tags(4)
    about = build.group("Microscope Info", build.text("Illumination Mode", "STEM"))
    camera = build.group(
        "Acquisition", build.group("Parameters", build.group("Detector", build.float("exposure (s)", 0.5)))
    )
    when = build.group(
        "DataBar", build.text("Acquisition Date", "9/5/2019"), build.text("Acquisition Time", "3:04:05 PM")
    )
    raw = build.file(build.image(picture(1)[0], "µm", (2e-5, 2e-5), about, camera, when))
    (tmp_path / "a.dm4").write_bytes(raw)
    with open_frames(tmp_path / "a.dm4") as file:
        frame = file.frame(0)
    assert frame.scanning
    assert frame.exposure_s == 0.5
    assert frame.acquired is not None
    assert frame.pixel_size_nm == pytest.approx(0.02)
    assert (
        frame.metadata["ImageList"]["TagGroup0"]["ImageTags"]["Microscope Info"]["Illumination Mode"]
        == "STEM"
    )


def test_dm_spectrum_image_is_refused(picture, tags, tmp_path):
    build = tags(3)
    meta = build.group("Meta Data", build.text("Format", "Spectrum image"), build.text("Signal", "EELS"))
    (tmp_path / "a.dm3").write_bytes(build.file(build.image(picture(20), "nm", (1.0, 1.0), meta)))
    with pytest.raises(UnreadableFrame, match="spectrum image"):
        open_frames(tmp_path / "a.dm3")


def test_pixels_that_are_not_square_have_no_size(picture, tags, tmp_path):
    build = tags(4)
    (tmp_path / "a.dm4").write_bytes(build.file(build.image(picture(1)[0], "nm", (0.02, 0.03))))
    with open_frames(tmp_path / "a.dm4") as file:
        frame = file.frame(0)
    assert frame.pixel_size_nm is None
    assert "not square" in frame.scale_problem
    assert "0.03" in frame.scale_problem


# -- TIA ------------------------------------------------------------------------------------------------


def test_emi_gives_the_frames_of_its_series(picture, writers, tmp_path):
    writers["ser"](tmp_path / "scan", picture(2), 0.01)
    (tmp_path / "scan.emi").write_bytes(
        b"JK\0\2 junk <ObjectInfo><ExperimentalDescription><Root><Data><Label>Mode</Label><Value>STEM</Value>"
        b"<Unit></Unit></Data></Root></ExperimentalDescription></ObjectInfo> junk"
    )
    with open_frames(tmp_path / "scan.emi") as file:
        assert file.count == 2
        assert file.frame(1).scanning
        assert file.frame(0).acquired == 1_318_987_126.0


def test_emi_alone_tells_where_its_pixels_are(tmp_path):
    (tmp_path / "scan.emi").write_bytes(b"JK\0\2" + bytes(600))
    with pytest.raises(UnreadableFrame, match=r"scan_1\.ser"):
        open_frames(tmp_path / "scan.emi")


def test_ser_of_a_diffraction_pattern(picture, writers, tmp_path):
    path = writers["ser"](tmp_path / "scan", picture(1), 4e16)  # 4e7 per pixel: can only be 1/m
    with pytest.raises(UnreadableFrame, match="diffraction"):
        open_frames(path)


# -- MRC ------------------------------------------------------------------------------------------------


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


# -- TVIPS ----------------------------------------------------------------------------------------------


def _film(
    path: Path, stack: np.ndarray, header: bool = True, pixel: int = 15_600, mag: int = 600_000
) -> Path:
    _, height, width = stack.shape
    head = struct.pack("<13I", 256, 2, width, height, 16, 0, 0, 1, 1, pixel, 300_000, mag, 60)
    raw = head + b"TVIPS TVIPS ".ljust(204, b"\0") if header else b""
    for number, frame in enumerate(stack):
        raw += struct.pack("<4IfI I5f I2f", number, 1_500_000_000, 250, 0, 0, mag, 1, *[0.0] * 5, 0, 0, 0)
        raw += frame.tobytes()
    path.write_bytes(raw)
    return path


def test_film_in_parts(picture, tmp_path):
    stack = picture(3)
    first, later = _film(tmp_path / "film_000.tvips", stack), tmp_path / "film_001.tvips"
    _film(later, stack[1:], header=False)
    with open_frames(first) as file:
        assert file.count == 3
        frame = file.frame(2)
    np.testing.assert_array_equal(frame.pixels, stack[2])
    assert frame.pixel_size_nm == pytest.approx(0.026)
    assert frame.acquired == 1_500_000_000.25
    with open_frames(later) as file:
        assert file.count == 2
        np.testing.assert_array_equal(file.frame(0).pixels, stack[1])
    first.unlink()
    with pytest.raises(UnreadableFrame, match=r"film_000\.tvips"):
        open_frames(later)


def test_film_that_grows_is_incomplete(picture, tmp_path):
    path = _film(tmp_path / "film_000.tvips", picture(2))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(IncompleteFile):
        open_frames(path)


# -- NumPy ----------------------------------------------------------------------------------------------


def test_pickled_objects_are_never_loaded(tmp_path):
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (20, 20), }\n"
    code = b"cos\nsystem\n(S'touch pwned'\ntR."
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + code)
    with pytest.raises(UnreadableFrame, match="pickled"):
        open_frames(tmp_path / "a.npy")


@pytest.mark.parametrize("frames", [1, 3])
def test_column_major_arrays(frames, picture, tmp_path):
    stack = picture(frames)
    np.save(tmp_path / "a.npy", np.asfortranarray(stack))
    with open_frames(tmp_path / "a.npy") as file:
        np.testing.assert_array_equal(file.frame(frames - 1).pixels, stack[-1])


def test_frames_stay_when_the_file_is_closed(picture, writers, tmp_path):
    for kind in FORMATS:
        with open_frames(writers[kind](tmp_path / kind, picture(1), 0.02)) as file:
            frame = file.frame(0)
        assert frame.pixels.sum() == picture(1).sum()


def test_there_is_no_frame_beyond_the_last(picture, writers, tmp_path):
    with open_frames(writers["tif"](tmp_path / "a", picture(2), 0.02)) as file:
        for index in (2, -1):
            with pytest.raises(UnreadableFrame, match="it has 2"):
                file.frame(index)


def test_unknown_compression_of_a_tiff_is_a_reason(picture, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(1)[0], compression="zlib")
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    at = raw.index(struct.pack("<HHI", 259, 3, 1)) + 8
    raw[at : at + 2] = struct.pack("<H", 31337)
    (tmp_path / "a.tif").write_bytes(raw)
    with open_frames(tmp_path / "a.tif") as file, pytest.raises(UnreadableFrame):
        file.frame(0)
