"""DECTRIS Stream V2: ZeroMQ messages of one part, CBOR.

See https://github.com/dectris/documentation/tree/main/stream_v2. A message is a map whose first key is `type`:
`start` begins a series and tells how the detector is set, `image` is a frame with one picture for each channel
(threshold), `end` ends a series. Pictures are arrays of several dimensions with typed elements (RFC 8746).
"""

from __future__ import annotations

import datetime
import importlib
import importlib.util
import logging
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.errors import BadMessage, InputError
from monitor.read.jsonable import jsonable
from monitor.sources.dectris import series
from monitor.sources.dectris.pixels import Algorithm, picture
from monitor.sources.wire import Part, RejectedMessage, WireFrame, frame_number, time_stamp

log = logging.getLogger("faultwatch.dectris")

_ARRAY = 40
"""Rows first, RFC 8746."""
_COMPRESSED = 56500
"""[algorithm, size of an element, data]"""

#: What is nested deeper is refused. The published messages nest a picture at 5.
_DEEPEST = 24

#: Tags that no DECTRIS message has and that could make a small message large or slow: integers of any length,
#: decimal fractions, shared and repeated values, regular expressions, mail.
_REFUSED_TAGS = (2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 256)

_MAP = re.compile(rb"(?:\xd9\xd9\xf7)?[\xa0-\xbb\xbf]", re.DOTALL)
_IMAGE = re.compile(
    rb"(?:\xd9\xd9\xf7)?(?:[\xa0-\xb7\xbf]|\xb8.|\xb9..|\xba.{4})\x64type\x65image", re.DOTALL
)


def is_v2(parts: list[Part]) -> bool:
    """Whether this begins like a message of Stream V2."""
    return len(parts) == 1 and _MAP.match(bytes(parts[0][:4])) is not None


