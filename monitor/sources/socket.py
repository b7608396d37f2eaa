"""A ZeroMQ socket as a source: a frame is in the spool before it is acknowledged or announced."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
import re
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import zmq

from monitor.errors import BadMessage, InputError
from monitor.frames import FrameRef
from monitor.settings import WatchSettings
from monitor.sources.base import SourceStatus
from monitor.sources.dectris import DectrisDecoder
from monitor.sources.keeper import Keeper
from monitor.sources.spool import Spool, message_content
from monitor.sources.wire import ArrayDecoder, Decoder, RejectedMessage, WireFrame

log = logging.getLogger("faultwatch.socket")

#: So many of the last frames are remembered to know one that is sent again.
_REMEMBERED = 20_000

#: Messages that ZeroMQ may hold for us; more would only be lost with us.
_HIGH_WATER = 8

#: Memory for one message beyond its pixels: header, and what a sender adds.
_OVERHEAD = 2**21

_POLL_MS = 100


@dataclass(frozen=True)
class _Kind:
    kind: str
    type: int
    bind: bool
    decoder: Callable[[int], Decoder] = ArrayDecoder
    """Given the size of the largest frame [bytes]."""
    curve: bool = True
    """Its senders can have keys."""


SCHEMES = {
    "tcp": _Kind("pull", zmq.PULL, True),
    "tcp+connect": _Kind("pull", zmq.PULL, False),
    "sub": _Kind("sub", zmq.SUB, False),
    "ack": _Kind("ack", zmq.ROUTER, True),
    "dectris+tcp": _Kind("dectris", zmq.PULL, False, DectrisDecoder, curve=False),
}


class SocketSource:
    """Receives frames: htypes array-1.0 at `tcp://`, `tcp+connect://`, `sub://` and `ack://`, which
    acknowledges them; a DECTRIS detector's stream at `dectris+tcp://`.

    A message that is no frame does no harm: it is counted as ignored, or, where it announced a frame, as
    rejected.
    """

    renames = False

    def __init__(
        self,
        address: str,
        spool: Path,
        settings: WatchSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Parameters
        ----------
        address
            scheme://host:port
        spool
            The session's; this source gets a folder of its own in it.
        clock
            [s since 1970 UTC]

        Raises
        ------
        InputError
            What decodes its messages is not installed.
        """
        scheme, _, rest = address.partition("://")
        self._scheme = SCHEMES[scheme]
        self.kind = self._scheme.kind
        self.address = address
        self.endpoint = ""
        """Where it listens, once it is open; a port left to the system (`*`) is known then."""
        self.status = SourceStatus()
        self._endpoint = f"tcp://{_numeric(rest) if self._scheme.bind else rest}"
        self._settings = settings
        folder = spool / re.sub(r"[^A-Za-z0-9]+", "-", address).strip("-")
        self._spool = Spool(
            folder,
            reserve=int(settings.disk_reserve_mb * 2**20),
            limit=settings.spool_limit(),
            clock=clock,
        )
        self._max_bytes = int(settings.max_frame_mb * 2**20)
        self._decoder = self._scheme.decoder(self._max_bytes)
        self._seen: OrderedDict[tuple[str, int], str | None] = OrderedDict()
        self._recovered: list[FrameRef] = []
        self._garbage = 0
        self._closed = threading.Event()
        self._keeper = Keeper(
            self._spool,
            self.status,
            address,
            self._closed,
            can_wait=self._scheme.type != zmq.SUB,
            sends_again=self._scheme.type == zmq.ROUTER,
        )

    def open(self, known: Iterable[FrameRef]) -> None:
        """Find what was spooled and never recorded, and listen.

        Raises
        ------
        InputError
            The address can't be used.
        """
        recorded = set()
        for ref in known:
            recorded.add(ref.path)
            self._recall(ref)
        self._recovered = [ref for ref in self._spool.refs() if ref.path not in recorded]
        for ref in self._recovered:
            self._recall(ref)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(self._scheme.type)
        try:
            self._socket.set(zmq.RCVHWM, _HIGH_WATER)
            self._socket.set(zmq.MAXMSGSIZE, self._max_bytes + _OVERHEAD)
            self._socket.set(zmq.TCP_KEEPALIVE, 1)
            if self._scheme.type == zmq.SUB:
                self._socket.set(zmq.SUBSCRIBE, b"")
            self._secure()
            if self._scheme.bind:
                self._socket.bind(self._endpoint)
            else:
                self._socket.connect(self._endpoint)
        except (zmq.ZMQError, ValueError) as error:
            self._context.destroy(linger=0)
            raise InputError(f"{self.address} can't be opened: {error}") from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self.status.ready = True

    def refs(self) -> Iterator[FrameRef]:
        """Frames as they come, first those that a killed session had acknowledged but not recorded."""
        try:
            for ref in self._recovered:
                log.info("event=recovered path=%s sender=%s sequence=%s", ref.path, ref.sender, ref.sequence)
                yield ref
            self._recovered.clear()
            while not self._closed.is_set():
                if self._socket.poll(_POLL_MS):
                    yield from self._receive()
            # What has come already would be lost with the socket.
            for _ in range(2 * _HIGH_WATER):
                if not self._socket.poll(0):
                    break
                yield from self._receive()
        finally:
            self._socket.close(linger=500)
            self._context.term()

    def close(self) -> None:
        """Take what has come, then listen no longer."""
        self._closed.set()

    # -- inside ----------------------------------------------------------------------------------------------

    def _receive(self) -> Iterator[FrameRef]:
        parts: list[bytes | memoryview] = [part.buffer for part in self._socket.recv_multipart(copy=False)]
        envelope: list[bytes] = []
        if self._scheme.type == zmq.ROUTER:
            envelope = [bytes(parts.pop(0))]
            if parts and len(parts[0]) == 0:  # a REQ socket sends an empty part first, and expects one back
                envelope.append(bytes(parts.pop(0)))
        elif self._scheme.type == zmq.SUB and len(parts) == 3 and bytes(parts[0][:1]) != b"{":
            parts.pop(0)  # the topic that it was published under
        try:
            message = self._decoder.decode(parts)
        except RejectedMessage as error:
            yield from self._keep_rejected(error, _digest(parts), envelope)
        except BadMessage as error:
            self._ignore(error.reason)
        else:
            if message is not None:
                yield from self._keep(message, envelope)

    def _keep(self, message: WireFrame, envelope: list[bytes]) -> Iterator[FrameRef]:
        """Spool a frame and acknowledge it, unless it is stored already."""
        sender, sequence, content = message.sender, message.sequence, message_content(message.pixels)
        if self._again(sender, sequence, content):
            self._acknowledge(envelope, message.original, "duplicate")
            return
        ref = self._keeper.keep(
            lambda: self._spool.add(
                message.pixels,
                message.original,
                pixel_size_nm=message.pixel_size_nm,
                acquired=message.acquired,
                sender=sender,
                sequence=sequence,
                content=content,
            ),
            lambda why: self._spool.dropped(
                message.original,
                why,
                acquired=message.acquired,
                sender=sender,
                sequence=sequence,
                content=content,
            ),
        )
        if ref is not None:
            self._remember(ref)
            self._acknowledge(envelope, message.original, "stored")
            yield ref

    def _keep_rejected(
        self, error: RejectedMessage, content: str, envelope: list[bytes]
    ) -> Iterator[FrameRef]:
        """Keep the header of a frame that can't be used, with the reason, and acknowledge it."""
        original, reason, sender, sequence = error.original, error.reason, error.sender, error.sequence
        if self._again(sender, sequence, content):
            self._acknowledge(envelope, original, "duplicate")
            return
        ref = self._keeper.keep(
            lambda: self._spool.add_rejected(
                original, reason, sender=sender, sequence=sequence, content=content
            ),
            lambda why: self._spool.dropped(original, why, sender=sender, sequence=sequence, content=content),
        )
        if ref is not None:
            self._remember(ref)
            log.warning("event=frame-rejected sender=%s sequence=%s reason=%r", sender, sequence, reason)
            self._acknowledge(envelope, original, "rejected", reason)
            yield ref

    def _again(self, sender: str, sequence: int | None, content: str) -> bool:
        """Whether this very frame was stored before. Another under its number is a counter that restarted."""
        if sequence is None or self._seen.get((sender, sequence), "") != content:
            return False
        self.status.duplicates += 1
        return True

    def _recall(self, ref: FrameRef) -> None:
        """What was received before this program began."""
        self._remember(ref)
        self._decoder.resume(str(ref.sender or ""))

    def _remember(self, ref: FrameRef) -> None:
        if ref.sequence is not None and ref.dropped is None:
            key = (str(ref.sender), ref.sequence)
            self._seen[key] = ref.content
            self._seen.move_to_end(key)
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)

    def _acknowledge(
        self, envelope: list[bytes], header: dict[str, object], status: str, reason: str | None = None
    ) -> None:
        """Tell the sender that it need not keep this frame any longer."""
        if envelope:
            answer = {"frame": header.get("frame"), "run": header.get("run"), "status": status}
            if reason is not None:
                answer["reason"] = reason
            # ROUTER drops what it can't deliver: whoever misses it sends again and is told again.
            self._socket.send_multipart([*envelope, json.dumps(answer).encode()])

    def _ignore(self, reason: str) -> None:
        self.status.ignored += 1
        self._garbage += 1
        if self._garbage <= 3 or self._garbage % 1000 == 0:
            log.warning(
                "event=ignored-message source=%s count=%d reason=%r", self.address, self._garbage, reason
            )

    def _secure(self) -> None:
        """CURVE: a bound socket asks for its key, a connecting one brings the key it expects."""
        if self._scheme.bind and self._settings.curve_secret_key:
            self._socket.set(zmq.CURVE_SERVER, 1)
            self._set_key(zmq.CURVE_SECRETKEY, "curve_secret_key", self._settings.curve_secret_key)
        elif not self._scheme.bind and self._scheme.curve and self._settings.curve_server_key:
            public, secret = zmq.curve_keypair()
            self._socket.set(zmq.CURVE_PUBLICKEY, public)
            self._socket.set(zmq.CURVE_SECRETKEY, secret)
            self._set_key(zmq.CURVE_SERVERKEY, "curve_server_key", self._settings.curve_server_key)
        elif self._scheme.bind and not _is_loopback(self._endpoint):
            log.warning(
                "event=open-to-the-network source=%s message=%r",
                self.address,
                "anybody who reaches this port can send frames; set curve_secret_key, or listen on 127.0.0.1",
            )

    def _set_key(self, option: int, name: str, key: str) -> None:
        try:
            self._socket.set(option, key.encode())
        except zmq.ZMQError as error:
            raise ValueError(f"{name} is no CURVE key (40 characters, as zmq.curve_keypair gives)") from error


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _numeric(place: str) -> str:
    """host:port with a host that can be bound: a name becomes its number."""
    host, colon, port = place.rpartition(":")
    if not colon or not (port == "*" or port.isdigit()):
        raise InputError(f"tcp://{place}: an address is tcp://host:port")
    if host in ("", "*"):
        return f"*:{port}"
    try:
        return f"{host if host.startswith('[') else socket.gethostbyname(host)}:{port}"
    except (OSError, UnicodeError) as error:  # UnicodeError: no name that a network could know
        raise InputError(f"tcp://{place}: this computer has no address {host!r}") from error


def _is_loopback(endpoint: str) -> bool:
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    return host != "*" and ipaddress.ip_address(host).is_loopback
