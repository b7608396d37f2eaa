"""Real files of every vendor: each gives frames, as RosettaSciIO does, or a sentence."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import NoPixelSize, UnreadableFrame
from monitor.read import looks_like_frame_file, open_frames, resolve_pixel_size, why_incomplete

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
VENDOR = DATA / "vendor"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not VENDOR.is_dir(), reason="the real frames are not there (../shared/data)"),
]

#: File to its content: number of frames, shape, nm per pixel, whether it was scanned.
FRAMES = {
    "16_STOimage.emi": (1, (1024, 1024), 0.0100127, True),
    "16_STOimage_1.ser": (1, (1024, 1024), 0.0100127, True),
    "Acquisition_18.emd": (1, (1024, 1024), 0.0122465, True),
    "example_Au_nanoparticle.emd": (1, (2048, 2048), 0.0074984, True),
    "example_Se_implanted_MoS2.dm3": (1, (1024, 1024), 0.0126953, True),
    "multi_signal.dm3": (1, (512, 512), 0.0177516, True),
    "temp.mrc": (3, (128, 128), 0.2, False),
}
#: File to a part of the reason why it, or its frames, cannot be analysed.
REFUSED = {
    "08_carbon.dm3": "spectrum",
    "HAADFscan.mrc": "5.679 nm/px",
    "dmTest_3D_int16_64,65,66.dm4": "not square",
    "dmTest_float32_nonSquare_diffPixelSize.dm3": "not square",
    "fei_example_complex_fft.emd": "complex",
    "fei_example_tem_stack.emd": "too small: 3 × 3",
    "test_diffraction_pattern.dm3": "diffraction",
    **{f"ref_{name}.dm{version}": why for version in (3, 4) for name, why in {
        "F_0_1": "spectrum", "F_0_2": "too small", "F_1_1": "spectrum", "F_1_2": "too small", "F_2_1": "spectrum",
        "T_0_1": "spectrum", "T_0_2": "too small",
    }.items()},
}  # fmt: skip
PLUGINS = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".emd": "emd",
    ".ser": "tia",
    ".mrc": "mrc",
}


def test_every_file_is_accounted_for():
    assert sorted(path.name for path in VENDOR.iterdir()) == sorted([*FRAMES, *REFUSED])


@pytest.mark.parametrize("name", FRAMES)
def test_what_can_be_analysed(name):
    count, shape, pixel_nm, scanning = FRAMES[name]
    with open_frames(VENDOR / name) as file:
        assert file.count == count
        for index in range(count):
            frame = file.frame(index)
            assert frame.pixels.shape == shape
            assert resolve_pixel_size(frame, None, None) == pytest.approx(pixel_nm, rel=1e-5)
            assert frame.scanning == scanning
            assert frame.metadata
    assert why_incomplete(VENDOR / name) is None


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot(name):
    with pytest.raises((UnreadableFrame, NoPixelSize)) as caught, open_frames(VENDOR / name) as file:
        resolve_pixel_size(file.frame(0), None, None)
    assert REFUSED[name] in caught.value.reason
    assert why_incomplete(VENDOR / name) is None


def test_forcing_a_pixel_size_takes_what_has_none_that_is_square():
    with open_frames(VENDOR / "dmTest_3D_int16_64,65,66.dm4") as file:
        assert file.count == 66
        assert resolve_pixel_size(file.frame(65), None, 0.05) == 0.05


@pytest.mark.parametrize("name", [name for name in FRAMES if not name.endswith(".emi")])
@pytest.mark.filterwarnings("ignore")
def test_rosetta_agrees(name):
    """Pixels and scale are those of RosettaSciIO, except for the axes that it swaps in Berkeley EMD files."""
    reader = importlib.import_module(f"rsciio.{PLUGINS[Path(name).suffix]}").file_reader
    signal = next(signal for signal in reader(str(VENDOR / name)) if signal["data"].ndim >= 2)
    expected = signal["data"].reshape(-1, *signal["data"].shape[-2:])
    if name == "Acquisition_18.emd":
        expected = np.moveaxis(expected, -1, -2)  # its axes are named y, x in the file: rows come first
    scale = signal["axes"][-1]["scale"]
    with open_frames(VENDOR / name) as file:
        for index in range(file.count):
            frame = file.frame(index)
            np.testing.assert_array_equal(frame.pixels, expected[index])
            assert frame.pixel_size_nm == pytest.approx(float(scale), rel=1e-5)


@pytest.mark.parametrize("folder", ["frames", "segmented"])
def test_pictures_without_a_scale(folder):
    paths = [path for path in sorted((DATA / folder).rglob("*")) if path.is_file()]
    assert paths
    for path in paths:
        assert looks_like_frame_file(path)
        with open_frames(path) as file:
            assert file.count == 1
            frame = file.frame(0)
        with pytest.raises(NoPixelSize, match="--pixel-size"):
            resolve_pixel_size(frame, None, None)
        assert resolve_pixel_size(frame, 0.05, None) == 0.05


@pytest.mark.parametrize("name", [name for name in FRAMES if not name.endswith(".emi")])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.97])
def test_cut_off_in_the_middle(name, part, tmp_path):
    raw = (VENDOR / name).read_bytes()
    (tmp_path / name).write_bytes(raw[: int(part * len(raw))])
    with pytest.raises(UnreadableFrame) as caught, open_frames(tmp_path / name) as file:
        file.frame(file.count - 1)
    assert "incomplete" in caught.value.reason
    assert why_incomplete(tmp_path / name) is not None
