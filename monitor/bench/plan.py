"""What a benchmark measures: sizes of frames, how often, and against which bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SIDES = (512, 1024, 2048, 4096)
"""Sides of the frames [px]."""
QUICK_SIDES = (512, 1024, 2048)
PIXEL_NM = 0.025
"""Of the frames, as the virtual microscope draws them [nm]."""
PARTICLES = 10
"""On 1024² pixels."""
DENSITY_PER_NM2 = PARTICLES / (1024 * PIXEL_NM) ** 2
COMPARED = 4
"""Frames of each size on which the network in eight bits is compared with float32."""
COMPARED_SIDE = 2048
"""Of larger frames only those are compared that are timed [px]."""
SCRIPT_ROUNDS = 2
"""What a user would write instead is measured in so many rounds at the most: it is slow."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sides: tuple[int, ...]
    rounds: int
    """Every stage is measured so often for each size; in a round all sizes take turns."""
    frames: int
    """Different frames of each size that are timed."""
    delays: int
    """Frames of each size that are given to a session one by one, from a directory and from a socket each."""
    burst: int
    """Frames of each size that are given to a session at once."""
    browser: bool = False
    """Also how long it takes until the page in a browser shows a frame."""

    def drawn(self, side: int) -> int:
        """Frames of a size that are drawn."""
        return max(self.frames, COMPARED) if side <= COMPARED_SIDE else self.frames

    @property
    def steps(self) -> int:
        """Steps of the progress bar: frames drawn and compared, rounds and sessions of every size."""
        return len(self.sides) * (3 + self.rounds) + (1 if self.browser else 0)


def plan_of(
    quick: bool = False, sides: Sequence[int] | None = None, rounds: int | None = None, browser: bool = False
) -> Plan:
    """The usual plan, or a quick one.

    Parameters
    ----------
    sides : of the frames, in place of the usual ones [px].
    rounds : in place of the usual number.
    """
    chosen = tuple(sorted(set(sides or (QUICK_SIDES if quick else SIDES))))
    turns = rounds or (3 if quick else 9)
    return Plan(
        chosen,
        turns,
        frames=1 if quick else 2,
        delays=min(20, 3 * turns),
        burst=min(20, 3 * turns),
        browser=browser,
    )
