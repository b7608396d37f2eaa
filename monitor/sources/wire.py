"""The wire format: decoders of messages into frames, and htypes array-1.0, checked before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from monitor.client import DTYPES, encode
from monitor.errors import BadMessage
from monitor.sources.headers import json_object

__all__ = [
    "MAX_FRAME_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_SIDE",
    "ArrayDecoder",
    "Attributes",
    "Decoder",
    "Header",
    "Part",
    "RejectedMessage",
    "WireFrame",
    "decode",
    "encode",
    "frame_number",
    "sender_name",
    "time_stamp",
]

#: One part of a ZeroMQ message.
Part = bytes | memoryview

#: A header longer than this is none [bytes].
MAX_HEADER_BYTES = 2**20

#: A frame larger than this is refused unless the session says otherwise [bytes]: 8192² in four bytes, and
#: room.
MAX_FRAME_BYTES = 2**29

#: Longest side of a frame [px].
MAX_SIDE = 2**16


def _positive(value: Any) -> Any:
    """A quantity that a camera may not know: what is no finite number above 0 becomes None."""
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) and value > 0 else None


def time_stamp(value: Any) -> float | None:
    """A time stamp [s]: a number, `[s, ns]`, `{"sec": s, "ns": n}`, or ISO 8601; anything else is None."""
    try:
        match value:
            case bool():
                return None
            case [seconds, nanoseconds]:
                value = float(seconds) + float(nanoseconds) / 1e9
            case {"sec": seconds, "ns": nanoseconds}:
                value = float(seconds) + float(nanoseconds) / 1e9
            case str():
                time = datetime.fromisoformat(value)
                value = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    # Outside of 1990 to 2100 it is a clock that counts from somewhere else, or in other units.
    return value if 6e8 < value < 4.1e9 else None


def _name(value: Any) -> str:
    """A name that can be stored and shown."""
    return str(value)[:200].encode("utf-8", "replace").decode()


_Positive = Annotated[float | None, BeforeValidator(_positive)]


class Attributes(BaseModel):
    """`ndattr`: what a camera knows of a frame beyond its pixels."""

    model_config = ConfigDict(extra="allow")

    pixel_size_nm: _Positive = None
    exposure_s: _Positive = None
    dose_e_per_A2: _Positive = None


class Header(BaseModel):
    """The JSON header of one frame. Unknown fields are kept."""

    model_config = ConfigDict(extra="allow", strict=True)

    htype: Literal["array-1.0"]
    shape: tuple[Annotated[int, Field(ge=1, le=MAX_SIDE)], Annotated[int, Field(ge=1, le=MAX_SIDE)]]
    """(H, W) [px]"""
    type: Literal[DTYPES]  # type: ignore[valid-type]
    frame: Annotated[int, Field(ge=0, lt=2**62)] | None = None
    """The sender's number."""
    endianness: Literal["little", "big"] = "little"
    """Also spelt `endianess`, as in the published specification's examples."""
    encoding: Literal["", "raw", "none"] = "raw"
    source: Annotated[str, BeforeValidator(_name)] = ""
    """Who sends."""
    run: Annotated[str | None, BeforeValidator(_name)] = None
    """A name for this counting, new whenever the sender starts again from 0."""
    timestamp: Annotated[float | None, BeforeValidator(time_stamp)] = None
    """[s since 1970 UTC]"""
    ndattr: Attributes = Field(default_factory=Attributes)

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, header: Any) -> Any:
        header = dict(header)
        # Some senders name all the types that a message is, as a list.
        if isinstance(header.get("htype"), list) and "array-1.0" in header["htype"]:
            header["htype"] = "array-1.0"
        if "endianess" in header:
            header.setdefault("endianness", header.pop("endianess"))
        for optional in ("endianness", "encoding", "source", "run", "ndattr"):
            if header.get(optional) is None:
                header.pop(optional, None)
        if not isinstance(header.get("ndattr", {}), dict):
            del header["ndattr"]
        return header

    @field_validator("shape", mode="before")
    @classmethod
    def _pair(cls, shape: Any) -> Any:
        return tuple(shape) if isinstance(shape, list) else shape

    @field_validator("endianness", "encoding", mode="before")
    @classmethod
    def _lower(cls, text: Any) -> Any:
        return text.lower() if isinstance(text, str) else text


@dataclass(frozen=True, eq=False)
class WireFrame:
    """A frame as it came."""

    pixels: npt.NDArray[Any]
    """(H, W) in the machine's byte order; may share the message's memory."""
    original: dict[str, Any]
    """What came with it, whole, JSON-able. Where it has a `run`, the numbers are known to begin at 0."""
    sender: str
    """Who counts, see `sender_name`."""
    sequence: int | None = None
    """The sender's number."""
    pixel_size_nm: float | None = None
    """Of the specimen [nm/px]."""
    acquired: float | None = None
    """[s since 1970 UTC]"""


