"""Shared memory between a worker and the process that owns the device, and what is said about it."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from models.device.sight import Crops

PREFIX = "faultwatch-"
"""Arenas are named by this, the worker's process and chance."""
_ALIGNED = 256
_ROOM = 1.2
"""An arena is made so much larger than what was asked for, so that a little more does not need a new one."""


@dataclass(frozen=True)
class Place:
    """An array in an arena."""

    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def end(self) -> int:
        """The first aligned byte behind it."""
        size = prod(self.shape) * np.dtype(self.dtype).itemsize
        return -(-(self.offset + size) // _ALIGNED) * _ALIGNED

    def in_(self, memory: SharedMemory) -> npt.NDArray[Any]:
        """The array itself, without a copy."""
        return np.ndarray(self.shape, np.dtype(self.dtype), buffer=memory.buf, offset=self.offset)


@dataclass(frozen=True)
class Look:
    """Asks for a frame to be seen."""

    arena: str
    frame: Place
    pixel_size_nm: float
    room: int
    """Bytes of the arena; what was seen is written behind the frame."""


@dataclass(frozen=True)
class Looked:
    """The answer to it."""

    image: Place
    maps: Place
    powers: tuple[Place, Place]
    scale: tuple[float, float]
    figures: list[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Count:
    """Asks for the numbers of the regions of the frame that was seen last."""

    arena: str
    labels: Place
    crops: Crops
    """With labels of no size: they lie in the arena."""


@dataclass(frozen=True)
class Counted:
    """The answer to it: the fields of `models.device.sight.Numbers`."""

    numbers: list[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Failed:
    """The answer where the device could not do what was asked for; the sentence says why."""

    reason: str


@dataclass(frozen=True)
class Larger:
    """The answer where the arena has too little room [bytes]."""

    needed: int


@dataclass(frozen=True)
class Hello:
    """The first thing that the device's process says to a worker."""

    backend: str | None
    """None: there is no device, and the worker is to do without."""
    refused: str | None = None
    """A sentence: no worker can begin."""


class Arena:
    """A worker's shared memory, made anew where more is needed."""

    def __init__(self) -> None:
        self.memory: SharedMemory | None = None

    def of(self, size: int) -> SharedMemory:
        """Memory of at least so many bytes; arrays in an earlier one are not to be used any more."""
        if self.memory is None or self.memory.size < size:
            self.close()
            name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
            self.memory = SharedMemory(name, create=True, size=int(size * _ROOM))
        return self.memory

    def close(self) -> None:
        """Give the memory back."""
        if self.memory is not None:
            with contextlib.suppress(FileNotFoundError):
                self.memory.unlink()
            with contextlib.suppress(BufferError):  # an array of it is still held; it goes with that
                self.memory.close()
            self.memory = None


def places_after(start: int, shapes: Sequence[tuple[int, ...]], dtype: str) -> list[Place]:
    """Places of arrays one behind another."""
    found: list[Place] = []
    for shape in shapes:
        found.append(Place(start, shape, dtype))
        start = found[-1].end
    return found
