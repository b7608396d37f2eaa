"""The pixels of a file of any format as an array."""

from pathlib import Path

import cv2
import mrcfile
import numpy as np
import pytest

from models.errors import ModelError
from models.examples.real_frames import RealFrames, read_pairs
from monitor.read.pictures import read_frame


def test_a_microscopes_file_and_a_picture_of_its_mask_make_a_pair(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 4000, (64, 80)).astype(np.uint16)
    mask = np.zeros((64, 80), np.uint8)
    mask[20:40, 30:50] = 255
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(counts)
    cv2.imwrite(str(tmp_path / "a_mask.png"), mask)
    (pair,) = read_pairs(RealFrames(tmp_path, 0.05), read_frame)
    np.testing.assert_array_equal(pair.image, counts)
    np.testing.assert_array_equal(pair.mask, mask > 0)


def test_an_empty_mask_is_a_picture_too(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((64, 64), np.uint8))
    assert not read_frame(tmp_path / "m.png").any()


def test_what_can_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.dm4").write_bytes(b"no such thing")
    with pytest.raises(ModelError, match=r"a\.dm4 can't be read"):
        read_frame(tmp_path / "a.dm4")
