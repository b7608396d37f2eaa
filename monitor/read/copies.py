"""Pictures in a file that stand for another one in it: thumbnails, levels of a pyramid, survey images.

They are left out wherever they stand, so that what the file shows is judged once.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.pixels import to_picture
from monitor.read.signals import Signal

_NAMED = re.compile(r"\b(survey|thumb(nail)?|preview|overview|navigator)\b", re.IGNORECASE)
#: A copy is smaller by this factor at least, of the same shape within the tolerance, and correlates so much.
_SMALLER, _SHAPE, _ALIKE = 1.4, 0.04, 0.7
#: Correlation of the pixels of an exposure and its exported picture; of two exposures of one field, the noise differs.
_EXPORTED = 0.9
#: They are compared once more at so many pixels a side.
_COARSE = 48
#: A picture whose pixel is larger by this factor than that of another one surveys its surroundings.
_SURVEY = 8.0


def without_copies(signals: list[Signal]) -> list[Signal]:
    """The signals of a file without those that stand for another one.

    Raises
    ------
    IncompleteFile
        The file ends within a picture that is compared.
    """
    if len(signals) < 2:
        return signals
    kept = [one for one in signals if not _NAMED.search(one.title or "")] or signals
    kept = [one for one in kept if not any(_surveys(one, other) for other in kept)] or kept
    return [one for one in kept if not any(_copies(one, other) for other in kept if other is not one)]


def show_the_same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Whether two pictures (H, W) are one exposure: its noise is the same, whatever became of its grey levels.

    One of them may be reduced, inverted, or have a bar with text below it.
    """
    large, small = (a, b) if a.shape[1] >= b.shape[1] else (b, a)
    factor = large.shape[1] / small.shape[1]
    rows = min(small.shape[0], int(large.shape[0] / factor))
    if rows < 0.8 * max(small.shape[0], large.shape[0] / factor):
        return False
    if factor == 1:
        return _likeness(_shown(large[:rows]), _shown(small[:rows])) > _EXPORTED
    height = min(large.shape[0], round(rows * factor))
    return (
        _likeness(_reduced(_shown(large[:height]), (rows, small.shape[1])), _shown(small[:rows])) > _EXPORTED
    )


def _shown(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A picture with its ends cut off, as an export with stretched contrast cuts them."""
    low, high = np.percentile(picture[::3, ::3], (1, 99))
    return np.asarray(np.clip(picture.astype(np.float32), low, high))


def _surveys(one: Signal, other: Signal) -> bool:
    mine, theirs = one.pixel_size()[0], other.pixel_size()[0]
    return mine is not None and theirs is not None and mine > _SURVEY * theirs


def _copies(small: Signal, large: Signal) -> bool:
    """Whether a picture is a smaller copy of another one: of its shape, of as many frames, and it shows the same."""
    (h, w), (height, width) = small.shape[:2], large.shape[:2]
    factor = height / h
    if factor < _SMALLER or abs(factor / (width / w) - 1) > _SHAPE + 1.5 / min(h, w):
        return False
    if small.count not in (1, large.count):
        return False
    little, big = _grey(small), _grey(large)
    if little is None:
        return True  # coloured, as many thumbnails are: its own refusal would tell nothing
    if big is None:
        return False
    reduced = _reduced(big, (h, w))
    if _likeness(reduced, little) > _ALIKE:
        return True
    # A thumbnail of single pixels has their noise; coarse means of both have less of it.
    coarse = (min(h, _COARSE), min(w, _COARSE))
    return _likeness(_reduced(reduced, coarse), _reduced(little, coarse)) > _ALIKE


def _grey(signal: Signal) -> npt.NDArray[Any] | None:
    """The first frame of a signal, None where it is no grey picture."""
    try:
        return np.asarray(to_picture(signal.load(0))[0], np.float32)
    except IncompleteFile:
        raise
    except UnreadableFrame:
        return None


def _reduced(picture: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
    """The means of a picture (H, W) in a grid of this shape."""
    rows, columns = (
        np.linspace(0, n, k + 1).astype(int)[:-1] for n, k in zip(picture.shape, shape, strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(picture.astype(np.float64), rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff([*rows, picture.shape[0]]), np.diff([*columns, picture.shape[1]]))
    return np.asarray(sums / counts)


def _likeness(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """The size of the correlation of two pictures of one shape: one may be inverted."""
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return abs(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]))
