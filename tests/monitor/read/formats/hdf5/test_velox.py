"""Velox EMD files: details of each frame, several detectors, Fourier transforms."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from monitor.errors import UnreadableFrame
from monitor.read import open_frames


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
