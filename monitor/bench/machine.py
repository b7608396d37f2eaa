"""What the computer can do at the most: products of matrices and copies of memory; runs in a `Lane` of its own."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from monitor.settings import processors

GEMM_SIDE = 1536
COPIED = 2**27
"""Bytes that are copied at a time: more than most caches hold."""


def gemm_peak(clock: Callable[[], float]) -> float:
    """Operations a second of a product of two float32 matrices, a multiplication and an addition being two."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((GEMM_SIDE, GEMM_SIDE), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    np.matmul(a, b, out=out)
    began = clock()
    np.matmul(a, b, out=out)
    return float(2 * GEMM_SIDE**3 / (clock() - began))


def memory_bandwidth(clock: Callable[[], float]) -> float:
    """Bytes a second that a copy reads and writes together."""
    source, target = (
        np.ones(COPIED, np.uint8),
        np.ones(COPIED, np.uint8),
    )  # written: memory is given when it is used
    np.copyto(target, source)
    began = clock()
    np.copyto(target, source)
    return float(2 * COPIED / (clock() - began))


def about_machine() -> dict[str, Any]:
    """Its kind, in words, without its name: processor, cores that may be used, system."""
    return {"processor": _processor(), "cores": processors(), "system": platform.system()}


def load() -> float | None:
    """Processes that want a core, mean of the last minute; above the number of cores the computer is busy."""
    told = getattr(os, "getloadavg", None)  # not everywhere
    return None if told is None else round(float(told()[0]), 2)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
