"""Movies of one field are aligned and summed; stacks of different fields, tilts and foci stay frame by frame."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import cv2
import h5py
import mrcfile
import numpy as np
import pytest
import tifffile

from monitor.errors import UnreadableFrame
from monitor.read import open_frames
from monitor.read.alignment import match
from monitor.read.movies import exposures_a_block
from monitor.read.signals import Axis, Details, Signal

STEP_NM = 0.025


def field(seed: int, side: int = 384, period_nm: float = 0.35) -> np.ndarray:
    """Intensity (side + 128,) × 2 about 1: an amorphous film, and discs with a lattice."""
    rng = np.random.default_rng(seed)
    whole = side + 128
    noise = rng.standard_normal((whole, whole)).astype(np.float32)
    film = cv2.GaussianBlur(noise, (0, 0), 4) - cv2.GaussianBlur(noise, (0, 0), 10)
    rows, columns = np.mgrid[:whole, :whole].astype(np.float32)
    picture = 1 + 0.06 * film / film.std()
    for _ in range(10):
        r, c = rng.uniform(0, whole, 2)
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        disc = np.hypot(rows - r, columns - c) < 45
        wave = np.cos(
            2 * np.pi * STEP_NM / period_nm * (rows * np.sin(angle) + columns * np.cos(angle)) + phase
        )
        picture[disc] += 0.12 * wave[disc] - 0.08
    return picture


def exposure(intensity, shift=(0, 0), electrons=40.0, side=384, seed=0, detector=None):
    """One exposure of a field: the view moved by `shift` [px], with shot noise, and what lies in every frame."""
    top, left = 64 - shift[0], 64 - shift[1]
    view = intensity[top : top + side, left : left + side]
    counts = np.random.default_rng([seed, 7]).poisson(electrons * view).astype(np.uint16)
    return counts if detector is None else detector(counts)


def write(path, exposures, **more):
    with tifffile.TiffWriter(path) as file:
        for one in exposures:
            file.write(one, contiguous=False, description='{"pixel_size_nm": 0.025}', **more)
    return path


def movie(count=5, drift=(3, -2), electrons=40.0, seed=1):
    """Exposures of one field that moves by `drift` [px] from each to the next."""
    one = field(seed)
    return [exposure(one, (i * drift[0], i * drift[1]), electrons, seed=i) for i in range(count)]


def test_a_movie_is_one_frame_with_its_exposures_on_each_other(tmp_path):
    exposures = movie()
    path = write(tmp_path / "a.tif", exposures)
    with open_frames(path, "sum") as file:
        assert file.count == 1
        file.check(0)
        frame = file.frame(0)
    assert frame.exposures == 5
    assert frame.pixel_size_nm == pytest.approx(STEP_NM)
    shifts = np.array(frame.metadata["movie"]["shifts_px"])
    assert np.abs(shifts - [(-3 * i, 2 * i) for i in range(5)]).max() < 0.3
    truth = 5 * 40 * field(1)[64:-64, 64:-64]
    inner = slice(32, -32)
    assert frame.pixels.shape == exposures[0].shape
    # As good as the shot noise of all its electrons allows, with the share that interpolation takes off.
    assert (frame.pixels - truth)[inner, inner].std() < 1.05 * np.sqrt(200)
    assert frame.pixels.mean() == pytest.approx(200, rel=0.02)
    (note,) = frame.notes
    assert "5 exposures of one field were aligned and summed" in note
    assert "px (0.36 nm)" in note


@pytest.mark.parametrize(("mode", "count"), [("frames", 5), ("first", 1), ("sum", 1)])
def test_what_is_asked_for(mode, count, tmp_path):
    exposures = movie()
    path = write(tmp_path / "a.tif", exposures)
    with open_frames(path, mode) as file:
        assert file.count == count
        if mode != "sum":
            np.testing.assert_array_equal(file.frame(0).pixels, exposures[0])
        if mode == "first":
            assert "first of 5 exposures" in file.frame(0).notes[0]


def scale_bar(counts):
    counts = counts.copy()
    counts[340:352, 20:140] = counts.max()
    return counts


def beam_edge(counts):
    rows, columns = np.mgrid[: counts.shape[0], : counts.shape[1]]
    return np.where(np.hypot(rows - 100, columns - 100) < 270, counts, counts // 20).astype(counts.dtype)


def beam_stop(counts):
    counts = counts.copy()
    counts[150:200, :260] //= 25
    return counts


def fixed_pattern(counts):
    gains = np.random.default_rng(9).normal(1, 0.01, counts.shape)
    return np.round(counts * gains).astype(counts.dtype)


@pytest.mark.parametrize("detector", [None, scale_bar, beam_edge, beam_stop, fixed_pattern])
def test_stacks_of_different_fields_are_never_summed(detector, tmp_path):
    exposures = [exposure(field(seed), electrons=200, seed=seed, detector=detector) for seed in range(6)]
    with open_frames(write(tmp_path / "a.tif", exposures), "sum") as file:
        assert file.count == 6


@pytest.mark.parametrize("detector", [scale_bar, beam_edge, beam_stop, fixed_pattern])
def test_what_lies_in_every_frame_does_not_hold_a_movie_back(detector, tmp_path):
    one = field(3)
    exposures = [exposure(one, (2 * i, i), 100, seed=i, detector=detector) for i in range(4)]
    with open_frames(write(tmp_path / "a.tif", exposures), "sum") as file:
        assert file.count == 1


def test_exposures_too_dim_to_compare_alone_are_compared_in_sums(tmp_path):
    exposures = movie(24, (1, 0), electrons=0.5)
    with open_frames(write(tmp_path / "a.tif", exposures), "sum") as file:
        assert file.count == 1
        frame = file.frame(0)
    assert 1 < exposures_a_block(_signal(exposures)) <= 8
    shifts = np.array(frame.metadata["movie"]["shifts_px"])
    wrong = shifts + np.outer(np.arange(24), (1, 0))
    assert np.abs(wrong - wrong.mean(axis=0)).max() < 1


def test_two_fields_in_turn_and_one_after_the_other_are_frames(tmp_path):
    a, b = (
        [exposure(one, electrons=100, seed=10 * i + k) for k in range(4)]
        for i, one in enumerate([field(5), field(6)])
    )
    for exposures in ([*a, *b], [x for pair in zip(a, b, strict=True) for x in pair]):
        assert exposures_a_block(_signal(exposures)) == 0


def _signal(exposures, details=None, **more):
    """A stack in memory."""
    known = details or [Details() for _ in exposures]
    axis = Axis(STEP_NM, "nm")
    return Signal(
        len(exposures), exposures[0].shape, exposures[0].dtype, exposures.__getitem__, axis, axis,
        details=known.__getitem__, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    "details",
    [
        [Details(tilt_deg=3.0 * i) for i in range(4)],
        [Details(defocus_nm=-50.0 + 10 * i) for i in range(4)],
        [Details(acquired=1e9 + 40 * i) for i in range(4)],
    ],
    ids=["tilts", "foci", "minutes"],
)
def test_a_series_is_told_by_its_metadata(details):
    exposures = movie(4, (0, 0), 100)
    assert exposures_a_block(_signal(exposures)) == 1
    assert exposures_a_block(_signal(exposures, details)) == 0
    assert exposures_a_block(_signal(exposures, series="a series along z")) == 0


def test_a_tilt_series_by_its_notes(tmp_path):
    exposures = movie(3, (0, 0), 100)
    with mrcfile.new(tmp_path / "a.st") as file:
        file.set_data(np.stack(exposures))
        file.voxel_size = 0.25
    sections = "".join(f"[ZValue = {i}]\nTiltAngle = {-3 + 3 * i}\n" for i in range(3))
    (tmp_path / "a.st.mdoc").write_text(f"PixelSpacing = 0.25\n{sections}")
    with open_frames(tmp_path / "a.st", "sum") as file:
        assert file.count == 3
    (tmp_path / "a.st.mdoc").unlink()
    (tmp_path / "b.st").write_bytes((tmp_path / "a.st").read_bytes())
    with open_frames(tmp_path / "b.st", "sum") as file:
        assert file.count == 1


@pytest.mark.parametrize(
    ("name", "unit", "count"), [("time", "s", 1), ("defocus", "nm", 3), ("tilt", "deg", 3)]
)
def test_a_series_by_the_axis_of_a_file(name, unit, count, tmp_path):
    exposures = np.stack(movie(3, (0, 0), 100))
    with h5py.File(tmp_path / "a.emd", "w") as file:
        group = file.create_group("data/stack")
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", data=exposures)
        axes = [(name, unit, 1.0), ("y", "nm", STEP_NM), ("x", "nm", STEP_NM)]
        for i, (called, of, step) in enumerate(axes, start=1):
            vector = group.create_dataset(f"dim{i}", data=np.arange(exposures.shape[i - 1]) * step)
            vector.attrs["name"], vector.attrs["units"] = called, of
    with open_frames(tmp_path / "a.emd", "sum") as opened:
        assert opened.count == count


def test_an_exposure_of_another_field_within_is_said(tmp_path):
    one = field(1)
    exposures = [exposure(one, electrons=60, seed=i, side=256) for i in range(40)]
    exposures[29] = exposure(field(2), electrons=60, seed=99, side=256)
    path = write(tmp_path / "a.tif", exposures)
    with open_frames(path, "sum") as file:
        assert file.count == 1
        with pytest.raises(UnreadableFrame, match=r"exposure 29 does not.*--movie frames"):
            file.frame(0)


def test_dark_exposures_are_left_out_and_said(tmp_path):
    exposures = movie(20, (0, 0), 60)
    for index in (17, 18):
        exposures[index] = exposures[index] // 30
    with open_frames(write(tmp_path / "a.tif", exposures), "sum") as file:
        frame = file.frame(0)
    assert "2 dark exposures were left out" in frame.notes[1]
    assert frame.pixels.mean() == pytest.approx(18 * 60, rel=0.02)


def test_a_lattice_does_not_pass_for_itself_one_period_on():
    """Shifts by about half a period and more are found, not their alias."""
    one = field(4, side=512, period_nm=0.35)
    for shift in ((7, 0), (11, -9), (-13, 14)):
        pair = [exposure(one, at, 100, side=512, seed=i) for i, at in enumerate([(0, 0), shift])]
        found = match(*(x.astype(np.float32) for x in pair), STEP_NM)
        assert found.same_field
        assert np.abs(np.add(found.shift, shift)).max() < 0.3


def test_memory_does_not_grow_with_the_number_of_exposures(tmp_path):
    def peak(count):
        one = field(1, side=256)
        exposures = [exposure(one, electrons=300, seed=i, side=256) for i in range(4)]
        signal = _signal([exposures[i % 4] for i in range(count)])
        path = write(tmp_path / f"{count}.tif", exposures[:1])
        from monitor.read.movies import as_shown

        (shown,) = as_shown([signal], "sum", path)
        assert shown.count == 1
        tracemalloc.start()
        shown.load(0)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(32) < 1.3 * peak(8)


def test_dose_and_time_are_those_of_all_exposures():
    from monitor.read.movies import as_shown

    details = [Details(exposure_s=0.1, dose_e_per_A2=20.0, acquired=1e9) for _ in range(4)]
    signal = replace(_signal(movie(4, (1, 1), 100), details))
    from pathlib import Path

    (shown,) = as_shown([signal], "sum", Path(__file__))
    shown.load(0)
    told = shown.details(0)
    assert (told.exposure_s, told.dose_e_per_A2) == pytest.approx((0.4, 80.0))
    assert told.acquired == 1e9
