"""The command line's parts: a command with its arguments beside it, and what may be typed for an argument.

An argument is a function that adds itself to a parser. `Commands.add` takes the arguments of a command and then the
function that runs it, whose docstring is the help.

Functions of a text (`positive`, `share`, ...) turn it into a value, or say in a sentence what is wrong with it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

Argument = Callable[[argparse.ArgumentParser], object]
Run = Callable[[argparse.Namespace], int]


class Commands:
    """Commands in the order in which they are added; `parser_of` makes a parser of them."""

    def __init__(self) -> None:
        self.all: list[tuple[str, tuple[Argument, ...], Run]] = []

    def add(self, name: str, *arguments: Argument) -> Callable[[Run], Run]:
        """Make a function a command; `name` is one word, or a group's name and a word.

        The first line of the function's docstring is the command's short help, all of it is the long one.
        """

        def of(run: Run) -> Run:
            self.all.append((name, arguments, run))
            return run

        return of


def parser_of(
    program: str, description: str, groups: Mapping[str, str], *commands: Commands
) -> argparse.ArgumentParser:
    """The parser of a program; the chosen command's function is in its result as `run`.

    Parameters
    ----------
    groups : help of each command that has commands of its own, by name.
    """
    epilog = f"`{program} COMMAND --help` tells more of a command."
    top = argparse.ArgumentParser(prog=program, description=description, epilog=epilog)
    within = {"": _subcommands(top, "command")}
    for name, arguments, run in (one for some in commands for one in some.all):
        group, _, word = name.rpartition(" ")
        if group not in within:
            within[group] = _subcommands(_command(within[""], group, groups[group]), "part")
        command = _command(within[group], word, run.__doc__ or name)
        command.set_defaults(run=run)
        for add_to in arguments:
            add_to(command)
    return top


def _subcommands(parser: argparse.ArgumentParser, dest: str) -> Any:
    return parser.add_subparsers(title="commands", dest=dest, metavar=dest.upper(), required=True)


def _command(commands: Any, name: str, about: str) -> argparse.ArgumentParser:
    first, _, rest = about.partition("\n")
    short = f"{first[0].lower()}{first[1:].rstrip('.')}"
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=short, description=" ".join([first, *rest.split()])
    )
    return command


def place(name: str, metavar: str, meaning: str, **more: Any) -> Argument:
    """An argument that is told by its place on the line."""
    return lambda command: command.add_argument(name, metavar=metavar, help=meaning, **more)


def option(
    name: str,
    kind: Callable[[str], Any],
    metavar: str | None,
    meaning: str,
    default: Any = None,
    **more: Any,
) -> Argument:
    """An option with a value; its default, where it has one, stands in its help."""
    told = meaning if default is None else f"{meaning} ({default})"
    return lambda command: command.add_argument(
        name, type=kind, metavar=metavar, default=default, help=told, **more
    )


def choice(name: str, choices: Sequence[str], meaning: str, default: str | None = None) -> Argument:
    """An option whose value is one of several words."""
    return option(name, str, None, meaning, default, choices=tuple(choices))


def flag(name: str, meaning: str, default: bool | None = False, **more: Any) -> Argument:
    """An option without a value; a default of None leaves the matter to the settings."""
    told = {"action": "store_true", **more, "default": default, "help": meaning}
    return lambda command: command.add_argument(name, **told)


def given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Some of the options, by name."""
    return {name: getattr(options, name) for name in names}


JSON = flag("--json", "as one JSON object")


def tell(told: dict[str, Any], as_text: Callable[[dict[str, Any]], str], as_json: bool) -> int:
    """Print what was found, for people or for programs; returns the exit status 0."""
    print(json.dumps(told, allow_nan=False) if as_json else as_text(told))
    return 0


def about(what: object, text: str) -> str:
    """A sentence with what it concerns before it, unless the sentence names that already."""
    return text if what is None or str(what) in text else f"{what}: {text}"


def refused(error: Exception, what: object = None) -> str:
    """What the system or a library refused in one line, and the file or else the thing that it concerns."""
    text = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
    return about(getattr(error, "filename", None) or what, text)


def _refuse(text: str, why: str) -> NoReturn:
    raise argparse.ArgumentTypeError(f"{text} is {why}")


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
        _refuse(text, meaning)
    return int(value)


def bundle(text: str) -> Path:
    """The folder of a bundle, which may be named where it comes with the program."""
    from models.bundle import by_name

    return by_name(Path(text))


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
        _refuse(text, "not a number above 0")
    return value


def not_negative(text: str) -> float:
    """A number from 0 on."""
    value = number(text)
    if not 0 <= value < math.inf:
        _refuse(text, "not a number from 0 on")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = number(text)
    if not 0 <= value <= 1:
        _refuse(text, "no share (0 to 1)")
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
        _refuse(text, "neither all, nor none, nor a number of GB above 0")
    return text if text in ("all", "none") else float(text)
