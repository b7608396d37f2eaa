"""Stream V2: recorded messages, and what is refused."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import BadMessage, InputError
from monitor.settings import WatchSettings
from monitor.sources.choose import choose_source
from monitor.sources.dectris import DectrisDecoder
from monitor.sources.wire import RejectedMessage, WireFrame

cbor2 = pytest.importorskip("cbor2", reason="needs the extra `dectris`")

Expected = Callable[..., npt.NDArray[Any]]

UNIQUE = "01HCEP7PVZ8JGQDPGJ9S6GDY3B"
TYPES = ["uint16", "uint32", "uint8", "uint16"]


@pytest.fixture
def decoder() -> DectrisDecoder:
    return DectrisDecoder(2**26)


def picture(
    image: npt.NDArray[Any], *, shape: Any = None, tag: int = 69, data: Any = None, outer: int = 40
) -> Any:
    data = image.tobytes() if data is None else data
    return cbor2.CBORTag(outer, [list(image.shape) if shape is None else shape, cbor2.CBORTag(tag, data)])


def message(**changes: Any) -> list[bytes | memoryview]:
    """An image of (3, 4) pixels, with changes; ... leaves an entry out."""
    said = {
        "type": "image",
        "series_id": 7,
        "image_id": 3,
        "data": {"threshold_1": picture(np.arange(12, dtype="<u2").reshape(3, 4))},
        **changes,
    }
    return [cbor2.dumps({key: value for key, value in said.items() if value is not ...})]


def test_a_recorded_series(
    decoder: DectrisDecoder, recorded: dict[str, bytes], expected: Expected, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    frames = [decoder.decode([memoryview(recorded[name])]) for name in recorded]
    assert frames[0] is None
    assert frames[-1] is None
    images = [frame for frame in frames if isinstance(frame, WireFrame)]
    assert [frame.sequence for frame in images] == [0, 1, 2, 3]
    for number, (frame, dtype) in enumerate(zip(images, TYPES, strict=True)):
        assert frame.pixels.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(frame.pixels, expected(number, dtype))  # the first channel's
        assert frame.sender == f"dectris/{UNIQUE}"
        assert frame.acquired == pytest.approx(1714982401.5 + 0.251 * number, abs=1e-5)
        assert frame.pixel_size_nm is None  # the detector's own is 75 µm
        said = frame.original
        assert said["run"] == UNIQUE
        assert said["ndattr"] == {"exposure_s": 0.25}
        assert (said["channels"], said["channel"]) == (["threshold_1", "threshold_2"], "threshold_1")
        assert said["image"]["image_id"] == number
        assert said["start"]["pixel_size_x"] == 7.5e-05
        assert said["start"]["user_data"] == {"operator": "Å"}
        assert said["start"]["pixel_mask"] == {"threshold_1": "array, left out"}
        json.dumps(said, allow_nan=False)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1  # once a series
    assert "analysed=threshold_1 passed_over=['threshold_2']" in told[0]


def test_frames_of_a_series_whose_start_was_missed_are_taken(
    decoder: DectrisDecoder, recorded: dict[str, bytes], expected: Expected
) -> None:
    frame = decoder.decode([recorded["image_2"]])
    assert frame is not None
    np.testing.assert_array_equal(frame.pixels, expected(2, "uint8"))
    assert "start" not in frame.original
    assert (frame.sender, frame.sequence) == (f"dectris/{UNIQUE}", 2)
    assert frame.original["ndattr"] == {"exposure_s": 0.25}


def test_a_series_without_unique_id_goes_by_its_number(decoder: DectrisDecoder) -> None:
    start = cbor2.dumps({"type": "start", "series_id": 7})
    senders = []
    for one in (message()[0], start, message()[0], start, message()[0]):
        frame = decoder.decode([one])
        senders += [frame.sender] if frame else []
    assert senders == ["dectris/7", "dectris/7#2", "dectris/7#3"]


@pytest.mark.parametrize(
    ("tag", "dtype"),
    [
        *[
            (64, "u1"),
            (65, ">u2"),
            (66, ">u4"),
            (67, ">u8"),
            (68, "u1"),
            (69, "<u2"),
            (70, "<u4"),
            (71, "<u8"),
        ],
        *[(72, "i1"), (73, ">i2"), (78, "<i4"), (79, "<i8")],
        *[(80, ">f2"), (81, ">f4"), (85, "<f4"), (86, "<f8")],
    ],
)
def test_every_type_of_elements(decoder: DectrisDecoder, tag: int, dtype: str) -> None:
    image = np.arange(12).reshape(3, 4).astype(dtype)
    frame = decoder.decode(message(data={"a": picture(image, tag=tag)}))
    assert frame is not None
    np.testing.assert_array_equal(frame.pixels, image)
    assert frame.pixels.dtype == image.dtype.newbyteorder("=")


def test_a_message_may_say_that_it_is_cbor(decoder: DectrisDecoder) -> None:
    assert decoder.decode([b"\xd9\xd9\xf7" + bytes(message()[0])]) is not None


def test_what_the_operator_added_may_tell_the_pixel_size(decoder: DectrisDecoder) -> None:
    decoder.decode([cbor2.dumps({"type": "start", "series_id": 7, "user_data": {"pixel_size_nm": 0.04}})])
    for said, size in [(None, 0.04), ({"pixel_size_nm": 0.02}, 0.02), ({"pixel_size_nm": "wide"}, None)]:
        frame = decoder.decode(message(user_data=said))
        assert frame is not None
        assert frame.pixel_size_nm == size


@pytest.mark.parametrize(
    "changes",
    [
        {"series_date": ...},
        {"series_date": 5},
        {"start_time": ...},
        {"start_time": [1, 0]},
        {"start_time": [2**64 - 1, 1]},
        {"start_time": "soon"},
    ],
)
def test_a_time_that_is_not_known_is_none(decoder: DectrisDecoder, changes: dict[str, Any]) -> None:
    date = cbor2.CBORTag(0, "2024-05-06T10:00:01+02:00")
    frame = decoder.decode(message(**{"series_date": date, "start_time": [1, 2], **changes}))
    assert frame is not None
    assert frame.acquired is None
    frame = decoder.decode(message(series_date=date, start_time=[1, 2]))
    assert frame is not None
    assert frame.acquired == 1714982401.5


IMAGE = np.arange(12, dtype="<u2").reshape(3, 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_id": -1}, "an image_id of -1"),
        ({"image_id": ...}, "an image_id of None"),
        ({"image_id": True}, "an image_id of True"),
        ({"data": ...}, "without any channel"),
        ({"data": {}}, "without any channel"),
        ({"data": [1]}, "without any channel"),
        ({"data": {"a": 5}}, "tag 40"),
        ({"data": {"a": picture(IMAGE, outer=1040)}}, "tag 40"),
        ({"data": {"a": cbor2.CBORTag(40, [[3, 4]])}}, "tag 40"),
        ({"data": {"a": cbor2.CBORTag(40, [[3, 4], bytes(24)])}}, "no known type"),
        ({"data": {"a": picture(IMAGE, tag=76)}}, "no known type"),
        ({"data": {"a": picture(IMAGE, data="text")}}, "without data"),
        ({"data": {"a": picture(IMAGE, shape=[3, 5])}}, "24 bytes came where 3 × 5 uint16 makes 30"),
        ({"data": {"a": picture(IMAGE, shape=[1, 3, 4])}}, "a shape of"),
        ({"data": {"a": picture(IMAGE, shape=[2**16, 2**16])}}, "more than the limit"),
        ({"data": {"a": picture(IMAGE, shape=[2**63, 2])}}, "a shape of"),
        (
            {"data": {"a": picture(IMAGE, data=cbor2.CBORTag(56500, ["zstd", 0, b""]))}},
            "compressed by 'zstd'",
        ),
        ({"data": {"a": picture(IMAGE, data=cbor2.CBORTag(56500, ["bslz4", 4, b""]))}}, "shuffled as 4"),
        ({"data": {"a": picture(IMAGE, data=cbor2.CBORTag(56500, ["lz4", 0]))}}, "tag 56500"),
        (
            {"data": {"a": picture(IMAGE, data=cbor2.CBORTag(56500, ["lz4", 0, b"abc"]))}},
            "damaged or cut off",
        ),
        (
            {"data": {"a": picture(IMAGE, data=cbor2.CBORTag(1, 5))}},
            "tag 56500|damaged or cut off|without data",
        ),
        ({"user_data": cbor2.CBORTag(35, "(a+)+")}, "damaged or cut off"),
    ],
)
def test_an_image_that_is_none_is_rejected_with_a_reason(
    decoder: DectrisDecoder, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(RejectedMessage, match=said) as caught:
        decoder.decode(message(**changes))
    unread = "user_data" in changes
    assert caught.value.sender == ("dectris" if unread else "dectris/7")
    assert caught.value.sequence == (None if unread or "image_id" in changes else 3)


def test_an_image_that_is_cut_off_anywhere_is_rejected(
    decoder: DectrisDecoder, recorded: dict[str, bytes]
) -> None:
    whole = recorded["image_0"]
    for end in range(12, len(whole), 5):
        with pytest.raises(RejectedMessage, match="cut off"):
            decoder.decode([whole[:end]])


def test_memory_and_time_of_a_malicious_message_are_bounded(decoder: DectrisDecoder) -> None:
    shared = b"\x81\x01"  # an array that holds the array before it twice, and so on: 2 to the 60th entries
    for number in range(60):
        shared = b"\xd8\x1c\x82" + shared + b"\xd8\x1d" + cbor2.dumps(number)
    began = time.monotonic()
    for content in (
        b"\x81" * 10_000,  # nested deeply
        b"\x5b\x00\x00\x00\xff\x00\x00\x00\x00",  # 1 TB of bytes to come
        b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",  # 2 to the 63rd entries to come
        b"\xbb\x00\x00\x00\xff\xff\xff\xff\xff\x01",
        b"\xc4\x82\x1b\x00\xff\xff\xff\xff\xff\xff\xff\x01",  # 10 to the 7e16th
        b"\xc5\x82\x1a\x7f\xff\xff\xff\x01",  # 2 to the 2e9th
        b"\xc2\x59\xff\xff" + b"\x01" * 65535,  # an integer of half a million bits
        shared,
    ):
        with pytest.raises(RejectedMessage):
            decoder.decode([b"\xa2\x64type\x65image\x64user" + content])
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xa0",
        b"\xa1\x01\x02",
        b"\xbf\xff",
        cbor2.dumps({"type": "array"}),
        cbor2.dumps({"type": ["image"]}),
        cbor2.dumps({"htype": "dimage-1.0"}),
        b"\xa1\x64type",
        b"\xd9\xd9\xf7\xa0",
        b"\x80",
        b"\xff\xfe\x00",
    ],
)
def test_garbage_is_no_frame(decoder: DectrisDecoder, garbage: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        decoder.decode([garbage])
    assert not isinstance(caught.value, RejectedMessage)


@given(data=st.data())
@settings(max_examples=200)
def test_a_mutated_message_never_does_harm(
    data: st.DataObject, mutate: Callable[..., Any], recorded: dict[str, bytes]
) -> None:
    decoder = DectrisDecoder(2**22)
    for name in ("start", "image_0", "image_2"):
        try:
            frame = decoder.decode(mutate(data, [recorded[name]]))
        except BadMessage:  # anything else that is raised fails the test
            continue
        assert frame is None or (frame.pixels.nbytes <= 2**22 and json.dumps(frame.original))


def test_without_cbor2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cbor2", None)
    with pytest.raises(InputError, match=r"a DECTRIS stream needs cbor2, .* \(the extra `dectris`\)"):
        choose_source("dectris+tcp://127.0.0.1:9999", WatchSettings(), tmp_path)


def test_a_cbor2_that_is_too_old_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(data: bytes, tag_hook: Any = None) -> Any:
        """What version 5 takes."""

    monkeypatch.setattr(cbor2, "loads", loads)
    with pytest.raises(InputError, match="needs cbor2 6 or later"):
        DectrisDecoder(2**26)