class RejectedMessage(BadMessage):
    """The message announces a frame but can't be one: it is counted, with this reason."""

    def __init__(
        self, reason: str, original: dict[str, Any], *, sender: str = "", sequence: int | None = None
    ) -> None:
        super().__init__(reason)
        self.original = original
        """What came with it, as for a frame."""
        self.sender = sender
        self.sequence = sequence


class Decoder(Protocol):
    """What makes frames of one sender's messages. It may remember what earlier messages said."""

    def resume(self, sender: str) -> None:
        """Told at the beginning, for every frame that is known already: who counted it."""

    def decode(self, parts: list[Part]) -> WireFrame | None:
        """The frame in a multipart message; None for one that belongs to the format and is no frame.

        Raises
        ------
        RejectedMessage
            It announces a frame, but there is none in it.
        BadMessage
            It is nothing that this sender's format has.
        """


class ArrayDecoder:
    """htypes array-1.0, where every message is a frame by itself."""

    def __init__(self, max_bytes: int) -> None:
        """
        Parameters
        ----------
        max_bytes
            A larger frame is rejected.
        """
        self._max_bytes = max_bytes

    def resume(self, sender: str) -> None:
        """Nothing is remembered."""

    def decode(self, parts: list[Part]) -> WireFrame:
        """See `decode`."""
        return decode(parts, max_bytes=self._max_bytes)


def sender_name(source: object, run: object) -> str:
    """Who counts: a sender, and where it says so its run, because every run counts from 0."""
    name = str(source or "")[:200]
    return f"{name}/{str(run)[:200]}" if run is not None else name


def frame_number(given: object) -> int | None:
    """A sender's number for a frame, None for what can't be one."""
    if isinstance(given, bool) or not isinstance(given, int):
        return None
    return given if 0 <= given < 2**62 else None


def decode(parts: list[Part], *, max_bytes: int = MAX_FRAME_BYTES) -> WireFrame:
    """The frame in a multipart message of htypes array-1.0.

    Raises
    ------
    RejectedMessage
        It announces a frame, but its header and its bytes do not make one.
    BadMessage
        It is nothing that a camera would have sent.
    """
    original = _announcement(parts)
    try:
        header = Header.model_validate(original)
    except ValidationError as error:
        raise _rejected(_fault(error, original), original) from error
    dtype = np.dtype(header.type).newbyteorder("<" if header.endianness == "little" else ">")
    height, width = header.shape
    expected = height * width * dtype.itemsize
    if expected > max_bytes:
        raise _rejected(
            f"{height} × {width} {header.type} is {expected} bytes, more than the limit of {max_bytes}",
            original,
        )
    if len(parts) != 2:
        raise _rejected(f"{len(parts)} message parts instead of 2 (header and pixels)", original)
    came = len(parts[1])
    if came != expected:
        raise _rejected(
            f"{came} bytes came where {height} × {width} {header.type} makes {expected}", original
        )
    pixels = np.frombuffer(parts[1], dtype=dtype).reshape(height, width)
    return WireFrame(
        pixels.astype(dtype.newbyteorder("="), copy=False),
        original,
        sender_name(header.source, header.run),
        header.frame,
        header.ndattr.pixel_size_nm,
        header.timestamp,
    )


def _rejected(reason: str, original: dict[str, Any]) -> RejectedMessage:
    sender = sender_name(original.get("source"), original.get("run"))
    return RejectedMessage(reason, original, sender=sender, sequence=frame_number(original.get("frame")))


def _announcement(parts: list[Part]) -> dict[str, Any]:
    """The header of a message that announces a frame, as it came."""
    if not parts:
        raise BadMessage("an empty message")
    if len(parts[0]) > MAX_HEADER_BYTES:
        raise BadMessage(f"a header of {len(parts[0])} bytes")
    original = json_object(parts[0])
    htype = original.get("htype")
    if htype != "array-1.0" and not (isinstance(htype, list) and "array-1.0" in htype):
        raise BadMessage(f"a header of type {str(htype)[:40]!r} instead of array-1.0")
    return original


def _fault(error: ValidationError, original: dict[str, Any]) -> str:
    """What is wrong with a header, as a sentence for who wrote the sender."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    given = repr(original.get(name))[:80]
    match name:
        case "shape":
            return (
                f"a shape of {given} instead of [H, W], 1 to {MAX_SIDE} each (a stack is sent frame by frame)"
            )
        case "type":
            return f"pixels of type {given}; there are {', '.join(DTYPES)}"
        case "encoding":
            return f"pixels in the encoding {given}; they have to be raw"
        case "endianness":
            given = repr(original.get(name, original.get("endianess")))[:80]
            return f"an endianness of {given}; little or big"
        case "frame":
            return f"a frame number of {given} instead of an integer from 0"
    return f"{name or 'header'}: {first['msg']} (message header)"
