"""Single values out of a format's metadata tree: each is of the type that was asked for, or None."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def branch(tree: Any, name: str) -> dict[str, Any]:
    """The group of this name in a tree, empty where there is none."""
    found = tree.get(name) if isinstance(tree, Mapping) else None
    return found if isinstance(found, dict) else {}


def finite(value: Any) -> float | None:
    """A number, or a text that is one, as a float; None where it is no number, NaN or infinite."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def positive(value: Any) -> float | None:
    """As `finite`, and None where the number is not above 0."""
    number = finite(value)
    return number if number is not None and number > 0 else None
