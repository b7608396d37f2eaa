"""The spool: a frame is whole or not there, and can be read by everybody with all that came with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monitor.client import DTYPES
from monitor.frames import FrameRef
from monitor.read import open_frames
from monitor.sources.spool import Spool, is_rejected_message


def add(spool: Spool, pixels: npt.NDArray[Any], sequence: int | None = 0) -> FrameRef:
    return spool.add(
        pixels,
        {"htype": "array-1.0", "shape": list(pixels.shape), "note": "Å", "quoted": '"shape":'},
        pixel_size_nm=0.042,
        acquired=1.7e9,
        sender="cam/r",
        sequence=sequence,
        content="c",
    )


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from(DTYPES).flatmap(
        lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))
    )
)
def test_a_spooled_frame_is_read_back_as_it_came(
    tmp_path_factory: pytest.TempPathFactory, pixels: npt.NDArray[Any]
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"), reserve=0, clock=lambda: 1.0)
    np.testing.assert_array_equal(tifffile.imread(add(spool, pixels).path), pixels)


def test_a_spooled_frame_is_a_frame_file_with_its_pixel_size(tmp_path: Path) -> None:
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    with open_frames(add(Spool(tmp_path, reserve=0, clock=lambda: 1.0), pixels).path) as file:
        frame = file.frame(0)
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert frame.pixel_size_nm == pytest.approx(0.042)


def test_any_shape_in_a_sender_s_header_leaves_the_file_readable(tmp_path: Path) -> None:
    """A DECTRIS stream tells the shape as width and height, others what they like."""
    spool = Spool(tmp_path, reserve=0, clock=lambda: 1.0)
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    for shape in ([4, 3], [7, 3, 4], "round", None):
        header = {"shape": shape, "inner": {"shape": shape, "axes": "XYZ"}}
        ref = spool.add(
            pixels, header, pixel_size_nm=None, acquired=None, sender="d", sequence=1, content="c"
        )
        np.testing.assert_array_equal(tifffile.imread(ref.path), pixels)
        assert next(found for found in spool.refs() if found.path == ref.path).metadata == header


def test_a_spool_of_before_is_still_read(tmp_path: Path) -> None:
    note = {
        "pixel_size_nm": 0.042, "faultwatch_spool": 1, "sender": "cam/r", "sequence": 5, "acquired": 1.7e9,
        "content": "c", "header": {"htype": "array-1.0", "shape": [20, 24], "type": "uint16"},
    }  # fmt: skip
    pixels = np.arange(480, dtype=np.uint16).reshape(20, 24)
    path = tmp_path / "00000001700000000-5.tif"
    tifffile.imwrite(path, pixels, description=json.dumps(note), metadata=None, photometric="minisblack")
    (ref,) = Spool(tmp_path, reserve=0, clock=lambda: 1.0).refs()
    assert (ref.sequence, ref.content, ref.pixel_size_nm, ref.metadata) == (5, "c", 0.042, note["header"])
    with open_frames(path) as file:
        frame = file.frame(0)
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert frame.pixel_size_nm == 0.042


def test_what_lies_in_the_spool_is_found_again_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve=0, clock=lambda: 1.0)  # a clock that stands still
    stored = [add(spool, np.full((4, 4), i, np.uint8), i) for i in (5, 3, 4)]
    stored.append(
        spool.add_rejected({"htype": "array-1.0"}, "too few bytes", sender="x", sequence=None, content="d")
    )
    (tmp_path / "stray.tif").write_bytes(b"II*\0")
    (tmp_path / "00000000000000098-8.tif").write_bytes(b"II*\0")
    (tmp_path / "00000000000000099-9.tif.part").write_bytes(b"half")
    again = Spool(tmp_path, reserve=0, clock=lambda: 0.5)  # and one that goes back
    assert list(again.refs()) == stored
    assert [ref.sequence for ref in stored] == [5, 3, 4, None]
    assert is_rejected_message(stored[3].path)
    assert stored[3].rejected == "too few bytes"
    assert not list(tmp_path.glob("*.part"))
    assert add(again, np.zeros((4, 4), np.uint8)).path.name > stored[3].path.name


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve=2**62, clock=lambda: 1.0)
    with pytest.raises(OSError, match="MiB would be free"):
        add(spool, np.zeros((4, 4), np.uint8))
    assert not list(tmp_path.iterdir())
