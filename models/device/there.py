"""Whether there is a GPU that torch can use. torch itself is imported only where all else is there."""

from __future__ import annotations

import ctypes.util
from functools import lru_cache
from importlib.util import find_spec

TORCH_CPU = "torch-cpu"
"""A device for tests and measurements: the device's path in torch, on the CPU."""
NO_TORCH = (
    "there is an NVIDIA driver, but torch is not installed: install faultwatch[gpu], or use --device cpu"
)
NO_DRIVER = "there is no NVIDIA driver, hence no CUDA device; use --device cpu"
NO_CUDA = "torch finds no usable CUDA device; use --device cpu"


@lru_cache(maxsize=1)
def driver_there() -> bool:
    """Whether a CUDA driver is installed."""
    return any(ctypes.util.find_library(name) is not None for name in ("cuda", "nvcuda"))


def torch_there() -> bool:
    """Whether what the device's path needs is installed; nothing of it is imported."""
    return find_spec("torch") is not None and find_spec("safetensors") is not None


def device_wanted(device: str) -> bool:
    """Whether `auto`, `cpu` or `cuda` may mean a GPU here, or the device's path is asked for by name."""
    return device == TORCH_CPU or (device in ("auto", "cuda") and driver_there() and torch_there())


def torch_device(device: str) -> str:
    """How the process that owns the device is told of it: "cuda", "auto" (there may be none), or "cpu", for tests."""
    return "cpu" if device == TORCH_CPU else device


def why_no_cuda() -> str | None:
    """A sentence that says why no CUDA device can be used; `None` where one can."""
    if not driver_there():
        return NO_DRIVER
    if not torch_there():
        return NO_TORCH
    import torch

    return None if torch.cuda.is_available() else NO_CUDA
