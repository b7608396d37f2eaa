"""Which files are frames, by name and by content, and which are passed over."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import pytest

from monitor.read import is_sidecar, looks_like_frame_file
from monitor.read.names import FORMATS, by_name


@pytest.mark.parametrize(
    "name",
    [
        ".frame.tif.Xa3fQ9", ".hidden.tif", "scan.emi", "a.mrc.mdoc", "a.gtg", "a.json", "note.TXT",
        "a.tif.part",
        "a.tif.tmp", "~$a.tif", "a.tif~", "a.crdownload", "Thumbs.db", "a.tif.filepart",
    ],
)  # fmt: skip
def test_sidecars_and_temporaries(name, tmp_path):
    (tmp_path / name).write_bytes(b"II*\0" + bytes(100))
    assert is_sidecar(Path(name))
    assert not looks_like_frame_file(tmp_path / name)


@pytest.mark.parametrize(
    "name",
    ["a.dm3", "a.DM4", "a.emd", "a_1.ser", "a.mrc", "a.tif", "a.TIFF", "a.h5", "a.hspy", "a.npy", "a.tvips",
     "a.png",
     "a.jpg", "a.jpeg", "a.hdf5", "a.mrcs"],
)  # fmt: skip
def test_frames_by_name(name, tmp_path):
    assert not is_sidecar(Path(name))
    assert looks_like_frame_file(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_frame_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not looks_like_frame_file(tmp_path / "pipe")


def test_frames_by_content(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((20, 20)))
    unnamed = (tmp_path / "a.npy").rename(tmp_path / "frame_0001")
    assert looks_like_frame_file(unnamed)


@pytest.mark.parametrize("name", ["a.pdf", "script.py", "a.zip", "README", "a.sqlite"])
def test_other_files_are_ignored(name, tmp_path):
    (tmp_path / name).write_bytes(b"%PDF something else altogether, long enough to have a head")
    assert not looks_like_frame_file(tmp_path / name)
    assert not looks_like_frame_file(tmp_path / "gone" / name)


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.suffixes[0])
def test_every_format_has_its_module_and_its_suffixes_alone(one):
    module = importlib.import_module(f"monitor.read.formats.{one.module}")
    assert callable(module.open_signals)
    for suffix in one.suffixes:
        assert by_name(Path(f"A{suffix.upper()}")) is one
