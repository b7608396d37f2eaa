"""What the stages of a device's chain cost: measured, and counted operation by operation.

The count needs no GPU: every operation that torch is asked for on a CPU would be a kernel on a GPU, which reads what
goes in and writes what comes out. From bytes, operations and kernels follows how long a GPU needs at least.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import log2, prod
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from models.device.chain import Chain, Seen
from models.device.laps import Lap, nothing
from models.device.sight import Crops, Device, Numbers, Sight

Frames = list[npt.NDArray[Any]]

#: Operations that only say in another way what is there.
_VIEWS = (
    "view", "_unsafe_view", "reshape", "expand", "slice", "select", "transpose", "t", "permute", "unsqueeze", "squeeze",
    "narrow", "split", "unbind", "detach", "alias", "as_strided", "real", "imag", "view_as_real", "view_as_complex",
    "_reshape_alias", "unfold", "empty", "empty_like", "new_empty", "new_empty_strided", "lift_fresh", "_conj",
)  # fmt: skip
_SORTS = ("sort", "kthvalue", "topk", "median")
_SORT_PASSES = 4
"""A radix sort of single precision reads and writes everything so many times, with the places beside the values."""


@dataclass
class Cost:
    """What one stage asks of a device."""

    kernels: int = 0
    bytes: int = 0
    """That are read and written."""
    operations: int = 0
    """Additions and multiplications of matrix products, convolutions and Fourier transforms."""
    host_bytes: int = 0
    """That cross between the host's memory and the device."""


@dataclass(frozen=True)
class Peaks:
    """What a device does at most; the first two are measured figures of an H200, the others are assumed."""

    half: float = 790e12
    """Matrix operations a second in half precision."""
    bytes: float = 4.3e12
    """Of memory, a second."""
    single: float = 50e12
    """Matrix operations a second in single precision."""
    host: float = 25e9
    """Bytes a second between pinned memory and the device, one way."""
    kernel_s: float = 8e-6
    """Between two kernels that are asked for one after the other from Python [s]."""


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is asked for within it, by stage; `lap` ends a stage."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stages: dict[str, Cost] = {}
        self._now = Cost()

    def lap(self, stage: str) -> None:
        """What was counted since the last call belongs to this stage."""
        self.stages[stage] = self._now
        self._now = Cost()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet, kwargs = func._overloadpacket, kwargs or {}
        name = packet.__name__
        if packet not in flop_registry and name not in _VIEWS:
            with self:  # what is made of other operations is counted by these
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        out = func(*args, **kwargs)
        if name in _VIEWS:
            return out
        moved = sum(t.numel() * t.element_size() for t in (*_tensors((args, kwargs)), *_tensors(out)))
        cost = self._now
        cost.kernels += 1
        cost.bytes += moved
        if name in _SORTS:
            cost.bytes += (_SORT_PASSES - 1) * 3 * moved
        if name.startswith("_fft"):
            shape = max((tuple(t.shape) for t in (*_tensors(args), *_tensors(out))), key=prod)
            size = prod(shape)
            cost.operations += int(5 * size * log2(max(2, prod(shape[1:]))) / 2)
            cost.bytes += moved  # a transform of two axes goes through memory twice
        elif packet in flop_registry:
            cost.operations += int(flop_registry[packet](*args, **kwargs, out_val=out))
        return out


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    if isinstance(values, list | tuple) or (isinstance(values, Iterable) and not isinstance(values, str)):
        return [tensor for each in values for tensor in _tensors(each)]
    return []


def counted(
    chain: Chain, frames: Frames, pixel_size_nm: float, crops: Sequence[Crops] = ()
) -> dict[str, Cost]:
    """The cost of each stage; what does not depend on the frame is made before.

    Parameters
    ----------
    frames : a batch of one size.
    crops : regions of each of them, measured too where they are given.
    """
    _whole(chain, frames, pixel_size_nm, crops, nothing)
    counter = Counter()
    with counter:
        seen = _whole(chain, frames, pixel_size_nm, crops, counter.lap)
    counter.stages["upload"].host_bytes = sum(frame.nbytes for frame in frames)
    download = Cost(host_bytes=4 * (seen.images.numel() + seen.maps.numel()))
    download.host_bytes += 4 * sum(each.numel() for each in (*seen.figures, *seen.powers))
    counter.stages["download"] = download
    if crops:
        counter.stages["crops"].host_bytes = sum(each.labels.nbytes for each in crops)
    return counter.stages


