"""`analyse`: its JSON, its text, its masks, its exit status."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from models.errors import BundleRefused, CannotAnalyse
from models.results import STAGES, Analysis, Particle
from monitor.errors import InputError
from monitor.workers.oneshot import Models, Options, analyse

YES = Particle(1, "yes", (0.1, 0.1, 0.2, 0.6), True, (2, 3, 8, 9), (4.5, 5.5), 3.2, 8.0, ((2.0, 3.0),))
EMPTY = Particle(2, "empty", (0.7, 0.1, 0.1, 0.1), False, (20, 20, 24, 25), (22.0, 22.0), 2.0, 3.0, ())


def judge(pixels: np.ndarray, pixel_size_nm: float) -> Analysis:
    """Finds a particle with a fault and an empty region in every frame."""
    labels = np.zeros(pixels.shape, np.int32)
    labels[2:8, 3:9] = 1
    timings = {"preprocess": 1.0, "segment": 2.0, "measure": 3.0, "classify": 4.0}
    quality = {"contrast": 0.5, "sharpness": float("nan")}
    return Analysis(pixels.shape, pixel_size_nm, (YES, EMPTY), quality, timings, "bundle-1", "none", labels)


def refuse(pixels: np.ndarray, pixel_size_nm: float) -> Analysis:
    """Can't judge anything."""
    raise CannotAnalyse("the field is only 2 nm wide")


@pytest.fixture
def frames(tmp_path):
    """A folder with a frame, a stack of two, a letter, a sidecar and a damaged file."""
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 99, (2, 32, 40)).astype(np.uint16)
    (tmp_path / "below").mkdir()
    tifffile.imwrite(tmp_path / "below" / "stack.tif", stack, photometric="minisblack")
    np.save(tmp_path / "one.npy", stack[0])
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    (tmp_path / "letter.txt").write_text("dear colleague")
    (tmp_path / ".one.npy.a1b2c3").write_bytes(b"x")
    return tmp_path


def _run(files, options=None, how=judge, as_json=True):
    out, err = io.StringIO(), io.StringIO()
    options = options or Options(pixel_size_nm=0.05)
    status = analyse([str(file) for file in files], options, how, as_json=as_json, out=out, err=err)
    lines = out.getvalue().splitlines()
    return status, [json.loads(line) for line in lines] if as_json else lines, err.getvalue()


def test_a_line_for_each_frame_of_a_folder(frames):
    status, lines, err = _run([frames])
    assert status == 0
    assert err == ""
    below = str(frames / "below" / "stack.tif")
    assert [(line["frame"], line["index"]) for line in lines] == [
        (str(frames / "broken.tif"), None), (str(frames / "one.npy"), 0), (below, 0), (below, 1),
    ]  # fmt: skip
    assert set(lines[0]) == {"frame", "index", "rejected"}


def test_the_record_is_what_the_architecture_says(frames):
    _, (line,), _ = _run([frames / "one.npy"])
    assert list(line) == [
        "frame", "index", "shape", "pixel_size_nm", "bundle", "particles", "quality", "timings_ms",
    ]  # fmt: skip
    assert (line["shape"], line["pixel_size_nm"], line["bundle"]) == ([32, 40], 0.05, "bundle-1")
    assert line["particles"][0] == {
        "class": "yes",
        "probabilities": {"empty": 0.1, "null": 0.1, "no": 0.2, "yes": 0.6},
        "bbox": [2, 3, 8, 9],
        "centroid": [4.5, 5.5],
        "diameter_nm": 3.2,
        "area_nm2": 8.0,
        "abstained": True,
    }
    assert line["particles"][1]["class"] == "empty"
    assert tuple(line["timings_ms"]) == STAGES
    assert line["timings_ms"]["read"] > 0
    assert line["quality"] == {"contrast": 0.5, "sharpness": "nan", "scanning": False}


