"""The wire: what comes back as it was sent, and what is refused before anything is allocated for it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monitor.client import DTYPES
from monitor.errors import BadMessage
from monitor.sources.wire import ArrayDecoder, RejectedMessage, decode, encode

IMAGE = np.arange(12, dtype=np.uint16).reshape(3, 4)


def message(**changes: Any) -> list[bytes | memoryview]:
    header = {"htype": "array-1.0", "shape": [3, 4], "type": "uint16", "frame": 7, **changes}
    return [
        json.dumps({k: v for k, v in header.items() if v is not ...}).encode(),
        IMAGE.astype("<u2").tobytes(),
    ]


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
    )
)
def test_what_is_sent_comes_back(image: npt.NDArray[Any]) -> None:
    header, pixels = encode(
        image, 3, source="cam", run="a", timestamp=1.7e9, pixel_size_nm=0.05, exposure_s=1, lens="on"
    )
    frame = decode([header, pixels])
    np.testing.assert_array_equal(frame.pixels, image)
    assert frame.pixels.dtype == image.dtype.newbyteorder("=")
    assert (frame.sequence, frame.sender, frame.acquired, frame.pixel_size_nm) == (3, "cam/a", 1.7e9, 0.05)
    assert frame.original["lens"] == "on"


@pytest.mark.parametrize("spelling", ["endianness", "endianess"])
def test_both_spellings_of_the_byte_order_are_understood(spelling: str) -> None:
    header = message(**{spelling: "big"})[0]
    np.testing.assert_array_equal(decode([header, IMAGE.astype(">u2").tobytes()]).pixels, IMAGE)


def test_types_may_be_a_list_and_what_is_optional_may_be_null_or_missing() -> None:
    parts = message(htype=["array-1.0"], frame=..., source=None, ndattr=None, encoding="", timestamp="now")
    frame = decode(parts)
    assert (frame.sequence, frame.sender, frame.acquired, frame.pixel_size_nm) == (None, "", None, None)


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (1.7e9, 1.7e9),
        ([1_700_000_000, 500_000_000], 1_700_000_000.5),
        ({"sec": 1_700_000_000, "ns": 0}, 1.7e9),
        ("2023-11-14T22:13:20+00:00", 1.7e9),
        (12.5, None),
        (1.7e12, None),
        (True, None),
    ],
)
def test_time_stamps_of_several_kinds(sent: object, seconds: float | None) -> None:
    assert decode(message(timestamp=sent)).acquired == seconds


@pytest.mark.parametrize("size", [0, -1, "wide", None, 1e400])
def test_a_pixel_size_that_is_none_is_unknown(size: object) -> None:
    parts = message()
    parts[0] = (
        bytes(parts[0])[:-1]
        + b', "ndattr": {"pixel_size_nm": %s}}' % json.dumps("inf" if size == 1e400 else size).encode()
    )
    assert decode(parts).pixel_size_nm is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": [3, 5]}, "24 bytes came where 3 × 5 uint16 makes 30"),
        ({"shape": [3]}, "shape"),
        ({"shape": [1, 3, 4]}, "shape"),
        ({"shape": [3, -4]}, "shape"),
        ({"shape": [3, 0]}, "shape"),
        ({"shape": [3, 4.5]}, "shape"),
        ({"shape": [True, True]}, "shape"),
        ({"shape": ...}, "shape"),
        ({"shape": [2**16, 2**16]}, "more than the limit"),
        ({"shape": [10**30, 1]}, "shape"),
        ({"type": "complex64"}, "type"),
        ({"type": "object"}, "type"),
        ({"type": "O"}, "type"),
        ({"type": "uint16, evil"}, "type"),
        ({"type": ["uint16"]}, "type"),
        ({"frame": -1}, "frame"),
        ({"frame": "7"}, "frame"),
        ({"frame": 2**70}, "frame"),
        ({"encoding": "lz4"}, "encoding"),
        ({"endianness": "middle"}, "endianness"),
        ({"shape": [2, 3, 4]}, r"a shape of \[2, 3, 4\] instead of \[H, W\]"),
        ({"type": "<u2"}, "pixels of type '<u2'; there are int8, uint8"),
    ],
)
def test_a_frame_that_can_not_be_one_is_rejected_with_a_reason(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RejectedMessage, match=said) as caught:
        decode(message(**changes))
    assert caught.value.original["htype"] == "array-1.0"


def test_a_rejected_frame_is_counted_for_its_sender() -> None:
    for number, counted in [(7, 7), (-1, None), ("7", None), (True, None)]:
        with pytest.raises(RejectedMessage) as caught:
            ArrayDecoder(1000).decode(message(frame=number, type="none", source="cam", run="r"))
        assert (caught.value.sender, caught.value.sequence) == ("cam/r", counted)


def test_missing_and_surplus_parts_are_rejected() -> None:
    with pytest.raises(RejectedMessage, match="1 message parts instead of 2"):
        decode(message()[:1])
    with pytest.raises(RejectedMessage, match="3 message parts"):
        decode([*message(), b""])


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"GET / HTTP/1.1\r\n\r\n"],
        [b"\xff\xfe\x00"],
        [b"[]"],
        [b"7"],
        [b"{}"],
        [b'{"htype": "dimage-1.0"}', b""],
        [b'{"htype": NaN}'],
        [b"[" * 100_000],
        [b" " * (2**20 + 1)],
        [b'{"htype": "array-1.0", "frame": ' + b"9" * 5000 + b"}"],
    ],
)
def test_garbage_is_no_frame(parts: list[bytes | memoryview]) -> None:
    with pytest.raises(BadMessage) as caught:
        decode(parts)
    assert not isinstance(caught.value, RejectedMessage)


@given(st.data())
def test_a_mutated_message_never_does_harm(data: st.DataObject) -> None:
    parts = [bytearray(part) for part in message(ndattr={"pixel_size_nm": 0.05}, source="cam", run="r")]
    for _ in range(data.draw(st.integers(1, 4))):
        part = parts[data.draw(st.integers(0, 1))]
        place = data.draw(st.integers(0, max(0, len(part) - 1)))
        match data.draw(st.sampled_from(["flip", "cut", "insert"])):
            case "flip" if part:
                part[place] ^= data.draw(st.integers(1, 255))
            case "cut":
                del part[place:]
            case "insert":
                part[place:place] = data.draw(st.binary(max_size=20))
    try:
        frame = decode([bytes(part) for part in parts])
    except BadMessage:
        return  # refused: anything else that is raised fails the test
    assert frame.pixels.nbytes == len(parts[1])


@pytest.mark.parametrize(
    "image", [np.zeros(3), np.zeros((0, 3)), np.zeros((2, 2), complex), np.zeros((1, 2, 2))]
)
def test_what_can_not_travel_is_refused_by_the_sender(image: npt.NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"array \(H, W\)|can't be sent"):
        encode(image, 0)
