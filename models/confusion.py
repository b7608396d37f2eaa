"""The confusion matrix as data: how many particles of each true class are called what, surely and doubtfully.

A bundle carries it as `confusion`, so that the record of a session holds it:

=============  =========================================================================================
key            meaning
=============  =========================================================================================
`true`         the classes of the rows: `models.results.CLASSES`
`called`       the columns: `CALLED`
`counts`       4 rows of 6 numbers of particles
`by`           `particle`: a particle counts once, its images share its weight of 1 evenly
`sure_from`    the probability of the likeliest class from which a call is sure
`unscored`     6 numbers: the row of particles that the rule of the truth does not score; none after a refit, which
               keeps no such particles
`strata`       `what`, `value` and `counts` of every stratum, counted in the same way within it
=============  =========================================================================================

The images of a particle are not independent of each other, and its true class can differ between them, because dose
and contrast transfer decide whether its stacking is resolved. So a particle that is `yes` in three of its images and
`null` in one adds 3/4 to the row `yes` and 1/4 to the row `null`: the matrix sums to the number of particles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.results import CLASSES, sure

CALLED = ("empty", "null", "no sure", "no doubtful", "yes sure", "yes doubtful")
"""Whether it is sure makes no difference for `empty` and `null`, which no fraction counts."""
UNSCORED = -1
"""Stands for the true class of a particle that the rule of the truth does not score."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stratum:
    """The matrix of one stratum."""

    what: str
    """By what: `dose`, `microscope`, `diameter`."""
    value: str
    counts: Floats
    """(4, 6)."""


@dataclass(frozen=True)
class Confusion:
    """A bundle's confusion matrix."""

    counts: Floats
    """(4, 6): rows `CLASSES`, columns `CALLED`."""
    unscored: Floats
    """(6,)."""
    sure_from: float
    strata: tuple[Stratum, ...]


def columns(probabilities: npt.NDArray[np.floating], sure_from: float) -> npt.NDArray[np.int64]:
    """The column of `CALLED` in which each of the calls (R, 4) counts."""
    called = probabilities.argmax(axis=1)
    first = np.array([CALLED.index(name if name in CALLED else f"{name} sure") for name in CLASSES])
    doubtful = ~sure(probabilities, sure_from) & (called >= CLASSES.index("no"))
    return np.asarray(first[called] + doubtful, dtype=np.int64)


def confusion(
    true: npt.NDArray[np.integer],
    probabilities: npt.NDArray[np.floating],
    particle: npt.NDArray[np.str_],
    sure_from: float,
    strata: Iterable[tuple[str, str, npt.NDArray[np.bool_]]] = (),
) -> dict[str, Any]:
    """The matrix as a bundle carries it; see the head of this module.

    Parameters
    ----------
    true : (R,) index into `CLASSES` of every sighting, or `UNSCORED`.
    probabilities : (R, 4).
    particle : (R,) name of the physical particle that was sighted.
    sure_from : from what probability of the likeliest class a call is sure.
    strata : what, value, and which sightings (R,) belong to it.
    """
    column = columns(probabilities, sure_from)

    def counted(here: npt.NDArray[np.bool_]) -> Floats:
        """(5, 6), the row of `UNSCORED` last."""
        _, member, images = np.unique(particle[here], return_inverse=True, return_counts=True)
        result = np.zeros((len(CLASSES) + 1, len(CALLED)))
        np.add.at(result, (true[here], column[here]), 1 / images[member])
        return result

    every = counted(np.ones(len(true), bool))
    return {
        "true": list(CLASSES),
        "called": list(CALLED),
        "counts": _plain(every[:-1]),
        "by": "particle",
        "sure_from": sure_from,
        "unscored": _plain(every[-1]),
        "strata": [
            {"what": what, "value": value, "counts": _plain(counted(here)[:-1])}
            for what, value, here in strata
        ],
    }


def _plain(counts: Floats) -> Any:
    return counts.round(3).tolist()


def confusion_of(details: dict[str, Any]) -> Confusion | None:
    """The matrix of a bundle's `bundle.json`; `None` where it has none, or none that this version understands."""
    told: Any = details.get("confusion")
    try:
        if told["true"] != list(CLASSES) or told["called"] != list(CALLED) or told["by"] != "particle":
            return None
        counts, unscored = _read(told["counts"], 4, 6), _read(told.get("unscored", [0] * 6), 6)
        strata = tuple(
            Stratum(str(one["what"]), str(one["value"]), _read(one["counts"], 4, 6)) for one in told["strata"]
        )
        return Confusion(counts, unscored, float(told["sure_from"]), strata)
    except (KeyError, TypeError, ValueError):
        return None


def _read(counts: Any, *shape: int) -> Floats:
    found = np.array(counts, dtype=np.float64)
    if found.shape != shape or not np.isfinite(found).all() or (found < 0).any():
        raise ValueError(f"no counts of shape {shape}")
    return found
