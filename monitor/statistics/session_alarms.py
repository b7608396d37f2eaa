"""What the session's own condition says of each kind of alarm: gaps, backlog, disk, sources."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from monitor.statistics.alarm_kinds import Finding, Kind
from monitor.statistics.alarm_limits import Limits


@dataclass(frozen=True)
class Conditions:
    """The session at one moment."""

    time: float
    """[s since 1970 UTC]"""
    backlog: int | None = None
    """Frames that wait or are in analysis."""
    disk_free: int | None = None
    """On the disk of the session [bytes]."""
    lost: int = 0
    """Frames missing in a sender's numbers, since the session began."""
    sources_gone: tuple[str, ...] = ()
    """Directories and senders that can't be reached."""


@dataclass(frozen=True)
class ConditionCourse:
    """What is kept of the looks before."""

    lost: int = 0
    frames_since_gap: int | None = None
    backlog: tuple[tuple[float, int], ...] = ()
    """(time, length), not closer than the limit says, the oldest first."""
    longest: int = 0
    """Length since the backlog's alarm was raised."""
    disk: tuple[tuple[float, int], ...] = ()
    """(time, free bytes), in the same way."""

    def with_frame(self) -> ConditionCourse:
        """With one more frame that came."""
        since = self.frames_since_gap
        return self if since is None else replace(self, frames_since_gap=since + 1)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> ConditionCourse:
        """The inverse of `as_dict`."""
        pairs = {name: tuple((each[0], each[1]) for each in told[name]) for name in ("backlog", "disk")}
        return cls(**{**told, **pairs})


def found_in_conditions(
    now: Conditions, course: ConditionCourse, limits: Limits, raised: frozenset[Kind]
) -> tuple[dict[Kind, Finding], ConditionCourse]:
    """What the session's condition says of each kind, and the course with this look."""
    found: dict[Kind, Finding] = {}
    names = ", ".join(now.sources_gone)
    found["share gone"] = Finding(bool(now.sources_gone), f"{names} can't be reached.")
    if now.lost > course.lost:
        missing = now.lost - course.lost
        cause = f"{missing} {'number is' if missing == 1 else 'numbers are'} missing in what came."
        found["gap in numbers"] = Finding(True, cause)
        course = replace(course, frames_since_gap=0)
    course = replace(course, lost=now.lost)
    if now.backlog is not None:
        finding, course = _backlog(now, now.backlog, course, limits, "backlog growing" in raised)
        if finding is not None:
            found["backlog growing"] = finding
    if now.disk_free is not None:
        finding, course = _disk(now, now.disk_free, course, limits, "disk filling" in raised)
        found["disk filling"] = finding
    return found, course


def _sampled(
    samples: tuple[tuple[float, int], ...], time: float, value: int, limits: Limits
) -> tuple[tuple[float, int], ...]:
    """With one more sample, unless the last is too young; the oldest ones go."""
    if samples and time - samples[-1][0] < limits.backlog_seconds:
        return samples
    return (*samples, (time, value))[-limits.backlog_samples :]


def _backlog(
    now: Conditions, length: int, course: ConditionCourse, limits: Limits, raised: bool
) -> tuple[Finding | None, ConditionCourse]:
    samples = _sampled(course.backlog, now.time, length, limits)
    longest = max(course.longest, length) if raised else length
    course = replace(course, backlog=samples, longest=longest)
    if raised:
        return Finding(length > limits.backlog_cleared_share * longest and length >= 5), course
    if len(samples) < limits.backlog_samples:
        return None, course
    (began, before), lengths = samples[0], [value for _, value in samples]
    rising = sum(b >= a for a, b in pairwise(lengths)) >= len(lengths) - 2
    wrong = length >= limits.backlog_least and length - before >= limits.backlog_growth and rising
    cause = f"{length} frames wait, {length - before} more than {now.time - began:.0f} s before."
    return Finding(wrong, cause), course


def _disk(
    now: Conditions, free: int, course: ConditionCourse, limits: Limits, raised: bool
) -> tuple[Finding, ConditionCourse]:
    samples = _sampled(course.disk, now.time, free, limits)
    course = replace(course, disk=samples)
    began, before = samples[0]
    seconds = now.time - began
    rate = (before - free) / seconds if seconds >= limits.backlog_seconds else 0.0
    minutes = free / rate / 60 if rate > 0 else float("inf")
    factor = limits.disk_cleared if raised else 1.0
    cause = f"{free / 1e9:.1f} GB are free on the session's disk"
    cause += f", enough for {minutes:.0f} min at the present rate." if minutes < 600 else "."
    return Finding(free < factor * limits.disk_bytes or minutes < factor * limits.disk_minutes, cause), course
