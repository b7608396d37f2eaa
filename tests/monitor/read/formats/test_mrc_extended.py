"""Extended headers: SerialEM's packed values, and those of FEI's programs before FEI1."""

from __future__ import annotations

import struct

import mrcfile
import numpy as np
import pytest

from monitor.read import open_frames
from monitor.read.formats.mrc_extended import _real


def write(path, stack, entries: list[bytes], nint: int, nreal: int, kind: bytes, order: str = "<"):
    with mrcfile.new(path) as file:
        file.set_data(stack)
        file.set_extended_header(np.frombuffer(b"".join(entries), "V1"))
        file.header.exttyp = kind
        file.voxel_size = 0.25
    raw = bytearray(path.read_bytes())
    raw[128:132] = struct.pack("<hh", nint, nreal)
    path.write_bytes(raw)


def test_serialem(picture, tmp_path):
    # Tilt, stage, magnification, intensity, dose: 1 + 4 + 8 + 16 + 32.
    entries = [struct.pack("<h hh h h hh", -300 + 300 * i, 2500, -50, 1050, 1250, 12, 128) for i in range(3)]
    write(tmp_path / "a.st", picture(3), entries, 14, 61, b"SERI")
    with open_frames(tmp_path / "a.st", "sum") as file:
        assert file.count == 3
        frame = file.frame(2)
    told = frame.metadata["extended_header"]
    assert told["tilt_deg"] == pytest.approx(3.0)
    assert (told["stage_x_um"], told["stage_y_um"]) == pytest.approx((100.0, -2.0))
    assert frame.magnification == pytest.approx(105_000)
    assert told["intensity"] == pytest.approx(0.05)
    assert frame.dose_e_per_A2 == pytest.approx(12 * 256 + 128)
    assert frame.pixel_size_nm == pytest.approx(0.025)


@pytest.mark.parametrize(("pair", "value"), [((0, 0), 0.0), ((3, 5), 773.0), ((-3, 5), -773.0), ((1, 512), 1024.0),
                                             ((1, -512), 64.0)])  # fmt: skip
def test_serialems_numbers_in_two(pair, value):
    assert _real(*pair) == value


def test_old_fei(picture, tmp_path):
    numbers = [0.0] * 32
    numbers[0], numbers[7], numbers[8], numbers[11], numbers[12] = 1.5, -1e-7, 0.4, 2.1e-11, 380_000.0
    entries = [struct.pack("<32f", *numbers)] * 2
    write(tmp_path / "a.mrc", picture(2), entries, 0, 32, b"\0\0\0\0")
    with open_frames(tmp_path / "a.mrc") as file:
        frame = file.frame(1)
    assert frame.pixel_size_nm == pytest.approx(0.021)
    assert frame.exposure_s == pytest.approx(0.4)
    assert frame.magnification == pytest.approx(380_000)


def test_an_extended_header_of_another_kind_is_left_alone(picture, tmp_path):
    write(tmp_path / "a.mrcs", picture(2), [bytes(256)], 7, 3, b"CCP4")
    with open_frames(tmp_path / "a.mrcs") as file:
        assert file.count == 2
        assert "extended_header" not in file.frame(0).metadata
        assert file.frame(0).pixel_size_nm == pytest.approx(0.025)
