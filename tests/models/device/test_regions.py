"""The numbers of regions in torch are those of the CPU's features."""

import numpy as np
import pytest
import torch

from models.device import regions
from models.device.chain import Chain
from models.device.sight import Crops, Numbers, crops_of, measured
from models.features.measure import measure
from models.features.regions import boxes_of
from tests.models.device.conftest import Known


def regions_upside_down(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Crops]:
    """Another frame of the same size, with another number of regions."""
    turned = np.ascontiguousarray(image[::-1])
    fewer = np.ascontiguousarray(np.where(labels <= 2, labels, 0)[::-1])
    return turned, crops_of(turned, fewer, boxes_of(fewer), 0.05, None)


@pytest.mark.parametrize("chunk", [1, regions.CHUNK_PIXELS])
def test_features_are_those_of_the_cpu(
    known: Known, chain: Chain, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regions, "CHUNK_PIXELS", chunk)
    image, step = known.prepared.image, 0.05
    labels = known.labels.copy()
    labels[:40, :30] = labels.max() + 1  # one at the corner of the frame
    expected = measure(image, labels, step)
    assert len(expected) >= 3
    boxes = boxes_of(labels)
    crops = crops_of(image, labels, boxes, step, None)
    other = regions_upside_down(image, labels)
    images = [torch.from_numpy(each) for each in (other[0], image)]
    together = chain.measure(images, [other[1], crops], [other[1].labels, labels])
    found = measured(crops, Numbers(*(each.numpy() for each in together[1])), boxes)
    for one, other in zip(found, expected, strict=True):
        assert one.box == other.box
        assert list(one.values) == list(other.values)
        assert one.values == pytest.approx(other.values, rel=1e-3, abs=1e-3)
        assert one.reading is not None
        assert other.reading is not None
        assert one.reading.word == other.reading.word
