"""May I stop? How far the confidence sequence of the fraction is from a goal, and what would bring it there.

The sequence itself is `monitor.statistics.estimate.confidence_sequence`: it may be looked at after every frame, and the
session be stopped whenever it is narrow enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

import numpy as np
import numpy.typing as npt

from monitor.statistics.audit import allocated
from monitor.statistics.confusion import Confusion
from monitor.statistics.estimate import (
    ENOUGH_LABELS,
    SHARES,
    checked,
    confidence_sequence,
    enough_known,
    posterior_of,
    prior_rows,
)
from monitor.statistics.posterior import MOST

Array = npt.NDArray[np.float64]

FACTORS = 1.5 ** np.arange(1, 15)
"""By which the tracks are multiplied to see how many are needed: up to 290."""
AUDITS = (10, 20, 40, 80, 160, 320, 640)
"""Labels more that are tried."""


@dataclass(frozen=True)
class Goal:
    """Where a session stands on its way to ± `half_width`."""

    half_width: float
    now: float | None
    """Half of the sequence's width; None where there is none."""
    reached: bool
    particles: int | None
    """Tracks called yes or no that are still needed, at their present shares; None where they alone do not do it."""
    minutes: float | None
    """The same at the present rate; None without one."""
    labels: int | None
    """Labels still needed where more particles alone do not do it; None where none are, or 640 would not do."""

    @property
    def sentence(self) -> str:
        """For the operator."""
        aim = f"± {self.half_width:.0%}"
        if self.now is None:
            return f"{aim}: not known yet" + (f", audit {self.labels} tracks" if self.labels else "")
        if self.reached:
            return f"{aim} reached"
        if self.particles is not None:
            time = "" if self.minutes is None else f", about {max(1, round(self.minutes))} min at this rate"
            return f"{aim}: about {self.particles} more particles{time}"
        if self.labels is not None:
            return f"{aim} can't be reached with this bundle: audit about {self.labels} more tracks"
        return f"{aim} can't be reached with this bundle, nor with {AUDITS[-1]} more labels"


def goal(
    counts: npt.ArrayLike,
    confusion: Confusion | None,
    half_width: float,
    labels: npt.ArrayLike | None = None,
    design_effect: float = 1.0,
    *,
    per_minute: float | None = None,
    unlike_training: bool = False,
) -> Goal:
    """Whether the sequence is as narrow as ± `half_width`, else what is missing; takes about 0.1 s.

    Parameters
    ----------
    counts, confusion, labels, design_effect, unlike_training
        As for `monitor.statistics.estimate.estimate`.
    half_width
        Of the fraction, as 0.05.
    per_minute
        New tracks called yes or no a minute.
    """
    unlabelled, labelled = checked(counts, labels, design_effect)
    session = _Session(labelled, design_effect, *prior_rows(confusion, unlike_training))
    judged = float(unlabelled[1:].sum() + labelled[:, 1:].sum())
    missing = ENOUGH_LABELS - round(session.labels)
    if missing > 0 and judged > 0 and (confusion is None or unlike_training):
        return Goal(half_width, None, False, None, None, missing)
    half, truths = session.halves([(unlabelled, labelled)])
    if judged == 0 or half[0] == inf:
        return Goal(half_width, None, False, None, None, missing if judged > 0 and missing > 0 else None)
    now = float(half[0])
    if now <= half_width:
        return Goal(half_width, now, True, 0, 0.0, None)
    total = float(unlabelled.sum())
    factors = (
        np.concatenate([[1.0], FACTORS[total * FACTORS <= MOST * design_effect]]) if total else np.ones(1)
    )
    halves, _ = session.halves([(unlabelled * f, labelled) for f in factors])
    factor = _crossing(halves, factors, half_width)
    if factor is not None:
        more = ceil((factor - 1) * float(unlabelled[1:].sum()))
        return Goal(half_width, now, False, more, more / per_minute if per_minute else None, None)
    audited = [audited_more(unlabelled * factors[-1], labelled, truths[0], more) for more in AUDITS]
    halves, _ = session.halves(audited)
    enough = np.flatnonzero(halves <= half_width)
    return Goal(half_width, now, False, None, None, AUDITS[enough[0]] if len(enough) else None)


@dataclass(frozen=True)
class _Session:
    """What stays the same while particles are added."""

    labelled: Array
    effect: float
    rows: Array
    weights: Array

    @property
    def labels(self) -> float:
        return float(self.labelled.sum())

    def halves(self, states: list[tuple[Array, Array]]) -> tuple[Array, Array]:
        """Half widths (B,) of the sequence, infinite where none is given, and the truth of calls (B, 3, 5)."""
        many = len(states)
        unlabelled, labelled = (np.array(part) for part in zip(*states, strict=True))
        rows = np.repeat(self.rows[None], many, axis=0)
        effect, shares = np.full(many, self.effect), np.tile(SHARES, (many, 1))
        found = posterior_of(unlabelled, labelled, rows, self.weights, effect, shares)
        known = enough_known(found, labelled.sum(axis=(1, 2)))
        widths = np.ptp(np.array(confidence_sequence(found)), axis=1) / 2
        return np.where(known, widths, inf), found.truth_of_call


def audited_more(
    unlabelled: Array, labelled: Array, truth_of_call: Array, number: int
) -> tuple[Array, Array]:
    """Unlabelled and labelled tracks after an audit that finds what is expected."""
    chosen = allocated(np.floor(unlabelled).astype(int), number)
    return unlabelled - chosen, labelled + truth_of_call * chosen


def _crossing(halves: Array, factors: Array, goal_: float) -> float | None:
    """The factor at which the half width falls to the goal, between those tried; None where it does not."""
    below = np.flatnonzero(halves <= goal_)
    if not len(below):
        return None
    at = int(below[0])
    if at == 0:
        return float(factors[0])
    part = np.log(halves[at - 1] / goal_) / np.log(halves[at - 1] / halves[at])
    return float(factors[at - 1] * (factors[at] / factors[at - 1]) ** part)
