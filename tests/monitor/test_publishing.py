"""What a session publishes, over real sockets, and whom its alarms call."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import zmq

from monitor.errors import InputError
from monitor.publishing import Publisher, caller
from monitor.record.following import Settled, TrackRow
from monitor.statistics.alarm_kinds import Alarm
from monitor.statistics.course import StatisticsRow
from monitor.tracking.tracker import Place

ALARM = Alarm("beam lost", 7, 100.0, 7, 1, "The noise has 1 % of its usual power.")


def settled(frame: int, *, full: bool = True) -> Settled:
    row = StatisticsRow(
        frame, frame, 10.0 * frame, (0, 1, 2, 3), 0.6, 0.5 if full else None, 0.3 if full else None,
        0.8 if full else None, (0, 1, 1, 2), 2.5, 0.2, 0.9, 0,
    )  # fmt: skip
    place = Place(frame, 1, 1, 0.5, -1.5, 0.7, "correlation", {})
    track = TrackRow(3, 1, 1, "yes", (0.0, 0.1, 0.1, 0.8), True, 2, 1, frame, 4.2, True, 0.8, 5.0, 6.0)
    return Settled(place, None, (track,), row, (), ())


@pytest.fixture
def publisher() -> Any:
    found = Publisher("tcp://127.0.0.1:*")
    yield found
    found.close()


def subscriber(publisher: Publisher, topic: str = "") -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.RCVTIMEO, 10_000)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt_string(zmq.SUBSCRIBE, topic)
    socket.connect(publisher.address)
    time.sleep(0.3)  # a subscription takes a moment to arrive; what comes before it is not sent
    return socket


def received(socket: zmq.Socket[bytes]) -> dict[str, Any]:
    topic, message = socket.recv_multipart()
    found: dict[str, Any] = json.loads(message)
    assert found["topic"] == topic.decode()
    return found


def test_a_subscriber_hears_everything_in_order(publisher: Publisher) -> None:
    with subscriber(publisher) as socket:
        publisher.settled(settled(1))
        publisher.settled(settled(2, full=False))
        publisher.alarm(ALARM)
        heard = [received(socket) for _ in range(6)]
    assert [message["sequence"] for message in heard] == [1, 2, 3, 4, 5, 6]
    assert [message["topic"] for message in heard] == [
        "frame",
        "tracks",
        "fraction",
        "frame",
        "tracks",
        "alarm",
    ]
    frame, tracks, fraction = heard[:3]
    assert (frame["frame"], frame["drift_nm"], frame["how"], frame["uncounted"]) == (
        1,
        0.7,
        "correlation",
        None,
    )
    assert tracks["tracks"][0]["class"] == "yes"
    assert tracks["tracks"][0]["probabilities"]["yes"] == 0.8
    assert fraction["interval"] == [0.3, 0.8]
    assert fraction["always"] == [0.2, 0.9]
    assert fraction["tracks"] == {"empty": 0, "null": 1, "no": 1, "yes": 2}
    assert heard[5]["kind"] == "beam lost"
    assert heard[5]["severity"] == "critical"


def test_topics_can_be_chosen(publisher: Publisher) -> None:
    with subscriber(publisher, "alarm") as socket:
        publisher.settled(settled(1))
        publisher.alarm(ALARM)
        assert received(socket)["topic"] == "alarm"


def test_a_slow_subscriber_keeps_nobody_waiting_and_sees_its_gap(publisher: Publisher) -> None:
    with subscriber(publisher) as socket:
        for frame in range(1, 40_001):
            publisher.settled(settled(frame))
        socket.setsockopt(zmq.RCVTIMEO, 1000)
        numbers = drained(socket)
        publisher.settled(settled(50_000))
        later = drained(socket)
    assert numbers == sorted(set(numbers))
    assert len(numbers) < 120_000  # what it was too slow for did not wait
    assert later == [120_001, 120_002, 120_003]  # it is served again, and the numbers tell what it lost


def drained(socket: zmq.Socket[bytes]) -> list[int]:
    """The numbers of what there is to receive."""
    numbers = []
    try:
        while True:
            numbers.append(received(socket)["sequence"])
    except zmq.Again:
        return numbers


def test_an_address_that_can_not_be_bound_is_said(publisher: Publisher) -> None:
    with pytest.raises(InputError, match="--publish"):
        Publisher(publisher.address)
    with pytest.raises(InputError, match="--publish"):
        Publisher("nonsense")


def test_an_alarm_calls_a_command(tmp_path: Path, wait_for: Callable[..., None]) -> None:
    to = tmp_path / "alarm.json"
    caller(f'printf %s "$FAULTWATCH_ALARM" > {to}.part && mv {to}.part {to}')(ALARM)
    wait_for(to.exists)
    told = json.loads(to.read_text())
    assert (told["kind"], told["cleared"]) == ("beam lost", False)
    assert "gun" in told["action"]


def test_an_alarm_calls_an_address(wait_for: Callable[..., None]) -> None:
    heard: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        caller(f"http://127.0.0.1:{server.server_port}/hook")(ALARM)
        wait_for(lambda: heard)
    assert heard[0]["cause"] == ALARM.cause


def test_a_call_that_fails_is_logged_and_ends_nothing(
    caplog: pytest.LogCaptureFixture, wait_for: Callable[..., None]
) -> None:
    caller("exit 3")(ALARM)
    caller("http://127.0.0.1:1/nobody")(ALARM)
    wait_for(lambda: sum("alarm-call-failed" in record.getMessage() for record in caplog.records) == 2)
