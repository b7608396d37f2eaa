"""The preparation in torch gives what the NumPy form gives."""

import cv2
import numpy as np
import pytest
import torch

from models.device.prepare import Preparer, counts, median_of_nine
from models.preprocess import Preprocessing, canonical


def frames() -> np.ndarray:
    """(3, 180, 220) counts: noise on uneven light, with outliers."""
    rng = np.random.default_rng(1)
    light = 300 + np.add.outer(np.arange(180), 0.5 * np.arange(220))
    made = rng.poisson(np.stack([light, 2 * light, 400 + 0 * light])).astype(np.uint16)
    made[0, 50, 60], made[1, 0, 0], made[2, 100, 7] = 9000, 40000, 0
    return made


def test_the_median_is_that_of_opencv_at_the_border_too() -> None:
    images = frames().astype(np.float32)
    found = median_of_nine(torch.from_numpy(images)).numpy()
    for one, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(one, cv2.medianBlur(image, 3))


def test_sixteen_bits_keep_their_upper_half() -> None:
    values = np.array([0, 1, 32767, 32768, 65535], np.uint16)
    np.testing.assert_array_equal(counts(torch.from_numpy(values)).numpy(), values.astype(np.float32))


@pytest.mark.parametrize("pixel_size_nm", [0.05, 0.031, 0.08])
def test_frames_are_those_of_the_numpy_form(pixel_size_nm: float) -> None:
    images, settings = frames(), Preprocessing()
    prepare = Preparer((180, 220), pixel_size_nm, settings, "cpu")
    found = prepare(counts(torch.from_numpy(images))).numpy()
    for one, image in zip(found, images, strict=True):
        expected = canonical(image, pixel_size_nm, settings)
        assert prepare.scale == expected.scale
        assert one.shape == expected.image.shape
        assert np.sqrt(np.mean((one - expected.image) ** 2)) < 2e-3
