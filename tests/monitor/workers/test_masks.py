"""Label images: what they hold and what they are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from models.results import Analysis, Particle, ParticleClass
from monitor.errors import InputError
from monitor.workers.masks import MaskNames, label_image, write_mask


def _particle(label: int, name: ParticleClass) -> Particle:
    return Particle(label, name, (0.25, 0.25, 0.25, 0.25), False, (0, 0, 2, 2), (1.0, 1.0), 1.0, 1.0, ())


def _analysis(labels: np.ndarray, *particles: Particle) -> Analysis:
    return Analysis(labels.shape, 0.05, particles, {}, {}, "test", "none", labels.astype(np.int32))


def test_numbers_are_those_of_the_particles_and_empty_ones_are_none():
    labels = np.array([[0, 3, 3], [7, 7, 5]])
    analysis = _analysis(labels, _particle(7, "yes"), _particle(3, "empty"), _particle(5, "null"))
    np.testing.assert_array_equal(label_image(analysis), [[0, 0, 0], [1, 1, 3]])


def test_a_frame_without_particles_has_a_mask_too(tmp_path):
    write_mask(tmp_path / "a.tif", _analysis(np.zeros((20, 30))))
    mask = tifffile.imread(tmp_path / "a.tif")
    assert mask.shape == (20, 30)
    assert mask.dtype == np.int32
    assert not mask.any()


def test_a_mask_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(InputError, match="can't be written"):
        write_mask(tmp_path / "none" / "a.tif", _analysis(np.zeros((20, 30))))


def test_names_of_single_frames_and_stacks():
    names = MaskNames([Path("one.dm4"), Path("many.mrc")])
    assert names.name(Path("one.dm4"), 0, single=True) == "one.tif"
    assert [names.name(Path("many.mrc"), i, single=False) for i in (0, 12)] == ["many_0.tif", "many_12.tif"]


def test_stems_that_collide_get_the_parent_folder_before_them():
    paths = [Path("day1/a.tif"), Path("day2/a.png"), Path("day2/b.tif")]
    names = MaskNames(paths)
    assert [names.name(path, 0, single=True) for path in paths] == ["day1_a.tif", "day2_a.tif", "b.tif"]


def test_files_of_one_stem_in_one_folder_are_told_apart():
    paths = [Path("day/a.tif"), Path("day/a.dm4"), Path("x/day/a.dm4")]
    names = [MaskNames(paths).name(path, 0, single=True) for path in paths]
    assert names[0] == "day_a_tif.tif"
    assert len({name.casefold() for name in names}) == 3


def test_the_same_file_twice_has_one_name():
    names = MaskNames([Path("a.tif"), Path("./a.tif")])
    assert names.name(Path("a.tif"), 0, single=True) == "a.tif"
    assert names.name(Path("a.tif"), 0, single=True) == "a.tif"


def test_a_stack_meets_a_file_named_like_its_frame():
    names = MaskNames([Path("day/a_1.tif"), Path("day/a.mrc")])
    given = [names.name(Path("day/a_1.tif"), 0, single=True)]
    given += [names.name(Path("day/a.mrc"), i, single=False) for i in range(3)]
    assert given == ["a_1.tif", "a_0.tif", "day_a_1.tif", "a_2.tif"]
