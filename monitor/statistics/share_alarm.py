"""Whether the shares of the classes have jumped: the last fields against those before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import log
from typing import Any

from monitor.statistics.alarm_kinds import Finding
from monitor.statistics.alarm_limits import Limits

#: Classes that are compared: particles whose stacking is not resolved, shows none, shows a fault.
COMPARED = ("null", "no", "yes")

Shares = tuple[float, float, float]
_NONE: Shares = (0.0, 0.0, 0.0)


def g_statistic(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Likelihood ratio of two samples of two classes having one share (Sokal and Rohlf, *Biometry*, ch. 17), d.f. 1."""
    total = sum(a) + sum(b)
    g = 0.0
    for sample in (a, b):
        for value, together in zip(sample, (a[0] + b[0], a[1] + b[1]), strict=True):
            if value > 0:
                g += 2 * value * log(value * total / (sum(sample) * together))
    return max(0.0, g)


def _sum(fields: Iterable[Shares]) -> Shares:
    null, no, yes = (sum(each) for each in zip(_NONE, *fields, strict=True))
    return null, no, yes


def _mean(total: Shares, frames: int) -> Shares:
    null, no, yes = (value / max(1, frames) for value in total)
    return null, no, yes


def _compared(now: Shares, then: Shares, where: str) -> tuple[float, str]:
    """The larger statistic of `null` among all and of `yes` among the resolved, and the sentence that tells it."""
    worst, cause = 0.0, ""
    for name, of, among, base in (
        ("null", 0, (0, 1, 2), "all particles"),
        ("yes", 2, (1, 2), "those whose stacking is resolved"),
    ):
        a, b = ((each[of], sum(each[i] for i in among) - each[of]) for each in (now, then))
        if min(sum(a), sum(b)) <= 0:
            continue
        g = g_statistic(a, b)
        if g > worst:
            shares = f"{a[0] / sum(a):.0%} of {base} are `{name}`, before {b[0] / sum(b):.0%}"
            worst, cause = g, f"In {where} {shares} (G = {g:.1f})."
    return worst, cause


@dataclass(frozen=True)
class ShareCourse:
    """Particles by class, field after field. What is seen in several frames of a field counts once, as their mean."""

    before: Shares = _NONE
    """Of all fields before the last ones."""
    last: tuple[Shares, ...] = ()
    """Of the last fields, the oldest first."""
    here: Shares = _NONE
    """Sum over the frames of the present field."""
    frames_here: int = 0
    field: int = 0
    """The present field's number."""

    def with_frame(self, counts: Mapping[str, int], field: int, limits: Limits) -> ShareCourse:
        """With one more good frame of a field; `field` is a number that changes with it."""
        moved = replace(
            self._closed(limits) if field != self.field and self.frames_here else self, field=field
        )
        null, no, yes = (a + counts.get(name, 0) for a, name in zip(moved.here, COMPARED, strict=True))
        return replace(moved, here=(null, no, yes), frames_here=moved.frames_here + 1)

    def _closed(self, limits: Limits) -> ShareCourse:
        last: tuple[Shares, ...] = (*self.last, _mean(self.here, self.frames_here))
        before = self.before
        while len(last) > limits.shares_fields:
            before, last = _sum((before, last[0])), last[1:]
        return ShareCourse(before, last)

    def judge(self, limits: Limits, raised: bool) -> Finding | None:
        """Whether `null` or `yes` has another share in the last fields or the present one; `None`: too few to tell."""
        limit = limits.shares_cleared_g if raised else limits.shares_g
        told = []
        lately = _sum(self.last)
        if min(sum(lately), sum(self.before)) >= limits.shares_least:
            told.append(_compared(lately, self.before, f"the last {len(self.last)} fields"))
        here = _mean(self.here, self.frames_here)
        earlier = _sum((self.before, *self.last))
        if (
            self.frames_here > 1
            and sum(here) >= limits.shares_least_here
            and sum(earlier) >= limits.shares_least
        ):
            told.append(_compared(here, earlier, "this field"))
        if not told:
            return None
        worst, cause = max(told)
        return Finding(worst > limit, cause)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "before": list(self.before),
            "last": [list(each) for each in self.last],
            "here": list(self.here),
            "frames_here": self.frames_here,
            "field": self.field,
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> ShareCourse:
        """The inverse of `as_dict`."""
        last = tuple(tuple(each) for each in told["last"])
        return cls(tuple(told["before"]), last, tuple(told["here"]), told["frames_here"], told["field"])
