"""The stacking-fault fraction: as counted, corrected for misclassification, and its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

#: Of every interval that the program shows.
LEVEL = 0.95

#: Standard normal quantile at (1 + LEVEL) / 2.
Z = 1.959963984540054


@dataclass(frozen=True)
class Rate:
    """A rate that was measured: k of n."""

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.k <= self.n:
            raise ValueError(f"{self.k} of {self.n} is no rate")

    @property
    def value(self) -> float:
        """k / n."""
        return self.k / self.n


@dataclass(frozen=True)
class Rates:
    """Sensitivity and specificity of the classifier, measured on specimens that it never saw."""

    sensitivity: Rate
    """Of true `yes` called yes or no: those called yes."""
    specificity: Rate
    """Of true `no` called yes or no: those called no."""


@dataclass(frozen=True)
class Fraction:
    """`yes` / (`yes` + `no`), of faults that could be seen."""

    counted: float | None
    """As called; None before there is any `yes` or `no`."""
    corrected: float | None
    """What it is likely to be, given how often the classifier errs; None where that is not known."""
    interval: tuple[float, float] | None
    """Of `corrected`, at `LEVEL`."""


def rates_of(details: dict[str, Any]) -> Rates | None:
    """The rates that a bundle was shipped with, None where it has none or was measured on nothing."""
    try:
        sensitivity, specificity = (
            Rate(*map(int, details["rates"][k])) for k in ("sensitivity", "specificity")
        )
    except (KeyError, TypeError, ValueError):
        return None
    return Rates(sensitivity, specificity) if sensitivity.n and specificity.n else None


def fraction(yes: float, no: float, rates: Rates | None) -> Fraction:
    """The fraction of `yes` among `yes` and `no`, with correction and interval where the rates allow.

    The correction is Rogan and Gladen's (Am. J. Epidemiol. 107, 1978, 71), held within [0, 1]; its interval
    is Lang and Reiczigel's (Prev. Vet. Med. 113, 2014, 13), which carries that sensitivity and specificity
    are themselves only known from samples.
    """
    if yes + no == 0:
        return Fraction(None, None, None)
    counted = yes / (yes + no)
    if rates is None:
        return Fraction(counted, None, None)
    return Fraction(counted, rogan_gladen(counted, rates), lang_reiczigel(yes, yes + no, rates))


def rogan_gladen(apparent: float, rates: Rates) -> float | None:
    """P = (AP + Sp − 1) / (Se + Sp − 1) within [0, 1]; None where sensitivity + specificity is at most 1."""
    youden = rates.sensitivity.value + rates.specificity.value - 1
    if youden <= 0:
        return None
    return _clipped((apparent + rates.specificity.value - 1) / youden)


def lang_reiczigel(yes: float, n: float, rates: Rates, z: float = Z) -> tuple[float, float] | None:
    """Interval of the corrected fraction, carrying the uncertainty of the rates; None as for `rogan_gladen`.

    Equations 6, 7, 16 and 17 of the paper, primes written as `_`.
    """
    n_se, n_sp = rates.sensitivity.n + 2, rates.specificity.n + 2
    se_, sp_ = (rates.sensitivity.k + 1) / n_se, (rates.specificity.k + 1) / n_sp
    youden = se_ + sp_ - 1
    if youden <= 0 or n == 0:
        return None
    n_ = n + z**2
    ap_ = (yes + z**2 / 2) / n_
    p_ = (ap_ + sp_ - 1) / youden
    var_se, var_sp = se_ * (1 - se_) / n_se, sp_ * (1 - sp_) / n_sp
    shift = 2 * z**2 * (p_ * var_se - (1 - p_) * var_sp)
    half = z * math.sqrt(ap_ * (1 - ap_) / n_ + p_**2 * var_se + (1 - p_) ** 2 * var_sp) / youden
    return _clipped(p_ + shift - half), _clipped(p_ + shift + half)


def wilson(k: int, n: int, z: float = Z) -> tuple[float, float] | None:
    """Wilson's interval of a plain fraction k of n, None where n is 0."""
    if n == 0:
        return None
    middle = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * math.sqrt(k * (n - k) / n + z**2 / 4)
    return _clipped(middle - half), _clipped(middle + half)


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value))
