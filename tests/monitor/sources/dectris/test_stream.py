"""A DECTRIS detector as a source: a PUSH socket, messages of both streams, and what the record makes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.read import open_frames
from monitor.record import RecordWriter
from monitor.settings import WatchSettings
from monitor.sources.choose import choose_source
from monitor.sources.socket import SocketSource

pytest.importorskip("cbor2", reason="needs the extra `dectris`")

WaitFor = Callable[..., None]
Listen = Callable[..., "Listening"]

IMAGES = np.random.default_rng(1).poisson(8, (12, 24, 20)).astype(np.uint16)


class Listening:
    """A source with the thread that asks it, and what it has announced."""

    def __init__(self, source: SocketSource, known: list[FrameRef]) -> None:
        self.source = source
        self.refs: list[FrameRef] = []
        source.open(known)
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()

    def _ask(self) -> None:
        for ref in self.source.refs():
            self.refs.append(ref)

    def close(self) -> None:
        self.source.close()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    listening: list[Listening] = []

    def start(address: str, known: list[FrameRef] | None = None, **settings: Any) -> Listening:
        source = choose_source(address, WatchSettings(**settings), tmp_path / "spool")
        assert isinstance(source, SocketSource)
        listening.append(Listening(source, known or []))
        return listening[-1]

    yield start
    for one in listening:
        one.close()


def lost(folder: Path, refs: list[FrameRef]) -> int:
    """How many frames the record counts as lost after these have arrived."""
    with RecordWriter(folder) as record:
        source = record.add_source("dectris", "somewhere", 0.0)
        return sum(record.take(source.id, ref, at=0.0).lost for ref in refs)


def test_a_series_of_stream_v1_is_spooled_with_all_that_came_with_it(
    detector: Any, v1: Any, listen: Listen, wait_for: WaitFor, tmp_path: Path
) -> None:
    listening = listen(detector.address)
    detector.send(v1.start(3), *(v1.image(3, k, image) for k, image in enumerate(IMAGES[:4])), v1.end(3))
    wait_for(lambda: len(listening.refs) == 4)
    assert listening.source.kind == "dectris"
    assert listening.source.status.ignored == 0
    for number, ref in enumerate(listening.refs):
        assert (ref.sender, ref.sequence, ref.rejected) == ("dectris/3", number, None)
        with open_frames(ref.path) as file:
            frame = file.frame(0)
        np.testing.assert_array_equal(frame.pixels, IMAGES[number])
        assert frame.pixel_size_nm is None  # the detector's pixels are 75 µm wide: nothing of the specimen
        assert frame.exposure_s == 0.25
        assert not frame.scanning
    assert lost(tmp_path / "s", listening.refs) == 0


def test_a_series_of_stream_v2_is_spooled_too(
    detector: Any,
    recorded: dict[str, bytes],
    expected: Callable[..., npt.NDArray[Any]],
    listen: Listen,
    wait_for: WaitFor,
) -> None:
    listening = listen(detector.address)
    detector.send(*recorded.values())
    wait_for(lambda: len(listening.refs) == 4)
    assert listening.source.status.ignored == 0
    with open_frames(listening.refs[1].path) as file:
        frame = file.frame(0)
    np.testing.assert_array_equal(frame.pixels, expected(1, "uint32"))
    assert (frame.pixel_size_nm, frame.exposure_s) == (None, 0.25)
    assert listening.refs[1].acquired == pytest.approx(1714982401.751, abs=1e-5)


def test_lost_images_are_counted_within_a_series_and_a_new_series_counts_anew(
    detector: Any, v1: Any, listen: Listen, wait_for: WaitFor, tmp_path: Path
) -> None:
    listening = listen(detector.address)
    images = iter(IMAGES)
    for series, numbers in [(1, [0, 1, 4]), (2, [0, 1, 2]), (3, [2, 3]), (1, [0, 1])]:
        detector.send(v1.start(series), *(v1.image(series, k, next(images)) for k in numbers), v1.end(series))
    wait_for(lambda: len(listening.refs) == 10)
    # 2 and 3 of series 1, 0 and 1 of series 3; what is missing at the end of a series nobody knows.
    assert lost(tmp_path / "s", listening.refs) == 4
    assert listening.refs[-1].sender == "dectris/1#2"


def test_a_simulator_that_sends_the_same_series_again_sends_new_frames(
    detector: Any, v1: Any, listen: Listen, wait_for: WaitFor
) -> None:
    listening = listen(detector.address)
    series = [v1.start(34)[:1], v1.start(34)[1:], *(v1.image(34, k, IMAGES[k]) for k in range(3)), v1.end(34)]
    detector.send(*series, *series)
    wait_for(lambda: len(listening.refs) == 6)
    # Within a series the same image again is one that was sent again.
    detector.send(series[2])
    wait_for(lambda: listening.source.status.duplicates == 1)


def test_a_monitor_that_was_restarted_in_a_series_goes_on_without_its_header(
    detector: Any, v1: Any, listen: Listen, wait_for: WaitFor, tmp_path: Path
) -> None:
    first = listen(detector.address)
    detector.send(v1.start(5), v1.image(5, 0, IMAGES[0]), v1.image(5, 1, IMAGES[1]))
    wait_for(lambda: len(first.refs) == 2)
    first.close()
    again = listen(detector.address, first.refs)
    detector.send(v1.image(5, 2, IMAGES[2]), v1.image(5, 4, IMAGES[4]), v1.end(5))
    wait_for(lambda: len(again.refs) == 2)
    assert [ref.sequence for ref in again.refs] == [2, 4]
    assert lost(tmp_path / "s", first.refs + again.refs) == 1


def test_what_is_no_frame_is_counted_as_what_it_is(
    detector: Any, v1: Any, recorded: dict[str, bytes], listen: Listen, wait_for: WaitFor
) -> None:
    listening = listen(detector.address, max_frame_mb=0.01)
    good = v1.image(1, 0, IMAGES[0])
    detector.send(
        b"GET / HTTP/1.1",  # ignored
        b"\xa1\x61a\x01",  # ignored
        v1.start(1),
        v1.image(1, 0, IMAGES[0], hash="0" * 32),
        v1.image(1, 1, np.zeros((100, 100), np.uint16)),
        [*good[:2], bytes(good[2])[:-20], good[3]],
        recorded["image_0"][:-40],
        recorded["image_1"],
    )
    wait_for(lambda: len(listening.refs) == 5)
    assert listening.source.status.ignored == 2
    reasons = [str(ref.rejected) for ref in listening.refs]
    assert "the hash of the data is" in reasons[0]
    assert "20000 bytes, more than the limit of 10485" in reasons[1]
    assert "hash" in reasons[2]
    assert "cut off" in reasons[3]
    assert listening.refs[4].rejected is None
    assert [ref.sequence for ref in listening.refs] == [0, 1, 0, None, 1]


def test_a_key_that_other_sources_ask_for_is_not_asked_of_a_detector(
    detector: Any, v1: Any, listen: Listen, wait_for: WaitFor
) -> None:
    listening = listen(detector.address, curve_server_key="rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
    detector.send(v1.image(1, 0, IMAGES[0]))
    wait_for(lambda: len(listening.refs) == 1)


def test_an_address_without_a_port_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dectris\+tcp://127.0.0.1 can't be opened"):
        choose_source("dectris+tcp://127.0.0.1", WatchSettings(), tmp_path).open([])
