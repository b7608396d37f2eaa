"""Which requests become a batch, and what is said where there is no device."""

from multiprocessing import Pipe

import numpy as np
import pytest
import torch

from models.device.sight import Crops
from models.device.there import NO_CUDA, NO_DRIVER
from monitor.workers.gpu.arena import Count, Look, Place
from monitor.workers.gpu.server import BATCH, BATCH_PIXELS, Server, _Caller, _load
from monitor.workers.worker import Start


class NoChain:
    """Stands for a chain that is never asked."""

    device = "cpu"


def look(side: int, pixel_size_nm: float = 0.05) -> Look:
    return Look("arena", Place(0, (side, side), "uint16"), pixel_size_nm, 0)


def test_what_waits_with_the_same_size_goes_together() -> None:
    server = Server(NoChain())  # type: ignore[arg-type]
    callers = [_Caller(Pipe()[0]) for _ in range(20)]
    crops = Crops(np.zeros((0, 0), np.int32), np.zeros((0, 4), np.int32), 0.05, np.ones(16), (2.85,))
    count = Count("arena", Place(0, (512, 512), "int32"), crops)
    asked = [look(512), look(256), look(512, 0.04), count, *[look(512) for _ in range(16)]]
    server._waiting.extend(zip(callers, asked, strict=True))
    batches = []
    while server._waiting:
        batches.append([request for _, request in server._next()])
    sizes = [(len(batch), batch[0]) for batch in batches]
    assert [n for n, _ in sizes] == [BATCH, 1, 1, 1, BATCH, 1]
    assert [batch[0] for batch in batches[1:4]] == asked[1:4]
    for batch in batches[0], batches[4]:
        assert {each.frame.shape for each in batch if isinstance(each, Look)} == {(512, 512)}


def test_large_frames_go_alone() -> None:
    server = Server(NoChain())  # type: ignore[arg-type]
    side = int(BATCH_PIXELS**0.5)
    server._waiting.extend((_Caller(Pipe()[0]), look(side)) for _ in range(3))
    assert [len(server._next()) for _ in range(3)] == [1, 1, 1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_device_auto_does_without_and_cuda_says_why() -> None:
    assert _load(Start(None, "auto", 1), "auto")[1].refused is None
    server, hello = _load(Start(None, "cuda", 1), "cuda")
    assert server is None
    assert hello.refused in (NO_CUDA, NO_DRIVER)
