"""How far one picture of a field lies from another one of it, and whether both show the same field at all.

The pictures are compared where a microscope's picture has its information: above slow changes of the illumination
and below single pixels. A lattice looks the same after a shift by its period. So the correlation of all of that band
is added to the correlation of what is coarser than any lattice plane, and only small shifts are looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

from models.preprocess import fill_masked

Image = npt.NDArray[np.float32]

#: Pictures are compared at this length of their longer side at most [px].
_SIDE = 1024
#: Blur that leaves the lattice [nm], and blur that leaves no plane of it, 0.36 nm and less apart [nm].
_FINE_NM, _COARSE_NM = 0.05, 0.15
#: The same where the pixel size is not known [px].
_FINE_PX, _COARSE_PX = 1.0, 6.0
#: What is wider than this share of the longer side is illumination.
_SLOW = 1 / 24
#: Longest shift that is looked for, as a share of the longer side.
_REACH = 1 / 8
#: The peak of the correlation over its surroundings, in their standard deviation, and the correlation of the tiles
#: without the best quarter of them. Fields of the virtual microscope at 3 to 1500 e⁻/Å² gave at most 4.6 where they
#: were different, and at least 8 where the shift that was found was right without exception.
_STRENGTH, _AGREEMENT = 7.5, 0.012
_TILES = 4


@dataclass(frozen=True)
class Reduced:
    """A picture made smaller, to be compared."""

    image: Image
    factor: float
    """Pixels of the picture in one of `image`."""


@dataclass(frozen=True)
class Match:
    """How a picture lies to a reference."""

    shift: tuple[float, float]
    """By which it has to be moved (rows, columns) to lie on the reference [px of the compared pictures]."""
    strength: float
    """Height of the peak of the correlation, in standard deviations of its surroundings."""
    agreement: float
    """Mean correlation of 4 × 4 tiles, without the quarter of them in which it is largest."""

    @property
    def same_field(self) -> bool:
        """Whether both show the same field: the peak is beyond chance, and it is not one thing alone that agrees.

        A scale bar, a beam stop or the edge of the beam lies in few tiles, and agrees between any two fields.
        """
        return self.strength >= _STRENGTH and self.agreement >= _AGREEMENT


def cleaned(pixels: npt.NDArray[Any]) -> Image:
    """A picture (H, W) in single precision without gaps of the detector, hot pixels and X-ray hits."""
    picture = fill_masked(pixels)
    median = cv2.medianBlur(picture, 3)
    rest = picture - median
    spread = 1.4826 * float(np.median(np.abs(rest[::4, ::4])))
    # Of few electrons a pixel most are outliers by their neighbours, and all are signal.
    return picture if spread <= 0 else np.where(np.abs(rest) > 8 * spread, median, picture)


def reduced(picture: Image) -> Reduced:
    """A cleaned picture (H, W), reduced by area to 1024 px on its longer side at most."""
    factor = max(1.0, max(picture.shape) / _SIDE)
    if factor == 1:
        return Reduced(picture, 1.0)
    size = (max(16, round(picture.shape[1] / factor)), max(16, round(picture.shape[0] / factor)))
    return Reduced(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA)), factor)


def match(
    reference: Image, picture: Image, pixel_size_nm: float | None, near: tuple[float, float] = (0.0, 0.0)
) -> Match:
    """How a picture (h, w) lies to a reference (h, w), both as `reduced` gives them or sums of such.

    Parameters
    ----------
    pixel_size_nm : of these pictures [nm], None where it is not known.
    near : the shift is looked for around this one.
    """
    fine = _FINE_NM / pixel_size_nm if pixel_size_nm else _FINE_PX
    coarse = _COARSE_NM / pixel_size_nm if pixel_size_nm else _COARSE_PX
    a, b = _banded(reference, fine), _banded(picture, fine)
    reach = max(8, round(max(a.shape) * _REACH))
    centre = (round(near[0]), round(near[1]))
    whole = _standing(_correlation(a, b, reach, centre))
    blurred = [np.asarray(cv2.GaussianBlur(one, (0, 0), coarse)) for one in (a, b)]
    both = whole + 0.7 * _standing(_correlation(blurred[0], blurred[1], reach, centre))
    row, column = (int(i) for i in np.unravel_index(int(both.argmax()), both.shape))
    shift = (row - reach + centre[0], column - reach + centre[1])
    inside = (_vertex(whole, row, column, 0), _vertex(whole, row, column, 1))
    return Match(
        (shift[0] + inside[0], shift[1] + inside[1]), float(whole[row, column]), _agreement(a, b, shift)
    )


def moved(picture: Image, shift: tuple[float, float]) -> tuple[Image, Image]:
    """A picture (H, W) moved by (rows, columns) [px], and the share of each pixel that it covers then."""
    # A tenth of a pixel is less than the shift is known to, and interpolation would make the noise softer.
    rows, columns = (round(s) if abs(s - round(s)) < 0.1 else s for s in shift)
    matrix = np.array([[1, 0, columns], [0, 1, rows]], np.float32)
    size = (picture.shape[1], picture.shape[0])
    covered = cv2.warpAffine(np.ones_like(picture), matrix, size, flags=cv2.INTER_LINEAR)
    done = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    whole = (covered > 0.999).astype(np.float32)
    return np.asarray(done * whole), whole


def _banded(image: Image, fine: float) -> Image:
    """The image without what is finer than `fine` [px] and without illumination, of even contrast."""
    longer = max(image.shape)
    soft = cv2.GaussianBlur(image, (0, 0), max(0.5, fine))
    flat = soft - cv2.GaussianBlur(soft, (0, 0), max(2.0, longer * _SLOW))
    local = np.sqrt(np.maximum(cv2.GaussianBlur(flat * flat, (0, 0), longer / 8), 0))
    return np.asarray(flat / (local + 1e-3 * float(local.mean()) + 1e-20), dtype=np.float32)


def _correlation(a: Image, b: Image, reach: int, centre: tuple[int, int]) -> Image:
    """The half-whitened correlation of two images for shifts of up to `reach` about `centre`, (2 reach + 1,) × 2."""
    shape = [fft.next_fast_len(n + reach + abs(at), real=True) for n, at in zip(a.shape, centre, strict=True)]
    window = np.sqrt(np.outer(np.hanning(a.shape[0]), np.hanning(a.shape[1]))).astype(np.float32)
    cross = fft.rfft2(a * window, shape) * np.conj(fft.rfft2(b * window, shape))
    size = np.sqrt(np.abs(cross))
    found = fft.irfft2(cross / (size + 1e-6 * float(size.mean()) + 1e-30), shape)
    rows, columns = (np.arange(-reach, reach + 1) + at for at in centre)
    return np.asarray(found[np.ix_(rows % shape[0], columns % shape[1])], dtype=np.float32)


def _standing(found: Image) -> Image:
    """A correlation in standard deviations over its mean."""
    return np.asarray((found - found.mean()) / (found.std() + 1e-30))


def _vertex(found: Image, row: int, column: int, axis: int) -> float:
    """Where between pixels a peak lies along an axis: the vertex of the parabola through three points, ±½."""
    line = found[:, column] if axis == 0 else found[row]
    at = (row, column)[axis]
    if not 0 < at < len(line) - 1:
        return 0.0
    before, here, after = (float(line[at + step]) for step in (-1, 0, 1))
    bend = before - 2 * here + after
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


def _agreement(a: Image, b: Image, shift: tuple[int, int]) -> float:
    """Mean correlation of the tiles of the overlap, without the best quarter of them."""
    (h, w), (dr, dc) = a.shape, shift
    if abs(dr) >= h // 2 or abs(dc) >= w // 2:
        return 0.0
    first = a[max(0, dr) : h + min(0, dr), max(0, dc) : w + min(0, dc)]
    second = b[max(0, -dr) : h + min(0, -dr), max(0, -dc) : w + min(0, -dc)]
    tiles = []
    for rows in np.array_split(np.arange(first.shape[0]), _TILES):
        for columns in np.array_split(np.arange(first.shape[1]), _TILES):
            place = np.ix_(rows, columns)
            x, y = first[place] - first[place].mean(), second[place] - second[place].mean()
            tiles.append(float((x * y).mean() / (x.std() * y.std() + 1e-20)))
    return float(np.mean(sorted(tiles)[: _TILES * _TILES * 3 // 4]))
