"""Damaged files give a sentence: no traceback, no endless loop, no memory that only a header asks for."""

from __future__ import annotations

import os
import signal
import struct
import time
import tracemalloc
import zlib

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.frames import Frame
from monitor.read import is_complete, open_frames, why_incomplete

FORMATS = [
    "dm3", "dm4", "ser", "mrc", "mrc.gz", "tif", "imagej", "npy", "npz", "velox", "berkeley", "hspy", "nexus",
]  # fmt: skip
_quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _frames(path) -> list[Frame]:
    with open_frames(path) as file:
        return [file.frame(index) for index in range(min(file.count, 4))]


def _said(reason: str) -> bool:
    """Whether a reason is a sentence: several words, one line, no traceback."""
    return " " in reason and "\n" not in reason and "Traceback" not in reason


def _attempt(path) -> str | None:
    """The reason why the frames of a file cannot be read, None where they can and are pictures."""
    try:
        frames = _frames(path)
    except UnreadableFrame as error:
        return error.reason
    assert all(frame.pixels.ndim == 2 for frame in frames)
    return None


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    """Shorten the time limit: some flipped bytes put HDF5 into an endless loop."""
    monkeypatch.setattr("monitor.read.apart.LIMIT_S", 2.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory, request):
    """The bytes and the name of a file of three frames in every format."""
    from pathlib import Path

    conftest = request.config.pluginmanager.get_plugin(str(Path(__file__).with_name("conftest.py")))
    folder = tmp_path_factory.mktemp("whole")
    paths = {kind: conftest.WRITERS[kind](folder / kind, conftest.picture(3), 0.02) for kind in FORMATS}
    return {kind: (path.read_bytes(), path.name) for kind, path in paths.items()}


@pytest.mark.parametrize("kind", FORMATS)
@_quick
@given(data=st.data())
def test_a_file_cut_off_is_incomplete(kind, data, files, tmp_path):
    raw, name = files[kind]
    length = data.draw(st.integers(0, len(raw) - 20), label="length")  # some files end in padding
    path = tmp_path / name
    path.write_bytes(raw[:length])
    with pytest.raises(UnreadableFrame) as caught:
        _frames(path)
    assert _said(caught.value.reason)
    assert caught.value.path == path
    assert not is_complete(path) or not isinstance(caught.value, IncompleteFile)


@pytest.mark.parametrize("kind", FORMATS)
@_quick
@given(data=st.data())
def test_flipped_bytes_give_frames_or_a_sentence(kind, data, files, tmp_path):
    raw, name = files[kind]
    damaged = bytearray(raw)
    places = st.one_of(st.integers(0, min(len(raw) - 1, 600)), st.integers(0, len(raw) - 1))
    for _ in range(data.draw(st.integers(1, 8), label="flips")):
        damaged[data.draw(places)] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255]))
    path = tmp_path / name
    path.write_bytes(damaged)
    began = time.perf_counter()
    reason = _attempt(path)
    assert reason is None or _said(reason)
    why_incomplete(path)
    assert time.perf_counter() - began < 30


@pytest.mark.parametrize(
    "suffix", [".dm3", ".dm4", ".mrc", ".ser", ".tvips", ".npy", ".tif", ".h5", ".emi", ".npz", ".mrc.gz"]
)
@_quick
@given(raw=st.binary(max_size=2000))
def test_noise_under_any_name_is_refused(raw, suffix, tmp_path):
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(raw)
    reason = _attempt(path)
    assert reason is not None
    assert _said(reason)


def _npy(path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (16000, 16000), }"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(1000))


def _mrc(path):
    with mrcfile.new(path) as file:
        file.set_data(np.ones((32, 32), np.float32))
        file.header.nx = file.header.ny = 16_000
        file.header.nz = 1000


def _tif(path):
    tifffile.imwrite(path, np.ones((32, 32), np.uint8))
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages[0].tags[name].overwrite(16_000)


