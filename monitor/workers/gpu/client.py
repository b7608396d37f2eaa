"""A worker's side: the device that another process owns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Client, Connection
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from models.device.sight import Crops, Numbers, Sight, sight_of
from models.errors import BundleRefused
from models.preprocess import Canonical
from monitor.workers.gpu.arena import (
    Arena,
    Count,
    Counted,
    Failed,
    Hello,
    Larger,
    Look,
    Looked,
    Place,
)  # fmt: skip
from monitor.workers.worker import Contact

_PATIENCE_S = 150.0
"""So long a worker waits for the device's process: it loads torch and warms the network [s]."""
_AGAIN_S = 0.1
_FIGURES = 1 << 21
"""Room for the averaged spectra [bytes]."""
_Told = TypeVar("_Told")


class DeviceLost(ConnectionError):
    """The device's process does not come back."""


class RemoteDevice:
    """A `models.device.sight.Device` in another process. A process that died is waited for, and asked again."""

    def __init__(
        self, contact: Contact, canonical_nm: float, begin: Callable[[], None] = lambda: None
    ) -> None:
        """
        Parameters
        ----------
        canonical_nm
            Pixel size of standardised frames, from which the room for them follows [nm].
        begin
            Called again and again while nobody answers; begins the device's process where nobody else looks after it.

        Raises
        ------
        BundleRefused
            The device's process says that no worker can begin.
        DeviceLost
            It is not there.
        """
        self._contact, self._canonical_nm, self._begin = contact, canonical_nm, begin
        self._frames, self._regions = Arena(), Arena()
        self._frame: tuple[npt.NDArray[Any], float] | None = None
        self._needed = 0
        self._connection, hello = self._connected()
        self.there = hello.backend is not None
        """Whether there is a device at all; where there is none the CPU does everything."""
        self.backend = hello.backend or ""

    def see(self, image: npt.NDArray[Any], pixel_size_nm: float) -> Sight | None:
        """As `models.device.sight.Device` has it."""
        self._frame = image, pixel_size_nm
        return self._twice(lambda _: self._see(image, pixel_size_nm))

    def numbers(self, crops: Crops) -> Numbers | None:
        """As `models.device.sight.Device` has it."""

        def ask(again: bool) -> Numbers | None:
            if again and self._frame is not None:  # the new process has not seen the frame
                self._see(*self._frame)
            return self._numbers(crops)

        return self._twice(ask)

    def close(self) -> None:
        """Leave the device's process, and give the memory back."""
        self._connection.close()
        self._frames.close()
        self._regions.close()

    # -- inside ----------------------------------------------------------------------------------------------

    def _twice(self, ask: Callable[[bool], _Told | None]) -> _Told | None:
        """What is asked for; where the process dies over it, what the one after it says, and then none."""
        for again in (False, True):
            try:
                return ask(again)
            except (EOFError, OSError):
                self._connection.close()
                self._frames.close()  # the other side may have removed the arenas of the connection that broke
                self._regions.close()
                self._connection, _ = self._connected()
        return None  # twice over the same frame: the CPU is to judge it

    def _see(self, image: npt.NDArray[Any], pixel_size_nm: float) -> Sight | None:
        frame = Place(0, image.shape, image.dtype.name)
        h, w = (round(n * pixel_size_nm / self._canonical_nm) + 2 for n in image.shape)
        needed = max(frame.end + _FIGURES + 3 * h * w * 4, self._needed)
        while True:
            memory = self._frames.of(needed)
            frame.in_(memory)[:] = image
            answer = self._asked(Look(memory.name, frame, pixel_size_nm, memory.size))
            if not isinstance(answer, Larger):
                break
            needed = self._needed = answer.needed
        if not isinstance(answer, Looked):
            return None
        standardised, maps = answer.image.in_(memory), answer.maps.in_(memory)
        prepared = Canonical(standardised, answer.scale, (image.shape[0], image.shape[1]))
        first, second = (place.in_(memory) for place in answer.powers)
        return sight_of(prepared, maps, answer.figures, (first, second))

    def _numbers(self, crops: Crops) -> Numbers | None:
        labels = Place(0, crops.labels.shape, "int32")
        memory = self._regions.of(labels.end)
        labels.in_(memory)[:] = crops.labels
        told = replace(crops, labels=np.zeros((0, 0), np.int32))
        answer = self._asked(Count(memory.name, labels, told))
        return Numbers(*answer.numbers) if isinstance(answer, Counted) else None

    def _asked(self, request: Look | Count) -> Looked | Counted | Failed | Larger:
        self._connection.send(request)
        answer: Looked | Counted | Failed | Larger = self._connection.recv()
        return answer

    def _connected(self) -> tuple[Connection, Hello]:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                connection = Client(self._contact.address, authkey=self._contact.key)
                hello: Hello = connection.recv()
                break
            except (EOFError, OSError) as error:
                if time.monotonic() > deadline:
                    raise DeviceLost("the process that owns the device does not come back") from error
                self._begin()
                time.sleep(_AGAIN_S)
        if hello.refused is not None:
            raise BundleRefused(hello.refused)
        return connection, hello
