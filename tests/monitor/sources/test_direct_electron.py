"""Direct Electron's camera server as a source, against the stand-in server that ships with its client."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.errors import InputError
from monitor.frames import FrameRef
from monitor.read import open_frames
from monitor.record import RecordReader, RecordWriter
from monitor.settings import WatchSettings
from monitor.sources.choose import choose_source
from monitor.sources.direct_electron.client import connected
from monitor.sources.direct_electron.source import DirectElectronSource

WaitFor = Callable[..., None]
Follow = Callable[..., "Following"]

needs_deapi = pytest.mark.skipif(
    importlib.util.find_spec("deapi") is None, reason="deapi is not installed (extra directelectron)"
)

SIZE = 64

#: pydeserver itself, with a small sensor and the properties of a server that is told of its microscope.
SERVER = f"""
import json, pathlib, sys
from deapi.simulated_server import fake_server, initialize_server
folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
properties = json.loads(pathlib.Path(fake_server.inp_file).read_text())
of_the_microscope = (
    "Specimen Pixel Size X (nanometers)",
    "Specimen Pixel Size Y (nanometers)",
    "Instrument Project Camera Length (centimeters)",
)
for name in of_the_microscope:
    properties[name] = {{**properties["Exposure Time (seconds)"], "value": "-1", "options": None}}
for side in "XY":
    for what in ("Sensor", "Image"):
        properties[f"{{what}} Size {{side}} (pixels)"].update(value="{SIZE}", get=None)
fake_server.inp_file = folder / "properties.json"
fake_server.inp_file.write_text(json.dumps(properties))
sys.argv[1:] = []
initialize_server.main(port)
"""


class Server:
    """A stand-in server in a process of its own, at a port that it keeps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"de://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self.folder), str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("server"))
    one.start()
    yield one
    one.kill()


def operator(
    acquisitions: int = 0, asked: list[float] | None = None, **properties: float
) -> Callable[[str, int], Any]:
    """Makes clients that set the camera and start acquisitions: the server has one for each connection.

    When they ask for an image is put into `asked` [s].
    """

    def connect(host: str, port: int) -> Any:
        client = connected(host, port)
        ask = client.get_result

        def get_result(*given: Any, **named: Any) -> Any:
            if asked is not None:
                asked.append(time.monotonic())
            return ask(*given, **named)

        client.get_result = get_result
        for name, value in properties.items():
            client[name] = value
        if acquisitions:
            client.start_acquisition(acquisitions)
        return client

    return connect


class Following:
    """A source with the thread that asks it, and what it has announced."""

    def __init__(self, source: DirectElectronSource, known: list[FrameRef]) -> None:
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
def follow(tmp_path: Path) -> Iterator[Follow]:
    following: list[Following] = []

    def start(
        address: str,
        known: list[FrameRef] | None = None,
        connect: Callable[[str, int], Any] | None = None,
        **settings: Any,
    ) -> Following:
        source = DirectElectronSource(address, tmp_path / "spool", WatchSettings(**settings), connect=connect)
        following.append(Following(source, known or []))
        return following[-1]

    yield start
    for one in following:
        one.close()


def counted(folder: Path, refs: list[FrameRef]) -> tuple[dict[str, int], int]:
    """The ledger and the number of lost frames, were a session to take these."""
    with RecordWriter(folder) as record, RecordReader(folder) as reader:
        source = record.add_source("de", "de://server", 0.0)
        lost = sum(record.take(source.id, ref, at=0.0).lost for ref in refs)
        return reader.ledger(), lost


@needs_deapi
def test_what_the_server_shows_is_spooled_with_all_that_it_says(
    server: Server, follow: Follow, wait_for: WaitFor
) -> None:
    sizes = {f"Specimen Pixel Size {side} (nanometers)": 0.042 for side in "XY"}
    following = follow(server.address, connect=operator(**sizes))
    wait_for(lambda: following.refs, 60)
    (ref,) = following.refs
    assert (ref.sender, ref.sequence) == ("Fake Camera/Test/0", 0)
    assert ref.pixel_size_nm == pytest.approx(0.042)  # a single-precision number on their wire
    assert ref.acquired is None  # the stand-in's clock counts from somewhere else
    assert ref.metadata["attributes"]["datasetName"] == "Test"
    assert ref.metadata["attributes"]["timestamp"] == 2.187026
    assert ref.metadata["properties"]["Camera Name"] == "TestCamera"
    assert ref.metadata["ndattr"] == {"pixel_size_nm": ref.pixel_size_nm, "exposure_s": 1000.0}
    assert len(ref.metadata["properties"]) > 70
    with open_frames(ref.path) as file:
        frame = file.frame(0)
    assert frame.pixels.shape == (SIZE, SIZE)
    assert frame.pixel_size_nm == pytest.approx(0.042)
    following.close()
    # The same client, asked directly: these are the pixels, in this order.
    client = connected("127.0.0.1", server.port)
    np.testing.assert_array_equal(frame.pixels, client.get_result().image)
    client.disconnect()


@needs_deapi
@pytest.mark.parametrize(
    "said",
    [
        {},  # −1, as where nobody told the server of the microscope
        {"Specimen Pixel Size X (nanometers)": 0.05, "Specimen Pixel Size Y (nanometers)": 0.06},
        {
            "Specimen Pixel Size X (nanometers)": 0.05,
            "Specimen Pixel Size Y (nanometers)": 0.05,
            "Instrument Project Camera Length (centimeters)": 80.0,
        },
    ],
)
def test_a_pixel_size_that_is_none_is_not_used(
    server: Server, follow: Follow, wait_for: WaitFor, said: dict[str, float]
) -> None:
    following = follow(server.address, connect=operator(**said))
    wait_for(lambda: following.refs, 60)
    assert following.refs[0].pixel_size_nm is None
    properties = following.refs[0].metadata["properties"]
    assert {name: properties[name] for name in said} == pytest.approx(said)


