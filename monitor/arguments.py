"""What may be typed for an option: each function turns the text into a value, or says in a sentence what is wrong."""

from __future__ import annotations

import argparse
import math


def number(text: str) -> float:
    """A number; what is none fails every comparison."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def whole(text: str, low: int, high: float, meaning: str) -> int:
    """A whole number within limits; `meaning` says what the text is instead."""
    value = number(text)
    if not low <= value <= high or value != int(value):
        raise argparse.ArgumentTypeError(f"{text} is {meaning}")
    return int(value)


def positive(text: str) -> int:
    """A whole number above 0."""
    return whole(text, 1, 1e15, "not a whole number above 0")


def from_zero(text: str) -> int:
    """A whole number from 0 on: a seed, a count that may be none."""
    return whole(text, 0, 2**63, "not a whole number from 0 on")


def side(text: str) -> int:
    """The side of a frame [px]."""
    return whole(text, 64, 8192, "no side of a frame (64 to 8192 px)")


def port(text: str) -> int:
    """A port; 0 is any free one."""
    return whole(text, 0, 65535, "no port (0 to 65535)")


def positive_number(text: str) -> float:
    """A number above 0."""
    value = number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def not_negative(text: str) -> float:
    """A number from 0 on."""
    value = number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share (0 to 1)")
    return value


def weights(text: str) -> dict[str, float]:
    """`NAME=WEIGHT,NAME=WEIGHT`; a name alone weighs 1."""
    found = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        found[name.strip()] = positive_number(weight or "1")
    return found


def keep(text: str) -> str | float:
    """`all`, `none`, or a number of GB."""
    if text not in ("all", "none") and not 0 < number(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is neither all, nor none, nor a number of GB above 0")
    return text if text in ("all", "none") else float(text)
