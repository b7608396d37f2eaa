"""A worker's side: the device that another process owns."""

from __future__ import annotations

import time
from dataclasses import replace
from multiprocessing.connection import Client, Connection
from typing import Any

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


class DeviceLost(ConnectionError):
    """The device's process does not come back."""


class RemoteDevice:
    """A `models.device.sight.Device` in another process. A process that died is waited for, and asked again."""

    def __init__(self, contact: Contact, canonical_nm: float) -> None:
        """
        Parameters
        ----------
        canonical_nm
            Pixel size of standardised frames, from which the room for them follows [nm].

        Raises
        ------
        BundleRefused
            The device's process says that no worker can begin.
        DeviceLost
            It is not there.
        """
        self._contact, self._canonical_nm = contact, canonical_nm
        self._frames, self._regions = Arena(), Arena()
        self._look: Look | None = None
        self._needed = 0
        self._renewed = False
        self._connection, hello = self._connected()
        self.there = hello.backend is not None
        """Whether there is a device at all; where there is none the CPU does everything."""
        self.backend = hello.backend or ""

    def see(self, image: npt.NDArray[Any], pixel_size_nm: float) -> Sight | None:
        """As `models.device.sight.Device` has it."""
        if self._renewed:  # the other side may have removed the arenas of the connection that broke
            self._frames.close()
            self._regions.close()
            self._renewed = False
        frame = Place(0, image.shape, image.dtype.name)
        h, w = (round(n * pixel_size_nm / self._canonical_nm) + 2 for n in image.shape)
        needed = max(frame.end + _FIGURES + 3 * h * w * 4, self._needed)
        while True:
            memory = self._frames.of(needed)
            frame.in_(memory)[:] = image
            self._look = Look(memory.name, frame, pixel_size_nm, memory.size)
            answer = self._asked(self._look)
            if not isinstance(answer, Larger):
                break
            needed = self._needed = answer.needed
        if not isinstance(answer, Looked):
            return None
        standardised, maps = answer.image.in_(memory), answer.maps.in_(memory)
        prepared = Canonical(standardised, answer.scale, (image.shape[0], image.shape[1]))
        first, second = (place.in_(memory) for place in answer.powers)
        return sight_of(prepared, maps, answer.figures, (first, second))

    def numbers(self, crops: Crops) -> Numbers | None:
        """As `models.device.sight.Device` has it."""
        labels = Place(0, crops.labels.shape, "int32")
        memory = self._regions.of(labels.end)
        labels.in_(memory)[:] = crops.labels
        told = replace(crops, labels=np.zeros((0, 0), np.int32))
        answer = self._asked(Count(memory.name, labels, told))
        return Numbers(*answer.numbers) if isinstance(answer, Counted) else None

    def close(self) -> None:
        """Leave the device's process, and give the memory back."""
        self._connection.close()
        self._frames.close()
        self._regions.close()

    # -- inside ----------------------------------------------------------------------------------------------

    def _asked(self, request: Look | Count) -> Looked | Counted | Failed | Larger:
        """The answer to a request; where the process dies over it, that of the one after it."""
        for again in (True, False):
            try:
                self._connection.send(request)
                answer: Looked | Counted | Failed | Larger = self._connection.recv()
                return answer
            except (EOFError, OSError):
                if not again:
                    break
                self._connection.close()
                self._connection, _ = self._connected()
                self._renewed = True
                if isinstance(request, Count) and self._look is not None:
                    # The new process has not seen the frame, which still lies in the arena.
                    self._connection.send(self._look)
                    self._connection.recv()
        # Twice over the same frame: the CPU is to judge it. The connection is made anew for the next.
        self._connection, _ = self._connected()
        self._renewed = True
        return Failed("the process that owns the device died over it")

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
                time.sleep(_AGAIN_S)
        if hello.refused is not None:
            raise BundleRefused(hello.refused)
        return connection, hello
