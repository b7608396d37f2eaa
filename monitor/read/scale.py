"""Pixel sizes: units in nm, and the choice between the file's, the sender's and the operator's."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Literal

from monitor.errors import NoPixelSize
from monitor.frames import Frame

#: Pixel sizes that can be analysed [nm/px]: no camera samples finer, and above no lattice can be seen.
PIXEL_SIZE_RANGE_NM = (0.003, 0.2)

#: The sides of a square pixel differ by no more than this, which a distortion of the lens can cause.
SQUARE_TOLERANCE = 0.02

#: A larger pixel [nm] is one of a camera's chip, of a screen or of a print, not one of a specimen.
_LARGEST_NM = 2000.0
_INCH_NM = 25.4e6

UnitKind = Literal["length", "reciprocal", "other", "none"]

_LENGTHS_NM = {
    "m": 1e9,
    "meter": 1e9,
    "meters": 1e9,
    "metre": 1e9,
    "metres": 1e9,
    "cm": 1e7,
    "centimeter": 1e7,
    "mm": 1e6,
    "millimeter": 1e6,
    "um": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "micrometers": 1e3,
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometers": 1.0,
    "nanometre": 1.0,
    "nanometres": 1.0,
    "a": 0.1,
    "å": 0.1,
    "ang": 0.1,
    "angstrom": 0.1,
    "angstroms": 0.1,
    "ångström": 0.1,
    "pm": 1e-3,
    "picometer": 1e-3,
    "picometers": 1e-3,
}
_RECIPROCAL = re.compile(r"^1/(.+)$|^(.+?)(?:\^\(?-1\)?|\*\*-1|-1)$")
_ANGLES = {"rad", "mrad", "urad", "radian", "radians", "deg", "degree", "degrees"}
_NO_UNIT = {"", "px", "pixel", "pixels", "none", "undefined", "<undefined>", "n/a", "null"}


def parse_unit(unit: str | None) -> tuple[UnitKind, float]:
    """The kind of a unit, and for a length its size [nm], else NaN.

    Spellings such as `nm`, `Å`, `A`, `µm`, `um`, `micron`, `[n_m]`, `\\u00B5m`, `1/nm`, `nm^-1` and `mrad`
    are understood.
    """
    if unit is None:
        return "none", math.nan
    text = (
        unit.replace("\\u00b5", "µ").replace("\\u00B5", "µ").replace("\\u00c5", "Å").replace("\\u00C5", "Å")
    )
    # NFKC makes the two micro signs equal, and the three ways to write Å, and turns superscripts into digits.
    text = unicodedata.normalize("NFKC", text).strip("\0 \t\r\n").strip("[]")
    text = text.replace("_", "").replace(" ", "").replace("\N{MINUS SIGN}", "-").lower()
    text = text.replace("\N{GREEK SMALL LETTER MU}", "u")
    if text in _NO_UNIT:
        return "none", math.nan
    if text in _LENGTHS_NM:
        return "length", _LENGTHS_NM[text]
    if text in _ANGLES:
        return "reciprocal", math.nan
    if match := _RECIPROCAL.match(text):
        base = (match.group(1) or match.group(2)).strip("()")
        if base in _LENGTHS_NM:
            return "reciprocal", math.nan
    return "other", math.nan


def doubt(row: float | None, column: float | None, unit: str | None) -> str | None:
    """Why the scale that a file gives its pixels is no calibration, as a sentence; None where it may be one.

    This is decided here for every format. Not believed are: a number without a unit of length; exactly 1 in any
    unit, which programs write where nobody calibrated; and a pixel above 2 µm, which is dots per inch or the
    pixel of a camera's chip.

    Parameters
    ----------
    row, column : height and width of a pixel in `unit`, None where they are not known.
    """
    sides = [side for side in (plausible(row), plausible(column)) if side is not None]
    if not sides:
        return None
    kind, unit_nm = parse_unit(unit)
    unset = all(abs(side - 1) < 1e-6 for side in sides)
    if kind == "length" and not unset and max(sides) * unit_nm <= _LARGEST_NM:
        return None
    if kind == "reciprocal":
        return None
    if kind != "length":
        said = f"in {unit}, which is no length" if kind == "other" else "without a unit"
        return f"the file says {sides[0]:.6g} a pixel {said}, so it is not believed; give --pixel-size"
    if not unset:
        return print_doubt(max(sides) * unit_nm)
    low, high = PIXEL_SIZE_RANGE_NM
    forced = f", or --force-pixel-size {unit_nm:g} where it is true" if low <= unit_nm <= high else ""
    return (
        f"the header says exactly 1 {(unit or '').strip()} a pixel, which programs write where nobody set it, "
        f"so it is not believed; give --pixel-size{forced}"
    )


def print_doubt(size_nm: float) -> str:
    """The sentence that a pixel size [nm] is meant for paper, for a screen or for a camera's chip."""
    return (
        f"the file says {size_nm / 1e3:.4g} µm a pixel ({_INCH_NM / size_nm:.4g} dots per inch), which is meant for a "
        "print, a screen or a camera's chip and is no calibration; give --pixel-size"
    )


