"""A socket as a source, with the client that ships: real ZeroMQ over loopback."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from monitor import client
from monitor.client import FrameSender, encode
from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.read import open_frames
from monitor.record import RecordWriter
from monitor.settings import WatchSettings
from monitor.sources.choose import choose_source
from monitor.sources.socket import SocketSource

WaitFor = Callable[..., None]
Listen = Callable[..., "Listening"]

IMAGES = np.random.default_rng(1).poisson(80, (10, 32, 32)).astype(np.uint16)


class Listening:
    """A socket source with the thread that asks it, and what it has announced."""

    def __init__(self, source: SocketSource, known: list[FrameRef]) -> None:
        self.source = source
        self.refs: list[FrameRef] = []
        source.open(known)
        self.port = source.endpoint.rpartition(":")[2]
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()

    def _ask(self) -> None:
        for ref in self.source.refs():
            self.refs.append(ref)

    def numbers(self) -> list[int | None]:
        return [ref.sequence for ref in self.refs]

    def close(self) -> None:
        self.source.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """Opens a socket source; the port is left to the system where it is `*`."""
    listening: list[Listening] = []

    def start(address: str, known: list[FrameRef] | None = None, **settings: Any) -> Listening:
        source = choose_source(address, WatchSettings(**settings), tmp_path / "spool")
        assert isinstance(source, SocketSource)
        listening.append(Listening(source, known or []))
        return listening[-1]

    yield start
    for one in listening:
        one.close()


def raw(kind: int, port: str) -> tuple[zmq.Context[zmq.Socket[bytes]], zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(kind)
    socket.connect(f"tcp://127.0.0.1:{port}")
    return context, socket


def test_pushed_frames_are_spooled_with_all_that_came_with_them(listen: Listen, wait_for: WaitFor) -> None:
    pulled = listen("tcp://127.0.0.1:*")
    with FrameSender(f"tcp://127.0.0.1:{pulled.port}", source="TEAM Å") as sender:
        for image in IMAGES[:3]:
            sender.send(image, pixel_size_nm=0.042, exposure_s=0.1, timestamp=1.7e9, stage=[1, 2])
    wait_for(lambda: len(pulled.refs) == 3)
    ref = pulled.refs[1]
    assert (ref.sequence, ref.pixel_size_nm, ref.acquired) == (1, 0.042, 1.7e9)
    assert ref.sender == f"TEAM Å/{sender.run}"
    assert ref.metadata["stage"] == [1, 2]
    assert ref.metadata["ndattr"]["exposure_s"] == 0.1
    with open_frames(ref.path) as file:
        frame = file.frame(0)
    np.testing.assert_array_equal(frame.pixels, IMAGES[1])
    assert frame.pixel_size_nm == pytest.approx(0.042)


@pytest.mark.parametrize("scheme", ["tcp+connect", "sub"])
def test_the_monitor_can_be_the_one_that_connects(listen: Listen, wait_for: WaitFor, scheme: str) -> None:
    with FrameSender(f"{scheme}://127.0.0.1:*") as sender:
        port = sender._socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
        receiving = listen(f"{scheme}://127.0.0.1:{port}")

        def sent() -> bool:  # what is published before somebody listens is gone
            sender.send(IMAGES[0])
            return bool(receiving.refs)

        wait_for(sent)


def test_a_publisher_may_put_a_topic_before_its_frames(listen: Listen, wait_for: WaitFor) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PUB)
    try:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        receiving = listen(f"sub://127.0.0.1:{port}")

        def sent() -> bool:  # what is published before somebody listens is gone
            socket.send_multipart([b"frames", *encode(IMAGES[0], 0)])
            return bool(receiving.refs)

        wait_for(sent)
        assert receiving.refs[0].rejected is None
        assert receiving.source.status.ignored == 0
    finally:
        context.destroy(linger=0)


def test_every_acknowledged_frame_is_on_the_disk(listen: Listen, wait_for: WaitFor) -> None:
    acknowledging = listen("ack://127.0.0.1:*")
    sender = FrameSender(f"ack://127.0.0.1:{acknowledging.port}", window=3)
    for image in IMAGES:
        sender.send(image)
        assert len(sender.unacknowledged) <= 3
    assert sender.close() == []
    assert len(list(acknowledging.source._spool.folder.iterdir())) == 10
    wait_for(lambda: acknowledging.numbers() == list(range(10)))


def test_without_a_monitor_the_client_says_what_was_not_acknowledged() -> None:
    sender = FrameSender("ack://127.0.0.1:9", window=2)
    sender.send(IMAGES[0])
    sender.send(IMAGES[1])
    with pytest.raises(TimeoutError, match="2 frames still wait to be acknowledged"):
        sender.send(IMAGES[2], timeout_s=0.1)
    assert sender.sent == 2
    assert sender.close(timeout_s=0.1) == [0, 1]
    assert sender.close() == [0, 1]


def test_a_plain_sender_says_when_nobody_takes_frames() -> None:
    with FrameSender("tcp+connect://127.0.0.1:*") as sender, pytest.raises(TimeoutError):
        sender.send(IMAGES[0], timeout_s=0.1)


def test_frames_are_resent_to_a_monitor_that_comes_later(listen: Listen, wait_for: WaitFor) -> None:
    first = listen("ack://127.0.0.1:*")
    address = f"ack://127.0.0.1:{first.port}"
    sender = FrameSender(address, resend_s=0.2)
    sender.send(IMAGES[0])
    wait_for(lambda: len(first.refs) == 1)
    assert sender.flush(10) == []
    first.close()
    for image in IMAGES[1:4]:
        sender.send(image)
    again = listen(address, first.refs)
    assert sender.close(20) == []
    wait_for(lambda: again.numbers() == [1, 2, 3])


def test_what_was_stored_and_resent_is_acknowledged_again_but_not_counted_again(
    listen: Listen, wait_for: WaitFor
) -> None:
    probe = listen("ack://127.0.0.1:*")
    probe.close()
    address = f"ack://127.0.0.1:{probe.port}"
    first = listen(address)
    context, socket = raw(zmq.DEALER, first.port)
    try:
        message = encode(IMAGES[0], 5, source="cam", run="r")
        for expected in ("stored", "duplicate"):
            socket.send_multipart(message)
            assert socket.poll(10_000)
            assert json.loads(socket.recv()) == {"frame": 5, "run": "r", "status": expected}
        first.close()
        # Another monitor goes on with the session: the frame may be in the record, or only in the spool.
        for known in (first.refs, []):
            again = listen(address, known)
            socket.send_multipart(message)
            assert socket.poll(10_000)
            assert json.loads(socket.recv())["status"] == "duplicate"
            again.close()
            assert again.source.status.duplicates == 1
            assert again.refs == ([] if known else first.refs)
    finally:
        context.destroy(linger=0)


def test_a_counter_that_restarts_sends_new_frames(listen: Listen, wait_for: WaitFor) -> None:
    pulled = listen("tcp://127.0.0.1:*")
    context, socket = raw(zmq.PUSH, pulled.port)
    try:
        for number, image in zip([0, 1, 2, 0, 1, 2, 2], IMAGES[[0, 1, 2, 3, 4, 5, 5]], strict=True):
            socket.send_multipart(encode(image, number, source="cam"))
        wait_for(lambda: pulled.source.status.duplicates == 1)
        assert pulled.numbers() == [0, 1, 2, 0, 1, 2]
    finally:
        context.destroy(linger=0)


def test_a_request_socket_gets_its_answer(listen: Listen) -> None:
    acknowledging = listen("ack://127.0.0.1:*")
    context, socket = raw(zmq.REQ, acknowledging.port)
    try:
        socket.send_multipart(encode(IMAGES[0], 0))
        assert socket.poll(10_000)
        assert json.loads(socket.recv())["status"] == "stored"
    finally:
        context.destroy(linger=0)


def test_garbage_does_no_harm_and_what_announced_a_frame_is_rejected(
    listen: Listen, wait_for: WaitFor
) -> None:
    acknowledging = listen("ack://127.0.0.1:*")
    context, socket = raw(zmq.DEALER, acknowledging.port)
    try:
        for parts in (
            [b""],
            [b"", b""],
            [b"GET / HTTP/1.1"],
            [b"{}"],
            [b"\xff" * 100, b"", b"x"],
            [b"1"] * 50,
        ):
            socket.send_multipart(parts)
        header, pixels = encode(IMAGES[0], 3, source="cam", run="r")
        socket.send_multipart([header, bytes(pixels)[:-1]])
        assert socket.poll(10_000)
        answer = json.loads(socket.recv())
        assert (answer["frame"], answer["status"]) == (3, "rejected")
        assert "2047 bytes came" in answer["reason"]
        socket.send_multipart([header, pixels])  # put right, it is a frame
        wait_for(lambda: len(acknowledging.refs) == 2)
    finally:
        context.destroy(linger=0)
    assert acknowledging.source.status.ignored == 6
    rejected, stored = acknowledging.refs
    assert "2047 bytes came" in str(rejected.rejected)
    assert (rejected.index, rejected.sender, rejected.sequence) == (None, "cam/r", 3)
    assert stored.rejected is None
    assert acknowledging.source.status.state == "watching"


def test_strangers_on_the_port_do_no_harm(listen: Listen, wait_for: WaitFor) -> None:
    import socket

    pulled = listen("tcp://127.0.0.1:*")
    for greeting in (b"GET / HTTP/1.0\r\n\r\n", b"\xff" + bytes(8) + b"\x7f" + bytes(100), bytes(5000)):
        with socket.create_connection(("127.0.0.1", int(pulled.port))) as stranger:
            stranger.sendall(greeting)
    with FrameSender(f"tcp://127.0.0.1:{pulled.port}") as sender:
        sender.send(IMAGES[0])
    wait_for(lambda: pulled.numbers() == [0])


def test_a_message_beyond_the_limit_is_never_taken_into_memory(listen: Listen, wait_for: WaitFor) -> None:
    pulled = listen("tcp://127.0.0.1:*", max_frame_mb=0.001)
    with FrameSender(f"tcp://127.0.0.1:{pulled.port}") as sender:
        sender.send(np.zeros((2000, 2000), np.uint16))  # ZeroMQ itself hangs up on this one
    with FrameSender(f"tcp://127.0.0.1:{pulled.port}") as sender:
        sender.send(np.zeros((40, 40), np.uint16))
        sender.send(np.zeros((16, 16), np.uint16))
    wait_for(lambda: len(pulled.refs) == 2)
    assert "more than the limit" in str(pulled.refs[0].rejected)
    assert pulled.refs[1].rejected is None


def test_a_full_disk_holds_the_sender_and_is_said(
    listen: Listen, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledging = listen("ack://127.0.0.1:*")
    monkeypatch.setattr(acknowledging.source._spool, "_reserve", 2**62)
    sender = FrameSender(f"ack://127.0.0.1:{acknowledging.port}", resend_s=0.3)
    sender.send(IMAGES[0])
    status = acknowledging.source.status
    wait_for(lambda: status.state == "lost")
    assert "senders have to wait until there is room" in str(status.message)
    assert sender.unacknowledged == [0]
    monkeypatch.setattr(acknowledging.source._spool, "_reserve", 0)
    assert sender.close(20) == []
    wait_for(lambda: acknowledging.numbers() == [0])
    assert status.state == "watching"


def test_curve_keys_let_nobody_else_in(listen: Listen, wait_for: WaitFor) -> None:
    public, secret = (key.decode() for key in zmq.curve_keypair())
    acknowledging = listen("ack://127.0.0.1:*", curve_secret_key=secret)
    address = f"ack://127.0.0.1:{acknowledging.port}"
    stranger = FrameSender(address)
    stranger.send(IMAGES[0])
    sender = FrameSender(address, server_key=public)
    sender.send(IMAGES[1])
    assert sender.close(20) == []
    assert stranger.close(0.1) == [0]
    assert [ref.sender for ref in acknowledging.refs] == [f"camera/{sender.run}"]


def test_a_key_that_is_none_is_said(listen: Listen) -> None:
    with pytest.raises(InputError, match="curve_secret_key is no CURVE key"):
        listen("ack://127.0.0.1:*", curve_secret_key="abc")


WIRE = Path(__file__).parents[3] / "docs" / "wire.md"


def test_the_client_in_the_documentation_works(listen: Listen, wait_for: WaitFor) -> None:
    acknowledging = listen("ack://127.0.0.1:*")
    (code,) = re.findall(r"```python\n(.*?)```", WIRE.read_text(encoding="utf-8"), re.DOTALL)
    assert "127.0.0.1:5555" in code
    code = code.replace("127.0.0.1:5555", f"127.0.0.1:{acknowledging.port}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "('stored', None)\n" * 3, done.stderr
    wait_for(lambda: acknowledging.numbers() == [0, 1, 2])


def test_an_address_that_can_not_be_used_is_said(listen: Listen, tmp_path: Path) -> None:
    taken = listen("tcp://127.0.0.1:*")
    for address in (
        f"tcp://127.0.0.1:{taken.port}",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:port",
        "tcp://no-such-host.invalid:5555",
        "http://127.0.0.1:5555",
        "sub://127.0.0.1",
    ):
        with pytest.raises(InputError, match=re.escape(address.split("//")[1])):
            choose_source(address, WatchSettings(), tmp_path / "other").open([])


def test_the_client_can_be_copied_and_used_alone(tmp_path: Path) -> None:
    shutil.copy(client.__file__, tmp_path / "client.py")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import client; print(client.__file__)\n"
        "rooms = {'monitor', 'models', 'sim', 'dashboard', 'pydantic', 'scipy', 'cv2'}\n"
        "assert not rooms & set(sys.modules)\n"
        "client.FrameSender('ack://127.0.0.1:9').close(0.1)"
    )
    alone = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert alone.returncode == 0, alone.stderr
    assert alone.stdout.strip() == str(tmp_path / "client.py")


def test_what_a_subscriber_missed_at_the_beginning_is_lost(
    listen: Listen, wait_for: WaitFor, tmp_path: Path
) -> None:
    with FrameSender("sub://127.0.0.1:*") as sender:
        sender.send(IMAGES[0])  # nobody listens
        port = sender._socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
        receiving = listen(f"sub://127.0.0.1:{port}")

        def sent() -> bool:
            sender.send(IMAGES[0])
            return bool(receiving.refs)

        wait_for(sent)
        total = sender.sent
    receiving.close()
    with RecordWriter(tmp_path / "s") as record:
        source = record.add_source("sub", receiving.source.address, 0.0)
        lost = sum(record.take(source.id, ref, at=0.0).lost for ref in receiving.refs)
    behind = total - 1 - (receiving.refs[-1].sequence or 0)
    assert lost >= 1
    assert total == len(receiving.refs) + lost + behind


def test_a_wrong_address_is_refused_by_the_sender() -> None:
    with pytest.raises(ValueError, match="begins with tcp://"):
        FrameSender("127.0.0.1:5555")
