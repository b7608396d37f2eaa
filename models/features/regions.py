"""One region of a label image, cut out with a margin."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from models.features.spectrum import TRANSFORM, Image, Labels

MARGIN_NM = 0.4
"""Left around a region [nm]."""
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

    def inside(self, detail: Image) -> Image:
        """(h, w) a picture of the crop, 0 outside of the region."""
        return np.asarray(detail * self.mask)

    def places_nm(self, pixel_size_nm: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(P,) rows and columns of the region's pixels in the crop [nm]."""
        return places_nm(self.mask, pixel_size_nm)


def places_nm(
    mask: npt.NDArray[np.bool_], pixel_size_nm: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(P,) rows and columns of a mask's pixels (h, w) [nm]."""
    rows, cols = (np.asarray(at * pixel_size_nm, dtype=np.float64) for at in np.nonzero(mask))
    return rows, cols


def region_of(labels: Labels, label: int, box: tuple[slice, slice], pixel_size_nm: float) -> Region:
    """The region in the crop of `crop_of`, with its window."""
    rows, cols = crop_of(labels, label, box, pixel_size_nm)
    cut = labels[rows, cols] == label
    soft = cv2.GaussianBlur(cut.astype(np.float32), (0, 0), EDGE_NM / pixel_size_nm)
    return Region(label, rows.start, cols.start, soft, cut)


def crop_of(
    labels: Labels, label: int, box: tuple[slice, slice], pixel_size_nm: float
) -> tuple[slice, slice]:
    """Rows and columns that leave 0.4 nm around a region; of one larger than the transform, a part that it covers."""
    margin = round(MARGIN_NM / pixel_size_nm)
    rows, cols = (_widened(side, margin, n) for side, n in zip(box, labels.shape, strict=True))
    if not (labels[rows, cols] == label).any():  # a crescent: its box's middle is not its own
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
