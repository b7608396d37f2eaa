"""Rows made for the tests of studies."""

import numpy as np

from models.examples.rows import Rows


def rows_of(
    classes: np.ndarray, specimen: np.ndarray, split: str = "test", doses: tuple[float, ...] = (80.0,)
) -> Rows:
    """Regions of true classes and specimens, with one feature that says nothing; the doses [e/Å²] take turns."""
    count = len(classes)
    return Rows(
        np.zeros((count, 1), np.float32),
        classes,
        specimen,
        specimen,
        np.resize(doses, count).astype(float),
        np.full(count, "corrected"),
        np.full(count, 4.0),
        np.full(count, split),
        np.ones(count, bool),
        ["a"],
    )
