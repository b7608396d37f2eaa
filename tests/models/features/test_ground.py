"""What is computed once for a frame, or on crops alone, is what the whole frame would give."""

import cv2
import numpy as np
import pytest

from models.features import edges
from models.features.ground import SLOW_NM, ground_of
from models.features.regions import boxes_of, region_of

PIXEL = 0.05


def test_the_slow_variation_of_a_crop_is_that_of_the_whole_frame() -> None:
    """In the middle, and in two corners where the blur meets the frame's border."""
    image = np.random.default_rng(0).standard_normal((300, 260)).astype(np.float32)
    image += np.linspace(0, 4, 260, dtype=np.float32)
    labels = np.zeros(image.shape, np.int32)
    labels[:40, :60], labels[120:190, 100:160], labels[250:, 220:] = 1, 2, 3
    whole = cv2.GaussianBlur(image, (0, 0), SLOW_NM / PIXEL)
    ground = ground_of(image, labels, PIXEL, [2.85])
    for label, box in enumerate(boxes_of(labels), start=1):
        region = region_of(labels, label, box, PIXEL)
        np.testing.assert_allclose(ground.slow(region), whole[region.here], atol=1e-5)


@pytest.mark.parametrize("shape", [(31, 40), (33, 41)])
@pytest.mark.parametrize("taken", [0.0, 0.4, 1.0])
def test_the_median_of_the_edges_outside(shape: tuple[int, int], taken: float) -> None:
    rng = np.random.default_rng(1)
    image, inside = rng.standard_normal(shape).astype(np.float32), rng.random(shape) < taken
    strength = edges.strength(image)
    expected = np.median(strength if taken == 1.0 else strength[~inside])
    assert edges.median_outside(strength, inside) == pytest.approx(float(expected))
    assert strength.min() >= 0  # the image that was given has not been written to


@pytest.mark.parametrize("rows", [40, edges.STRIP, edges.STRIP + 3, 3 * edges.STRIP + 50])
def test_edges_have_no_seam_between_strips(rows: int) -> None:
    image = np.random.default_rng(rows).standard_normal((rows, 90)).astype(np.float32)
    smooth = cv2.GaussianBlur(image, (0, 0), edges.BLUR_PX)
    down, right = cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    np.testing.assert_allclose(edges.strength(image), np.hypot(down, right), atol=1e-5)
