"""`analyse --about`: what is understood of a file, and what it would ask for."""

from __future__ import annotations

import io
import json

import mrcfile
import numpy as np
import pytest
import tifffile

from monitor.read.about import about, as_text, kilovolts, tell_about


def test_a_file_that_tells_everything(writers, picture, tmp_path):
    path = writers["velox"](tmp_path / "a", picture(1), 0.021)
    told = about(str(path))
    assert told["format"] == "hdf5"
    assert told["kind"] == "one picture"
    assert told["images"][0]["shape"] == [24, 40]
    assert told["images"][0]["type"] == "uint16"
    assert told["pixel_size_nm"] == pytest.approx(0.021)
    assert told["pixel_size_from"] == "BinaryResult.PixelSize"
    assert (told["exposure_s"], told["acquired"]) == (0.8, 1_575_540_224)
    assert told["metadata"]["Optics"]["NominalMagnification"] == "1000000"
    assert told["asks_for"] == []
    assert "asks for: nothing" in as_text(told)


def test_what_it_would_ask_for(picture, tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(picture(1)[0])
        file.voxel_size = 1.0
    told = about(str(tmp_path / "a.mrc"))
    assert told["pixel_size_nm"] is None
    assert "--pixel-size" in told["asks_for"][0]
    given = about(str(tmp_path / "a.mrc"), given_nm=0.03)
    assert (given["pixel_size_nm"], given["pixel_size_from"], given["asks_for"]) == (0.03, "--pixel-size", [])
    forced = about(str(tmp_path / "a.mrc"), forced_nm=0.04)
    assert (forced["pixel_size_nm"], forced["pixel_size_from"]) == (0.04, "--force-pixel-size")


def test_a_movie_and_a_stack(picture, tmp_path):
    slow = np.kron(np.random.default_rng(0).normal(100, 20, (64, 64)), np.ones((4, 4)))
    exposures = np.random.default_rng(1).poisson(slow.clip(1), (3, 256, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", exposures, photometric="minisblack")
    tifffile.imwrite(tmp_path / "stack.tif", picture(3), photometric="minisblack")
    movie, stack = (about(str(tmp_path / name)) for name in ("movie.tif", "stack.tif"))
    assert (movie["frames"], stack["frames"]) == (1, 3)
    assert movie["kind"] == "a movie of one field of 3 exposures, judged as one frame"
    assert stack["kind"] == "3 pictures, judged one by one"
    assert any("--movie frames" in sentence for sentence in movie["asks_for"])
    assert about(str(tmp_path / "movie.tif"), movie="frames")["frames"] == 3
    assert about(str(tmp_path / "movie.tif"), movie="first")["kind"].endswith("of which the first is judged")


@pytest.mark.parametrize(
    ("metadata", "kv"),
    [
        ({"Optics": {"AccelerationVoltage": "300000"}}, 300),
        ({"Microscope Info": {"Voltage": 200000.0}}, 200),
        ({"mdoc": {"Voltage": "80"}}, 80),
        ({"ExperimentalDescription": {"High tension_kV": "300"}}, 300),
        ({"extended_header": {"HT": 120000.0}}, 120),
        ({"/entry/em_lab/voltage": {"value": 300000.0, "units": "V"}}, 300),
        ({"tags": {"FEI": "[Beam]\nHV=1\nAccelerationVoltage=60000"}}, 60),
        ({"Voltage": 0.0, "offset voltage": 300}, None),
        ({"HT": "off"}, None),
    ],
)
def test_the_voltage_of_every_program(metadata, kv):
    assert kilovolts(metadata) == kv


def test_lines_of_json_and_refusals(picture, tmp_path):
    (tmp_path / "a.dm4").write_bytes(b"no DigitalMicrograph file at all")
    tifffile.imwrite(tmp_path / "b.tif", picture(1)[0])
    out, err = io.StringIO(), io.StringIO()
    names = [str(tmp_path / name) for name in ("a.dm4", "b.tif", "gone.tif")]
    assert tell_about(names, as_json=True, out=out, err=err) == 1
    damaged, plain, gone = (json.loads(line) for line in out.getvalue().splitlines())
    assert damaged["refused"].startswith("it is named .dm4")
    assert plain["format"] == "tiff"
    assert gone["refused"] == "there is no such file"
    assert "gone.tif" in err.getvalue()
    assert "refused" in as_text(damaged)
    out = io.StringIO()
    assert tell_about(names[:2], as_json=False, out=out, err=err) == 0
    assert "asks for: no pixel size in the file" in out.getvalue()
