"""The ONNX form of a forest: it says what scikit-learn says, and holds nothing that says nothing."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from sklearn.ensemble import RandomForestClassifier

from models.bundle import SHIPPED
from models.forest import load_forest
from models.training.forest_file import Grower, save_forest

FEATURES = 5


def grown(classes: int) -> tuple[RandomForestClassifier, np.ndarray]:
    """A forest that knows the last so many classes, and (600, 5) rows, of which some lie on its thresholds."""
    rng = np.random.default_rng(classes)
    rows = rng.normal(size=(600, FEATURES)).astype(np.float32).round(1)
    forest = Grower(size=12).new().set_params(class_weight=None)
    forest.fit(rows, 4 - classes + (rows[:, 0] + rng.normal(size=600) > 0) * rng.integers(0, classes, 600))
    thresholds = np.concatenate([one.tree_.threshold[one.tree_.feature >= 0] for one in forest.estimators_])
    rows[:300] = rng.choice(thresholds, (300, FEATURES)).astype(np.float32)
    return forest, rows


def judged(file: Path, rows: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(str(file))
    return list(session.run(None, {session.get_inputs()[0].name: rows}))


@pytest.mark.parametrize("classes", [4, 3])
def test_onnx_says_what_scikit_learn_says(classes: int, tmp_path: Path) -> None:
    forest, rows = grown(classes)
    save_forest(forest, tmp_path)
    called, probabilities = judged(tmp_path / "forest.onnx", rows)
    wanted = load_forest(tmp_path / "forest.skops").predict_proba(rows)
    np.testing.assert_allclose(probabilities, wanted, atol=1e-6)
    sure = np.ptp(np.sort(wanted, axis=1)[:, -2:], axis=1) > 1e-6
    np.testing.assert_array_equal(called[sure], forest.classes_[wanted.argmax(axis=1)][sure])


def test_no_weight_of_nothing_is_written(tmp_path: Path) -> None:
    forest, _ = grown(4)
    save_forest(forest, tmp_path)
    for file in (tmp_path / "forest.onnx", SHIPPED / "forest.onnx"):
        (operator,) = onnx.load(file).graph.node
        attributes = {attribute.name: attribute for attribute in operator.attribute}
        assert min(attributes["class_weights"].floats) > 0
        assert "nodes_hitrates" not in attributes
