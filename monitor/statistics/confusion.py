"""How the classifier of a bundle errs, as numbers of particles by truth and call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

TRUE = ("other", "no", "yes")
"""`other`: no particle, or one whose stacking is not resolved; it does not belong to the fraction."""

CALLED = ("other", "no sure", "no doubtful", "yes sure", "yes doubtful")
"""Doubtful: the probability of the call is below the bundle's `abstain_below`."""

_TRUTH = {"empty": 0, "null": 0, "unscored": 0, "no": 1, "yes": 2}
_CALL = {
    name: index
    for index, names in enumerate(
        (
            ("empty", "empty sure", "empty doubtful", "null", "null sure", "null doubtful"),
            ("no sure",),
            ("no doubtful",),
            ("yes sure",),
            ("yes doubtful",),
        )
    )
    for name in names
}


@dataclass(frozen=True)
class Confusion:
    """Particles that the classifier never saw in training, by `TRUE` and `CALLED`; each counts once."""

    counts: npt.NDArray[np.float64]
    """(3, 5), not negative; parts of particles are possible, where the images of one were called differently."""

    def __post_init__(self) -> None:
        if self.counts.shape != (3, 5) or not np.isfinite(self.counts).all() or (self.counts < 0).any():
            raise ValueError("a confusion has 3 x 5 counts that are not negative")


def called_category(name: str, doubtful: bool) -> int:
    """The index in `CALLED` of a track of class `empty`, `null`, `no` or `yes`."""
    return _CALL[name if name in ("empty", "null") else f"{name} {'doubtful' if doubtful else 'sure'}"]


def true_category(name: str) -> int:
    """The index in `TRUE` of a label `empty`, `null`, `no` or `yes`."""
    return _TRUTH[name]


def confusion_of(details: dict[str, Any]) -> Confusion | None:
    """The confusion that a bundle was shipped with, None where it has none that can be used.

    Two forms are read: `{"true": [...], "called": [...], "counts": [[...]]}`, and `{"all": {true: {called: [sure,
    doubtful]}}}`. A bundle with `rates` alone has none: they do not say how often an `other` particle is called `yes`,
    which is the largest error of the fraction where most particles are not resolved.
    """
    found = details.get("confusion")
    try:
        cells = list(_cells(found))
        counts = np.zeros((3, 5))
        for true, called, number in cells:
            counts[_TRUTH[true], _CALL[called]] += number
        confusion = Confusion(counts)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    return confusion if (counts.sum(axis=1) > 0).all() else None


def _cells(found: Any) -> list[tuple[str, str, float]]:
    if "counts" in found:
        return [
            (true, called, float(number))
            for true, row in zip(found["true"], found["counts"], strict=True)
            for called, number in zip(found["called"], row, strict=True)
        ]
    return [
        (true, f"{called} {doubt}", float(number))
        for true, row in found["all"].items()
        for called, pair in row.items()
        for doubt, number in zip(("sure", "doubtful"), pair, strict=True)
    ]
