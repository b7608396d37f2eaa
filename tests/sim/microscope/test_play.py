"""The virtual microscope: frames, what is true of them, and where they go."""

import json
from dataclasses import replace
from math import hypot
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from sim.microscope.library import Library, load_library
from sim.microscope.play import DirectoryCamera, Taken, play, take_frames
from sim.microscope.story import (
    BeamLoss,
    BlankField,
    Charging,
    Contamination,
    DoseChange,
    FrozenFrame,
    OffFocus,
    OffZoneField,
    Story,
)

STILL = {"jitter_nm": 0.0, "drift_nm": 0.0}


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library()


def frames_of(library: Library, **told: object) -> list[Taken]:
    return list(take_frames(Story(**{"size": 512, "frames": 2, **told}), library))  # type: ignore[arg-type]


def power(taken: Taken, low: float, high: float) -> float:
    """Mean power of a frame between two frequencies [nm⁻¹], its electrons' white noise being 1."""
    counts = taken.counts.astype(float)
    even = counts / counts.mean() - 1
    along = np.fft.fftfreq(counts.shape[0], taken.pixel_size_nm)
    k = np.hypot(along[:, None], along[None, :])
    camera = taken.conditions.camera
    electrons = taken.conditions.dose_e_per_A2 * 100 * taken.pixel_size_nm**2 * camera.dqe
    return float((np.abs(np.fft.fft2(even)) ** 2)[(k > low) & (k < high)].mean() / even.size * electrons)


def lattice_contrast(taken: Taken) -> float:
    """Power where the lattices have their spots, over that of the electrons' noise."""
    return power(taken, 2.5, 5.0)


def test_frames_follow_the_seed_and_differ_from_each_other(library: Library) -> None:
    first, again = frames_of(library, seed=3), frames_of(library, seed=3)
    np.testing.assert_array_equal(first[0].counts, again[0].counts)
    assert first[1].truth() == again[1].truth()
    assert (first[0].counts != first[1].counts).mean() > 0.5
    other = frames_of(library, seed=4)
    assert (first[0].counts != other[0].counts).mean() > 0.5


def test_truth_lies_where_the_particles_are(library: Library) -> None:
    (taken,) = frames_of(library, frames=1, size=1024, seed=5, dose_e_per_A2=2000)
    assert taken.counts.shape == (1024, 1024)
    assert taken.counts.dtype == np.uint16
    assert len(taken.particles) >= 3
    assert {p["class"] for p in taken.particles} <= {"yes", "no", "null", None}
    counts = taken.counts.astype(float)
    rough = np.abs(np.diff(counts, axis=0))[:, :-1] + np.abs(np.diff(counts, axis=1))[:-1]
    inside = np.zeros(rough.shape, bool)
    for p in taken.particles:
        r0, c0, r1, c1 = p["bbox"]
        inside[r0:r1, c0:c1] = True
        assert r0 <= p["centroid"][0] < r1
        assert c0 <= p["centroid"][1] < c1
    assert rough[inside].mean() > 1.05 * rough[~inside].mean()


def test_a_field_is_seen_again_until_the_stage_moves(library: Library) -> None:
    frames = frames_of(library, frames=4, seed=2, frames_per_field=2)
    assert [f.field for f in frames] == [0, 0, 1, 1]
    assert {p["id"] for p in frames[0].particles} & {p["id"] for p in frames[1].particles}
    assert not {p["id"] for p in frames[1].particles} & {p["id"] for p in frames[2].particles}


def test_particles_drift_by_the_stated_offsets(library: Library) -> None:
    frames = frames_of(library, frames=4, frames_per_field=4, size=768, seed=6, drift_nm=2.0)
    moved = [tuple(x / f.pixel_size_nm for x in f.offset_nm) for f in frames]
    assert hypot(*moved[3]) > 3 * 2.0 / 0.025 * 0.8
    compared = 0
    for one, other, start, end in zip(frames, frames[1:], moved, moved[1:], strict=False):
        before = {p["id"]: p["centroid"] for p in one.particles if p["whole"]}
        for p in other.particles:
            if p["whole"] and p["id"] in before:
                compared += 1
                for axis in (0, 1):
                    way = p["centroid"][axis] - before[p["id"]][axis]
                    assert way == pytest.approx(end[axis] - start[axis], abs=1.0)
    assert compared >= 3
    # The picture itself moves by as much: the frames correlate best at that shift.
    a, b = (f.counts.astype(float) - f.counts.mean() for f in frames[:2])
    cross = np.fft.ifft2(np.fft.fft2(b) * np.conj(np.fft.fft2(a))).real
    peak = np.unravel_index(cross.argmax(), cross.shape)
    shift = [(n + 384) % 768 - 384 for n in peak]
    assert shift == pytest.approx([end - start for start, end in zip(*moved[:2], strict=True)], abs=1.0)


def test_drift_brings_new_particles_in_and_takes_others_out(library: Library) -> None:
    frames = frames_of(library, frames=6, frames_per_field=6, seed=1, drift_nm=3.0)
    first, last = ({p["id"] for p in f.particles} for f in (frames[0], frames[-1]))
    assert last - first
    assert first - last


# -- events ------------------------------------------------------------------------------------------------


