"""The spool: a frame is whole or not there, and can be read by everybody with all that came with it."""

from __future__ import annotations

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
from monitor.spool import Spool, is_rejected_message


def add(spool: Spool, pixels: npt.NDArray[Any], sequence: int | None = 0) -> FrameRef:
    return spool.add(
        pixels,
        {"htype": "array-1.0", "note": "Å"},
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
