"""What clustered or weighted tracks are worth: design effect by fields, effective number by weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CORRELATION = 0.05
"""Between tracks of one field, assumed before any field is seen."""
WORTH = 8.0
"""Fields that this assumption is worth."""


def design_effect(yes: npt.ArrayLike, judged: npt.ArrayLike) -> float:
    """By which fields widen the variance of the fraction of yes, at least 1.

    The variance of the ratio Σ yes / Σ judged between fields, by linearisation (Cochran, Sampling Techniques, 1977,
    chapter 6; Kish, Survey Sampling, 1965), over that of as many independent tracks. Few fields say little of it: their
    value is averaged with that of `CORRELATION`, as if that came from `WORTH` fields.

    Parameters
    ----------
    yes, judged
        Tracks called yes, and called yes or no, of each field; fields without a judged track are left out.
    """
    y, m = np.asarray(yes, np.float64), np.asarray(judged, np.float64)
    if y.shape != m.shape or y.ndim != 1 or (y < 0).any() or (y > m).any():
        raise ValueError("of each field a number of yes among its judged")
    y, m = y[m > 0], m[m > 0]
    products = float((y**2).sum()), float((y * m).sum()), float((m**2).sum())
    return design_effect_of_sums(len(m), float(y.sum()), float(m.sum()), products)


def design_effect_of_sums(
    fields: int, yes: float, judged: float, products: tuple[float, float, float]
) -> float:
    """The same from sums over the fields, which a session keeps up to date.

    Parameters
    ----------
    products
        Sums of yes², yes × judged and judged².
    """
    if fields == 0 or judged <= 1:
        return 1.0
    yy, ym, mm = products
    assumed = 1 + CORRELATION * max(0.0, mm / judged - 1)
    if fields == 1:
        return assumed
    share = (yes + 0.5) / (judged + 1)
    squares = max(0.0, yy - 2 * share * ym + share**2 * mm)
    between = fields / (fields - 1) * squares / judged**2
    seen = between / (share * (1 - share) / judged)
    return float(max(1.0, ((fields - 1) * seen + WORTH * assumed) / (fields - 1 + WORTH)))


def effective_number(weights: npt.ArrayLike) -> float:
    """(Σ w)² / Σ w²: as many equal ones would be worth (Kish 1965, section 11.7); 0 of none."""
    w = np.asarray(weights, np.float64)
    return float(w.sum() ** 2 / (w**2).sum()) if w.size and (w > 0).any() else 0.0


def weighted_counts(called: npt.ArrayLike, weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(5,) weights summed by call, scaled so that together they are the effective number.

    Parameters
    ----------
    called
        (N,) index in `CALLED` of each track.
    weights
        (N,) such as those of `monitor.statistics.inclusion`.
    """
    index, w = np.asarray(called, int), np.asarray(weights, np.float64)
    sums = np.bincount(index, w, 5)
    return np.asarray(sums * (effective_number(w) / sums.sum()) if sums.sum() > 0 else sums)
