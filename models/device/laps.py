"""What is told between two stages of a chain: nothing, unless somebody measures them."""

from __future__ import annotations

from collections.abc import Callable

Lap = Callable[[str], None]
"""Gets the name of the stage that has just been asked for."""


def nothing(stage: str) -> None:
    """Nobody measures."""
