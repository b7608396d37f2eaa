"""DigitalMicrograph files: thumbnails, diffraction patterns, spectra, details."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.errors import UnreadableFrame
from monitor.read import open_frames


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
