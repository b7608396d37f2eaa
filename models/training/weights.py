"""What `null` and `empty` regions weigh while a classifier is grown, chosen on validation specimens."""

from __future__ import annotations

import numpy as np

from models.examples.rows import NEGATIVE, Rows
from models.results import CLASSES
from models.training.forest_file import EMPTY_WEIGHS, Grower

NULL_WEIGHTS = (2.0, 3.0, 4.0, 6.0, 8.0)
"""What a `null` region may weigh."""
MAY_LEAK = 0.03
"""Share of the validation's `null` regions that may be called `yes` or `no`."""
EMPTY_WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""What an `empty` region may weigh."""
MAY_LOSE = 0.003
"""So much more of the validation's particles may be called `empty` for what frames of nothing teach."""
TREES_OF_A_TRIAL = 40
"""Trees of the forests by which these weights are chosen."""


def null_weight(learn: Rows, check: Rows, grower: Grower) -> tuple[float, dict[str, float]]:
    """What a `null` region weighs, and the share of `null` regions that leaks by what it weighs.

    It is the least of `NULL_WEIGHTS` with which at most `MAY_LEAK` of the `null` regions in `check` are called `yes` or
    `no`; where none is enough, or there is nothing to judge by, the largest.
    """
    here = check.of(check.classes == CLASSES.index("null"))
    leaks: dict[str, float] = {}
    for weighs in NULL_WEIGHTS:
        if not len(here.classes):
            break
        forest = grower.smaller(TREES_OF_A_TRIAL).new(weighs).fit(learn.features, learn.classes)
        called = forest.predict(here.features)
        leaks[f"{weighs:g}"] = float((called >= CLASSES.index("no")).mean())
        if leaks[f"{weighs:g}"] <= MAY_LEAK:
            return weighs, leaks
    return NULL_WEIGHTS[-1], leaks


def empty_weight(
    learn: Rows, check: Rows, grower: Grower, null_weighs: float
) -> tuple[float, dict[str, float]]:
    """What an `empty` region weighs, and the share of particles in `check` that is called `empty`, by what it weighs.

    It is the largest of `EMPTY_WEIGHTS` with which that share is at most `MAY_LOSE` above that of a forest which has
    learnt from no frames of nothing (`untaught`); where none is, the least.
    """
    here = check.of(check.classes != CLASSES.index("empty"))
    if not len(here.classes):
        return EMPTY_WEIGHS, {}

    def lost(rows: Rows, weighs: float) -> float:
        forest = grower.smaller(TREES_OF_A_TRIAL).new(null_weighs, weighs).fit(rows.features, rows.classes)
        return float((forest.predict(here.features) == CLASSES.index("empty")).mean())

    untaught = learn.of(~np.char.startswith(learn.specimen, NEGATIVE))
    shares = {"untaught": lost(untaught, EMPTY_WEIGHS)}
    for weighs in sorted(EMPTY_WEIGHTS, reverse=True):
        shares[f"{weighs:g}"] = lost(learn, weighs)
        if shares[f"{weighs:g}"] <= shares["untaught"] + MAY_LOSE:
            return weighs, shares
    return min(EMPTY_WEIGHTS), shares
