"""The confusion is read from a bundle's details, and only where it can be used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.bundle import load_bundle
from monitor.statistics.confusion import (
    CALLED,
    Confusion,
    called_category,
    confusion_of,
    pooled,
    true_category,
)

TABLE: dict[str, Any] = {
    "true": ["empty", "null", "no", "yes"],
    "called": ["empty", "null", "no sure", "no doubtful", "yes sure", "yes doubtful"],
    "by": "particle",
    "sure_from": 0.6,
    "unscored": [0, 0, 0, 0, 2, 3],
    "strata": [],
    "counts": [[9, 1, 0, 0.5, 0, 0], [2, 20, 1, 0, 0, 1], [0, 3, 30, 4, 2, 1], [0, 2, 3, 4, 40, 5]],
}


def test_what_is_no_particle_not_resolved_or_unscored_is_other() -> None:
    confusion = confusion_of({"confusion": TABLE})
    assert confusion is not None
    assert confusion.counts.tolist() == [[32, 1, 0.5, 2, 4], [3, 30, 4, 2, 1], [2, 3, 4, 40, 5]]
    alone = pooled(np.array(TABLE["counts"], float))
    assert alone is not None
    assert alone.counts[0].tolist() == [32, 1, 0.5, 0, 1]


def test_the_shipped_bundle_has_one() -> None:
    confusion = confusion_of(load_bundle().details)
    assert confusion is not None
    assert (confusion.counts.sum(axis=1) > 50).all()


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"rates": {"sensitivity": [86, 100], "specificity": [188, 200]}},
        {"confusion": None},
        {"confusion": {"all": {"yes": {"yes": [1, 2]}}}},  # as bundles that were never released had it
        {"confusion": {**TABLE, "counts": [[1, 2]]}},
        {"confusion": {**TABLE, "called": [*TABLE["called"][:-1], "maybe"]}},
        {"confusion": {**TABLE, "counts": [[-1, 0, 0, 0, 0, 0]] * 4}},
        {"confusion": {**TABLE, "counts": [["x"] * 6] * 4}},
        {"confusion": {**TABLE, "counts": [[0] * 6] * 4}},
    ],
)
def test_what_can_not_be_used_is_none(details: dict[str, Any]) -> None:
    assert confusion_of(details) is None


def test_categories_of_tracks_and_labels() -> None:
    assert [CALLED[called_category(*c)] for c in (("null", True), ("no", False), ("yes", True))] == [
        "other",
        "no sure",
        "yes doubtful",
    ]
    assert [true_category(name) for name in ("empty", "null", "no", "yes")] == [0, 0, 1, 2]


def test_a_confusion_has_its_shape() -> None:
    with pytest.raises(ValueError, match="3 x 5"):
        Confusion(np.ones((4, 4)))
