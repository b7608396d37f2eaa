"""Sends frames to a faultwatch session. Needs only pyzmq and NumPy, and can be copied and used alone.

::

    from monitor.client import FrameSender     # or: from client import FrameSender

    # The address that `faultwatch watch` was given; ack:// is certain, tcp:// is quick and may lose frames.
    with FrameSender("ack://127.0.0.1:5555", source="TEAM I") as sender:
        for image in camera:                   # 2-D NumPy arrays
            sender.send(image, pixel_size_nm=0.042, exposure_s=0.16)
        missing = sender.close(timeout_s=60)   # frame numbers that were never acknowledged
    print(f"not acknowledged: {missing}" if missing else "all there")

Each address says how the session listens, and the sender takes the other end: `tcp://` connects a PUSH
socket, `ack://` connects a DEALER socket and resends what was not acknowledged, `tcp+connect://` binds a
PUSH socket, and `sub://` binds a PUB socket (host `*` for every network card). Runs on Python 3.8 and
later.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import numpy as np
import zmq

#: Pixel types that may travel, by their names in the header.
DTYPES = (
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
)

_SOCKETS = {"tcp": zmq.PUSH, "tcp+connect": zmq.PUSH, "ack": zmq.DEALER, "sub": zmq.PUB}


def encode(
    image: np.ndarray[Any, Any],
    frame: int,
    *,
    source: str = "",
    run: str | None = None,
    timestamp: float | None = None,
    pixel_size_nm: float | None = None,
    exposure_s: float | None = None,
    dose_e_per_A2: float | None = None,
    **more: Any,
) -> tuple[bytes, memoryview]:
    """One frame as the two parts of an htypes array-1.0 message: JSON header, raw bytes.

    Parameters
    ----------
    image
        (H, W), any of `DTYPES`.
    frame
        The sender's number for it.
    run
        A name for this counting, new whenever the numbers start again from 0.
    timestamp
        When the camera took it [s since 1970 UTC].
    more
        Whatever else is to be kept with the frame, as JSON.

    Raises
    ------
    ValueError
        The image is no (H, W) array of one of the types that may travel.
    """
    image = np.asarray(image)
    if image.ndim != 2 or 0 in image.shape:
        raise ValueError(f"a frame is an array (H, W), not one of shape {image.shape}")
    if image.dtype.name not in DTYPES:
        raise ValueError(f"{image.dtype.name} can't be sent; use one of {', '.join(DTYPES)}")
    image = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<"))
    attributes = {"pixel_size_nm": pixel_size_nm, "exposure_s": exposure_s, "dose_e_per_A2": dose_e_per_A2}
    header: dict[str, Any] = {
        **more,
        "htype": "array-1.0",
        "shape": list(image.shape),
        "type": image.dtype.name,
        "frame": int(frame),
        "endianness": "little",
        "encoding": "raw",
        "source": source,
        "ndattr": {key: float(value) for key, value in attributes.items() if value is not None},
    }
    if timestamp is not None:
        header["timestamp"] = float(timestamp)
    if run is not None:
        header["run"] = run
    return json.dumps(header).encode(), image.reshape(-1).view(np.uint8).data


class _Pending:
    """A frame that is under way."""

    def __init__(self, parts: tuple[bytes, bytes], wait_s: float) -> None:
        self.parts = parts
        self.due = 0.0
        """When to send it again [s, steady clock]."""
        self.wait_s = wait_s
        """How long to wait after that."""


class FrameSender:
    """Sends frames, numbered from 0. Not to be shared between threads.

    It has no thread of its own: what is to be sent again goes out within `send`, `flush` and `close`.
    """

    def __init__(
        self,
        address: str,
        source: str = "camera",
        window: int = 8,
        resend_s: float = 2.0,
        server_key: str | None = None,
    ) -> None:
        """
        Parameters
        ----------
        address
            As `faultwatch watch` was given it.
        source
            Who sends, as the session is to call it.
        window
            So many frames may be under way; in the acknowledging mode they are kept in memory.
        resend_s
            A frame that was not acknowledged for so long is sent again, then after twice as long, and so on
            up to ten times.
        server_key
            The session's public CURVE key (40 characters), where it asks for one.

        Raises
        ------
        ValueError
            The address is none of those above.
        zmq.ZMQError
            It can't be bound or connected.
        """
        kind, slashes, rest = address.partition("://")
        if not slashes or kind not in _SOCKETS:
            raise ValueError(f"{address!r}: an address begins with tcp://, ack://, tcp+connect:// or sub://")
        self.address = address
        self.source = source
        self.run = uuid.uuid4().hex[:12]
        self.sent = 0
        """Frames given to `send` so far; the next one gets this number."""
        self.rejected: dict[int, str] = {}
        """Frame numbers that the session could not use, and why."""
        self._acknowledging = kind == "ack"
        self._window = window
        self._resend_s = resend_s
        self._pending: dict[int, _Pending] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(_SOCKETS[kind])
        self._socket.set(zmq.SNDHWM, window)
        if server_key is not None:
            public, secret = zmq.curve_keypair()
            self._socket.set(zmq.CURVE_PUBLICKEY, public)
            self._socket.set(zmq.CURVE_SECRETKEY, secret)
            self._socket.set(zmq.CURVE_SERVERKEY, server_key.encode())
        try:
            if kind in ("tcp", "ack"):
                self._socket.connect("tcp://" + rest)
            else:
                self._socket.bind("tcp://" + rest)
        except zmq.ZMQError:
            self._context.destroy(linger=0)
            raise

    @property
    def unacknowledged(self) -> list[int]:
        """Frame numbers that are not yet known to be on the session's disk (acknowledging mode)."""
        return list(self._pending)

    def send(
        self,
        image: np.ndarray[Any, Any],
        pixel_size_nm: float | None = None,
        exposure_s: float | None = None,
        dose_e_per_A2: float | None = None,
        timestamp: float | None = None,
        timeout_s: float | None = None,
        **more: Any,
    ) -> int:
        """Send one frame and return its number; waits while too many are under way.

        Raises
        ------
        TimeoutError
            It could not be handed over within `timeout_s` (None: wait for ever). It was not sent and its
            number goes to the next, so it can simply be given again.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        header, pixels = encode(
            image,
            self.sent,
            source=self.source,
            run=self.run,
            timestamp=time.time() if timestamp is None else timestamp,
            pixel_size_nm=pixel_size_nm,
            exposure_s=exposure_s,
            dose_e_per_A2=dose_e_per_A2,
            **more,
        )
        if self._acknowledging:
            # What was acknowledged since the last call must not be taken for overdue and sent again.
            self._collect()
            while len(self._pending) >= self._window:
                self._serve(deadline)
            # The caller may use its array again at once, and a resend has to find the same bytes.
            self._pending[self.sent] = _Pending((header, bytes(pixels)), self._resend_s)
            self._transmit()
            self._collect()
        else:
            left = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
            if not self._socket.poll(left, zmq.POLLOUT):
                raise TimeoutError(f"{self.address} took no frame within {timeout_s} s")
            self._socket.send_multipart((header, pixels), copy=True)
        self.sent += 1
        return self.sent - 1

    def flush(self, timeout_s: float | None = None) -> list[int]:
        """Wait until everything is acknowledged, at most `timeout_s`; returns the numbers that are not."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._pending:
            try:
                self._serve(deadline)
            except TimeoutError:
                break
        return self.unacknowledged

    def close(self, timeout_s: float = 10.0) -> list[int]:
        """Wait for what is under way, close, and return the frame numbers that were not acknowledged.

        Without acknowledgement it waits until the operating system has taken everything, which says nothing
        of whether it arrives.
        """
        if not self._context.closed:
            self.flush(timeout_s)
            self._context.destroy(linger=0 if self._acknowledging else int(timeout_s * 1000))
        return self.unacknowledged

    def __enter__(self) -> FrameSender:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _serve(self, deadline: float | None) -> None:
        """Resend what is due and wait a little for acknowledgements."""
        self._transmit()
        if not self._socket.poll(50) and deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError(f"{self.address}: {len(self._pending)} frames still wait to be acknowledged")
        self._collect()

    def _transmit(self) -> None:
        now = time.monotonic()
        for frame in self._pending.values():
            if frame.due <= now:
                try:
                    self._socket.send_multipart(frame.parts, flags=zmq.DONTWAIT, copy=True)
                except zmq.Again:  # nobody is connected, or the line is full: later
                    return
                frame.due = now + frame.wait_s
                frame.wait_s = min(2 * frame.wait_s, 10 * self._resend_s)

    def _collect(self) -> None:
        """Take every acknowledgement that is there; strange messages are passed over."""
        while self._socket.poll(0):
            try:
                answer = json.loads(self._socket.recv_multipart()[-1].decode())
                number, status, run = answer["frame"], answer["status"], answer["run"]
            except (ValueError, KeyError, TypeError):
                continue
            if run == self.run and self._pending.pop(number, None) is not None and status == "rejected":
                self.rejected[number] = str(answer.get("reason"))