def test_masks_of_every_analysed_frame(frames):
    masks = frames / "results" / "masks"
    status, _, _ = _run([frames], Options(pixel_size_nm=0.05, masks=masks))
    assert status == 0
    assert sorted(path.name for path in masks.iterdir()) == ["one.tif", "stack_0.tif", "stack_1.tif"]
    mask = tifffile.imread(masks / "stack_1.tif")
    assert (mask.dtype, mask.shape) == (np.int32, (32, 40))
    assert np.array_equal(np.argwhere(mask == 1).min(axis=0), [2, 3])


def test_masks_that_cannot_be_put_anywhere(frames):
    with pytest.raises(InputError, match="can't be made"):
        _run([frames], Options(0.05, masks=frames / "one.npy"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(), "no pixel size in the file; give --pixel-size"),
        (Options(pixel_size_nm=0.5), "0.5 nm/px"),
        (Options(force_pixel_size_nm=0.001), "0.001 nm/px"),
    ],
)
def test_frames_without_a_good_pixel_size_are_properly_rejected(options, said, frames):
    status, lines, _ = _run([frames / "one.npy"], options)
    assert status == 0
    assert lines[0]["index"] == 0
    assert said in lines[0]["rejected"]


def test_what_cannot_be_judged_is_rejected_with_the_models_sentence(frames):
    status, lines, _ = _run([frames / "one.npy"], how=refuse)
    assert (status, lines[0]["rejected"]) == (0, "the field is only 2 nm wide")


def test_a_fault_of_the_program_takes_one_frame_only(frames):
    def fail(pixels: np.ndarray, pixel_size_nm: float) -> Analysis:
        if pixels.dtype == np.uint8:
            raise ZeroDivisionError("of something")
        return judge(pixels, pixel_size_nm)

    np.save(frames / "a.npy", np.arange(400, dtype=np.uint8).reshape(20, 20))
    status, lines, _ = _run([frames / "a.npy", frames / "one.npy"], how=fail)
    assert status == 0
    assert lines[0]["rejected"] == "the analysis failed (ZeroDivisionError: of something)"
    assert "particles" in lines[1]


def test_a_bundle_that_is_no_good_is_not_the_frames_fault(frames):
    def refused(pixels: np.ndarray, pixel_size_nm: float) -> Analysis:
        raise BundleRefused("its hashes are wrong")

    with pytest.raises(BundleRefused):
        _run([frames], how=refused)


@pytest.mark.parametrize(("with_good", "status"), [(False, 1), (True, 0)])
def test_files_that_are_not_there(with_good, status, frames):
    given = [frames / "none.tif", *([frames / "one.npy"] if with_good else [])]
    got, lines, err = _run(given)
    assert got == status
    assert lines[0]["rejected"] == "there is no such file"
    assert err == f"faultwatch: there is no file {frames / 'none.tif'}\n"


def test_a_folder_without_frames(tmp_path):
    with pytest.raises(InputError, match="no frames"):
        _run([tmp_path])


def test_text_for_people(frames):
    status, lines, _ = _run([frames], as_json=False)
    assert status == 0
    assert lines[0].endswith(
        "broken.tif: rejected: the file is incomplete: it ends within the directory of a page"
    )
    assert "32 × 40 px at 0.05 nm/px, 1 yes, 0 no, 0 null, 1 empty" in lines[1]
    assert "too close to call" in lines[2]
    assert "stack.tif [1]" in lines[7]
    assert lines[-1] == (
        "3 frames analysed, 1 rejected; particles: 3 yes, 0 no, 0 null, 3 empty; 100.0% of 3 with a fault"
    )


def test_the_same_reason_is_not_told_again(frames):
    _, lines, _ = _run([frames / "below" / "stack.tif"], Options(), as_json=False)
    assert "no pixel size" in lines[0]
    assert lines[1].endswith("[1]: rejected for the same reason")


