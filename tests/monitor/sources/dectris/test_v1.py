"""Stream V1: frames out of parts, what a series' header adds to them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import BadMessage
from monitor.sources.dectris import DectrisDecoder
from monitor.sources.wire import RejectedMessage

IMAGE = np.random.default_rng(3).poisson(20, (24, 20)).astype(np.uint16)
IMAGE[3, 4] = 65535  # masked


@pytest.fixture
def decoder() -> DectrisDecoder:
    return DectrisDecoder(2**26)


@pytest.mark.parametrize(
    ("dtype", "encodings"),
    [
        ("uint8", ["<", "lz4<", "bs8-lz4<"]),
        ("uint16", ["<", "lz4<", "bs16-lz4<", "bs16-lz4>", "lz4>", ">"]),
        ("uint32", ["<", "lz4<", "bs32-lz4<"]),
    ],
)
def test_an_image_in_every_encoding(
    decoder: DectrisDecoder, v1: Any, dtype: str, encodings: list[str]
) -> None:
    image = np.minimum(IMAGE.astype(np.int64), np.iinfo(dtype).max).astype(dtype)
    for number, encoding in enumerate(encodings):
        frame = decoder.decode(v1.image(5, number, image, encoding))
        assert frame is not None
        assert frame.pixels.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(frame.pixels, image)  # masked pixels as they are
        assert (frame.sender, frame.sequence) == ("dectris/5", number)


def test_headers_and_ends_are_no_frames_and_no_garbage(decoder: DectrisDecoder, v1: Any) -> None:
    tables = [b'{"htype": "dflatfield-1.0"}', bytes(100)] * 3
    for message in (
        v1.start(1, "none"),
        v1.start(2),
        v1.start(3, "all", *tables, b"appendix"),
        v1.start(4)[:1],
        v1.start(4)[1:],  # simulators send the configuration by itself
        v1.end(4),
    ):
        assert decoder.decode(message) is None


def test_a_frame_keeps_what_its_series_and_its_message_say(decoder: DectrisDecoder, v1: Any) -> None:
    decoder.decode(v1.start(8, "basic", b'{"specimen": "Au"}'))
    frame = decoder.decode(v1.image(8, 0, IMAGE, "bs16-lz4<", b'{"stage": [1, 2]}'))
    assert frame is not None
    assert frame.original["dimage"]["series"] == 8
    assert frame.original["dimage_d"]["encoding"] == "bs16-lz4<"
    assert frame.original["dconfig"]["stop_time"] == 250_000_000
    assert frame.original["detector"]["detector_number"] == "E-01-0350"
    assert frame.original["header_appendix"] == {"specimen": "Au"}
    assert frame.original["appendix"] == {"stage": [1, 2]}
    assert frame.original["ndattr"] == {"exposure_s": 0.25}
    json.dumps(frame.original, allow_nan=False)


def test_the_size_of_the_detectors_pixels_is_not_the_specimens(decoder: DectrisDecoder, v1: Any) -> None:
    decoder.decode(v1.start(8))
    frame = decoder.decode(v1.image(8, 0, IMAGE))
    assert frame is not None
    assert frame.original["detector"]["x_pixel_size"] == 7.5e-05
    assert frame.pixel_size_nm is None


def test_the_microscopes_software_may_tell_the_pixel_size_in_an_appendix(
    decoder: DectrisDecoder, v1: Any
) -> None:
    def size(*more: bytes) -> float | None:
        frame = decoder.decode(v1.image(8, 0, IMAGE, "<", *more))
        assert frame is not None
        return frame.pixel_size_nm

    decoder.decode(v1.start(8, "basic", b'{"pixel_size_nm": 0.04}'))
    assert size() == 0.04
    assert size(b'{"pixel_size_nm": 0.02}') == 0.02  # the frame's own goes before
    assert size(b"just text") == 0.04
    decoder.decode(v1.start(9))
    assert size() is None


def test_frames_of_a_series_whose_header_was_missed_are_taken(decoder: DectrisDecoder, v1: Any) -> None:
    decoder.decode(v1.start(8))
    frame = decoder.decode(v1.image(9, 500, IMAGE))
    assert frame is not None
    assert "detector" not in frame.original
    assert (frame.sender, frame.sequence, frame.original["ndattr"]) == (
        "dectris/9",
        500,
        {"exposure_s": 0.25},
    )


def test_the_same_series_announced_again_is_another_counting(decoder: DectrisDecoder, v1: Any) -> None:
    def sender(one: DectrisDecoder, series: int = 34) -> str:
        frame = one.decode(v1.image(series, 0, IMAGE))
        assert frame is not None
        assert frame.sender == f"dectris/{frame.original['run']}"
        return frame.sender

    decoder.decode(v1.start(34))
    assert sender(decoder) == "dectris/34"
    decoder.decode(v1.end(34))
    decoder.decode(v1.start(34))
    assert sender(decoder) == "dectris/34#2"
    # A monitor that is started anew in the middle goes on with that counting, and then with the next.
    again = DectrisDecoder(2**26)
    for known in ("dectris/34", "dectris/34#2", "dectris/33", "cam/34#7"):
        again.resume(known)
    assert sender(again) == "dectris/34#2"
    assert sender(again, 33) == "dectris/33"
    again.decode(v1.start(34))
    assert sender(again) == "dectris/34#3"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hash": "0" * 32}, "the hash of the data is [0-9a-f]{32} and was announced as 0{32}"),
        ({"frame": -1}, "a frame number of -1"),
        ({"frame": "7"}, "a frame number of '7'"),
        ({"frame": ...}, "a frame number of None"),
        ({"type": "float128"}, "pixels of type 'float128'; there are"),
        ({"type": ["uint16"]}, "pixels of type"),
        ({"type": "uint32"}, "pixels of type uint32 in the encoding bs16-lz4<"),
        ({"encoding": "bs16<"}, "the encoding 'bs16<'"),
        ({"encoding": "zstd<"}, "the encoding 'zstd<'; there are"),
        ({"encoding": None}, "the encoding None"),
        ({"encoding": "lz4<"}, "damaged or cut off|bytes came"),
        ({"encoding": "<"}, "bytes came where 24 × 20 uint16 makes 960"),
        ({"shape": [20]}, r"a shape of \[20\]"),
        ({"shape": [20, 24, 2]}, r"a shape of \[2, 24, 20\]"),
        ({"shape": "20x24"}, "a shape of '20x24'"),
        ({"shape": [21, 24]}, "24 × 21 uint16 makes 1008"),
        ({"shape": [65536, 65536]}, "more than the limit"),
        ({"shape": [10**30, 1]}, "a shape of"),
    ],
)
def test_an_image_that_is_none_is_rejected_with_a_reason(
    decoder: DectrisDecoder, v1: Any, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(RejectedMessage, match=said) as caught:
        decoder.decode(v1.image(5, 7, IMAGE, **changes))
    assert caught.value.sender == "dectris/5"
    assert caught.value.sequence == (None if "frame" in changes else 7)
    assert caught.value.original["dimage"]["series"] == 5


@pytest.mark.parametrize("none", ["", "none", None, 5, ...])
def test_a_hash_that_is_none_is_passed_over(decoder: DectrisDecoder, v1: Any, none: object) -> None:
    assert decoder.decode(v1.image(5, 7, IMAGE, hash=none)) is not None


def test_missing_parts_are_rejected(decoder: DectrisDecoder, v1: Any) -> None:
    message = v1.image(5, 7, IMAGE)
    for count in (1, 2, 3):
        with pytest.raises(RejectedMessage, match=f"{count} message parts"):
            decoder.decode(message[:count])
    with pytest.raises(RejectedMessage, match="6 message parts"):
        decoder.decode([*message, b"", b""])
    with pytest.raises(RejectedMessage, match="no JSON header"):
        decoder.decode([message[0], b"{", *message[2:]])
    with pytest.raises(RejectedMessage, match=r"damaged or cut off"):
        decoder.decode(v1.image(5, 7, IMAGE, data=bytes(message[2])[:-9]))


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"GET / HTTP/1.1\r\n\r\n"],
        [b"[]"],
        [b"{}"],
        [b'{"bit_depth_image": 16}'],
        [b'{"htype": "array-1.0", "shape": [2, 2], "type": "uint8"}', bytes(4)],
        [b'{"htype": ["dimage-1.0"]}', b""],
        [b'{"a": ' * 100_000],
        [b" " * (2**20 + 1)],
        [b'{"htype": "dimage-1.0", "frame": ' + b"9" * 5000 + b"}"],
    ],
)
def test_garbage_is_no_frame(decoder: DectrisDecoder, parts: list[bytes | memoryview]) -> None:
    with pytest.raises(BadMessage) as caught:
        decoder.decode(parts)
    assert not isinstance(caught.value, RejectedMessage)


def test_an_absurdly_long_configuration_is_not_kept_with_every_frame(
    decoder: DectrisDecoder, v1: Any
) -> None:
    decoder.decode([v1.start(1)[0], json.dumps({"x_pixels_in_detector": 20, "note": "x" * 10**5}).encode()])
    frame = decoder.decode(v1.image(1, 0, IMAGE, real_time=10**400))
    assert frame is not None
    assert len(json.dumps(frame.original)) < 2000


@given(data=st.data())
@settings(max_examples=200)
def test_a_mutated_message_never_does_harm(data: st.DataObject, mutate: Callable[..., Any], v1: Any) -> None:
    decoder = DectrisDecoder(2**22)
    messages = [v1.start(1), v1.image(1, 0, IMAGE, hash=""), v1.image(1, 1, IMAGE, "lz4<", b"{}", hash="")]
    for message in messages:
        try:
            frame = decoder.decode(mutate(data, message))
        except BadMessage:  # anything else that is raised fails the test
            continue
        assert frame is None or (frame.pixels.nbytes <= 2**22 and json.dumps(frame.original))
