"""Mutated messages through real sockets into a running session: several senders, floods, half messages, scanners.

One session listens on a PULL socket, on an acknowledging one, and to a PUB socket. What every sender sent has to be
there afterwards, as frame, rejected, ignored or duplicate; and the session has to start again over its record.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import zmq

from tests.faults.base import Context, Finding
from tests.faults.messages import mutated
from tests.faults.process import Monitor, free_port, resident_bytes
from tests.faults.targets import array_message

#: Memory that the session may gain over all of it [bytes].
LIMIT_BYTES = 300 * 2**20
#: How often a sender sends a frame that is whole.
_WHOLE = 20
_READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH"
_GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" * 32


@dataclass
class Sent:
    """What one sender sent, and the session's figures for its socket."""

    messages: int = 0
    whole: int = 0
    all: bool = False
    """Everything has been sent."""
    taken: dict[str, Any] = field(default_factory=dict)


def send_mutated(
    kind: int, address: str, count: int, random: Random, sent: Sent, done: threading.Event
) -> None:
    """So many messages into a socket of this kind, one in twenty of them whole; it stays open until `done`.

    Whoever closes an acknowledging socket with answers unread resets the connection, and what was under way is lost.
    """
    with zmq.Context() as context, context.socket(kind) as out:
        out.set(zmq.LINGER, 60_000)
        out.set(zmq.SNDHWM, 0)
        if kind == zmq.PUB:
            out.bind(address)
            time.sleep(2)  # a publisher sends nothing to whom it does not know yet, and can't ask
        else:
            out.connect(address)
        for i in range(count):
            parts = array_message(random, i)
            if i % _WHOLE:
                parts = mutated(parts, random)[0] or [b""]
            else:
                sent.whole += 1
            out.send_multipart(parts)
            sent.messages += 1
            if kind == zmq.PUB and i % 8 == 7:
                time.sleep(0.05)  # or the publisher drops what the subscriber has no room for
            _drain(out)
        sent.all = True
        while not done.wait(0.05):
            _drain(out)


def _drain(out: zmq.Socket[bytes]) -> None:
    while out.type == zmq.DEALER and out.poll(0):
        out.recv_multipart()


def scan_port(port: int, random: Random, done: threading.Event) -> int:
    """What a port scanner, a browser, and senders that die in the middle leave behind; how often."""
    tries = 0
    while not done.is_set():
        said = random.choice((
            random.randbytes(random.randrange(300)),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(200),
            _GREETING[: random.randrange(64)],
            _GREETING + random.randbytes(40),
            _GREETING + _READY[: random.randrange(len(_READY))],
            _GREETING + _READY + b"\x01\x05half",  # a part that is announced longer than it is
            _GREETING + _READY + b"\x01\x02{}",  # a first part, and never a second
            _GREETING + _READY + b"\x03" + struct.pack(">Q", 2**40) + b"x",  # a part of a terabyte
            _GREETING + _READY + b"\x02" + struct.pack(">Q", 2**63 + 5) + b"x",
            _GREETING + _READY + b"\x01\x01x" * 2000,
            b"",
        ))  # fmt: skip
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=5) as scanner,
        ):
            scanner.sendall(said)
            if random.randrange(2):
                scanner.settimeout(0.05)
                scanner.recv(100)
        tries += 1
        done.wait(0.01)
    return tries