def test_scanning_images_are_flagged(frames):
    description = '{"detector": "HAADF", "pixel_size_nm": 0.05}'
    tifffile.imwrite(
        frames / "scan.tif", np.arange(1024, dtype=np.uint16).reshape(32, 32), description=description
    )
    _, (line,), _ = _run([frames / "scan.tif"], Options())
    assert line["quality"]["scanning"] is True
    _, lines, _ = _run([frames / "scan.tif"], Options(), as_json=False)
    assert "not HRTEM" in lines[1]


def test_numbers_of_numpy_are_plain_in_json(frames):
    def odd(pixels: np.ndarray, pixel_size_nm: float) -> Analysis:
        found = judge(pixels, pixel_size_nm)
        particle = replace(
            YES, bbox=tuple(np.arange(4)), centroid=tuple(np.float32([1, 2])), abstained=np.bool_(True)
        )
        return replace(found, particles=(particle,), quality={"blank": np.bool_(False), "x": np.float32(2)})

    _, (line,), _ = _run([frames / "one.npy"], how=odd)
    assert line["particles"][0]["bbox"] == [0, 1, 2, 3]
    assert line["quality"]["blank"] is False


def test_the_shipped_bundle_judges(frames):
    """The real models, on noise: no more is asked than that they answer, the same every time."""
    rng = np.random.default_rng(0)
    np.save(frames / "noise.npy", rng.poisson(200, (160, 192)).astype(np.uint16))
    how = Models(None, None, "cpu").judge
    first, second = (_run([frames / "noise.npy"], how=how)[1][0] for _ in range(2))
    assert first["shape"] == [160, 192]
    assert first["bundle"]
    assert first["particles"] == second["particles"]


def test_an_unknown_material_is_told_before_anything_is_read():
    with pytest.raises(CannotAnalyse, match="unobtainium"):
        Models(None, "unobtainium", "cpu")


def _movie(path):
    """Four exposures of one field."""
    coarse = np.random.default_rng(3).normal(100, 25, (64, 64)).clip(10)
    exposures = (
        np.random.default_rng(4).poisson(np.kron(coarse, np.ones((4, 4))), (4, 256, 256)).astype(np.uint16)
    )
    tifffile.imwrite(path, exposures, photometric="minisblack")
    return exposures


def test_a_movie_of_one_field_is_one_frame(tmp_path):
    exposures = _movie(tmp_path / "movie.tif")
    _, lines, _ = _run([tmp_path / "movie.tif"])
    (line,) = lines
    assert (line["index"], line["shape"]) == (0, [256, 256])
    assert line["quality"]["exposures"] == 4
    assert "4 exposures of one field were aligned and summed" in line["quality"]["notes"]
    _, lines, _ = _run([tmp_path / "movie.tif"], Options(0.05, movie="frames"))
    assert [line["index"] for line in lines] == [0, 1, 2, 3]
    assert all("exposures" not in line["quality"] for line in lines)
    means = []

    def noted(pixels: np.ndarray, pixel_size_nm: float) -> Analysis:
        means.append(float(pixels.mean()))
        return judge(pixels, pixel_size_nm)

    _run([tmp_path / "movie.tif"], Options(0.05, movie="first"), noted)
    _run([tmp_path / "movie.tif"], Options(0.05), noted)
    assert means == pytest.approx([exposures[0].mean(), exposures.sum(axis=0).mean()], rel=0.01)


def test_the_share_that_is_not_judged_is_said(frames):
    def half(pixels: np.ndarray, pixel_size_nm: float) -> Analysis:
        found = judge(pixels, pixel_size_nm)
        return replace(found, quality={**found.quality, "unjudged_share": 0.4})

    _, (line,), _ = _run([frames / "one.npy"], how=half)
    assert line["quality"]["unjudged_share"] == 0.4
    _, lines, _ = _run([frames / "one.npy"], how=half, as_json=False)
    assert "  40% of it is dark or filled in and was not judged" in lines
