"""Gradient boosting in the forest's place: judged by ONNX as by scikit-learn, explained, and refitted as what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.boosting import contributions, trees_of
from models.bundle import SHIPPED, load_bundle
from models.examples.corrections import Corrections
from models.examples.rows import Rows, rows_file, save_rows
from models.explain.explanation import contributions as explained
from models.features.measure import feature_names
from models.forest import importances, load_forest, onnx_forest
from models.results import CLASSES
from models.training.derive import derive
from models.training.forest_file import BOOSTING, Grower, new_boosting, save_forest
from models.training.refit import refit

NAMES = feature_names()[:3]


def rows(count: int, seed: int) -> Rows:
    """Regions of which the first feature tells the class, but for `no` and `yes`, which the third tells apart."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % len(CLASSES)
    features = rng.normal(0, 1, (count, 3)).astype(np.float32)
    features[:, 0] += 3 * np.minimum(classes, 2)
    features[:, 2] += 3 * (classes == 3)
    specimen = np.array([f"s{seed}-{n // 8}" for n in range(count)])
    particle = np.array([f"{s}/{n}" for n, s in enumerate(specimen)])
    told = np.full(count, 300.0), np.full(count, "a"), np.full(count, 4.0), np.full(count, "train")
    return Rows(features, classes, particle, specimen, *told, np.ones(count, bool), NAMES)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two files of a boosting that has learnt from `rows`."""
    folder = tmp_path_factory.mktemp("boosting")
    learn = rows(600, 1)
    save_forest(new_boosting(25, 1, 2.0, 0.5).fit(learn.features, learn.classes), folder)
    return folder


def test_onnx_judges_as_scikit_learn_does(files: Path) -> None:
    """Also where a feature lies on a threshold, or next to it in single precision."""
    boosting, judge = load_forest(files / "forest.skops"), onnx_forest(files / "forest.onnx", 3, 1.0)
    some = rows(400, 2).features
    np.testing.assert_allclose(judge(some), boosting.predict_proba(some), atol=2e-6)
    at = [
        (node["feature_idx"], np.float32(node["num_threshold"]))
        for _, nodes in trees_of(boosting)
        for node in nodes[nodes["is_leaf"] == 0]
    ]
    assert len(at) > 300
    edges = np.repeat(some[:1], 3 * len(at), axis=0)
    for number, (feature, threshold) in enumerate(at):
        sides = (np.nextafter(threshold, np.float32(s)) for s in (-np.inf, np.inf))
        for k, value in enumerate((threshold, *sides)):
            edges[3 * number + k, feature] = value
    np.testing.assert_allclose(judge(edges), boosting.predict_proba(edges), atol=2e-6)


def test_contributions_sum_to_the_probabilities(files: Path) -> None:
    boosting = load_forest(files / "forest.skops")
    some = rows(8, 3).features
    for row, p in zip(some, boosting.predict_proba(some), strict=True):
        before, parts = contributions(boosting, row)
        np.testing.assert_allclose(before + parts.sum(axis=0), p, atol=1e-9)
        np.testing.assert_allclose(parts.sum(axis=1), 0, atol=1e-9)
        assert before.sum() == pytest.approx(1)
        assert np.array_equal(explained(boosting, row)[1], parts)
    yes = np.array([9.0, 0.0, 4.0], np.float32)  # two columns' worth of `yes`, and nothing said by the noise
    parts = contributions(boosting, yes)[1][:, CLASSES.index("yes")]
    assert parts[2] > 0.2
    assert abs(parts[1]) < 0.1 * parts[2]


def test_importances_are_what_splits_gain(files: Path) -> None:
    told = importances(load_forest(files / "forest.skops"))
    assert told.sum() == pytest.approx(1)
    assert told[1] < 0.2 * min(told[0], told[2])


def test_a_refit_grows_what_the_bundle_has(files: Path, tmp_path: Path) -> None:
    grower = Grower(BOOSTING, 25)
    derive(
        SHIPPED,
        tmp_path / "old",
        forest=files,
        provenance={},
        figures={"features": NAMES, "sharpening": 0.9, "forest": grower.as_dict()},
    )
    save_rows(rows_file(tmp_path / "old"), rows(600, 1), rows(80, 4))
    rng = np.random.default_rng(5)
    features = rng.normal(0, 1, (30, 3)).astype(np.float32) + np.array([6, 9, 0], np.float32)
    told = Corrections(features, NAMES, np.full(30, 3), np.array([str(n // 3) for n in range(30)]), "monday")
    result = refit(tmp_path / "old", told, tmp_path / "new")
    new = load_bundle(tmp_path / "new", "cpu")
    assert Grower.of(new.details["forest"]) == grower
    assert new.details["sharpening"] == 0.9
    assert list(trees_of(load_forest(tmp_path / "new" / "forest.skops")))
    assert result.comparison["old"]["corrected"] < 5
    assert result.comparison["new"]["corrected"] > 25
    judged = new.forest(features)
    assert (judged.argmax(axis=1) == 3).all()