def test_without_beam_there_is_the_dark_level(library: Library) -> None:
    frames = frames_of(library, frames=3, events=(BeamLoss(first=1, last=1),))
    assert frames[1].counts.mean() == pytest.approx(100, abs=2)
    assert frames[0].counts.mean() > 400
    assert frames[1].events == ("beam_loss",)
    assert {p["class"] for p in frames[1].particles} <= {"null"}


def test_a_frozen_camera_gives_the_same_pixels_again(library: Library) -> None:
    frames = frames_of(library, frames=4, events=(FrozenFrame(first=2, last=3),))
    np.testing.assert_array_equal(frames[1].counts, frames[3].counts)
    assert (frames[0].counts != frames[1].counts).mean() > 0.5
    assert [f.repeats for f in frames] == [None, None, 1, 1]
    assert frames[3].truth()["particles"] == frames[1].truth()["particles"]


def test_the_dose_scales_the_counts(library: Library) -> None:
    frames = frames_of(
        library, frames=4, frames_per_field=4, events=(DoseChange(first=2, factor=0.25),), **STILL
    )
    bright, dim = (frames[i].counts.mean() - 100 for i in (1, 2))
    expected = frames[2].conditions.dose_e_per_A2 / frames[1].conditions.dose_e_per_A2
    assert dim / bright == pytest.approx(expected, rel=0.02)
    assert expected < 0.4


def test_out_of_focus_the_coarse_contrast_rises(library: Library) -> None:
    """sin(π λ C1 k²) lets low frequencies through; the lattice stays as far as the illumination is parallel."""
    frames = frames_of(
        library, frames=2, frames_per_field=2, dose_e_per_A2=1500,
        events=(OffFocus(first=1, last=1, defocus_nm=-400),), **STILL,
    )  # fmt: skip
    assert power(frames[1], 0.5, 1.5) > 5 * power(frames[0], 0.5, 1.5)
    assert frames[1].conditions.defocus_nm == pytest.approx(frames[0].conditions.defocus_nm - 400, abs=5)


def test_charging_blurs_and_shifts(library: Library) -> None:
    frames = frames_of(
        library, frames=4, frames_per_field=4, dose_e_per_A2=1500,
        events=(Charging(first=1, last=3, blur_nm=0.6),), **STILL,
    )  # fmt: skip
    assert lattice_contrast(frames[3]) < 0.7 * lattice_contrast(frames[0])
    assert hypot(*frames[3].offset_nm) == pytest.approx(1.5, abs=0.05)
    assert frames[3].conditions.illumination > frames[0].conditions.illumination


def test_a_hole_is_blank_and_a_bent_grid_shows_no_fault(library: Library) -> None:
    frames = frames_of(
        library, frames=3, size=1024, fault_fraction=1.0, events=(BlankField(first=1), OffZoneField(first=2))
    )
    assert frames[1].particles == []
    assert lattice_contrast(frames[1]) < 1.0  # the MTF takes some of the noise
    assert lattice_contrast(frames[0]) > 2.5 * lattice_contrast(frames[1])
    assert frames[2].particles
    assert {p["class"] for p in frames[2].particles} == {"null"}


def test_contamination_darkens_nothing_but_adds_grain(library: Library) -> None:
    frames = frames_of(
        library, frames=4, frames_per_field=4, density_per_nm2=0.0, defocus_nm=-40, dose_e_per_A2=2000,
        events=(Contamination(first=1, last=3, thickness_nm=20),), **STILL,
    )  # fmt: skip
    assert frames[3].counts.std() > 1.1 * frames[0].counts.std()


# -- where the frames go ------------------------------------------------------------------------------------


def test_playing_into_a_directory_keeps_the_rate_and_writes_the_truth(
    tmp_path: Path, library: Library
) -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    status = play(
        str(tmp_path / "frames"),
        Story(frames=3, size=512, seed=1),
        rate=0.5,
        truth=tmp_path / "truth.jsonl",
        library=library,
        clock=lambda: now[0],
        sleep=sleep,
    )
    assert status == 0
    assert slept == [2.0, 2.0]
    lines = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2]
    with mrcfile.open(tmp_path / "frames" / "frame_00002.mrc") as file:
        assert file.data.shape == (512, 512)
        assert float(file.voxel_size.x) == pytest.approx(0.25, rel=1e-5)  # Å


@pytest.mark.parametrize("file_format", ["tif", "npy"])
def test_other_formats_hold_the_same_pixels(tmp_path: Path, library: Library, file_format: str) -> None:
    (taken,) = frames_of(library, frames=1)
    DirectoryCamera(tmp_path, file_format).give(taken)
    path = tmp_path / f"frame_00000.{file_format}"
    read = tifffile.imread(path) if file_format == "tif" else np.load(path)
    np.testing.assert_array_equal(read, taken.counts)


def test_a_camera_refuses_a_format_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no format bmp"):
        DirectoryCamera(tmp_path, "bmp")


def test_a_frames_number_does_not_depend_on_what_is_asked_before(library: Library) -> None:
    story = Story(frames=4, size=512, seed=8)
    whole = list(take_frames(story, library))
    shorter = list(take_frames(replace(story, fault_fraction=None), library))
    np.testing.assert_array_equal(whole[3].counts, shorter[3].counts)
