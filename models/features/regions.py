"""One region of a label image, cut out with a margin."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from models.features.spectrum import TRANSFORM, Image, Labels

MARGIN_NM = 0.4
"""Left around a region [nm]."""
Box = tuple[slice, slice]
"""Rows and columns."""
EDGE_NM = 0.15
"""Over this length the window of a region falls at its border [nm]."""


@dataclass(frozen=True)
class Region:
    """A region within the frame."""

    label: int
    """Its value in the label image."""
    top: int
    left: int
    soft: Image
    """(h, w) the region's window, 1 inside, falling to 0 over `EDGE_NM` at its border."""
    mask: npt.NDArray[np.bool_]
    """(h, w)."""

    @property
    def here(self) -> tuple[slice, slice]:
        """Its crop's rows and columns in the frame."""
        h, w = self.soft.shape
        return slice(self.top, self.top + h), slice(self.left, self.left + w)


def boxes_of(labels: Labels) -> list[Box]:
    """The rows and columns of every region 1, 2, … of a label image (h, w).

    Only the ends of runs along its rows are looked at, of which there are few.

    Raises
    ------
    ValueError
        A number is left out.
    """
    flat, width = labels.ravel(), labels.shape[1]
    begins = np.ones(flat.size, np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[::width] = True
    start = np.flatnonzero(begins)
    label, length = flat[start], np.diff(start, append=flat.size)
    taken = label > 0
    start, label, length = start[taken], label[taken], length[taken]
    if not len(label):
        return []
    order = np.argsort(label, kind="stable")
    (row, left), right = np.divmod(start[order], width), start[order] % width + length[order]
    count = np.bincount(label)[1:]
    if not count.all():
        raise ValueError(f"no pixel has the label {int(count.argmin()) + 1}, but some have {len(count)}")
    last = np.cumsum(count)
    first = last - count
    lefts, rights = np.minimum.reduceat(left, first), np.maximum.reduceat(right, first)
    ends = zip(*(each.tolist() for each in (row[first], row[last - 1] + 1, lefts, rights)), strict=True)
    return [(slice(top, bottom), slice(left, right)) for top, bottom, left, right in ends]


def region_of(labels: Labels, label: int, box: Box, pixel_size_nm: float) -> Region:
    """The region in the crop of `crop_of`, with its window."""
    rows, cols = crop_of(labels, label, box, pixel_size_nm)
    cut = labels[rows, cols] == label
    soft = cv2.GaussianBlur(cut.astype(np.float32), (0, 0), EDGE_NM / pixel_size_nm)
    return Region(label, rows.start, cols.start, soft, cut)


def crop_of(labels: Labels, label: int, box: Box, pixel_size_nm: float) -> tuple[slice, slice]:
    """Rows and columns that leave 0.4 nm around a region; of one larger than the transform, a part that it covers."""
    margin = round(MARGIN_NM / pixel_size_nm)
    rows, cols = (_widened(side, margin, n) for side, n in zip(box, labels.shape, strict=True))
    whole = all(a.start <= b.start and b.stop <= a.stop for a, b in zip((rows, cols), box, strict=True))
    if not whole and not (labels[rows, cols] == label).any():  # a crescent: its box's middle is not its own
        own = np.argwhere(labels[box] == label)
        row, col = own[len(own) // 2] + [box[0].start, box[1].start]
        rows, cols = (
            _widened(slice(int(at), int(at) + 1), TRANSFORM // 2 - 1, n)
            for at, n in zip((row, col), labels.shape, strict=True)
        )
    return rows, cols


def _widened(side: slice, margin: int, length: int) -> slice:
    """One side of a box with a margin, within the frame, and of it the middle `TRANSFORM` pixels at the most."""
    start, stop = max(0, side.start - margin), min(length, side.stop + margin)
    if stop - start > TRANSFORM:
        start = (start + stop - TRANSFORM) // 2
        stop = start + TRANSFORM
    return slice(start, stop)
