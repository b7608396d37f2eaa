"""Training by the project's own commands, on a data set made for the test: small, but every step is the real one."""

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.bundle import SHIPPED, describe, load_bundle
from models.confusion import confusion_of
from models.errors import ModelError
from models.evaluation.class_scores import (
    by_stratum,
    calibration_error,
    calibration_error_by_chance,
    confusion,
    rates,
    rates_by_condition,
)
from models.evaluation.evaluate import as_text, evaluate
from models.evaluation.judge import false_areas
from models.examples.augment import NEGATIVES
from models.examples.batches import Drawing, Pool, batches, targets
from models.examples.collecting import Source, collect
from models.examples.rows import NEGATIVE, Rows, background_patch, load_rows, rows_file, truth_of_regions
from models.examples.shards import examples_by_split
from models.examples.strata import preset_of
from models.preprocess import Preprocessing
from models.training.checkpoint import Run
from models.training.forest import finder_of, regrow
from models.training.forest import train as train_forest
from models.training.forest_file import Grower
from models.training.progress import score
from models.training.unet import Settings, learning_rate, loss_of, train
from models.training.weights import EMPTY_WEIGHTS, NULL_WEIGHTS
from models.unet import Architecture, architecture_of
from sim.dataset.make import simulate
from sim.dataset.presets import Order

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


TINY = Architecture(width=4, levels=2)


def test_an_interrupted_training_goes_on_as_if_nothing_had_been(discs: Path, tmp_path: Path) -> None:
    settings = Settings(TINY, steps=6, batch=2, round_steps=2)
    whole = train(discs, tmp_path / "whole", settings)

    class Stopped(Exception):
        pass

    steps = 0

    def stop_at_the_sixth(logits: torch.Tensor, wanted: torch.Tensor, boundary: float) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 6:
            raise Stopped
        return loss_of(logits, wanted, boundary)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.unet.loss_of", stop_at_the_sixth)
        with pytest.raises(Stopped):
            train(discs, tmp_path / "parts", settings)
    assert not (tmp_path / "parts" / "unet.safetensors").exists()
    again = train(discs, tmp_path / "parts", settings)
    assert again.read_bytes() == whole.read_bytes()
    with (tmp_path / "whole" / "curves.csv").open() as one, (tmp_path / "parts" / "curves.csv").open() as two:
        assert one.read() == two.read()
    with pytest.raises(ModelError, match="other settings"):
        train(discs, tmp_path / "whole", replace(settings, seed=2))


def test_ctrl_c_keeps_the_step_reached(discs: Path, tmp_path: Path) -> None:
    """Even in the middle of a step; weights of the last look are written, and the rest is as if nothing had been."""
    settings = Settings(TINY, steps=6, batch=2, round_steps=2)
    whole, seen = train(discs, tmp_path / "whole", settings), []

    def pressed_at_the_third(logits: torch.Tensor, wanted: torch.Tensor, boundary: float) -> torch.Tensor:
        seen.append(1)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)
        return loss_of(logits, wanted, boundary)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.unet.loss_of", pressed_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            train(discs, tmp_path / "parts", settings)
        assert json.loads((tmp_path / "parts" / "training.json").read_text())["steps"] == 3
        assert train(discs, tmp_path / "parts", settings).read_bytes() == whole.read_bytes()
    assert len(seen) == 6
    assert (tmp_path / "whole" / "curves.csv").read_text() == (tmp_path / "parts" / "curves.csv").read_text()


def test_a_training_learns(discs: Path, tmp_path: Path) -> None:
    """Dark discs on noise are an easy thing to learn."""
    settings = Settings(
        Architecture(width=6, levels=3), steps=60, batch=4, round_steps=20, learning_rate=1e-2, average=0.9,
        drawing=Drawing(negatives=0.1, randomise=False),
    )  # fmt: skip
    train(discs, tmp_path, settings)
    told = json.loads((tmp_path / "training.json").read_text())
    assert told["validation"]["dice_lattice"] > 0.8
    assert architecture_of(told) == settings.architecture
    assert {"false_bare", "false_noise", "score"} <= set(told["validation"])
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size[0] > 1000


def test_a_time_budget_ends_a_training_and_outlives_an_interruption(discs: Path, tmp_path: Path) -> None:
    settings = Settings(TINY, steps=1000, minutes=0.03, batch=2, round_steps=4)
    train(discs, tmp_path, settings)
    told = json.loads((tmp_path / "training.json").read_text())
    assert 0 < told["steps"] < 1000
    assert told["seconds"] >= 1.8
    weights = (tmp_path / "unet.safetensors").read_bytes()
    train(discs, tmp_path, settings)  # the budget is spent
    assert (tmp_path / "unet.safetensors").read_bytes() == weights
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == told["steps"]