def _whole(chain: Chain, frames: Frames, pixel_size_nm: float, crops: Sequence[Crops], lap: Lap) -> Seen:
    seen = chain.run(frames, pixel_size_nm, lap)
    if crops:
        chain.measure(list(seen.images), crops, [each.labels for each in crops], lap)
    return seen


def seconds(cost: Cost, peaks: Peaks, half: bool) -> float:
    """The least time that a stage takes on a device: the longest of memory, operations, host and kernels [s].

    Parameters
    ----------
    half : its operations are in half precision, and what it reads and writes half as long as it was counted.
    """
    memory = cost.bytes * (0.5 if half else 1.0) / peaks.bytes
    return max(
        memory,
        cost.operations / (peaks.half if half else peaks.single),
        cost.host_bytes / peaks.host,
        cost.kernels * peaks.kernel_s,
    )


def measured(
    chain: Chain, frames: Frames, pixel_size_nm: float, crops: Sequence[Crops] = (), repeats: int = 5
) -> dict[str, float]:
    """The time of each stage, the median of some runs after one that is not counted [ms].

    On a GPU it is wall time; each stage is waited for, so that their sum is more than the whole takes. On a CPU it is
    processor time, which other programs do not lengthen. Parameters as of `counted`.
    """
    found: dict[str, list[float]] = {}
    for run in range(repeats + 1):
        watch = _Watch(chain)
        seen = _whole(chain, frames, pixel_size_nm, crops, watch.lap)
        _fetched(seen)
        watch.lap("download")
        for stage, ms in watch.stages.items():
            if run > 0:
                found.setdefault(stage, []).append(ms)
    return {stage: median(times) for stage, times in found.items()}


class Remembered:
    """A device that answers at once what another one answered first: what is left of an analysis is the CPU's."""

    def __init__(self, device: Device) -> None:
        self._device, self.backend = device, device.backend
        self._sight: Sight | None = None
        self._numbers: Numbers | None = None

    def see(self, image: npt.NDArray[Any], pixel_size_nm: float) -> Sight | None:
        """As `models.device.sight.Device` has it; the frame has to be the same every time."""
        self._sight = self._sight or self._device.see(image, pixel_size_nm)
        return self._sight

    def numbers(self, crops: Crops) -> Numbers | None:
        """As `models.device.sight.Device` has it."""
        self._numbers = self._numbers or self._device.numbers(crops)
        return self._numbers


def peaks_of(device: str) -> Peaks:
    """The peaks of this machine's device, as matrix products and copies reach them; kernels as they are assumed."""
    on_gpu = device != "cpu"
    size, length = (8192, 1 << 28) if on_gpu else (1024, 1 << 22)

    def rate(work: float, run: Callable[[], object]) -> float:
        times = []
        for _ in range(5):
            since = time.perf_counter()
            run()
            if on_gpu:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - since)
        return work / min(times)

    single = torch.ones((size, size), device=device)
    half = single.to(torch.float16 if on_gpu else torch.bfloat16)
    long, host = torch.ones(length, device=device), torch.ones(length // 4, pin_memory=on_gpu)
    into = torch.empty(length // 4, device=device)
    return Peaks(
        half=rate(2.0 * size**3, lambda: half @ half),
        bytes=rate(8.0 * length, long.clone),
        single=rate(2.0 * size**3, lambda: single @ single),
        host=rate(1.0 * length, lambda: into.copy_(host, non_blocking=True)),
    )


class _Watch:
    """Takes the time of stages."""

    def __init__(self, chain: Chain) -> None:
        self.stages: dict[str, float] = {}
        self._wait: Callable[[], None] = chain.wait
        self._clock = time.process_time if chain.device == "cpu" else time.perf_counter
        self._since = self._clock()

    def lap(self, stage: str) -> None:
        """All that was asked for is waited for; the time since the last call is this stage's."""
        self._wait()
        now = self._clock()
        self.stages[stage] = (now - self._since) * 1e3
        self._since = now


def _fetched(seen: Seen) -> list[npt.NDArray[np.float32]]:
    return [
        np.asarray(each.float().cpu().numpy())
        for each in (seen.images, seen.maps, *seen.figures, *seen.powers)
    ]
