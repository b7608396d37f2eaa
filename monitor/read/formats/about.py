"""What is read of each format, in words: `python -m monitor.read.document` makes docs/formats.md of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class About:
    """What is read of a format."""

    name: str
    versions: str
    cameras: str
    """By which cameras and programs such files are written."""
    types: str
    """Of pixels."""
    pixel_size: str
    """From where it is."""
    time: str
    """From where the time of acquisition is."""
    more: str = ""
    """Sentences about what else is special."""


def types_of(codes: Iterable[str]) -> str:
    """The names of the real types with these codes of NumPy, each once, integers first."""
    types = {np.dtype(code).newbyteorder("=") for code in codes if "c" not in code}
    real = sorted(
        (t for t in types if t.kind in "iuf"), key=lambda t: (t.kind == "f", t.itemsize, t.kind == "i")
    )
    return ", ".join(t.name for t in real)
