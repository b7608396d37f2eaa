"""Frame refs, frames, their hashes, and the errors that travel between processes."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from monitor import errors
from monitor.frames import FrameRef, content_hash, pixels_hash


def test_a_ref_travels():
    """Copying takes an object apart and puts it together as sending it to another process does."""
    ref = FrameRef(Path("a.tif"), 3, 0.02, 1.5, "camera", 7, {"a": 1}, 10, 11, "abc")
    assert copy.deepcopy(ref) == ref


@pytest.mark.parametrize(
    "kind", [errors.UnreadableFrame, errors.IncompleteFile, errors.NoPixelSize, errors.NoSession]
)
def test_errors_travel_with_what_they_concern(kind):
    error = copy.deepcopy(kind("why", path=Path("a"), index=2))
    assert (type(error), str(error), error.path, error.index) == (kind, "why", Path("a"), 2)
    assert isinstance(error, errors.InputError)


def test_content_is_of_the_bytes_not_the_name(tmp_path):
    (tmp_path / "a").write_bytes(b"frame")
    (tmp_path / "b").write_bytes(b"frame")
    (tmp_path / "c").write_bytes(b"framf")
    assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b") != content_hash(tmp_path / "c")


@pytest.mark.parametrize("at", [0, 40 * 2**20, 65 * 2**20 - 1])
def test_large_files_are_hashed_at_their_ends_and_between(at, tmp_path):
    size = 65 * 2**20
    with (tmp_path / "a").open("wb") as file:
        file.truncate(size)
    before = content_hash(tmp_path / "a")
    with (tmp_path / "a").open("r+b") as file:
        file.seek(at)
        file.write(bytes([1]) * min(2 * 2**20, size - at))
    assert content_hash(tmp_path / "a") != before


def test_pixels_are_told_apart_by_type_and_shape_too():
    zeros = np.zeros((4, 6), np.uint16)
    assert pixels_hash(zeros) == pixels_hash(zeros.copy())
    assert pixels_hash(zeros[:, ::2]) == pixels_hash(np.zeros((4, 3), np.uint16))
    assert len({pixels_hash(a) for a in (zeros, zeros.T, zeros.view(np.int16), zeros + 1)}) == 4
