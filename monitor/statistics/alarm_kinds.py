"""What an alarm is, and what is common to all alarms of a kind."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["notice", "warning", "critical"]
Kind = Literal[
    "beam lost",
    "out of focus",
    "drift too fast",
    "charging",
    "blank field",
    "frozen frame",
    "gap in numbers",
    "backlog growing",
    "disk filling",
    "share gone",
    "pixel size changed",
    "model unlike these frames",
    "calibration shift",
    "classes' shares jumped",
]


@dataclass(frozen=True)
class Rule:
    """What holds for every alarm of a kind."""

    severity: Severity
    action: str
    """What to do, in one sentence."""
    raised_after: int = 1
    """Findings in a row."""
    cleared_after: int = 1
    """Findings in a row that there is nothing."""
    not_counted: bool = False
    """The particles of the frames concerned are not counted."""


RULES: dict[Kind, Rule] = {
    "beam lost": Rule(
        "critical",
        "Check the gun, the column valves and the beam shutter, and bring the beam back onto the specimen.",
        not_counted=True,
    ),
    "out of focus": Rule(
        "warning",
        "Focus again, and look at the astigmatism in the live transform.",
        not_counted=True,
    ),
    "drift too fast": Rule(
        "warning",
        "Wait until the stage has settled, or take shorter exposures at a higher rate.",
        raised_after=2,
        cleared_after=3,
    ),
    "charging": Rule(
        "warning",
        "Lower the dose rate, spread the beam, or move to a place closer to the grid bar.",
        cleared_after=2,
        not_counted=True,
    ),
    "blank field": Rule("notice", "Move the stage to a field that holds specimen.", not_counted=True),
    "frozen frame": Rule(
        "critical",
        "Stop and start the acquisition: the camera or its software gives the same picture again.",
        not_counted=True,
    ),
    "gap in numbers": Rule(
        "warning",
        "Look at the sender and the network: frames were taken and did not come.",
    ),
    "backlog growing": Rule(
        "warning",
        "Give the session more workers or a GPU, or take frames more slowly; nothing is lost while there is room.",
        cleared_after=2,
    ),
    "disk filling": Rule(
        "critical",
        "Make room on the disk of the session, or keep fewer frames (--keep).",
        cleared_after=2,
    ),
    "share gone": Rule(
        "critical",
        "Bring the network share or the detector's connection back; the session goes on by itself then.",
    ),
    "pixel size changed": Rule(
        "warning",
        "Check that the magnification was meant to change; if not, give the true one with --force-pixel-size.",
    ),
    "model unlike these frames": Rule(
        "warning",
        "Do not rely on the fraction: label a sample of particles (audit), or use a bundle trained for such frames.",
    ),
    "calibration shift": Rule(
        "warning",
        "Bring the dose back, or audit some particles: the classifier's rates were measured by dose.",
        raised_after=2,
        cleared_after=2,
    ),
    "classes' shares jumped": Rule(
        "notice",
        "Look at the last fields: another part of the grid, a bent film or another specimen gives other classes.",
    ),
}


@dataclass(frozen=True)
class Alarm:
    """One alarm, from when it was raised; `until_frame` is `None` while it lasts."""

    kind: Kind
    since_frame: int | None
    """The first frame concerned, which may lie before the one at which it was raised; `None` before any frame
    came."""
    since_time: float | None
    """[s since 1970 UTC]"""
    last_frame: int | None
    """The last frame concerned."""
    frames: int
    """How many frames are concerned."""
    cause: str
    """One sentence with the figures, as they were when it was raised."""
    until_frame: int | None = None
    """The frame at which it was cleared."""
    until_time: float | None = None
    cleared: bool = False

    @property
    def severity(self) -> Severity:
        """How much depends on it."""
        return RULES[self.kind].severity

    @property
    def action(self) -> str:
        """What to do, in one sentence."""
        return RULES[self.kind].action

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; `severity` and `action` among them."""
        return {**asdict(self), "severity": self.severity, "action": self.action}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Alarm:
        """The inverse of `as_dict`."""
        return cls(**{name: value for name, value in told.items() if name not in ("severity", "action")})


@dataclass(frozen=True)
class Finding:
    """What one look says of a kind of alarm."""

    wrong: bool
    cause: str = ""
    """One sentence with the figures, where something is wrong."""