@needs_deapi
@pytest.mark.parametrize("fps", [10, 200])
def test_every_frame_arrives_or_is_counted_as_lost(
    server: Server, follow: Follow, wait_for: WaitFor, tmp_path: Path, fps: float
) -> None:
    connect = operator(4, **{"Frames Per Second": fps})  # the stand-in shows 16 frames, 0 to 15
    following = follow(server.address, connect=connect)
    wait_for(lambda: following.refs and following.refs[-1].sequence == 15, 60)
    following.close()
    numbers = [ref.sequence for ref in following.refs]
    assert numbers == sorted(set(numbers))
    ledger, lost = counted(tmp_path / "s", following.refs)
    assert ledger["queued"] == ledger["arrived"] == len(numbers)
    assert len(numbers) + lost == 16 - (numbers[0] or 0)
    if fps == 200:  # quicker than anybody can ask
        assert lost > 0


@needs_deapi
def test_the_sum_of_an_exposure_is_one_image(server: Server, follow: Follow, wait_for: WaitFor) -> None:
    asked: list[float] = []
    connect = operator(4, asked, **{"Frames Per Second": 40})
    following = follow(f"{server.address}/sumtotal", connect=connect)
    wait_for(lambda: len(asked) > 10, 60)
    (ref,) = following.refs
    assert (ref.sender, ref.sequence) == ("Fake Camera/Test", 0)
    assert ref.metadata["frame_type"] == "sumtotal"


@needs_deapi
def test_a_server_that_has_nothing_new_is_asked_now_and_then(
    server: Server, follow: Follow, wait_for: WaitFor
) -> None:
    asked: list[float] = []
    following = follow(server.address, connect=operator(asked=asked))
    wait_for(lambda: len(asked) >= 13, 60)
    assert len(following.refs) == 1
    assert asked[12] - asked[2] >= 10 * 0.05


@needs_deapi
def test_a_server_that_goes_away_is_said_and_followed_again_when_it_is_back(
    follow: Follow, wait_for: WaitFor, tmp_path: Path
) -> None:
    own = Server(tmp_path)
    following = follow(own.address)
    status = following.source.status
    wait_for(lambda: status.state == "lost")
    assert f"{own.address}: the camera's server can't be reached (" in str(status.message)
    try:
        own.start()
        wait_for(lambda: status.state == "watching" and following.refs, 60)
        assert status.message is None
        own.kill()
        wait_for(lambda: status.state == "lost", 60)
        own.start()
        wait_for(lambda: status.state == "watching", 60)
    finally:
        own.kill()
    following.close()
    assert len(following.refs) == 1  # the image is the one that it had shown before


@needs_deapi
def test_what_was_spooled_is_not_taken_again_by_the_next_session(
    server: Server, follow: Follow, wait_for: WaitFor
) -> None:
    first = follow(server.address)
    wait_for(lambda: first.refs, 60)
    first.close()
    again = follow(server.address, known=first.refs)
    wait_for(lambda: again.source.status.ready, 60)
    again.close()
    assert again.refs == []
    killed = follow(server.address)  # before it was recorded
    wait_for(lambda: killed.source.status.ready, 60)
    assert killed.refs == first.refs


@needs_deapi
def test_what_can_not_be_kept_is_dropped_with_its_reason(
    server: Server, follow: Follow, wait_for: WaitFor, tmp_path: Path
) -> None:
    following = follow(server.address, connect=operator(4, **{"Frames Per Second": 20}), disk_reserve_mb=1e12)
    wait_for(lambda: following.refs and following.refs[-1].sequence == 15, 60)
    assert following.source.status.state == "lost"
    assert "dropped until there is room" in str(following.source.status.message)
    following.close()
    ledger, lost = counted(tmp_path / "s", following.refs)
    assert ledger["dropped"] == ledger["arrived"] == len(following.refs)
    assert ledger["dropped"] + lost == 16 - (following.refs[0].sequence or 0)
    assert not list(following.source._spool.folder.iterdir())


@needs_deapi
def test_an_image_beyond_the_limit_is_rejected_before_it_is_sent(
    server: Server, follow: Follow, wait_for: WaitFor
) -> None:
    largest = 0

    def watched(host: str, port: int) -> Any:
        client = connected(host, port)
        receive = client._recvFromSocket

        def counted(socket: Any, size: int) -> Any:
            nonlocal largest
            largest = max(largest, size)
            return receive(socket, size)

        client._recvFromSocket = counted
        client.list_properties = lambda: ["Image Size X (pixels)", "Image Size Y (pixels)"]
        return client

    following = follow(server.address, connect=watched, max_frame_mb=0.001)
    wait_for(lambda: following.refs, 60)
    assert following.refs[0].rejected == "64 × 64 uint16 is more than the limit of 1048 bytes"
    assert 0 < largest < 64 * 64 * 2


def test_without_deapi_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deapi", None)
    with pytest.raises(InputError, match=r"de:// needs the package deapi .* extra directelectron"):
        choose_source("de://127.0.0.1:13240", WatchSettings(), tmp_path / "spool")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("de://127.0.0.1", "an address is de://host:port"),
        ("de://:13240", "an address is de://host:port"),
        ("de://127.0.0.1:0", "an address is de://host:port"),
        ("de://127.0.0.1:13240/virtual_image0", "no frame type virtual_image0; there are singleframe_"),
    ],
)
def test_an_address_that_is_none_is_said(tmp_path: Path, address: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        choose_source(address, WatchSettings(), tmp_path / "spool")
