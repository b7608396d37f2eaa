"""Thumbnails, pyramids and survey images are left out, wherever they stand in a file."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile

from monitor.errors import UnreadableFrame
from monitor.read import open_frames


def _frame(seed=0, side=256):
    rng = np.random.default_rng(seed)
    slow = cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), 6)
    return rng.poisson(60 * (1 + 0.2 * slow / slow.std()).clip(0.1)).astype(np.uint16)


def _small(frame, factor=4):
    return cv2.resize(frame, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


def _grey_8(frame):
    return np.clip(frame * 1.5, 0, 255).astype(np.uint8)


def _coloured(frame):
    return np.stack([_grey_8(frame), 255 - _grey_8(frame), np.zeros_like(_grey_8(frame))], -1)


THUMBNAILS = {
    "reduced": _small,
    "of 8 bits": lambda frame: _grey_8(_small(frame)),
    "of single pixels": lambda frame: frame[::4, ::4],
    "inverted": lambda frame: 255 - _grey_8(_small(frame)),
    "as a grey picture with colours": lambda frame: np.repeat(_grey_8(_small(frame))[..., None], 3, -1),
    "coloured": lambda frame: _coloured(_small(frame)),
}


@pytest.mark.parametrize("kind", THUMBNAILS)
@pytest.mark.parametrize("first", [True, False])
def test_a_thumbnail_is_left_out(kind, first, tmp_path):
    frame = _frame()
    pages = [THUMBNAILS[kind](frame), frame]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages if first else pages[::-1]:
            file.write(page, contiguous=False)
    with open_frames(tmp_path / "a.tif") as opened:
        assert opened.count == 1
        np.testing.assert_array_equal(opened.frame(0).pixels, frame)


def test_a_pyramid_is_one_picture(tmp_path):
    frame = _frame()
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        for factor in (1, 2, 4, 8):
            file.write(_small(frame, factor) if factor > 1 else frame, contiguous=False)
    with tifffile.TiffWriter(tmp_path / "below.tif") as file:
        file.write(frame, subifds=2)
        file.write(_small(frame, 2), subfiletype=1)
        file.write(_small(frame, 4), subfiletype=1)
    with tifffile.TiffWriter(tmp_path / "flagged.tif") as file:
        file.write(_frame(5, 64), subfiletype=1)
        file.write(frame, contiguous=False)
    for path in tmp_path.iterdir():
        with open_frames(path) as opened:
            assert opened.count == 1, path.name
            np.testing.assert_array_equal(opened.frame(0).pixels, frame)


def test_different_pictures_of_different_size_are_all_judged(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in (_frame(1), _frame(2, 128), _frame(3, 64)):
            file.write(page, contiguous=False)
    with open_frames(tmp_path / "a.tif") as opened:
        assert opened.count == 3


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("name", "scale"), [("SI Survey Image", 0.02), ("HAADF", 0.4)])
def test_a_survey_image_is_left_out(name, scale, first, tags, tmp_path):
    build = tags(4)
    picture = build.image(_frame(1), "nm", (0.02, 0.02))
    # The builder names every image "picture".
    survey = build.image(_frame(2), "nm", (scale, scale)).replace(
        "picture".encode("utf-16-le"), name[:7].ljust(7).encode("utf-16-le")
    )
    if name.startswith("SI"):
        survey = survey.replace("SI Surv".encode("utf-16-le"), "survey ".encode("utf-16-le"))
    (tmp_path / "a.dm4").write_bytes(build.file(*((survey, picture) if first else (picture, survey))))
    with open_frames(tmp_path / "a.dm4") as opened:
        assert opened.count == 1
        np.testing.assert_array_equal(opened.frame(0).pixels, _frame(1))


def test_a_file_of_single_electrons_is_refused_with_the_way_out(tmp_path):
    tifffile.imwrite(tmp_path / "a.eer", _frame(), bigtiff=True)
    raw = (tmp_path / "a.eer").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.eer") as file:
        at = file.pages[0].tags["Compression"].valueoffset
    (tmp_path / "a.eer").write_bytes(raw[:at] + (65001).to_bytes(2, "little") + raw[at + 2 :])
    with pytest.raises(UnreadableFrame, match=r"EER.*export"):
        open_frames(tmp_path / "a.eer")
