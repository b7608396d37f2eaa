"""Makes docs/formats.md from what the readers say of themselves: `python -m monitor.read.document`."""

from __future__ import annotations

import importlib

from monitor.read.formats.about import About
from monitor.read.names import FORMATS
from monitor.read.scale import PIXEL_SIZE_RANGE_NM

_HEAD = """# Formats that are read

This page is made by `python -m monitor.read.document` from the readers themselves; a test holds it to them. The format
of a file is told by its content, and by its name where the content does not tell. `faultwatch analyse FILE --about`
shows what is understood of a file, from where its pixel size is, and what would have to be given.

Files that begin like frames and cannot be read are rejected with a sentence. Spectra, diffraction patterns, complex
data and coloured pictures are refused. A pixel size from {low} to {high} nm/px is taken. For every format the same
scales are no calibration: exactly 1 in any unit, a number without a unit of length, and more than 2 µm (dots per inch,
or the pixel of a camera's chip). `--pixel-size` is taken in their place.

A stack whose consecutive frames show one field is a movie: its exposures are aligned, summed and judged once
(`--movie frames` and `--movie first` do otherwise). Different tilts, foci, or more than a minute between the first and
the last frame make it a series, which is judged frame by frame, like any stack of different fields.
"""


def document() -> str:
    """The text of docs/formats.md."""
    low, high = PIXEL_SIZE_RANGE_NM
    parts = [_HEAD.format(low=low, high=high)]
    for module in dict.fromkeys(one.module for one in FORMATS):
        told = importlib.import_module(f"monitor.read.formats.{module}").ABOUT
        suffixes = [suffix for one in FORMATS if one.module == module for suffix in one.suffixes]
        parts += [_section(about, suffixes) for about in (told if isinstance(told, tuple) else (told,))]
    return "\n".join(parts)


def _section(about: About, suffixes: list[str]) -> str:
    rows = [
        ("suffixes", ", ".join(f"`{suffix}`" for suffix in suffixes)),
        ("versions", about.versions),
        ("cameras and programs", about.cameras),
        ("types of pixels", about.types),
        ("pixel size", about.pixel_size),
        ("time", about.time),
    ]
    table = "\n".join(f"| {name} | {text} |" for name, text in rows)
    more = f"\n{about.more}\n" if about.more else ""
    return f"## {about.name}\n\n| | |\n|---|---|\n{table}\n{more}"


if __name__ == "__main__":
    print(document(), end="")
