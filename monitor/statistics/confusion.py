"""How the classifier of a bundle errs, as numbers of particles by truth and call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.confusion import CALLED as CALLED_BY_A_BUNDLE
from models.confusion import confusion_of as of_bundle
from models.results import CLASSES

TRUE = ("other", "no", "yes")
"""`other`: no particle, or one whose stacking is not resolved; it does not belong to the fraction."""

CALLED = ("other", "no sure", "no doubtful", "yes sure", "yes doubtful")
"""Doubtful: the probability of the call is below the bundle's `abstain_below`."""

_TRUTH = {"empty": 0, "null": 0, "no": 1, "yes": 2}
_CALL = {"empty": 0, "null": 0, **{name: index for index, name in enumerate(CALLED)}}


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

    Particles that the rule of the truth does not score are `other`. A bundle with `rates` alone has no confusion: they
    do not say how often an `other` particle is called `yes`, which is the largest error of the fraction where most
    particles are not resolved.
    """
    told = of_bundle(details)
    return None if told is None else pooled(told.counts, told.unscored)


def pooled(
    counts: npt.NDArray[np.float64], unscored: npt.NDArray[np.float64] | None = None
) -> Confusion | None:
    """A bundle's counts by `TRUE` and `CALLED`; None where a row of them is empty.

    Parameters
    ----------
    counts : (4, 6), of particles by `models.results.CLASSES` and `models.confusion.CALLED`.
    unscored : (6,), the row of particles that the rule of the truth does not score.
    """
    found = np.zeros((len(TRUE), len(CALLED)))
    called = [_CALL[name] for name in CALLED_BY_A_BUNDLE]
    for true, row in zip([_TRUTH[name] for name in CLASSES], counts, strict=True):
        np.add.at(found[true], called, row)
    if unscored is not None:
        np.add.at(found[0], called, unscored)
    return Confusion(found) if (found.sum(axis=1) > 0).all() else None
