"""What a camera server answers, as the program needs it."""

from __future__ import annotations

import math
from typing import Any

PIXEL_SIZES = ("Specimen Pixel Size X (nanometers)", "Specimen Pixel Size Y (nanometers)")
CAMERA_LENGTH = "Instrument Project Camera Length (centimeters)"


def marks_of(attributes: dict[str, Any]) -> tuple[Any, ...]:
    """What differs between two images: their numbers, else their figures. Not the time, which is of asking."""
    names = ("datasetName", "acqIndex", "imageIndex", "frameCount")
    figures = ("imageMin", "imageMax", "imageMean", "imageStd")
    return tuple(attributes.get(name) for name in (*names, *figures))


def pixel_size(properties: dict[str, Any]) -> float | None:
    """That on the specimen [nm/px]; None where the server knows none, or the camera sees a diffraction pattern.

    The server says 0 or −1 of what nobody told it. The detector's own pixels are of no use here.
    """
    x, y = (positive(properties.get(name)) for name in PIXEL_SIZES)
    if x is None or y is None or positive(properties.get(CAMERA_LENGTH)) is not None:
        return None
    # Where they differ the frame would be stretched; then nothing is better than one of them.
    return (x + y) / 2 if abs(x - y) <= 0.01 * x else None


def positive(value: Any) -> float | None:
    """A quantity that a server may not know: what is no finite number above 0 is None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def plain(value: Any) -> Any:
    """As JSON can hold it."""
    value = getattr(value, "value", value)  # of an enumeration
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
