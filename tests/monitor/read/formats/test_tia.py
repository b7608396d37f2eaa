"""TIA files: .emi with .ser, and diffraction patterns."""

from __future__ import annotations

import pytest

from monitor.errors import UnreadableFrame
from monitor.read import open_frames


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
