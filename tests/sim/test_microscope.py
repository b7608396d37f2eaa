"""The virtual microscope, its library and the data sets, made small but real."""

import json
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest

from sim.dataset import PRESETS, make_shard, simulate, split_of
from sim.library import load_library
from sim.microscope import DirectoryCamera, Story, play, take_frames


def test_frames_follow_the_seed_and_differ_from_each_other() -> None:
    library = load_library()
    story = Story(frames=2, size=512, seed=3)
    first, again = list(take_frames(story, library)), list(take_frames(story, library))
    np.testing.assert_array_equal(first[0].counts, again[0].counts)
    assert first[1].truth() == again[1].truth()
    assert (first[0].counts != first[1].counts).mean() > 0.5


def test_truth_lies_where_the_particles_are() -> None:
    (taken,) = take_frames(Story(frames=1, size=1024, seed=5, dose_e_per_A2=2000), load_library())
    assert taken.counts.shape == (1024, 1024)
    assert taken.counts.dtype == np.uint16
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


def test_a_field_is_seen_again_until_the_stage_moves() -> None:
    frames = list(take_frames(Story(frames=4, size=512, seed=2, frames_per_field=2), load_library()))
    assert [f.field for f in frames] == [0, 0, 1, 1]
    assert {p["id"] for p in frames[0].particles} & {p["id"] for p in frames[1].particles}
    assert not {p["id"] for p in frames[1].particles} & {p["id"] for p in frames[2].particles}


def test_playing_into_a_directory_keeps_the_rate_and_writes_the_truth(tmp_path: Path) -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    status = play(
        str(tmp_path / "frames"),
        frames=3,
        rate=0.5,
        size=512,
        seed=1,
        truth=tmp_path / "truth.jsonl",
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


def test_a_camera_refuses_a_format_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no format bmp"):
        DirectoryCamera(tmp_path, "bmp")


@pytest.mark.slow
def test_a_shard_is_reproducible_and_documented(tmp_path: Path) -> None:
    assert simulate(tmp_path / "a", specimens=1, seed=9, preset="lattice") == 1
    assert simulate(tmp_path / "a", specimens=1, seed=9, preset="lattice") == 0  # it is there
    make = tmp_path / "b"
    make.mkdir()
    make_shard(make, "lattice", 9, 0, 1)
    with h5py.File(tmp_path / "a" / "lattice-00000.h5") as one, h5py.File(make / "lattice-00000.h5") as two:
        np.testing.assert_array_equal(one["images"][:], two["images"][:])
        assert list(one["about"].asstr()[:]) == list(two["about"].asstr()[:])
        assert one["images"].shape == (PRESETS["lattice"].draws, 256, 256)
        about = json.loads(one["about"].asstr()[0])
        assert about["split"] == split_of(0)
        for p in about["particles"]:
            assert p["label"] in one["labels"][0]
    with pytest.raises(ValueError, match="from seed 9, not 10"):
        simulate(tmp_path / "a", specimens=1, seed=10, preset="lattice")
    with pytest.raises(ValueError, match="no preset"):
        simulate(tmp_path / "a", specimens=1, seed=9, preset="nonsense")
