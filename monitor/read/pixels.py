"""Makes loaded pixels a grey, finite picture in the machine's byte order, or refuses them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.errors import UnreadableFrame

#: A pixel is coloured where its channels differ by more than this fraction of the picture's range.
COLOUR_DIFFERENCE = 0.1
#: A picture is coloured where more than this fraction of its pixels is; a scale bar alone has fewer.
COLOURED_PIXELS = 0.02
#: Pixels that are no numbers, up to this fraction, are dead; each gets the median of the picture.
DEAD_PIXELS = 0.02


def to_picture(array: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """A picture (H, W) in native counts from an array (H, W) or (H, W, channels), and notes on changes.

    Raises
    ------
    UnreadableFrame
        The array is coloured or constant, or more than 2 % of its pixels are no numbers.
    """
    notes: list[str] = []
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)  # converted, not viewed: a library may store True as 255
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.ndim == 3:
        array, note = _grey(array)
        notes += [note] if note else []
    if array.dtype.kind == "f":
        array, note = _finite(array)
        notes += [note] if note else []
    # Where the first row alone has two values, the others need not be looked at.
    if array.size and (array[0] == array.flat[0]).all() and array.min() == array.max():
        raise UnreadableFrame(
            f"the frame is blank: every pixel has the value {array.flat[0]:g} (beam off or valve closed?)"
        )
    return np.ascontiguousarray(array), tuple(notes)


def _grey(array: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], str | None]:
    """The mean of nearly equal channels, or the channel itself where there is one or all are equal."""
    channels = array.shape[2]
    if channels not in (1, 2, 3, 4):
        raise UnreadableFrame(
            f"it has {channels} channels a pixel, not the 1 of a camera or the 3 of a picture"
        )
    if channels in (1, 2):  # grey, grey with alpha
        return array[..., 0], None if channels == 1 else "the alpha channel was left out"
    colours = array[..., :3]
    low, high = colours.min(axis=2), colours.max(axis=2)
    if np.array_equal(low, high):
        return colours[..., 0], None
    if array.dtype.kind in "iu":
        spread = np.subtract(high, low, dtype=np.float32)
    else:
        spread = np.where(np.isfinite(high) & np.isfinite(low), high - low, 0.0).astype(np.float32)
    full = float(np.nanmax(high)) - float(np.nanmin(low))
    coloured = float(np.mean(spread > COLOUR_DIFFERENCE * full))
    if coloured > COLOURED_PIXELS:
        raise UnreadableFrame(
            f"it is a coloured picture ({coloured:.0%} of its pixels), not a frame of a camera"
        )
    return colours.mean(axis=2, dtype=np.float32), "three nearly equal colour channels were averaged"


def _finite(array: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], str | None]:
    """The array with its dead pixels set to the median of the others, and a note of them."""
    finite = np.isfinite(array)
    dead = int(array.size - np.count_nonzero(finite))
    if dead == 0:
        return array, None
    if dead > DEAD_PIXELS * array.size:
        raise UnreadableFrame(f"{dead / array.size:.0%} of its pixels are no numbers (NaN or infinite)")
    array = array.copy()
    array[~finite] = np.median(array[finite])
    return array, f"{dead} pixels that were no numbers took the median"
