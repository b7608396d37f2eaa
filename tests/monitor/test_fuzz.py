"""The fault-injection suite in its short form: bytes that lie, on the wire and in files. `make faults` does it all."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.faults import files, messages, sockets
from tests.faults.seeds import MAKERS
from tests.faults.targets import TARGETS, Decode

#: Any number gives other messages and files; this one gives the same every time.
SEED = 7


@pytest.mark.parametrize("name", TARGETS)
def test_a_mutated_message_is_a_frame_or_refused_with_a_reason(name: str) -> None:
    count = 2000 if name == "array-1.0" else 300
    if name == "dectris-v2":
        pytest.importorskip("cbor2", reason="the extra `dectris` is not installed")
    outcome = messages.fuzz(TARGETS[name], count, SEED)
    assert outcome.faults == []
    # All of it would be in vain if nothing came through, or everything.
    assert outcome.became["frame"] > count / 30
    assert outcome.became["rejected"] > count / 30
    assert outcome.became["ignored"] > count / 30


def test_a_fault_of_a_decoder_is_found() -> None:
    """The suite itself: a decoder that falls over, one that takes memory, one that says nothing."""

    def falls(parts: list[bytes | memoryview]) -> object:
        return parts[7]

    def takes(parts: list[bytes | memoryview]) -> object:
        return bytes(100 * 2**20)

    def mumbles(parts: list[bytes | memoryview]) -> object:
        from monitor.errors import BadMessage

        raise BadMessage("\n")

    def identity(decoder: Decode) -> Decode:
        return decoder

    for decoder, fault in ((falls, "crash"), (takes, "memory"), (mumbles, "no sentence")):
        target = replace(TARGETS["array-1.0"], decoder=partial(identity, decoder))
        assert messages.fuzz(target, 20, SEED).became[fault] > 10


def test_a_mutated_file_gives_frames_or_a_sentence(tmp_path: Path) -> None:
    """Some of every format, read in a process of their own with little memory."""
    outcome = files.fuzz(list(MAKERS), 30, SEED, tmp_path)
    assert outcome.faults == []
    assert outcome.files == 30 * len(MAKERS)
    assert outcome.became["frames"] > 50
    assert outcome.became["rejected"] > 100


@pytest.mark.slow
def test_a_session_over_mutated_files_has_each_in_its_ledger(tmp_path: Path) -> None:
    assert files.through_a_session(tmp_path, 4, SEED).failures == []


@pytest.mark.slow
def test_mutated_messages_and_port_scanners_do_a_session_no_harm(tmp_path: Path) -> None:
    assert sockets.storm(tmp_path / "s", 600, SEED).failures == []
