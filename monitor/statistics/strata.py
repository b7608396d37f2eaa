"""Fractions by size, by field, or by any other division of the tracks, each drawn towards that of all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monitor.statistics.confusion import Confusion
from monitor.statistics.estimate import SHARES, Estimate, estimate

Array = npt.NDArray[np.float64]

WEAKEST_PULL, STRONGEST_PULL = 1.0, 3.0
"""Tracks that the fraction of all is worth in each stratum."""
OF_OTHERS = 0.3
"""Weight in one stratum of a label from another one."""


def tally(
    called: npt.ArrayLike, stratum: npt.ArrayLike, strata: int, weights: npt.ArrayLike | None = None
) -> Array:
    """(S, 5) tracks by stratum and call.

    Parameters
    ----------
    called, stratum
        (N,) index in `CALLED`, and index of the stratum; tracks with a negative stratum are left out.
    strata
        Number S of strata.
    weights
        (N,) of the tracks, 1 each without.
    """
    c, s = np.asarray(called, int), np.asarray(stratum, int)
    w = np.ones(len(c)) if weights is None else np.asarray(weights, np.float64)
    table = np.zeros((strata, 5))
    np.add.at(table, (s[s >= 0], c[s >= 0]), w[s >= 0])
    return table


def by_size(sizes_nm: npt.ArrayLike, edges_nm: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """(N,) index of the stratum [edge i, edge i + 1) of each size; −1 outside of all."""
    sizes, edges = np.asarray(sizes_nm, np.float64), np.asarray(edges_nm, np.float64)
    found = np.searchsorted(edges, sizes, side="right") - 1
    return np.where((found < 0) | (found >= len(edges) - 1), -1, found)


def by_stratum(
    counts: npt.ArrayLike,
    confusion: Confusion | None,
    labels: npt.ArrayLike | None = None,
    design_effect: float = 1.0,
    *,
    unlike_training: bool = False,
) -> tuple[Estimate, ...]:
    """The estimate of every stratum.

    The fraction of all is worth some tracks in each stratum (partial pooling, empirical Bayes; Efron and Morris, J.
    Am. Stat. Assoc. 70, 1975, 311): the fewer, the more the strata differ. Labels of other strata tell of the
    confusion in this one, at a weight of `OF_OTHERS`. The sequences are not for one stratum of many: they hold for
    each one alone.

    Parameters
    ----------
    counts
        (S, 5) tracks without a label; see `tally`.
    confusion, design_effect, unlike_training
        As for `monitor.statistics.estimate.estimate`.
    labels
        (S, 3, 5) of the audited tracks.
    """
    tables = np.asarray(counts, np.float64)
    labelled = np.zeros((len(tables), 3, 5)) if labels is None else np.asarray(labels, np.float64)
    every = labelled.sum(axis=0)
    whole = estimate(tables.sum(axis=0), confusion, every, design_effect, unlike_training=unlike_training)
    if whole.corrected is None:
        return tuple(
            estimate(t, confusion, own, design_effect, unlike_training=unlike_training)
            for t, own in zip(tables, labelled, strict=True)
        )
    pull = strength(tables + labelled.sum(axis=1))
    shares = (SHARES[0], max(SHARES[1], pull * (1 - whole.corrected)), max(SHARES[2], pull * whole.corrected))
    return tuple(
        estimate(
            t,
            confusion,
            own,
            design_effect,
            unlike_training=unlike_training,
            shares=shares,
            elsewhere=OF_OTHERS * (every - own),
        )
        for t, own in zip(tables, labelled, strict=True)
    )


def strength(tables: Array) -> float:
    """How many tracks the fraction of all is worth in a stratum: 1 / ρ − 1, ρ the correlation of calls within strata.

    ρ by analysis of variance of called yes among called yes or no (Ridout, Demétrio and Firth, Biometrics 55, 1999,
    137, estimator ANOVA), held between `WEAKEST_PULL` and `STRONGEST_PULL`.
    """
    yes, m = tables[:, 3:].sum(axis=1), tables[:, 1:].sum(axis=1)
    yes, m = yes[m > 0], m[m > 0]
    k, total = len(m), m.sum()
    if k < 2 or total <= k:
        return STRONGEST_PULL
    share = yes.sum() / total
    between = (m * (yes / m - share) ** 2).sum() / (k - 1)
    within = (yes * (1 - yes / m)).sum() / (total - k)
    typical = (total - (m**2).sum() / total) / (k - 1)
    spread = between + (typical - 1) * within
    correlation = (between - within) / spread if spread > 0 else 0.0
    if correlation <= 0:
        return STRONGEST_PULL
    return float(np.clip(1 / correlation - 1, WEAKEST_PULL, STRONGEST_PULL))