def test_a_damaged_checkpoint_is_said(discs: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(ModelError, match="is damaged"):
        train(discs, tmp_path, Settings(TINY, steps=2))


def test_it_ends_early_without_progress() -> None:
    run = Run({}, Path("none"))
    run.curves += [{"score": reached} for reached in (0.1, 0.5, 0.4, 0.3)]
    assert run.stopped(2)
    assert not run.stopped(3)
    assert not run.stopped(0)  # which says never


def test_the_score_falls_when_any_one_thing_collapses() -> None:
    good = {"dice_lattice": 0.9, "dice_overview": 0.9, "false_noise": 0.001, "false_bare": 0.001}
    for name, bad in (
        ("dice_lattice", 0.3),
        ("dice_overview", 0.3),
        ("false_noise", 0.3),
        ("false_bare", 0.3),
    ):
        assert score({**good, name: bad}) < score(good) - 0.2


def test_the_learning_rate_rises_and_falls() -> None:
    settings = Settings(steps=100, learning_rate=1.0)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (4, 5)
    assert rates[-1] < 0.02
    assert all(a >= b for a, b in pairwise(rates[5:]))


def test_pixels_at_an_outline_weigh_more_where_asked() -> None:
    wanted = torch.zeros(1, 2, 32, 32)
    wanted[..., 8:24, 8:24] = 1
    wrong_at_border, wrong_inside = (torch.full((1, 2, 32, 32), 8.0) * (2 * wanted - 1) for _ in range(2))
    wrong_at_border[:, 0, 8, 8:24] = -8
    wrong_inside[:, 0, 15, 8:24] = -8
    wrong_inside[:, 0, 15, 8:11] = 8
    wrong_inside[:, 0, 15, 21:24] = 8
    plain = [float(loss_of(x, wanted)) for x in (wrong_at_border, wrong_inside)]
    weighed = [float(loss_of(x, wanted, 4.0)) for x in (wrong_at_border, wrong_inside)]
    assert weighed[0] - plain[0] > 3 * (weighed[1] - plain[1])


def test_batches_depend_on_seed_and_step_alone(data: Path) -> None:
    examples = examples_by_split(data, ["train"])
    drawing, preprocessing = Drawing(), Preprocessing()
    pool = Pool(examples, drawing.weights)
    stream = batches(pool, drawing, preprocessing, 2, 1, 0)
    next(stream)
    second = next(stream)
    (image, wanted) = next(batches(pool, drawing, preprocessing, 2, 1, 1))
    np.testing.assert_array_equal(image, second[0])
    np.testing.assert_array_equal(wanted, second[1])
    assert image.shape == (2, 1, 256, 256)
    assert wanted.shape == (2, 2, 256, 256)


def test_presets_come_as_often_as_they_weigh(discs: Path) -> None:
    pool = Pool(examples_by_split(discs, ["train"]), {"lattice": 0.9, "bare": 0.1, "soot": 5.0})
    rng = np.random.default_rng(0)
    drawn = [preset_of(pool.data.about[pool.draw(rng)]) for _ in range(500)]
    assert drawn.count("lattice") / 500 == pytest.approx(0.9, abs=0.04)
    assert set(drawn) == {"lattice", "bare"}


def test_touching_particles_have_cores_apart() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[10:50, 10:30], labels[10:50, 30:52] = 1, 2
    particle, core = targets(torch.from_numpy(labels)[None], 0.05)[0].numpy()
    assert particle[30, 29] == particle[30, 30] == 1
    assert core[30, 29] == core[30, 30] == 0
    assert core[30, 20] == core[30, 41] == 1


def test_a_forest_makes_a_bundle_that_loads_and_scores_itself(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.evaluation.evaluate.false_areas", partial(false_areas, each=2))
    out = tmp_path / "mine"
    details = train_forest([data], SHIPPED, out, name="mine", grower=Grower(size=8), negatives=2)
    assert details["metrics"]["cross_validation"]["regions"] > 0
    bundle = load_bundle(out, "cpu")
    assert bundle.id.startswith("mine-")
    assert bundle.id == describe(out)[0]
    assert "macro-F1" in as_text(evaluate(out))
    learn, check = load_rows(rows_file(out))
    assert learn.features.shape == (len(learn.classes), len(bundle.feature_names))
    assert not set(learn.specimen) & set(check.specimen)
    measured = evaluate(out, data, most=8)
    assert measured["data"]["specimens"] == 1
    assert set(measured["false_area"]) == set(NEGATIVES)
    with pytest.raises(ModelError, match="holds no trained network"):
        train_forest([data], tmp_path, out, name="mine")


def test_a_forest_is_grown_anew_on_the_network_of_a_bundle(data: Path, tmp_path: Path) -> None:
    """And what was collected is kept: a second forest needs none of the images, and is the same."""
    kept = tmp_path / "kept"
    details = regrow(
        SHIPPED, [data], tmp_path / "next", name="next", grower=Grower(size=8), keep=kept, negatives=2
    )
    before = describe(SHIPPED)[1]
    assert load_bundle(tmp_path / "next", "cpu").id.startswith("next-")
    assert details["parent"] == describe(SHIPPED)[0]
    same = ("unet.onnx", "unet.int8.onnx", "unet.safetensors")
    assert {f: details["sha256"][f] for f in same} == {f: before["sha256"][f] for f in same}
    assert details["sha256"]["forest.onnx"] != before["sha256"]["forest.onnx"]
    for told in ("calibration", "segmentation", "likeness", "preferred_backend"):
        assert details[told] == before[told]
    assert not {"version", "metrics_of"} & set(details)
    assert details["forest"]["null_weighs"] in NULL_WEIGHTS
    assert details["forest"]["empty_weighs"] in EMPTY_WEIGHTS
    confusion = confusion_of(details)
    assert confusion is not None
    assert confusion.counts.sum() > 0

    times = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    again = regrow(
        SHIPPED, [data], tmp_path / "again", name="next", grower=Grower(size=8), keep=kept, negatives=2
    )
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == times
    assert again["sha256"]["forest.onnx"] == details["sha256"]["forest.onnx"]
    finder = finder_of(SHIPPED)
    rows = collect(Source((data,), finder, keep=kept, negatives=2))
    assert set(rows.split) == {"train", "validation", "test"}
    assert rows.marked[rows.split != "train"].all()  # what only teaches is not judged by
    of_two = collect(Source((data, data), finder, keep=kept, negatives=2))
    simulated = [np.sum(~np.char.startswith(one.specimen, NEGATIVE)) for one in (rows, of_two)]
    assert simulated[1] == 2 * simulated[0] > 0
    part = next(path for path in kept.iterdir() if path.name.startswith("lattice"))
    with np.load(part) as stored:
        assert stored["crops"].shape == (len(stored["classes"]), 96, 96)


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


def test_the_calibration_error_of_chance_falls_with_the_number_of_regions() -> None:
    honest = np.tile([0.75, 0.25, 0, 0], (1600, 1))
    few, many = calibration_error_by_chance(honest[:100]), calibration_error_by_chance(honest)
    assert few == pytest.approx(np.sqrt(2 / np.pi * 0.75 * 0.25 / 100), rel=0.4)  # mean of |normal|
    assert many < few / 2
    assert calibration_error_by_chance(honest[:0]) == 0.0


def test_strata_are_scored_apart() -> None:
    truth = np.array([1, 1, 1, 1, 3, 3])
    probabilities = np.eye(4)[[1, 3, 2, 0, 3, 1]]
    found = by_stratum(truth, probabilities, ["a", "a", "b", "", "b", "b"])
    assert list(found) == ["a", "b"]
    assert found["a"]["leaks"] == 0.5
    assert found["b"]["leaks"] == 1.0
    assert found["b"]["regions"] == 3
    assert found["b"]["calibration_error"] == pytest.approx(2 / 3)
    assert by_stratum(truth[4:], probabilities[4:], ["a", "a"])["a"]["leaks"] is None


def test_rates_count_particles_not_sightings(data: Path, tmp_path: Path) -> None:
    """Eight images of one particle are one particle, by the share of them that was called rightly."""
    n = 12
    classes = np.array([3] * 8 + [2] * 4)
    particle = np.array(["a"] * 8 + ["b", "b", "c", "c"])
    probabilities = np.zeros((n, 4))
    probabilities[:8, 3] = 1
    probabilities[8:10, 2] = 1  # b: right twice
    probabilities[10:, 3] = 1  # c: wrong twice
    dose, microscope = np.array([80.0] * 10 + [300.0] * 2), np.array(["corrected"] * n)
    told = dose, microscope, np.full(n, 4.0), np.full(n, "test"), np.ones(n, bool)
    rows = Rows(np.zeros((n, 1)), classes, particle, particle, *told, ["x"])
    assert rates(rows, probabilities) == {"sensitivity": [1, 1], "specificity": [1, 2]}
    by_condition = rates_by_condition(rows, probabilities)
    assert by_condition["dose"] == {
        "60 to 100 e/Å²": {"sensitivity": [1, 1], "specificity": [1, 1]},
        "200 to 400 e/Å²": {"sensitivity": [0, 0], "specificity": [0, 1]},
    }
    matrix = confusion(rows, probabilities)
    assert matrix["counts"][3][4] == 1  # a, called yes surely
    assert matrix["counts"][2][2] == matrix["counts"][2][4] == 1  # b and c
    named = {(one["what"], one["value"]) for one in matrix["strata"]}
    assert named == {(what, value) for what, found in by_condition.items() for value in found}
    assert list(by_condition["diameter"]) == ["3 to 5 nm"]
    assert by_condition["microscope"] == {"corrected": rates(rows, probabilities)}
