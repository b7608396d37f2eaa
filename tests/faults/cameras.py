"""Cameras that go on taking pictures whatever happens to the session: into a directory, or over a socket."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import tifffile

from monitor.client import FrameSender

#: Of the pictures [px]; the large ones keep a worker busy, so that a kill strikes it over a frame.
_SIDE, _LARGE, _LARGE_SHARE = 128, 768, 0.15
#: Frames of one burst, and the longest pause after it [s].
_BURST, _PAUSE_S = 24, 1.5


class Camera(threading.Thread):
    """Takes pictures in bursts until it is told to stop. No two pictures are alike."""

    def __init__(self, seed: int) -> None:
        super().__init__(name="camera", daemon=True)
        self.sent = 0
        """Pictures that it took."""
        self.error: BaseException | None = None
        self._random = Random(seed)
        self._pixels = np.random.default_rng(seed)
        self._last = threading.Event()

    def stop(self) -> None:
        """Let the present burst be the last."""
        self._last.set()

    def run(self) -> None:
        """Runs in its own thread; what goes wrong is kept in `error`."""
        try:
            while not self._last.is_set():
                for _ in range(self._random.randint(1, _BURST)):
                    self.take()
                self.rest(self._random.uniform(0, _PAUSE_S))
            self.finish()
        except Exception as error:
            self.error = error

    def picture(self) -> npt.NDArray[np.uint16]:
        """The next one, (H, W)."""
        side = _LARGE if self._random.random() < _LARGE_SHARE else _SIDE
        return self._pixels.poisson(100, (side, side)).astype(np.uint16)

    @abstractmethod
    def take(self) -> None:
        """Hand one picture over."""

    def rest(self, seconds: float) -> None:
        """Between two bursts."""
        self._last.wait(seconds)

    def finish(self) -> None:
        """After the last picture."""

    def safe(self) -> frozenset[int]:
        """Numbers of the pictures that may not be lost any more."""
        return frozenset(range(self.sent))


class FolderCamera(Camera):
    """Writes TIFF into a folder: in place, or beside it and then renamed."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(seed)
        self._folder = folder

    def take(self) -> None:
        """Write one file."""
        path = self._folder / f"{self.sent:06d}.tif"
        place = path if self._random.random() < 0.5 else path.with_name(f".{path.name}.part")
        note = '{"pixel_size_nm": 0.05}'
        tifffile.imwrite(place, self.picture(), description=note, metadata=None)
        place.replace(path)
        self.sent += 1


class SocketCamera(Camera):
    """Sends with `monitor.client`, as a microscope's own program does."""

    def __init__(self, address: str, seed: int) -> None:
        super().__init__(seed)
        self._sender = FrameSender(address, resend_s=0.3)
        self._safe: frozenset[int] = frozenset()
        self.missing: list[int] | None = None
        """What was never acknowledged; None until the end."""

    def take(self) -> None:
        """Send one frame; waits while too many are under way."""
        self._sender.send(self.picture(), pixel_size_nm=0.05, timeout_s=180)
        self.sent = self._sender.sent
        self._note()

    def rest(self, seconds: float) -> None:
        """Take acknowledgements, and send again what was not acknowledged."""
        until = time.monotonic() + seconds
        self._sender.flush(seconds)
        self._note()
        super().rest(max(0.0, until - time.monotonic()))

    def finish(self) -> None:
        """Wait until everything is acknowledged, and close."""
        self.missing = self._sender.close(180)
        self._note()

    def safe(self) -> frozenset[int]:
        """What was acknowledged."""
        return self._safe

    def _note(self) -> None:
        self._safe = frozenset(range(self.sent)) - frozenset(self._sender.unacknowledged)