def _png(path):
    Image.fromarray(np.ones((32, 32), np.uint8)).save(path)
    raw = bytearray(path.read_bytes())
    raw[16:24] = struct.pack(">II", 16_000, 16_000)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    path.write_bytes(raw)


def _jpg(path):
    Image.fromarray(np.ones((32, 32), np.uint8)).save(path)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"\xff\xc0") + 5
    raw[at : at + 4] = struct.pack(">HH", 16_000, 16_000)
    path.write_bytes(raw)


def _h5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", (16_000, 16_000), "f8", chunks=(1000, 1000))


def _ser(path):
    header = struct.pack("<HHHIIII", 0x4949, 0x0197, 0x0210, 0x4122, 0x4152, 2**31, 2**31)
    path.write_bytes(header + struct.pack("<II", 30, 0) + bytes(200))


def _tvips(path):
    head = struct.pack("<13I", 256, 2, 16_000, 16_000, 16, 0, 0, 1, 1, 0, 0, 0, 60)
    path.write_bytes(head + b"TVIPS".ljust(204, b"\0") + bytes(500))


LIARS = {
    ".npy": _npy,
    ".mrc": _mrc, ".tif": _tif, ".png": _png, ".jpg": _jpg, ".h5": _h5, ".ser": _ser, ".tvips": _tvips,
}  # fmt: skip


