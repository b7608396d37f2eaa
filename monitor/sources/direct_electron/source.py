"""Direct Electron's camera server as a source: `de://host:port`, asked through its own client, deapi."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.settings import WatchSettings
from monitor.sources.base import SourceStatus
from monitor.sources.direct_electron.answers import (
    CAMERA_LENGTH,
    PIXEL_SIZES,
    marks_of,
    pixel_size,
    plain,
    positive,
)
from monitor.sources.direct_electron.client import ServerGone, ask, connected, deapi
from monitor.sources.keeper import Keeper
from monitor.sources.spool import Spool, message_content
from monitor.sources.wire import frame_number, time_stamp

log = logging.getLogger("faultwatch.direct_electron")

#: What can be asked for: single frames, fractions of a movie, and the sum of a whole exposure.
FRAME_TYPES = ("singleframe_integrated", "singleframe_counted", "sumintermediate", "sumtotal")

#: A server that has nothing new is asked again after this [s]; one that has is asked at once.
_POLL_S = 0.05

#: First and longest pause between two attempts to reach a server that is away [s].
_RETRY_S = 0.5
_LONGEST_RETRY_S = 15.0

#: Whether there is a new image is asked by a picture of so many pixels a side, and not by the whole.
_GLANCE_PX = 8

_SIDES = ("Image Size Y (pixels)", "Image Size X (pixels)")
_EXPOSURE = "Exposure Time (seconds)"
_STATUS = "Acquisition Status"

#: Properties that are asked for with every image; the others once for each acquisition.
_EVERY_TIME = (*PIXEL_SIZES, CAMERA_LENGTH, "Instrument Project Magnification", _EXPOSURE)


@dataclass(frozen=True)
class _Image:
    """What the server showed."""

    pixels: Any
    """(H, W)"""
    attributes: dict[str, Any]


class DirectElectronSource:
    """Asks a camera server for what is new on it, again and again. It only looks: nothing is set or started.

    The server keeps one image of a kind; what it replaced before it was asked is lost, and counted by the
    gaps in its frame numbers. Each acquisition counts anew, and what came before the first image that was
    seen of one is not known of. `de://host:port/sumtotal` asks for the sum of each exposure in place of
    single frames, and counts exposures.

    A server that goes away or closes ends nothing: it is said, and tried again.
    """

    kind = "de"
    renames = False

    def __init__(
        self,
        address: str,
        spool: Path,
        settings: WatchSettings,
        *,
        clock: Callable[[], float] = time.time,
        connect: Callable[[str, int], Any] | None = None,
    ) -> None:
        """
        Parameters
        ----------
        address
            de://host:port, with /FRAME_TYPE behind it where it is not to be singleframe_integrated
        spool
            The session's; this source gets a folder of its own in it.
        clock
            [s since 1970 UTC]
        connect
            Makes a connected deapi client; None: `connected`.

        Raises
        ------
        InputError
            The address is none, or deapi is not installed.
        """
        self.address = address
        self.status = SourceStatus()
        self._host, self._port, self._frame_type = _parts(address)
        if connect is None:
            deapi()
        self._connect = connect or connected
        folder = spool / re.sub(r"[^A-Za-z0-9]+", "-", address).strip("-")
        self._spool = Spool(
            folder,
            reserve=int(settings.disk_reserve_mb * 2**20),
            limit=settings.spool_limit(),
            clock=clock,
        )
        self._max_bytes = int(settings.max_frame_mb * 2**20)
        self._closed = threading.Event()
        self._keeper = Keeper(self._spool, self.status, address, self._closed, can_wait=False)
        self._recovered: list[FrameRef] = []
        self._last: tuple[str | None, int | None, str | None] | None = None
        self._properties: dict[str, Any] = {}
        self._acquisition: object = None
        self._away = False

    def open(self, known: Iterable[FrameRef]) -> None:
        """Find what was spooled and never recorded. The server is called when frames are asked for."""
        recorded = set()
        for ref in known:
            recorded.add(ref.path)
            self._remember(ref)
        self._recovered = [ref for ref in self._spool.refs() if ref.path not in recorded]
        for ref in self._recovered:
            self._remember(ref)

    def refs(self) -> Iterator[FrameRef]:
        """Images as they come, first those that a killed session had spooled but not recorded."""
        for ref in self._recovered:
            log.info("event=recovered path=%s sender=%s sequence=%s", ref.path, ref.sender, ref.sequence)
            yield ref
        self._recovered.clear()
        pause = _RETRY_S
        while not self._closed.is_set():
            client = None
            try:
                client = ask(lambda: self._connect(self._host, self._port))
                pause = _RETRY_S
                yield from self._follow(client)
            except ServerGone as error:
                self._say_away(str(error))
            finally:
                if client is not None:
                    client.disconnect()
            self.status.ready = True
            self._closed.wait(pause)
            pause = min(2 * pause, _LONGEST_RETRY_S)

    def close(self) -> None:
        """Ask no more. What is being fetched is still kept."""
        self._closed.set()

    # -- inside ----------------------------------------------------------------------------------------------

    def _follow(self, client: Any) -> Iterator[FrameRef]:
        """Everything new on a server, until it is gone or this source is closed."""
        camera = str(ask(client.get_current_camera))
        names = set(ask(client.list_properties) or ())
        self._acquisition, seen = None, None
        while not self._closed.is_set():
            glance = self._show(client, _GLANCE_PX)
            self._say_back()
            marks = None if glance is None else marks_of(glance.attributes)
            if glance is None or marks == seen or not self._complete(client, glance.attributes):
                self.status.ready = True
                self._closed.wait(_POLL_S)
                continue
            ref = self._fetch(client, camera, names, glance)
            seen = marks
            self.status.ready = True
            if ref is not None:
                self._remember(ref)
                yield ref

    def _complete(self, client: Any, attributes: dict[str, Any]) -> bool:
        """Whether the image is finished: the sum of an exposure grows until the exposure ends."""
        return (
            self._frame_type != "sumtotal"
            or bool(attributes.get("acqFinished"))
            or ask(lambda: client.get_property(_STATUS)) == "Idle"
        )

    def _show(self, client: Any, side: int = 0) -> _Image | None:
        """What the server has, in pixels as they are or reduced to a glance; None where it has nothing yet."""
        result = ask(
            lambda: client.get_result(
                self._frame_type, "AUTO", "auto", window_width=side, window_height=side, timeout_msec=1000
            )
        )
        if result.image is None:
            # It has no image, or it is gone: then it does not say either how it does.
            if not isinstance(ask(lambda: client.get_property(_STATUS)), str):
                raise ServerGone("it hung up")
            return None
        return _Image(result.image, {key: plain(value) for key, value in vars(result.attributes).items()})

    def _fetch(self, client: Any, camera: str, names: set[str], glance: _Image) -> FrameRef | None:
        """Spool the image that the server has now; None where it is the last one still."""
        shape = self._announced(client, names)
        # Asked before, because the client takes whatever is sent into memory.
        too_large = math.prod(shape) * glance.pixels.itemsize > self._max_bytes
        image = glance if too_large else self._show(client)
        if image is None:
            return None
        attributes, pixels = image.attributes, image.pixels
        dataset, acquisition = str(attributes["datasetName"])[:200], attributes["acqIndex"]
        if self._frame_type == "sumtotal":
            sender, sequence = f"{camera}/{dataset}", acquisition
        else:
            sender, sequence = f"{camera}/{dataset}/{acquisition}", attributes["imageIndex"]
        sequence = frame_number(sequence)
        content = message_content(pixels)
        if (sender, sequence, content) == self._last:
            return None
        self._update_properties(client, names, (dataset, acquisition))
        size_nm = pixel_size(self._properties)
        header = {
            "source": camera,
            "frame": sequence,
            "server": f"{self._host}:{self._port}",
            "frame_type": self._frame_type,
            "ndattr": {"pixel_size_nm": size_nm, "exposure_s": positive(self._properties.get(_EXPOSURE))},
            "attributes": attributes,
            "properties": dict(self._properties),
        }
        if too_large or pixels.nbytes > self._max_bytes:
            height, width = shape if too_large else pixels.shape
            reason = f"{height} × {width} {pixels.dtype} is more than the limit of {self._max_bytes} bytes"
            return self._keeper.keep(
                lambda: self._spool.add_rejected(
                    header, reason, sender=sender, sequence=sequence, content=content
                ),
                lambda why: self._spool.dropped(
                    header, why, sender=sender, sequence=sequence, content=content
                ),
            )
        return self._keeper.keep(
            lambda: self._spool.add(
                pixels,
                header,
                pixel_size_nm=size_nm,
                acquired=time_stamp(attributes.get("timestamp")),
                sender=sender,
                sequence=sequence,
                content=content,
            ),
            lambda why: self._spool.dropped(header, why, sender=sender, sequence=sequence, content=content),
        )

    def _announced(self, client: Any, names: set[str]) -> tuple[int, int]:
        """Height and width of the whole image [px], as the server has them; 0 where it does not say."""
        sides = (ask(partial(client.get_property, name)) if name in names else None for name in _SIDES)
        height, width = (int(positive(side) or 0) for side in sides)
        return height, width

    def _update_properties(self, client: Any, names: set[str], acquisition: object) -> None:
        """Ask for the camera's properties: for all where an acquisition began, else for those that change."""
        if acquisition == self._acquisition:
            asked = [name for name in _EVERY_TIME if name in names]
        else:
            asked, self._properties = sorted(names), {}
        for name in asked:
            self._properties[name] = plain(ask(partial(client.get_property, name)))
        self._acquisition = acquisition

    def _remember(self, ref: FrameRef) -> None:
        self._last = (ref.sender, ref.sequence, ref.content)

    def _say_away(self, reason: str) -> None:
        self.status.state = "lost"
        self.status.message = (
            f"{self.address}: the camera's server can't be reached ({reason}); it is tried again"
        )
        if not self._away:
            log.error("event=server-lost message=%r", self.status.message)
        self._away = True

    def _say_back(self) -> None:
        if self._away:
            self._away = False
            self.status.state, self.status.message = "watching", None
            log.warning("event=server-back source=%s", self.address)


def _parts(address: str) -> tuple[str, int, str]:
    """Host, port and frame type of an address."""
    place, _, frame_type = address.removeprefix("de://").partition("/")
    host, _, port = place.rpartition(":")
    frame_type = frame_type or FRAME_TYPES[0]
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise InputError(f"{address}: an address is de://host:port")
    if frame_type not in FRAME_TYPES:
        raise InputError(f"{address}: no frame type {frame_type}; there are {', '.join(FRAME_TYPES)}")
    return host, int(port), frame_type
