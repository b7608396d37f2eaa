"""The costs of the stages are counted as they are written down, and none of them is left out."""

import numpy as np
import pytest
import torch

from models.device.chain import Chain
from models.device.costs import Cost, Counter, Peaks, counted, measured, seconds
from models.device.sight import Crops, crops_of
from tests.models.device.conftest import STEP, Known

STAGES = [
    "upload", "light and counts", "outliers", "resample", "standardise", "network", "distribution", "averaged spectra",
    "crops", "spectra", "axes", "edges and contrast", "half layers", "download",
]  # fmt: skip


def crops(known: Known, chain: Chain) -> tuple[np.ndarray, Crops]:
    counts = np.ascontiguousarray(known.counts[:256, :256])
    seen = chain.see(counts, STEP)
    labels = np.zeros(seen.maps.shape[1:], np.int32)
    labels[20:80, 30:90] = 1
    return counts, crops_of(seen.prepared.image, labels, [(slice(20, 80), slice(30, 90))], 0.05, None)


def test_operations_bytes_and_kernels_are_those_of_what_is_asked_for() -> None:
    a, b = torch.ones(8, 16), torch.ones(16, 4)
    counter = Counter()
    with counter:
        product = a @ b
        counter.lap("product")
        product.view(4, 8).T.add_(1.0)
        counter.lap("sum")
    assert counter.stages["product"] == Cost(1, 4 * (8 * 16 + 16 * 4 + 8 * 4), 2 * 8 * 16 * 4)
    assert counter.stages["sum"] == Cost(1, 4 * 2 * 32, 0)


def test_every_stage_is_counted_and_timed(known: Known, chain: Chain) -> None:
    counts, asked = crops(known, chain)
    costs = counted(chain, [counts, counts], STEP, [asked, asked])
    assert sorted(costs) == sorted(STAGES)
    assert sorted(measured(chain, [counts], STEP, [asked], 1)) == sorted(STAGES)
    single = counted(chain, [counts], STEP, [asked])
    for stage in STAGES[:-1]:
        # A batch asks for hardly more kernels than a frame.
        assert costs[stage].kernels < 1.8 * single[stage].kernels, stage
        if stage != "upload":
            assert costs[stage].operations == pytest.approx(2 * single[stage].operations, rel=1e-5), stage
    assert costs["network"].operations > 1e9 * 2 * (128 / 1024) ** 2 * 40
    assert costs["upload"].host_bytes == 2 * counts.nbytes


def test_the_slowest_of_four_ways_decides() -> None:
    peaks = Peaks(half=100.0, bytes=10.0, single=20.0, host=5.0, kernel_s=0.1)
    assert seconds(Cost(kernels=30, bytes=10, operations=20, host_bytes=5), peaks, False) == 3.0
    assert seconds(Cost(kernels=1, bytes=100, operations=20, host_bytes=5), peaks, False) == 10.0
    assert seconds(Cost(kernels=1, bytes=100, operations=20, host_bytes=5), peaks, True) == 5.0
    assert seconds(Cost(kernels=1, bytes=1, operations=80, host_bytes=5), peaks, False) == 4.0
    assert seconds(Cost(kernels=1, bytes=1, operations=80, host_bytes=5), peaks, True) == 1.0
