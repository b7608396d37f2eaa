"""What the forest learns from: regions as the network finds them, and those that it nearly marked."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.examples.rows import Finder, truth_of_regions
from models.preprocess import Preprocessing
from models.segment import Calibration, Segmentation

SIZE = 128


def disc(row: int, col: int, radius: int) -> npt.NDArray[np.bool_]:
    rows, cols = np.mgrid[:SIZE, :SIZE]
    return (rows - row) ** 2 + (cols - col) ** 2 < radius**2


#: Probabilities: a particle, a false region, one nearly marked, and a doubtful half of a particle that is not found.
PARTS = ((30, 30, 0.95), (30, 95, 0.9), (95, 30, 0.4), (95, 95, 0.4))


def network(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    maps = np.full((1, 2, *image.shape[2:]), 0.02, np.float32)
    for row, col, probability in PARTS:
        maps[:, :, disc(row, col, 15)] = probability
    return np.asarray(np.log(maps / (1 - maps)))


def test_what_is_nearly_marked_is_learnt_as_empty_and_changes_nothing_else() -> None:
    finder = Finder(Path(), Preprocessing(), Calibration(), Segmentation())
    truth = np.zeros((SIZE, SIZE), np.uint8)
    truth[disc(30, 30, 15)] = 1
    truth[disc(95, 110, 10)] = 2
    particles = [{"label": 1, "whole": True, "class": "no"}, {"label": 2, "whole": True, "class": "null"}]
    image = np.zeros((SIZE, SIZE), np.float32)

    (plain, marked), (more, as_many) = finder.regions(image, network), finder.regions(image, network, truth)
    assert marked == as_many == 2
    np.testing.assert_array_equal(plain[plain > 0], more[plain > 0])
    assert plain.max() == 2
    assert more.max() == 3
    assert (more[disc(95, 30, 14)] == 3).all()  # the doubtful one on nothing
    assert not more[disc(95, 95, 14)].any()  # the other one touches a particle
    told = {region: name for region, name, _ in truth_of_regions(more, truth, particles)}
    assert told == {1: "no", 2: "empty", 3: "empty"}