class V2Decoder:
    """Makes frames of messages, and remembers what the start of the series said."""

    def __init__(self, max_bytes: int, runs: series.Runs) -> None:
        """
        Raises
        ------
        InputError
            cbor2 is not installed, or too old.
        """
        if importlib.util.find_spec("cbor2") is None:
            raise InputError(
                "a DECTRIS stream needs cbor2, which is not installed; pip install cbor2 (the extra `dectris`)"
            )
        self._cbor: Any = importlib.import_module("cbor2")
        self._max_bytes = max_bytes
        self._runs = runs
        self._series: object = None
        self._start: Any = None
        self._told: object = None
        try:
            self._loads(b"\xa0")
        except TypeError as error:  # it does not know how to be told what to refuse
            raise InputError("a DECTRIS stream needs cbor2 6 or later; pip install -U cbor2") from error

    def decode(self, part: Part) -> WireFrame | None:
        """See `monitor.sources.wire.Decoder`."""
        try:
            message = self._loads(part)
        except BadMessage as error:
            if _IMAGE.match(bytes(part[:32])):
                original = {"format": "DECTRIS Stream V2"}
                raise RejectedMessage(error.reason, original, sender=series.SOURCE) from error
            raise
        match message.get("type"):
            case "start":
                self._begin(message)
            case "image":
                return self._image(message)
            case "end":
                pass
            case other:
                raise BadMessage(
                    f"a message of type {str(other)[:40]!r} that DECTRIS Stream V2 does not have"
                )
        return None

    def _loads(self, part: Part) -> dict[str, Any]:
        try:
            message = self._cbor.loads(
                bytes(part),
                max_depth=_DEEPEST,
                allow_duplicate_keys=False,
                strict_hashable_types=True,
                semantic_decoders=dict.fromkeys(_REFUSED_TAGS, self._refuse),
            )
        except (self._cbor.CBORError, ValueError, OverflowError, RecursionError) as error:
            raise BadMessage(
                f"{len(part)} bytes of CBOR are damaged or cut off ({str(error)[:200]})"
            ) from error
        if not isinstance(message, Mapping):
            raise BadMessage("CBOR that is no map")
        return dict(message)

    def _refuse(self, _: object) -> None:
        raise self._cbor.CBORDecodeError("a tag that DECTRIS streams do not have")

    def _begin(self, message: dict[str, Any]) -> None:
        self._series = _series(message)
        self._runs.begin(self._series)
        self._start = {"own": message.get("user_data"), "count_time": message.get("count_time")}
        self._start["kept"] = series.details(self._plain(message))

    def _image(self, message: dict[str, Any]) -> WireFrame:
        run = self._runs.name(_series(message))
        number = frame_number(message.get("image_id"))
        data = message.pop("data", None)
        own = [message.get("user_data")]
        exposure = _ratio(message.get("real_time"))
        original: dict[str, Any] = {"format": "DECTRIS Stream V2", "run": run}
        original["image"] = series.details(self._plain(message))
        if self._start is not None and _series(message) == self._series:
            original["start"] = self._start["kept"]
            own.insert(0, self._start["own"])
            exposure = self._start["count_time"] if exposure is None else exposure
        original["ndattr"] = series.attributes(exposure, *own)
        try:
            if number is None:
                raise BadMessage(
                    f"an image_id of {repr(message.get('image_id'))[:80]} instead of an integer from 0"
                )
            if not isinstance(data, Mapping) or not data:
                raise BadMessage("an image without any channel")
            channels = [str(name)[:100] for name in data]
            original |= {"channels": channels[:100], "channel": channels[0]}
            pixels = self._picture(next(iter(data.values())))
        except BadMessage as error:
            raise RejectedMessage(
                error.reason, original, sender=series.sender(run), sequence=number
            ) from error
        if len(channels) > 1 and self._told != run:
            self._told = run
            log.warning(
                "event=channels-passed-over run=%s analysed=%s passed_over=%s", run, channels[0], channels[1:]
            )
        return WireFrame(
            pixels,
            original,
            series.sender(run),
            number,
            pixel_size_nm=original["ndattr"].get("pixel_size_nm"),
            acquired=_acquired(message),
        )

    def _picture(self, array: Any) -> npt.NDArray[Any]:
        """A channel's pixels (H, W)."""
        shape, typed = self._tagged(array, _ARRAY, 2, "a picture (CBOR tag 40)")
        if not isinstance(typed, self._cbor.CBORTag) or (dtype := _element(typed.tag)) is None:
            raise BadMessage("a picture whose elements are of no known type")
        data = typed.value
        algorithm: Algorithm = "raw"
        if isinstance(data, self._cbor.CBORTag):
            algorithm, size, data = self._tagged(data, _COMPRESSED, 3, "compressed data (CBOR tag 56500)")
            if algorithm not in ("lz4", "bslz4"):
                raise BadMessage(f"pixels compressed by {repr(algorithm)[:80]}; there are lz4 and bslz4")
            if algorithm == "bslz4" and size != dtype.itemsize:
                raise BadMessage(f"pixels of type {dtype.name} shuffled as {repr(size)[:20]} bytes each")
        if not isinstance(data, bytes):
            raise BadMessage("a picture without data")
        return picture(data, algorithm, shape, dtype, max_bytes=self._max_bytes)

    def _tagged(self, item: Any, tag: int, length: int, what: str) -> Any:
        """The entries of an array under a tag."""
        if isinstance(item, self._cbor.CBORTag) and item.tag == tag:
            value = item.value
            if isinstance(value, list | tuple) and len(value) == length:
                return value
        raise BadMessage(f"something else where {what} belongs")

    def _plain(self, value: Any) -> Any:
        """Without tags: arrays (masks, flat fields) are named, of other tagged values the value is kept."""
        if isinstance(value, self._cbor.CBORTag):
            if value.tag in (_ARRAY, _COMPRESSED) or _element(value.tag) is not None:
                return "array, left out"
            return self._plain(value.value)
        if isinstance(value, Mapping):
            return {key: self._plain(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(entry) for entry in value]
        return jsonable(value)


def _series(message: dict[str, Any]) -> object:
    """What names a series: its unique ID, else its number."""
    unique = message.get("series_unique_id")
    return unique if isinstance(unique, str) and unique else message.get("series_id")


def _element(tag: int) -> np.dtype[Any] | None:
    """The type of an array's elements by its tag, RFC 8746 section 2.1; None for what is no such tag."""
    if not 64 <= tag <= 87 or tag in (76, 83, 87):  # 76 is reserved; nothing here has floats of 128 bits
        return None
    is_float, signed, little, width = tag >> 4 & 1, tag >> 3 & 1, tag >> 2 & 1, tag & 3
    kind, size = ("f", 2 << width) if is_float else ("i" if signed else "u", 1 << width)
    return np.dtype(f"{'<' if little else '>'}{kind}{size}")


def _ratio(value: Any) -> float | None:
    """A number as the ratio of two integers."""
    match value:
        case [int(above), int(below)] if below:
            return above / below
    return None


def _acquired(message: dict[str, Any]) -> float | None:
    """When the exposure began [s since 1970 UTC], by the detector's clock."""
    began, after = message.get("series_date"), _ratio(message.get("start_time"))
    if not isinstance(began, datetime.datetime) or began.tzinfo is None or after is None:
        return None
    return time_stamp(began.timestamp() + after)
