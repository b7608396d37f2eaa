"""The fraction of a session: as counted, corrected, and with its interval.

Of the particles whose stacking is resolved, in a stated range of sizes, the share that holds at least one planar fault.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.statistics.confusion import Confusion
from monitor.statistics.fraction import LEVEL
from monitor.statistics.posterior import Posterior, mixture, posterior

Array = npt.NDArray[np.float64]

CONDITIONS = (80.0, 15.0)
"""Particles that a row of the confusion is worth at most beside labelled tracks of the session: where its conditions
are like the bundle's, and where they are not. The rates of a session differ from the bundle's as Dirichlet draws of
this concentration would, however many particles the bundle was measured on: a power prior (Ibrahim and Chen, Stat.
Sci. 15, 2000, 46) of weight c / (c + particles)."""
LIKELY = (0.7, 0.3)
"""Of the two, before the session is seen; calls and labels move it. A robust mixture prior (Schmidli et al.,
Biometrics 70, 2014, 1023): the bundle counts for much until the session contradicts it."""
ENOUGH_LABELS = 20
"""Labels without which a session unlike the training, or a bundle without confusion, gets no interval."""
LARGEST_MISFIT = 16.0
"""Of `Posterior.misfit`; chi-squared with 2 degrees of freedom is beyond it in 3 of 10,000."""
SHARES = (0.5, 0.5, 0.5)
"""Dirichlet parameters of the shares of `TRUE`: Jeffreys' for the fraction."""

#: What is assumed of the rows before any bundle or label: a call is right more often than wrong. Worth 2 particles.
WEAKEST = np.array([[1.0, 0.2, 0.3, 0.2, 0.3], [0.3, 0.7, 0.5, 0.2, 0.3], [0.3, 0.2, 0.3, 0.7, 0.5]])


@dataclass(frozen=True)
class Estimate:
    """The fraction of one session or one part of it, at `LEVEL`."""

    counted: float | None
    """Called yes / (called yes + called no), over tracks."""
    corrected: float | None
    """Median of the posterior."""
    interval: tuple[float, float] | None
    """Of `corrected`, equal tails; for one look at a number of tracks that was fixed before."""
    sequence: tuple[float, float] | None
    """Of `corrected`, valid at every look: see `monitor.statistics.sequence`."""
    n: float
    """Tracks called yes or no, labelled ones among them."""
    effective_n: float
    """The same over the design effect."""
    labels: int
    reason: str | None
    """Why there is no interval; None where there is one."""


def estimate(
    counts: npt.ArrayLike,
    confusion: Confusion | None,
    labels: npt.ArrayLike | None = None,
    design_effect: float = 1.0,
    *,
    unlike_training: bool = False,
    shares: tuple[float, float, float] = SHARES,
    elsewhere: npt.ArrayLike | None = None,
) -> Estimate:
    """The fraction with its interval; the same every time for the same arguments, in about 10 ms.

    Parameters
    ----------
    counts
        (5,) tracks *without* a label, by `CALLED`; weighted ones need not be whole numbers.
    confusion
        Of the bundle; None where it has none.
    labels
        (3, 5) audited tracks by `TRUE` and `CALLED`. Which tracks are labelled may depend on their call, not on
        anything else that tells of their truth: a correction that somebody made because the call looked wrong is no
        label.
    design_effect
        By which fields make the tracks worth less than as many independent ones; see `design_effect`.
    unlike_training
        The frames are unlike the bundle's training.
    shares
        Dirichlet parameters of the shares of `TRUE`.
    elsewhere
        (3, 5) labels of other tracks, which tell how the classifier errs, but not of these tracks' fraction.
    """
    unlabelled, labelled = checked(counts, labels, design_effect)
    every = unlabelled + labelled.sum(axis=0)
    judged, number = float(every[1:].sum()), round(float(labelled.sum()))
    counted = float(every[3:].sum() / judged) if judged > 0 else None

    given = counted, judged, judged / design_effect, number
    reason = _silent(judged, number, confusion, unlike_training)
    if reason is not None:
        return _without(*given, reason)
    rows, weights = prior_rows(confusion, unlike_training)
    if elsewhere is not None:
        rows = rows + np.asarray(elsewhere, np.float64)
    found = posterior_of(
        unlabelled[None], labelled[None], rows[None], weights, np.array([design_effect]), np.array([shares])
    )
    if not enough_known(found, number)[0]:
        why = "the calls are unlike those that the bundle was measured on"
        return _without(*given, f"{why}: {ask(number)}")
    low, middle, high = (float(found.quantile(p)[0]) for p in ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2))
    sequence = confidence_sequence(found)[0]
    return Estimate(counted, middle, (low, high), sequence, judged, judged / design_effect, number, None)


def _silent(judged: float, labels: int, confusion: Confusion | None, unlike_training: bool) -> str | None:
    """Why nothing can be said before anything is computed."""
    if judged == 0 and not labels:
        return "no track is called yes or no yet"
    if labels < ENOUGH_LABELS and confusion is None:
        return f"the bundle has no confusion matrix: {ask(labels)}"
    if labels < ENOUGH_LABELS and unlike_training:
        return f"these frames are unlike the training: {ask(labels)}"
    return None