def faults(context: Context) -> Iterator[Finding]:
    """A twentieth of the messages that are asked for."""
    yield storm(context.room("sockets") / "session", context.messages // 20, context.seed)


SENDERS = ((zmq.PUSH, "tcp"), (zmq.PUSH, "tcp"), (zmq.DEALER, "ack"), (zmq.DEALER, "ack"), (zmq.PUB, "sub"))
"""Socket of each sender, and the session's socket that it sends to."""


class Storm:
    """Senders of mutated messages and scanners of ports, each in a thread, for as long as the block runs."""

    def __init__(self, ports: dict[str, int], count: int, seed: int) -> None:
        share = -(-count // len(SENDERS))
        self.by_sender = [Sent() for _ in SENDERS]
        self.scans: list[int] = []
        self._scanned, self._done = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(
                target=send_mutated,
                args=(kind, f"tcp://127.0.0.1:{ports[name]}", share, Random(f"{seed} {i}"), sent, self._done),
            )
            for i, ((kind, name), sent) in enumerate(zip(SENDERS, self.by_sender, strict=True))
        ]
        self._threads += [
            threading.Thread(target=self._scan, args=(ports[name], Random(f"{seed} {name}")))
            for name in ("tcp", "ack")
        ]

    def _scan(self, port: int, random: Random) -> None:
        self.scans.append(scan_port(port, random, self._scanned))

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._scanned.set()
        self._done.set()
        for thread in self._threads:
            thread.join()

    def over(self) -> bool:
        """Whether everything is sent."""
        return all(one.all for one in self.by_sender)

    def sent(self) -> dict[str, Sent]:
        """What was sent to each of the session's sockets; the scanners stop."""
        self._scanned.set()
        to = {
            name: [s for s, (_, at) in zip(self.by_sender, SENDERS, strict=True) if at == name]
            for _, name in SENDERS
        }
        return {
            name: Sent(sum(one.messages for one in some), sum(one.whole for one in some))
            for name, some in to.items()
        }


def storm(folder: Path, count: int, seed: int) -> Finding:
    """At least `count` mutated messages from several senders at once, into a session in this folder."""
    ports = {name: free_port() for name in ("tcp", "ack", "sub")}
    addresses = {name: f"{name}://127.0.0.1:{port}" for name, port in ports.items()}
    with Monitor(folder, *addresses.values(), options=("--pixel-size", "0.05")) as monitor:
        monitor.wait_ready()
        before = resident_bytes(monitor.process.pid)
        with Storm(ports, count, seed) as sending:
            monitor.wait(sending.over, "everything to be sent", 60 + count / 5)
            sent = sending.sent()
            faults = _wait(monitor, addresses, sent)
        gained = resident_bytes(monitor.process.pid) - before
        status = monitor.stop()
    faults += [] if status == 0 else [f"the session ended with status {status}"]
    faults += monitor.complaints()
    if gained > LIMIT_BYTES:
        faults.append(f"memory: the session gained {gained / 2**20:.0f} MiB")
    with Monitor(folder, *addresses.values()) as again:
        again.wait_ready()
        status = again.stop()
    faults += [] if status == 0 else [f"the session did not start again over its record (status {status})"]
    faults += again.complaints()
    ledger = monitor.summary()["ledger"]
    return Finding(
        "mutated messages through sockets",
        tries=sum(one.messages for one in sent.values()),
        failures=faults,
        note=f"and {sum(sending.scans)} scans of its ports; {ledger['analysed']} analysed, {ledger['queued']} queued, "
        f"{ledger['rejected']} rejected; the session gained {gained / 2**20:.0f} MiB",
        figures={name: one.taken for name, one in sent.items()},
    )


def _wait(monitor: Monitor, addresses: dict[str, str], sent: dict[str, Sent]) -> list[str]:
    """Until everything that was sent is accounted for; what is not, after a minute without news.

    What a scanner left behind may be a message by chance, which is ignored; so there may be more than was sent.
    """
    news, heard = time.monotonic(), None
    while True:
        for name, one in sent.items():
            one.taken = monitor.arrivals(addresses[name])
        missing = {name: one.messages - sum(one.taken.values()) for name, one in sent.items()}
        # A publisher drops what the subscriber has no room for, and nobody can know how much of garbage that was.
        certain = missing["tcp"] <= 0 and missing["ack"] <= 0
        if (certain and missing["sub"] <= 0) or monitor.process.poll() is not None:
            break
        if missing != heard:
            news, heard = time.monotonic(), missing
        elif time.monotonic() - news > (5 if certain else 60):
            break
        time.sleep(0.2)
    return [
        f"{name}: {one.messages} messages were sent, {one.taken} are accounted for"
        for name, one in sent.items()
        if missing[name] > 0 and name != "sub"
    ]
