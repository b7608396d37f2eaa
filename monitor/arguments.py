"""The command line's parts: commands, options, and what may be typed for one.

Functions of a text turn it into a value, or say in a sentence what is wrong with it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any


def command_of(commands: Any, name: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    """A command that runs a function, its help taken from the function's docstring."""
    first, _, rest = (run.__doc__ or name).partition("\n")
    about = " ".join([first, *rest.split()])
    short = f"{first[0].lower()}{first[1:].rstrip('.')}"
    command: argparse.ArgumentParser = commands.add_parser(name, help=short, description=about)
    command.set_defaults(run=run)
    return command


def option(
    command: argparse.ArgumentParser,
    name: str,
    kind: Callable[[str], Any],
    metavar: str,
    meaning: str,
    default: Any = None,
) -> None:
    """An option with a value; its default, where it has one, stands in its help."""
    told = meaning if default is None else f"{meaning} ({default})"
    command.add_argument(name, type=kind, metavar=metavar, default=default, help=told)


def flag(
    command: argparse.ArgumentParser, name: str, meaning: str, default: bool | None = False, **more: Any
) -> None:
    """An option without a value; a default of None leaves the matter to the settings."""
    command.add_argument(name, **{"action": "store_true", **more}, default=default, help=meaning)


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
