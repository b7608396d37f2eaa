"""DECTRIS Stream V1: ZeroMQ messages of several parts, JSON and binary.

See the SIMPLON API reference of EIGER2 detectors, section on the stream interface. What a message is stands in
its first part: `dheader-1.0` begins a series and tells how the detector is set, `dimage-1.0` is a frame (with
`dimage_d-1.0`, the data, `dconfig-1.0` and perhaps an appendix), `dseries_end-1.0` ends a series.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np

from monitor.client import DTYPES
from monitor.errors import BadMessage
from monitor.read.jsonable import jsonable
from monitor.sources.dectris import series
from monitor.sources.dectris.pixels import Algorithm, picture
from monitor.sources.headers import json_object
from monitor.sources.wire import MAX_HEADER_BYTES, Part, RejectedMessage, WireFrame, frame_number

_ENCODING = re.compile(r"(?:bs(?P<bits>8|16|32|64)-)?(?P<lz4>lz4)?(?P<order>[<>])")


class V1Decoder:
    """Makes frames of the parts of a message, and remembers what the series' header said."""

    def __init__(self, max_bytes: int, runs: series.Runs) -> None:
        self._max_bytes = max_bytes
        self._runs = runs
        self._series: object = None
        self._configuration: Any = None
        self._appendix: Any = None

    def decode(self, parts: list[Part]) -> WireFrame | None:
        """See `monitor.sources.wire.Decoder`."""
        head = _object(parts[0])
        match head.get("htype"):
            case "dheader-1.0":
                self._begin(head, parts[1:])
            case "dimage-1.0":
                return self._image(head, parts)
            case "dseries_end-1.0":
                pass
            case None if len(parts) == 1 and "x_pixels_in_detector" in head:
                # Simulators send the configuration as a message of its own.
                self._configuration = series.details(head)
            case htype:
                raise BadMessage(f"a header of type {str(htype)[:40]!r} that DECTRIS Stream V1 does not have")
        return None

    def _begin(self, head: dict[str, Any], more: list[Part]) -> None:
        """A series begins: its configuration follows, then tables of `header_detail` "all", then an appendix."""
        self._runs.begin(head.get("series"))
        self._series = head.get("series")
        self._configuration = self._appendix = None
        detail = head.get("header_detail")
        if detail != "none" and more:
            self._configuration = series.details(_object_or_text(more[0]))
        before = {"none": 0, "basic": 1, "all": 7}.get(str(detail), len(more))
        if len(more) > before:
            self._appendix = series.details(_object_or_text(more[before]))

    def _image(self, head: dict[str, Any], parts: list[Part]) -> WireFrame:
        run = self._runs.name(head.get("series"))
        original: dict[str, Any] = {"format": "DECTRIS Stream V1", "run": run, "dimage": jsonable(head)}
        number = frame_number(head.get("frame"))
        try:
            if number is None:
                raise BadMessage(
                    f"a frame number of {repr(head.get('frame'))[:80]} instead of an integer from 0"
                )
            if len(parts) not in (4, 5):
                raise BadMessage(f"{len(parts)} message parts instead of 4, or 5 with an appendix")
            said, times = _object(parts[1]), _object(parts[3])
            original |= {"dimage_d": jsonable(said), "dconfig": jsonable(times)}
            appendix = _object_or_text(parts[4]) if len(parts) == 5 else None
            if appendix is not None:
                original["appendix"] = series.details(appendix)
            own = [appendix]
            exposure = _seconds(times.get("real_time"))
            if head.get("series") == self._series:
                if self._configuration is not None:
                    original["detector"] = self._configuration
                if self._appendix is not None:
                    original["header_appendix"] = self._appendix
                own.insert(0, self._appendix)
                if exposure is None and isinstance(self._configuration, dict):
                    exposure = self._configuration.get("count_time")
            original["ndattr"] = series.attributes(exposure, *own)
            _check_hash(head.get("hash"), parts[2])
            algorithm, shape, dtype = _announced(said)
            pixels = picture(parts[2], algorithm, shape, dtype, max_bytes=self._max_bytes)
        except BadMessage as error:
            raise RejectedMessage(
                error.reason, original, sender=series.sender(run), sequence=number
            ) from error
        return WireFrame(
            pixels,
            original,
            series.sender(run),
            number,
            pixel_size_nm=original["ndattr"].get("pixel_size_nm"),
            # `start_time` counts from a moment that the stream does not tell.
            acquired=None,
        )


def _announced(said: dict[str, Any]) -> tuple[Algorithm, Any, np.dtype[Any]]:
    """How the data are packed, (H, W) and the type of a pixel, by the second part of an image."""
    name, encoding, shape = said.get("type"), said.get("encoding"), said.get("shape")
    if name not in DTYPES:
        raise BadMessage(f"pixels of type {repr(name)[:80]}; there are {', '.join(DTYPES)}")
    found = _ENCODING.fullmatch(encoding) if isinstance(encoding, str) else None
    if found is None or (found["bits"] and not found["lz4"]):
        raise BadMessage(f"pixels in the encoding {repr(encoding)[:80]}; there are <, lz4< and bs16-lz4<")
    dtype = np.dtype(name).newbyteorder(found["order"])
    if found["bits"] and int(found["bits"]) != 8 * dtype.itemsize:
        raise BadMessage(f"pixels of type {name} in the encoding {encoding}")
    algorithm: Algorithm = "bslz4" if found["bits"] else "lz4-block" if found["lz4"] else "raw"
    if isinstance(shape, list) and len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    # The stream says [x, y], that is width first.
    return algorithm, shape[::-1] if isinstance(shape, list) else shape, dtype


def _check_hash(said: object, data: Part) -> None:
    """A hash that is none (senders that do not care leave it empty) is passed over."""
    if isinstance(said, str) and re.fullmatch(r"[0-9a-fA-F]{32}", said):
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found != said.lower():
            raise BadMessage(f"the hash of the data is {found} and was announced as {said}")


def _seconds(nanoseconds: Any) -> float | None:
    try:
        return float(nanoseconds) / 1e9
    except (TypeError, ValueError, OverflowError):
        return None


def _object(part: Part) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    BadMessage
        It is none.
    """
    if len(part) > MAX_HEADER_BYTES:
        raise BadMessage(f"a header of {len(part)} bytes")
    return json_object(part, constant=str)


def _object_or_text(part: Part) -> Any:
    """What an operator or a series' header may say in any form."""
    try:
        return _object(part)
    except BadMessage:
        return jsonable(bytes(part))