@pytest.mark.parametrize("suffix", LIARS)
def test_a_header_that_announces_too_much_is_not_believed(suffix, tmp_path):
    path = tmp_path / f"lie{suffix}"
    LIARS[suffix](path)
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableFrame):
            _frames(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6, f"{peak / 1e6:.0f} MB were taken for a file of {path.stat().st_size} bytes"


def test_a_png_that_is_too_large_is_refused_before_its_notes_are_looked_for(tmp_path):
    """The size is checked first: Pillow decodes the whole picture to find the EXIF data behind it."""
    path = tmp_path / "a.png"
    Image.fromarray(np.ones((32, 32), np.uint8)).save(path)
    raw = bytearray(path.read_bytes())
    raw[16:24] = struct.pack(">II", 2**25, 32)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    path.write_bytes(raw)
    with pytest.raises(UnreadableFrame, match=r"announces 32 × 33554432 px"):
        open_frames(path)


def test_a_tif_with_several_widths_takes_no_memory(tmp_path):
    """Multiplied by a damaged length, the tuple of widths would have billions of entries."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((32, 32), np.uint8), metadata=None)
    raw = bytearray(path.read_bytes())
    for tag, count, value in ((256, 5, 8), (257, 1, 2**28)):
        at = raw.index(
            struct.pack("<HHI", tag, 3, 1)
            if struct.pack("<HHI", tag, 3, 1) in raw
            else struct.pack("<HHI", tag, 4, 1)
        )
        raw[at : at + 12] = struct.pack("<HHII", tag, 4, count, value)
    path.write_bytes(raw)
    with pytest.raises(UnreadableFrame, match="the size of the picture is no number"):
        open_frames(path)


def test_dm_array_of_two_milliards_of_nothing(tags, tmp_path):
    build = tags(3)
    empty_structs = build.value("Data", [20, 15, 0, 0, 2**31 - 1], b"")
    (tmp_path / "a.dm3").write_bytes(build.file(build.group("", build.group("ImageData", empty_structs))))
    with pytest.raises(UnreadableFrame):
        open_frames(tmp_path / "a.dm3")


def test_dm_nested_without_end(tags, tmp_path):
    build = tags(3)
    body = b"\1\0" + struct.pack(">i", 1)
    raw = struct.pack(">iii", 3, 0, 1) + (body + build.name(20, "")) * 5000
    (tmp_path / "a.dm3").write_bytes(raw)
    with pytest.raises(UnreadableFrame, match="nested"):
        open_frames(tmp_path / "a.dm3")


def test_links_out_of_an_hdf5_file_are_not_followed(picture, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = picture(1)[0]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["outside"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")
        file["round"] = h5py.SoftLink("/")
        file["self"] = file["/"]
    with pytest.raises(UnreadableFrame, match="no image"):
        open_frames(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [(b"", "empty"), (bytes(5000), "zeros"), (b"II", "incomplete")],
)
def test_a_file_that_is_only_begun_is_incomplete(raw, reason, tmp_path):
    (tmp_path / "a.tif").write_bytes(raw)
    assert reason in why_incomplete(tmp_path / "a.tif")


def test_what_is_whole_but_no_good_is_not_waited_for(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"this is a letter, not a picture")
    assert why_incomplete(tmp_path / "a.tif") is None
    with pytest.raises(UnreadableFrame, match=r"named \.tif"):
        open_frames(tmp_path / "a.tif")


def test_a_file_open_for_writing_is_incomplete(tmp_path):
    import subprocess
    import sys

    code = (
        "import h5py, sys; f = h5py.File(sys.argv[1], 'w'); f['a'] = [[1] * 32] * 32; f.flush();"
        "print(1, flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "a.h5")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with writer:
        writer.stdout.readline()
        assert not is_complete(tmp_path / "a.h5")
        writer.stdin.close()
    assert "blank" in _reason(tmp_path / "a.h5")


def _reason(path):
    with pytest.raises(UnreadableFrame) as caught:
        _frames(path)
    return caught.value.reason


def test_missing_and_folders(tmp_path):
    assert _reason(tmp_path / "none.tif") == "there is no such file"
    assert "folder" in _reason(tmp_path)


def test_libraries_stay_quiet(files, tmp_path, capfd):
    for kind, (raw, name) in files.items():
        (tmp_path / name).write_bytes(raw[: len(raw) // 2] + bytes(40) + raw[len(raw) // 2 + 40 :])
        reason = _attempt(tmp_path / name)
        assert reason is None or _said(reason), kind
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a signal that stops a process")
def test_reading_that_never_ends_is_given_up(picture, writers, tmp_path, monkeypatch):
    """The process apart is killed, the file is refused, and a new process reads the next file."""
    from monitor.read import apart

    path = writers["hspy"](tmp_path / "a", picture(2), 0.02)
    with open_frames(path) as file:
        file.frame(0)
        os.kill(apart._process._child.pid, signal.SIGSTOP)
        monkeypatch.setattr(apart, "LIMIT_S", 0.2)
        with pytest.raises(UnreadableFrame, match=r"had not ended after 0\.2 s"):
            file.frame(1)
        monkeypatch.undo()
        with pytest.raises(UnreadableFrame, match="had to be given up"):
            file.frame(0)
    with open_frames(path) as file:
        np.testing.assert_array_equal(file.frame(1).pixels, picture(2)[1])


def test_a_process_that_dies_takes_one_file_with_it(picture, writers, tmp_path):
    from monitor.read import apart

    path = writers["velox"](tmp_path / "a", picture(1), 0.02)
    with open_frames(path) as file:
        apart._process._child.kill()
        with pytest.raises(UnreadableFrame, match="it ends what reads it"):
            file.frame(0)
    assert _attempt(path) is None


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.8, 0.99])
def test_pictures_cut_off_are_incomplete(suffix, part, picture, tmp_path):
    Image.fromarray(picture(1, 128, 128, "u1")[0]).save(tmp_path / f"a{suffix}")
    raw = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"a{suffix}").write_bytes(raw[: int(part * len(raw))])
    assert "incomplete" in why_incomplete(tmp_path / f"a{suffix}")
    assert "incomplete" in _reason(tmp_path / f"a{suffix}")


def test_a_picture_may_be_followed_by_more(picture, tmp_path):
    for suffix in (".png", ".jpg"):
        Image.fromarray(picture(1, 64, 64, "u1")[0]).save(tmp_path / f"a{suffix}")
        with (tmp_path / f"a{suffix}").open("ab") as file:
            file.write(b"what a program adds " * 20)
        assert _attempt(tmp_path / f"a{suffix}") is None
        assert is_complete(tmp_path / f"a{suffix}")
