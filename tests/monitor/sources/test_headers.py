"""JSON from the wire: what is accepted can be kept and read again."""

from __future__ import annotations

import json

import pytest

from monitor.errors import BadMessage
from monitor.sources.headers import DEEPEST, json_object
from monitor.sources.wire import decode


def nested(depth: int) -> bytes:
    return b'{"a": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_as_deep_as_is_taken_and_no_deeper() -> None:
    assert json_object(nested(DEEPEST)) == json.loads(nested(DEEPEST))
    for depth in (DEEPEST + 1, 980, 990, 1000, 100_000):
        with pytest.raises(BadMessage):
            json_object(nested(depth))


@pytest.mark.parametrize(
    "raw", [b'{"a": "\\ud800 b"}', b'{"a": "\xed\xa0\x80 b"}', '{"a": "\\udfff b"}'.encode("utf-16")]
)
def test_half_a_character_becomes_a_question_mark(raw: bytes) -> None:
    text = json_object(raw)["a"]
    assert text.strip("?") == " b"
    assert text.encode()


def test_whole_characters_stay() -> None:
    assert json_object('{"a": "\\ud83d\\udd2c 像 \\u00e9"}'.encode()) == {"a": "🔬 像 é"}


def test_what_is_no_number_is_refused_or_told_as_is_asked() -> None:
    with pytest.raises(BadMessage, match="no JSON header"):
        json_object(b'{"a": NaN}')
    assert json_object(b'{"a": NaN, "b": -Infinity}', constant=str) == {"a": "NaN", "b": "-Infinity"}


def test_a_long_value_does_not_make_a_long_sentence() -> None:
    header = {"htype": "array-1.0", "shape": [1, 1], "type": "uint8", "endianness": "x" * 10_000}
    with pytest.raises(BadMessage) as caught:
        decode([json.dumps(header).encode(), b"x"])
    assert len(caught.value.reason) < 200