def plausible(size: float | None) -> float | None:
    """The absolute value of a pixel size that is finite and not 0, else None; a sign is only a direction."""
    if size is None:
        return None
    size = abs(float(size))
    return size if math.isfinite(size) and size > 0 else None


def check_pixel_size(pixel_size_nm: float, where: str = "") -> float:
    """The same pixel size [nm/px], where it lies within `PIXEL_SIZE_RANGE_NM`.

    Raises
    ------
    NoPixelSize
        It lies outside; the sentence has the number and the option to give.
    """
    low, high = PIXEL_SIZE_RANGE_NM
    # A header in float32 cannot hold 0.2 exactly, so the ends are compared with its precision.
    if math.isfinite(pixel_size_nm) and low * (1 - 1e-6) <= pixel_size_nm <= high * (1 + 1e-6):
        return pixel_size_nm
    guess = "a survey image" if pixel_size_nm > high else "a wrong unit"
    raise NoPixelSize(
        f"{pixel_size_nm:.4g} nm/px{where} is outside of {low} to {high} nm/px ({guess}?); "
        "give the true one with --force-pixel-size"
    )


def resolve_pixel_size(
    frame: Frame, given_nm: float | None, forced_nm: float | None, announced_nm: float | None = None
) -> float:
    """The pixel size to analyse a frame with [nm/px].

    The first that is known of: the one that the operator forces, the one that the sender announced with the
    frame, the one in the file, the one that the operator gave for files without one.

    Raises
    ------
    NoPixelSize
        None of them is known, or it is outside of `PIXEL_SIZE_RANGE_NM`, or the pixels are not square.
    """
    if forced_nm is not None:
        return check_pixel_size(forced_nm, " (--force-pixel-size)")
    if (announced := plausible(announced_nm)) is not None:
        return check_pixel_size(announced, " as sent")
    if frame.scale_problem is not None:
        raise NoPixelSize(frame.scale_problem)
    if frame.pixel_size_nm is not None:
        return check_pixel_size(frame.pixel_size_nm, " in the file")
    if given_nm is not None:
        return check_pixel_size(given_nm, " (--pixel-size)")
    raise NoPixelSize(frame.scale_doubt or "no pixel size in the file; give --pixel-size")


def square_pixel(row_nm: float | None, column_nm: float | None) -> tuple[float | None, str | None]:
    """One pixel size from the two sides of a pixel [nm], or a sentence that they are not square.

    Sides that differ by no more than 2 % give their geometric mean. Where only one side is known, the other
    is taken to be equal.
    """
    row_nm, column_nm = plausible(row_nm), plausible(column_nm)
    if row_nm is None or column_nm is None:
        return row_nm or column_nm, None
    if abs(math.log(row_nm / column_nm)) <= SQUARE_TOLERANCE:
        return math.sqrt(row_nm * column_nm), None
    return None, (
        f"the pixels are not square ({column_nm:.4g} nm wide, {row_nm:.4g} nm high); resample the picture, "
        "or give --force-pixel-size where the file is wrong"
    )
