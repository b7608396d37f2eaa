"""What a session finds, as JSON on a ZeroMQ PUB socket, for programs that steer a microscope; and calls on an alarm.

Every message has two parts: the topic (`frame`, `tracks`, `alarm` or `fraction`) and a JSON object. `sequence` rises by
one with every message of the socket, whatever its topic: a subscriber of all topics sees a gap where it was too slow.
`docs/publishing.md` has the fields.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

import zmq

from monitor.errors import InputError
from monitor.record.following import Settled
from monitor.statistics.alarm_kinds import Alarm

log = logging.getLogger("faultwatch.publish")

WAITING = 1000
"""Messages that wait for a slow subscriber; it loses what comes beyond them, and the session does not wait."""
CALL_S = 10.0
"""A command or an address that an alarm calls is given up after so long [s]."""


class Publisher:
    """Sends what is settled to whoever subscribes; costs nothing where nobody does."""

    def __init__(self, address: str) -> None:
        """
        Raises
        ------
        InputError
            The socket can't be bound.
        """
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, WAITING)
        self._socket.setsockopt(zmq.LINGER, 500)
        self._sequence = 0
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._socket.close()
            self._context.term()
            raise InputError(f"--publish {address}: {error.strerror or error}") from error
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def settled(self, found: Settled) -> None:
        """A frame, its tracks, and the fraction after it."""
        row, place = found.row, found.place
        self._send(
            "frame",
            frame=row.frame_id,
            at=row.at,
            field=place.field,
            map=place.map,
            row_nm=place.row_nm,
            col_nm=place.col_nm,
            drift_nm=place.drift_nm,
            how=place.how,
            uncounted=found.uncounted,
        )
        if found.tracks:
            tracks = [
                {
                    "track": track.id, "class": track.particle_class,
                    "probabilities": dict(zip(("empty", "null", "no", "yes"), track.probabilities, strict=True)),
                    "sure": track.sure, "sightings": track.seen, "diameter_nm": track.diameter_nm,
                    "row_nm": track.row_nm, "col_nm": track.col_nm,
                }
                for track in found.tracks
            ]  # fmt: skip
            self._send("tracks", frame=row.frame_id, map=place.map, tracks=tracks)
        if row.reason is not None or row.corrected is not None:
            self._send(
                "fraction",
                frame=row.frame_id,
                position=row.position,
                tracks=dict(zip(("empty", "null", "no", "yes"), row.tracks or (0, 0, 0, 0), strict=True)),
                counted=row.counted,
                corrected=row.corrected,
                interval=None if row.low is None else [row.low, row.high],
                always=None if row.always_low is None else [row.always_low, row.always_high],
                effective=row.effective,
                labels=row.labels,
                reason=row.reason,
            )

    def alarm(self, alarm: Alarm) -> None:
        """An alarm that was raised or cleared."""
        self._send("alarm", **alarm.as_dict())

    def close(self) -> None:
        """Send what still waits, for half a second at most."""
        self._socket.close()
        self._context.term()

    def _send(self, topic: str, **content: Any) -> None:
        self._sequence += 1
        message = json.dumps({"sequence": self._sequence, "topic": topic, **content}).encode()
        try:
            self._socket.send_multipart([topic.encode(), message], zmq.DONTWAIT)
        except zmq.ZMQError as error:
            log.warning("event=not-published topic=%s reason=%r", topic, str(error))


def caller(target: str) -> Callable[[Alarm], None]:
    """What calls a command or an http address with every alarm that is raised or cleared, in a thread of its own.

    A command gets the alarm as JSON in its environment, `FAULTWATCH_ALARM`; an address gets it as the body of a POST.
    """

    def call(alarm: Alarm) -> None:
        text = json.dumps(alarm.as_dict())
        run = _post if target.startswith(("http://", "https://")) else _command
        threading.Thread(target=_guarded, args=(run, target, text), daemon=True).start()

    return call


def _guarded(run: Callable[[str, str], None], target: str, text: str) -> None:
    try:
        run(target, text)
    except Exception as error:
        # Whatever is wrong with it, the session goes on.
        log.warning("event=alarm-call-failed target=%r reason=%r", target, str(error))


def _command(command: str, text: str) -> None:
    subprocess.run(
        command,
        shell=True,
        check=True,
        timeout=CALL_S,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "FAULTWATCH_ALARM": text},
    )


def _post(address: str, text: str) -> None:
    request = urllib.request.Request(
        address, data=text.encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=CALL_S):
        pass
