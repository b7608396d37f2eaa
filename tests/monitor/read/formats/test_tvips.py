"""TVIPS films: parts, and films that grow."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read import open_frames


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
