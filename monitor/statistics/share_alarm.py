"""Whether the shares of the classes have jumped: the last fields against those before."""

from __future__ import annotations

from collections.abc import Mapping
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

    def with_frame(self, counts: Mapping[str, int], new_field: bool, limits: Limits) -> ShareCourse:
        """With one more good frame."""
        moved = self._closed(limits) if new_field and self.frames_here else self
        added = tuple(a + counts.get(name, 0) for a, name in zip(moved.here, COMPARED, strict=True))
        return replace(moved, here=added, frames_here=moved.frames_here + 1)

    def _closed(self, limits: Limits) -> ShareCourse:
        mean = tuple(value / self.frames_here for value in self.here)
        last = (*self.last, mean)
        before = self.before
        while len(last) > limits.shares_fields:
            before = tuple(a + b for a, b in zip(before, last[0], strict=True))  # type: ignore[assignment]
            last = last[1:]
        return ShareCourse(before, last)  # type: ignore[arg-type]

    def judge(self, limits: Limits, raised: bool) -> Finding | None:
        """Whether `null` or `yes` has another share lately; `None` where there is too little to tell."""
        lately = [sum(field[i] for field in self.last) for i in range(3)]
        if min(sum(lately), sum(self.before)) < limits.shares_least:
            return None
        limit = limits.shares_cleared_g if raised else limits.shares_g
        worst, cause = 0.0, ""
        for name, of, among in (("null", 0, (0, 1, 2)), ("yes", 2, (1, 2))):
            pairs = [
                (each[of], sum(each[i] for i in among) - each[of]) for each in (lately, list(self.before))
            ]
            if min(sum(pair) for pair in pairs) <= 0:
                continue
            g = g_statistic(*pairs)
            if g > worst:
                now, then = (pair[0] / sum(pair) for pair in pairs)
                base = "all particles" if of == 0 else "those whose stacking is resolved"
                worst = g
                cause = (
                    f"In the last {len(self.last)} fields {now:.0%} of {base} are `{name}`, before {then:.0%} (G = {g:.1f})."
                )
        return Finding(worst > limit, cause)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "before": list(self.before),
            "last": [list(each) for each in self.last],
            "here": list(self.here),
            "frames_here": self.frames_here,
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> ShareCourse:
        """The inverse of `as_dict`."""
        last = tuple(tuple(each) for each in told["last"])
        return cls(tuple(told["before"]), last, tuple(told["here"]), told["frames_here"])
