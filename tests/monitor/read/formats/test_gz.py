"""MRC files in gzip: unpacked for as long as they are open, with the notes beside them."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read import looks_like_frame_file, open_frames


def _temporary() -> set[str]:
    return {path.name for path in Path(tempfile.gettempdir()).glob("faultwatch-*")}


def test_frames_and_notes(picture, writers, tmp_path):
    before = _temporary()
    path = writers["mrc.gz"](tmp_path / "a", picture(2), 0.021)
    (tmp_path / "a.mrc.mdoc").write_text("[ZValue = 1]\nExposureTime = 0.4\nTiltAngle = 2\n")
    with open_frames(path) as file:
        assert file.count == 2
        frame = file.frame(1)
        assert _temporary() != before
    assert _temporary() == before
    np.testing.assert_array_equal(frame.pixels, picture(2)[1])
    assert frame.pixel_size_nm == pytest.approx(0.021)
    assert frame.exposure_s == 0.4


def test_it_is_known_by_its_content(picture, writers, tmp_path):
    path = writers["mrc.gz"](tmp_path / "a", picture(1), 0.02).rename(tmp_path / "frame_17")
    assert looks_like_frame_file(path)
    (tmp_path / "notes.tar.gz").write_bytes(gzip.compress(b"something else" * 100))
    assert not looks_like_frame_file(tmp_path / "notes.tar.gz")


def test_nothing_is_left_behind_by_what_is_refused(picture, writers, tmp_path):
    before = _temporary()
    path = writers["mrc.gz"](tmp_path / "a", picture(2), 0.02)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(IncompleteFile):
        open_frames(path)
    path.write_bytes(gzip.compress(b"not an MRC file" * 200))
    with pytest.raises(UnreadableFrame):
        open_frames(path)
    assert _temporary() == before


def test_a_header_that_announces_too_much_is_refused_before_it_is_unpacked(picture, writers, tmp_path):
    path = writers["mrc.gz"](tmp_path / "a", picture(1), 0.02)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[0:12] = np.array([16000, 16000, 5], "<i4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(UnreadableFrame, match="announces"):
        open_frames(path)
