"""Audits: which tracks an observer is asked to label, and how well two observers agree."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from monitor.statistics.fraction import Z, wilson

LIKELIHOOD = (0.25, 0.25, 0.40, 0.35, 0.45)
"""By `CALLED`: how likely a track is to be drawn, beside the others. Doubtful ones tell most, `other` ones least."""

MOST_OTHER = 0.5
"""Share of the labels that tracks called `other` get at most, however many they are."""


@dataclass(frozen=True)
class Audit:
    """The tracks to label, in the order in which they are to be shown."""

    tracks: tuple[int, ...]
    """Indices of the tracks given."""
    probabilities: tuple[float, ...]
    """With which each of them was to be drawn, among the tracks without a label."""


def draw(called: npt.ArrayLike, labelled: npt.ArrayLike, number: int, seed: int) -> Audit:
    """Draw tracks for an audit: at random within each call, more of the doubtful calls.

    The number drawn of a call depends on the calls alone, so within a call the labelled ones are a fair sample, as
    `monitor.statistics.estimate` needs. Every call that is there gets at least one, where `number` allows.

    Parameters
    ----------
    called
        (N,) index in `CALLED` of each track.
    labelled
        (N,) whether it has a label already; these are never drawn.
    number
        Tracks to draw; fewer come where there are fewer.
    seed
        The same seed and tracks give the same draw.
    """
    index, free = np.asarray(called, int), ~np.asarray(labelled, bool)
    there = np.bincount(index[free], minlength=5)
    chosen = allocated(there, number)
    rng = np.random.default_rng(seed)
    tracks = np.concatenate(
        [
            rng.choice(np.flatnonzero(free & (index == call)), size, replace=False)
            for call, size in enumerate(chosen)
        ]
    )
    tracks = rng.permutation(tracks)
    probabilities = (chosen / np.maximum(there, 1))[index[tracks]]
    return Audit(tuple(tracks.tolist()), tuple(probabilities.tolist()))


def allocated(there: npt.NDArray[np.int64], number: int) -> npt.NDArray[np.int64]:
    """How many of each call: one each, then one by one where the share drawn lags most behind `LIKELIHOOD`."""
    chosen = np.zeros(5, int)
    aim = np.array(LIKELIHOOD) * there
    aim[0] = min(aim[0], MOST_OTHER / (1 - MOST_OTHER) * aim[1:].sum()) if aim[1:].any() else aim[0]
    for _ in range(min(max(number, 0), int(there.sum()))):
        lag = np.where(chosen < there, np.where(chosen == 0, 1e9, 1) * aim / (chosen + 0.5), -1)
        chosen[int(lag.argmax())] += 1
    return chosen


@dataclass(frozen=True)
class Agreement:
    """Cohen's κ of two observers."""

    kappa: float
    interval: tuple[float, float]
    n: int


def agreement(table: npt.ArrayLike) -> Agreement | None:
    """Cohen's κ (Educ. Psychol. Meas. 20, 1960, 37) with its interval.

    The variance is that of Fleiss, Cohen and Everitt (Psychol. Bull. 72, 1969, 323). Where the observers agree on all,
    it is 0; Wilson's lower end of the agreement stands for the interval's then. None without any track, or where both
    observers gave one and the same label to all.

    Parameters
    ----------
    table
        (K, K) tracks by the label of the first observer (rows) and of the second.
    """
    counts = np.asarray(table, np.float64)
    n = counts.sum()
    if n == 0:
        return None
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    seen, chance = float(np.trace(p)), float(rows @ columns)
    if chance >= 1:
        return None
    kappa = (seen - chance) / (1 - chance)
    if seen == 1:
        low = (wilson(int(n), int(n)) or (0.0, 1.0))[0]
        return Agreement(kappa, ((low - chance) / (1 - chance), 1.0), int(n))
    crossed = columns[:, None] + rows[None, :]
    """Column's share of the row's label and row's share of the column's."""
    diagonal = (np.diag(p) * (1 - np.diag(crossed) * (1 - kappa)) ** 2).sum()
    off = (1 - kappa) ** 2 * ((p * crossed**2).sum() - (np.diag(p) * np.diag(crossed) ** 2).sum())
    variance = (diagonal + off - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    half = Z * sqrt(max(variance, 0.0))
    return Agreement(kappa, (max(-1.0, kappa - half), min(1.0, kappa + half)), int(n))