def _without(counted: float | None, n: float, effective_n: float, labels: int, reason: str) -> Estimate:
    return Estimate(counted, None, None, None, n, effective_n, labels, reason)


def prior_rows(confusion: Confusion | None, unlike_training: bool = False) -> tuple[Array, Array]:
    """Dirichlet parameters of the rows, (M, 3, 5), and the weights (M,) of these M priors.

    What is assumed at least, and the confusion, discounted for other conditions.
    """
    if confusion is None:
        return WEAKEST[None].copy(), np.ones(1)
    at_most = np.array(CONDITIONS[1:] if unlike_training else CONDITIONS)[:, None, None]
    particles = confusion.counts.sum(axis=1, keepdims=True)
    weights = np.ones(1) if unlike_training else np.array(LIKELY)
    return np.asarray(WEAKEST + confusion.counts * at_most / (at_most + particles)), weights


def posterior_of(
    unlabelled: Array, labelled: Array, rows: Array, weights: Array, effect: Array, shares: Array
) -> Posterior:
    """The posterior of B sessions, their counts deflated by the design effect of each.

    Labelled tracks are fewer in a field, so their own effect is smaller: 1 + (effect − 1) × the share labelled, for an
    effect is 1 + (tracks a field − 1) × correlation (Kish, Survey Sampling, 1965).

    Parameters
    ----------
    unlabelled, labelled, shares
        (B, 5), (B, 3, 5), (B, 3), as `monitor.statistics.posterior.posterior` takes them.
    rows, weights
        (B, M, 3, 5), (M,), of M priors as `prior_rows` gives them.
    effect
        (B,) at least 1.
    """
    number = labelled.sum(axis=(1, 2))
    every = np.maximum(unlabelled.sum(axis=1) + number, 1e-9)
    of_labels = 1 + (effect - 1) * number / every
    given = unlabelled / effect[:, None], labelled / of_labels[:, None, None]
    counts, labels = (np.repeat(a, len(weights), axis=0) for a in given)
    parts = posterior(counts, labels, rows.reshape(-1, 3, 5), np.repeat(shares, len(weights), axis=0))
    return mixture(parts, weights, shares)


def enough_known(found: Posterior, labels: float | Array) -> npt.NDArray[np.bool_]:
    """(B,) whether the calls are such as the bundle's rates could give, or there are labels enough to do without."""
    return np.asarray((found.misfit <= LARGEST_MISFIT) | (labels >= ENOUGH_LABELS))


def confidence_sequence(found: Posterior, level: float = LEVEL) -> list[tuple[float, float]]:
    """Where the posterior is above (1 − level) × the prior, for each session: valid at every look.

    Prior over posterior at the true fraction is the ratio of a mixture's likelihood to the truth's, a martingale from
    1; it ever exceeds 1 / (1 − level) with probability 1 − level at most (Ville's inequality). This is the method of
    mixtures (Robbins, Ann. Math. Stat. 41, 1970, 1397; Howard et al., Ann. Stat. 49, 2021, 1055) in the form of
    Waudby-Smith and Ramdas (NeurIPS 33, 2020; their J. R. Stat. Soc. B 86, 2024, 1 has the wider family).
    """
    evidence = found.log_density - found.log_prior - np.log(1 - level)
    result = []
    for logit, above in zip(found.logit, evidence, strict=True):
        inside = np.flatnonzero(above > 0)
        ends = []
        for at, step in ((inside[0], -1), (inside[-1], 1)):
            out = at + step
            if 0 <= out < len(logit):
                ends.append(logit[at] + (logit[out] - logit[at]) * above[at] / (above[at] - above[out]))
            else:
                ends.append(step * np.inf)
        low, high = 1 / (1 + np.exp(-np.array(ends)))
        result.append((float(low), float(high)))
    return result


def checked(counts: npt.ArrayLike, labels: npt.ArrayLike | None, design_effect: float) -> tuple[Array, Array]:
    """Counts (5,) and labels (3, 5) as arrays.

    Raises
    ------
    ValueError
        Where they have another shape, are negative or no numbers, or the design effect is below 1.
    """
    unlabelled = np.asarray(counts, np.float64)
    labelled = np.zeros((3, 5)) if labels is None else np.asarray(labels, np.float64)
    if unlabelled.shape != (5,) or labelled.shape != (3, 5):
        raise ValueError("counts are 5, labels 3 x 5")
    if not all(np.isfinite(a).all() and (a >= 0).all() for a in (unlabelled, labelled)):
        raise ValueError("counts and labels are numbers, and not negative")
    if not design_effect >= 1:
        raise ValueError("a design effect is at least 1")
    return unlabelled, labelled


def ask(labels: int) -> str:
    """What to ask the operator for, with so many labels there."""
    return f"audit {ENOUGH_LABELS - labels} tracks"
