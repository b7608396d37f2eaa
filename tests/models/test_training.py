"""Training by the project's own commands, on a data set made for the test: small, but every step is the real one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.bundle import SHIPPED, describe, load_bundle
from models.errors import ModelError
from models.evaluate import as_text, evaluate
from models.preprocess import Preprocessing
from models.shards import examples_by_split
from models.train_forest import (
    background_patch,
    calibration_error,
    load_rows,
    rates,
    rows_file,
    truth_of_regions,
)
from models.train_forest import train as train_forest
from models.train_unet import Settings, batches, train
from sim.dataset import simulate
from sim.presets import Order

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, sparse_films: Callable[[Path, int], None]) -> Path:
    folder = tmp_path_factory.mktemp("data")
    sparse_films(folder, 5)
    simulate(folder, Order(seed=5), specimens=10)
    return folder


def test_splits_share_no_specimen(data: Path) -> None:
    specimens = [
        {about["specimen"] for about in examples_by_split(data, [split]).about}
        for split in ("train", "validation", "test")
    ]
    assert [len(s) for s in specimens] == [8, 1, 1]
    assert not specimens[0] & specimens[1]
    assert not specimens[0] & specimens[2]


def test_a_training_learns_goes_on_and_follows_its_seed(data: Path, tmp_path: Path) -> None:
    settings = Settings(width=4, steps=6, batch=2, round_steps=3)
    whole = train(data, tmp_path / "whole", settings)
    # The same, interrupted after its first round: the rest of the files of an interrupted training stay.
    train(data, tmp_path / "parts", settings)
    again = (tmp_path / "parts" / "unet.safetensors").read_bytes()
    assert again == whole.read_bytes()
    curves = json.loads((tmp_path / "whole" / "checkpoint.json").read_text())["curves"]
    assert [c["step"] for c in curves] == [3, 6]
    assert all(np.isfinite(c["loss"]) for c in curves)
    with pytest.raises(ModelError, match="other settings"):
        train(data, tmp_path / "whole", Settings(width=8, steps=6))


def test_batches_depend_on_seed_and_step_alone(data: Path) -> None:
    examples = examples_by_split(data, ["train"])
    settings, preprocessing = Settings(batch=2), Preprocessing()
    stream = batches(examples, settings, preprocessing, 0)
    next(stream)
    second = next(stream)
    (image, wanted) = next(batches(examples, settings, preprocessing, 1))
    np.testing.assert_array_equal(image, second[0])
    np.testing.assert_array_equal(wanted, second[1])
    assert image.shape == (2, 1, 256, 256)
    assert wanted.shape == (2, 2, 256, 256)


def test_a_forest_makes_a_bundle_that_loads_and_scores_itself(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    details = train_forest(data, SHIPPED, out, name="mine", trees=8)
    assert details["metrics"]["cross_validation"]["regions"] > 0
    bundle = load_bundle(out, "cpu")
    assert bundle.id.startswith("mine-")
    assert bundle.id == describe(out)[0]
    assert "macro-F1" in as_text(evaluate(out))
    learn, check = load_rows(rows_file(out))
    assert learn.features.shape == (len(learn.classes), len(bundle.feature_names))
    assert not set(learn.specimen) & set(check.specimen)
    measured = evaluate(out, data, most=8)
    assert 0 <= measured["segmentation"]["dice"] <= 1
    assert set(measured["false_area"]) == {"noise", "ramp", "dark", "saturated", "fringes"}
    with pytest.raises(ModelError, match="holds no trained network"):
        train_forest(data, tmp_path, out, name="mine")


def test_regions_take_the_class_of_what_they_cover() -> None:
    truth = np.zeros((128, 128), np.uint8)
    truth[20:50, 20:50], truth[20:50, 70:100] = 1, 2
    found = np.zeros((128, 128), np.int32)
    found[22:52, 22:52] = 1  # on the first
    found[20:50, 70:80] = 2  # a third of the second: not scored
    found[80:100, 40:60] = 3  # on nothing
    found[120:128, 0:30] = 4  # cut by the border
    particles = [
        {"label": 1, "class": "yes", "whole": True},
        {"label": 2, "class": "no", "whole": True},
    ]
    assert list(truth_of_regions(found, truth, particles)) == [(1, "yes", 1), (3, "empty", 0)]
    particles[0]["class"] = None
    assert list(truth_of_regions(found, truth, particles)) == [(3, "empty", 0)]


def test_background_patches_lie_on_the_background() -> None:
    truth = np.zeros((256, 256), np.uint8)
    truth[:, :100] = 1
    found = np.zeros((256, 256), np.int32)
    added = background_patch(found, truth, np.random.default_rng(0))
    assert added is not None
    assert added.max() == 1
    assert not (truth[added == 1] > 0).any()
    truth[:] = 1
    assert background_patch(found, truth, np.random.default_rng(0)) is None


def test_calibration_error_of_known_cases() -> None:
    truth = np.array([0] * 75 + [1] * 25)
    certain = np.tile([1.0, 0, 0, 0], (100, 1))
    honest = np.tile([0.75, 0.25, 0, 0], (100, 1))
    assert calibration_error(truth, certain) == pytest.approx(0.25)
    assert calibration_error(truth, honest) == pytest.approx(0.0)


def test_rates_count_particles_not_sightings(data: Path, tmp_path: Path) -> None:
    """Eight images of one particle are one particle, by the share of them that was called rightly."""
    from models.train_forest import Rows

    n = 12
    classes = np.array([3] * 8 + [2] * 4)
    particle = np.array(["a"] * 8 + ["b", "b", "c", "c"])
    probabilities = np.zeros((n, 4))
    probabilities[:8, 3] = 1
    probabilities[8:10, 2] = 1  # b: right twice
    probabilities[10:, 3] = 1  # c: wrong twice
    rows = Rows(np.zeros((n, 1)), classes, particle, particle, np.ones(n), particle, ["x"])
    assert rates(rows, probabilities) == {"sensitivity": [1, 1], "specificity": [1, 2]}
