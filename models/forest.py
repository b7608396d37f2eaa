"""The random forest as it judges: feature rows in, probabilities of the four classes out, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from models import boosting
from models.errors import BundleRefused
from models.results import CLASSES
from models.runtime import open_session

if TYPE_CHECKING:  # scikit-learn is imported only where a forest is refitted or explained
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

#: What a skops file of ours may hold; nothing else is ever constructed.
TRUSTED = (
    "numpy.dtype",
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)

Classifier: TypeAlias = "RandomForestClassifier | HistGradientBoostingClassifier"
"""What names the classes, as scikit-learn has it."""
Forest = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""(P, F) features → (P, 4) probabilities in the order of `CLASSES`."""


def onnx_forest(path: Path, features: int, sharpening: float) -> Forest:
    """The forest in ONNX Runtime.

    Parameters
    ----------
    features : how many features a row has.
    sharpening : exponent of `sharpened`.

    Raises
    ------
    BundleRefused
        The file holds something else.
    """
    session = open_session(path, 1)
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].shape[1:] != [features] or len(session.get_outputs()) != 2:
        raise BundleRefused(f"{path} holds no forest of {features} features")
    name = inputs[0].name

    def run(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if len(rows) == 0:
            return np.zeros((0, len(CLASSES)), np.float32)
        return sharpened(np.asarray(session.run(None, {name: rows})[1], dtype=np.float32), sharpening)

    return run


def sharpened(probabilities: npt.NDArray[Any], exponent: float) -> npt.NDArray[Any]:
    """p^γ, summing to 1 again: a forest's averaged votes are too cautious, and one exponent for all mends it.

    γ is fitted on out-of-fold probabilities (`models.training.forest`), as a temperature is (Guo et al. 2017, ICML).
    """
    powered = np.power(probabilities, exponent)
    return np.asarray(powered / powered.sum(axis=1, keepdims=True))


def as_rows(values: list[dict[str, float]], names: list[str]) -> npt.NDArray[np.float32]:
    """Feature rows (P, F) in the forest's order; what is not finite becomes 0."""
    rows = np.array([[v[name] for name in names] for v in values], dtype=np.float32).reshape(
        len(values), len(names)
    )
    return np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)


def votes_of(forest: Classifier, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(R, 4) probabilities in the order of `CLASSES`, not sharpened, also of what knows fewer classes."""
    votes = np.zeros((len(rows), len(CLASSES)))
    votes[:, forest.classes_] = forest.predict_proba(rows)
    return votes


def importances(forest: Classifier) -> npt.NDArray[np.float64]:
    """(F,) the weight of each feature, summing to 1: its share in all that the splits gain."""
    own = getattr(forest, "feature_importances_", None)
    return np.asarray(boosting.importances(forest) if own is None else own)


def load_forest(path: Path) -> Classifier:
    """The scikit-learn form, from a skops file that holds nothing but a forest, or the boosting in a forest's place.

    Raises
    ------
    BundleRefused
        It holds something else.
    """
    import skops.io
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    unknown = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED)
    if unknown:
        raise BundleRefused(f"{path} holds more than a forest: {', '.join(sorted(unknown))}")
    forest = skops.io.load(path, trusted=list(TRUSTED))
    if not isinstance(forest, RandomForestClassifier | HistGradientBoostingClassifier):
        raise BundleRefused(f"{path} holds a {type(forest).__name__}, not a forest")
    return forest
