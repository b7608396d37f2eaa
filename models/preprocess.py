"""From a camera's counts to what the network sees: the same code for training and for a session.

A detector's gaps are filled, outlier pixels are replaced by their local median, the frame is resampled to the bundle's
pixel size through its Fourier transform, a low-order surface (fitted robustly) is taken off, the noise is made even
across the frame, and the whole frame is standardised. Everything is unchanged by gain and offset of the counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import floor, sqrt
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

Image = npt.NDArray[np.float32]

_STRIP = 64
"""Whole frames are gone through in strips of so many rows, which stay in the processor's cache [px]."""
_HALO = 4
"""Reach of a Gaussian of one pixel, as OpenCV has it for single precision [px]."""

MOST_NOISE = 1.5
"""The noise of a real frame varies by a few times; what the logarithm of its surface has beyond ± this is cut off."""
MASKED = 0.2
"""Share of a frame's pixels at the largest value of its type from which that is overexposure, not a detector's gaps."""


@dataclass(frozen=True)
class Preprocessing:
    """The steps' settings, as a bundle stores them."""

    pixel_size_nm: float = 0.05
    """Canonical sampling [nm/px]."""
    outlier_sigmas: float = 6.0
    """A pixel this far from its local median, in the noise's standard deviation, is replaced by it."""
    surface_order: int = 3
    """Degree of the polynomial surface of the flat field."""
    noise_order: int = 2
    """Degree of the surface of the noise's logarithm; 0 leaves the noise as it is."""
    clip: float = 6.0
    """Standardised values are cut off at ± this."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Canonical:
    """A frame at canonical sampling, and the way back."""

    image: Image
    """(h, w) standardised."""
    scale: tuple[float, float]
    """Canonical pixels per frame pixel, along rows and columns."""
    shape: tuple[int, int]
    """The frame's own (H, W)."""

    def to_frame(self, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Labels (h, w) on the frame's own grid (H, W), each pixel from the nearest canonical one."""
        rows, cols = self.nearest()
        return labels.take(cols, axis=1)[rows]

    def nearest(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """The nearest canonical row of each of the frame's rows (H,), and the same of its columns (W,)."""
        h, w = self.image.shape
        rows = np.minimum((np.arange(self.shape[0]) * self.scale[0] + 0.5).astype(int), h - 1)
        cols = np.minimum((np.arange(self.shape[1]) * self.scale[1] + 0.5).astype(int), w - 1)
        return rows, cols


def median(values: npt.NDArray[Any]) -> float:
    """What `numpy.median` gives of values of any shape, none of them NaN, in an eighth of its time.

    One place in the order is found much faster than the two that it asks for at once.
    """
    ordered = values.flatten()
    half = ordered.size // 2
    ordered.partition(half)
    upper = ordered[half]
    if ordered.size % 2:
        return float(upper)
    if ordered.dtype.kind != "f":
        return (int(ordered[:half].max()) + int(upper)) / 2
    return float((ordered[:half].max() + upper) / ordered.dtype.type(2))


def has_gaps(image: npt.NDArray[Any]) -> bool:
    """Whether a frame may have gaps: pixels at the largest value of an unsigned type of at least 16 bits."""
    counted = image.dtype.kind == "u" and image.dtype.itemsize >= 2
    return counted and bool(image.max() == np.iinfo(image.dtype).max)


def fill_masked(image: npt.NDArray[Any]) -> Image:
    """A frame (H, W) as single precision, with what its detector could not count filled from around.

    Detectors mark gaps between modules and dead areas with the largest value of their type (unsigned, 16 bits or
    more). Each such pixel becomes the mean of its valid surroundings, as wide as need be. Where more than `MASKED` of
    a frame has that value it is overexposed, and left as it is; so are pictures of 8 bits, whose white is a colour.
    """
    pixels = np.ascontiguousarray(image, dtype=np.float32)
    if not has_gaps(image):
        return pixels
    masked = np.asarray(image == np.iinfo(image.dtype).max)
    if masked.mean() > MASKED:
        return pixels
    known = (~masked).astype(np.float32)
    pixels = np.where(masked, np.float32(np.median(image[~masked])), pixels)
    for width in (32, 8, 2):  # the narrowest that has anything to go by is written last
        near = cv2.GaussianBlur(known, (0, 0), width)
        total = cv2.GaussianBlur(pixels * known, (0, 0), width)
        fill = masked & (near > 0.05)
        pixels[fill] = total[fill] / near[fill]
    return pixels


def remove_outliers(image: npt.NDArray[Any], sigmas: float) -> npt.NDArray[Any]:
    """Replace hot and dead pixels and X-ray hits by the median of their 3 × 3 surroundings.

    Parameters
    ----------
    image : (H, W) unsigned, 8 or 16 bits, or single precision; itself is returned where it has none.
    """
    calm = cv2.medianBlur(image, 3)
    residual = cv2.absdiff(image, calm)
    spread = 1.4826 * median(residual[::4, ::4]) + 1e-12
    # The residual of a 3 × 3 median is narrower than the noise itself: white noise keeps about 0.85 of it.
    most = sigmas * spread / 0.85
    if residual.dtype.kind == "u":
        most = min(floor(most), int(np.iinfo(residual.dtype).max))
    far = np.flatnonzero(residual > most)
    if not far.size:
        return image
    rows, cols = np.unravel_index(far, image.shape)
    found = np.ascontiguousarray(image).copy()
    found[rows, cols] = calm[rows, cols]
    return found


def resample(image: npt.NDArray[Any], factor: float) -> tuple[Image, tuple[float, float]]:
    """Resample by `factor` (output pixels per input pixel) through the Fourier transform; never strided.

    The frame is mirrored up to a size that the transform likes. Returns the image and the exact factors along rows
    and columns, which differ from `factor` by less than half a pixel over the frame.
    """
    if abs(factor - 1) < 0.002:
        return np.ascontiguousarray(image, dtype=np.float32), (1.0, 1.0)
    sizes_in = [fft.next_fast_len(n + 16, real=True) for n in image.shape]
    sizes_out = [max(2, 2 * round(s * factor / 2)) for s in sizes_in]
    exact = (sizes_out[0] / sizes_in[0], sizes_out[1] / sizes_in[1])
    kept = [max(2, round(n * e)) for n, e in zip(image.shape, exact, strict=True)]
    rows, cols = (min(a, b) // 2 for a, b in zip(sizes_in, sizes_out, strict=True))
    # Of columns that are left out later only the first of both transforms is computed.
    spectrum = fft.fft(_rows_in(image, sizes_in, cols), axis=1, overwrite_x=True)
    if sizes_out[0] > 2 * rows:
        cut = np.zeros((cols, sizes_out[0]), np.complex64)
        cut[:, -rows:] = spectrum[:, -rows:]
    else:
        cut = spectrum[:, -2 * rows :]  # the same memory, of which the end stays where it is
    cut[:, :rows] = spectrum[:, :rows]
    along = fft.ifft(cut, axis=1, norm="forward", overwrite_x=True)
    return _rows_out(along, sizes_out[1], kept, 1 / (sizes_in[0] * sizes_in[1])), exact


def _rows_in(image: npt.NDArray[Any], sizes: Sequence[int], cols: int) -> npt.NDArray[np.complex64]:
    """(cols, rows) the first `cols` frequencies of each row of an image that is mirrored up to `sizes`, transposed.

    OpenCV's transform takes two thirds of SciPy's time for real rows; strips of them stay in the processor's cache.
    """
    found = np.empty((cols, sizes[0], 2), np.float32)
    height, width = image.shape
    for rows in strips(height):
        strip = image[rows]
        padded = cv2.copyMakeBorder(strip, 0, 0, 0, sizes[1] - width, cv2.BORDER_REFLECT)
        # Packed: the mean, then the real and the imaginary part of each frequency.
        packed = cv2.dft(padded.astype(np.float32, copy=False), flags=cv2.DFT_ROWS)
        here = found[:, rows]
        here[0, :, 0], here[0, :, 1] = packed[:, 0], 0
        cv2.transpose(packed[:, 1 : 2 * cols - 1].reshape(len(strip), cols - 1, 2), dst=here[1:])
    found[:, height:] = found[:, np.pad(np.arange(height), (0, sizes[0] - height), mode="symmetric")[height:]]
    return found.view(np.complex64)[..., 0]


def _rows_out(along: npt.NDArray[np.complex64], size: int, kept: Sequence[int], gain: float) -> Image:
    """The first rows and columns of what has these frequencies along rows (cols, rows), transposed as in `_rows_in`."""
    cols = len(along)
    pairs = along.view(np.float32).reshape(cols, along.shape[1], 2)
    packed = np.zeros((_STRIP, size), np.float32)
    found = np.empty((kept[0], kept[1]), np.float32)
    for rows in strips(kept[0]):
        strip = packed[: rows.stop - rows.start]
        strip[:, 0] = pairs[0, rows, 0]
        cv2.transpose(pairs[1:, rows], dst=strip[:, 1 : 2 * cols - 1].reshape(len(strip), cols - 1, 2))
        real = cv2.dft(strip, flags=cv2.DFT_ROWS | cv2.DFT_INVERSE | cv2.DFT_REAL_OUTPUT)
        np.multiply(real[:, : kept[1]], np.float32(gain), out=found[rows])
    return found


@lru_cache(maxsize=32)
def _legendre(length: int, order: int) -> npt.NDArray[np.float32]:
    """(length, order + 1) Legendre polynomials on a line; not to be written to."""
    x = np.linspace(-1, 1, length, dtype=np.float32)
    basis = [np.polynomial.legendre.Legendre.basis(n)(x) for n in range(order + 1)]
    found = np.stack(basis, axis=1).astype(np.float32)
    found.flags.writeable = False
    return found


def _degrees(order: int) -> tuple[list[int], list[int]]:
    """Of each term: its degree along rows, and along columns."""
    pairs = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
    return [i for i, _ in pairs], [j for _, j in pairs]


@lru_cache(maxsize=16)
def polynomials(shape: tuple[int, int], order: int) -> npt.NDArray[np.float64]:
    """Products of Legendre polynomials up to `order` on the grid, (terms, H·W); not to be written to."""
    along_r, along_c = (_legendre(n, order).T[which] for n, which in zip(shape, _degrees(order), strict=True))
    basis = (along_r[:, :, None] * along_c[:, None, :]).reshape(len(along_r), -1).astype(np.float64)
    basis.flags.writeable = False
    return basis


def _fit(coarse: Image, order: int) -> npt.NDArray[np.float64]:
    """(terms,) of `polynomials` fitted to values (h, w) by Tukey's biweight, so that outliers have no weight."""
    basis = polynomials((coarse.shape[0], coarse.shape[1]), order)
    values = coarse.ravel().astype(np.float64)
    weights = np.ones(values.size)
    solution: npt.NDArray[np.floating] = np.zeros(len(basis))
    for _ in range(6):
        weighted = basis * weights
        solution = np.linalg.solve(weighted @ basis.T + 1e-6 * np.eye(len(basis)), weighted @ values)
        residual = values - solution @ basis
        spread = 1.4826 * median(np.abs(residual - median(residual))) + 1e-12
        weights = np.clip(1 - (residual / (4.0 * spread)) ** 2, 0, 1) ** 2 + 1e-6
    return np.asarray(solution, dtype=np.float64)


@lru_cache(maxsize=16)
def _enlarged(blocks: int, length: int, order: int) -> Image:
    """(length, order + 1) Legendre polynomials on a line of blocks, enlarged by OpenCV's `resize`."""
    lines = _legendre(blocks, order)
    return np.asarray(cv2.resize(lines, (order + 1, length), interpolation=cv2.INTER_CUBIC))


@dataclass(frozen=True)
class Surface:
    """A surface (H, W) as the product of two thin matrices."""

    rows: Image
    """(H, terms)"""
    cols: Image
    """(terms, W)"""

    @property
    def whole(self) -> Image:
        """(H, W)"""
        return np.asarray(self.rows @ self.cols)


def robust_surface(coarse: Image, order: int, shape: Sequence[int]) -> Surface:
    """A polynomial fitted robustly to the means of blocks (h, w), enlarged to `shape` (H, W)."""
    along_r, along_c = (_enlarged(n, size, order) for n, size in zip(coarse.shape, shape, strict=True))
    shares = np.zeros((order + 1, order + 1), np.float32)
    shares[_degrees(order)] = _fit(coarse, order)
    return Surface(along_r @ shares, np.ascontiguousarray(along_c.T))


def block_means(image: Image, block: int = 16) -> Image:
    """The means of blocks of so many pixels a side, at least 4 along each side of the image."""
    size = [max(4, n // block) for n in image.shape[::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def standardise(image: Image, settings: Preprocessing) -> Image:
    """Flat field, even noise, zero mean, unit standard deviation over the whole frame; a constant frame gives zeros."""
    mean, spread = _unit(image)
    if not np.isfinite(spread) or spread <= 1e-9 * (abs(mean) + 1e-30):
        return np.zeros_like(image)
    middle, gain = np.float32(mean), np.float32(1 / spread)
    ground = robust_surface((block_means(image) - middle) * gain, settings.surface_order, image.shape)
    flat = np.empty_like(image)
    for rows in strips(len(flat)):
        strip = np.subtract(image[rows], middle, out=flat[rows])
        strip *= gain
        strip -= ground.rows[rows] @ ground.cols
    noise = _noise(flat, settings.noise_order) if settings.noise_order > 0 else None
    sample = np.empty(((flat.shape[0] + 1) // 2, (flat.shape[1] + 1) // 2), np.float32)
    total = square = 0.0
    for rows in strips(len(flat)):
        strip = flat[rows]
        if noise is not None:
            level = noise.rows[rows] @ noise.cols
            strip /= np.exp(np.clip(level, -MOST_NOISE, MOST_NOISE, out=level), out=level)
        sample[rows.start // 2 : (rows.stop + 1) // 2] = strip[::2, ::2]
        total += float(strip.sum())
        square += float(np.vdot(strip, strip))
    deviation = sqrt(max(0.0, square / flat.size - (total / flat.size) ** 2))
    if deviation <= 1e-9:
        return np.zeros_like(flat)
    middle, gain = np.float32(median(sample)), np.float32(1 / deviation)
    for rows in strips(len(flat)):
        strip = flat[rows]
        strip -= middle
        strip *= gain
        np.clip(strip, -settings.clip, settings.clip, out=strip)
    return flat


def strips(length: int) -> Iterator[slice]:
    """The strips of so many rows."""
    return (slice(top, min(length, top + _STRIP)) for top in range(0, length, _STRIP))


def _unit(image: Image) -> tuple[float, float]:
    """Mean and standard deviation of an image, by which its values become handy: of a fourth of its rows, or of all."""
    for rows in (image[::4], image):
        mean, spread = (float(found[0, 0]) for found in cv2.meanStdDev(rows))
        if spread > 1e-6 * abs(mean):
            break
    return mean, spread


def _noise(flat: Image, order: int) -> Surface:
    """The logarithm of an image's noise, about its median."""
    rough = np.empty_like(flat)
    for rows in strips(len(flat)):
        around = flat[max(0, rows.start - _HALO) : rows.stop + _HALO]
        first = min(_HALO, rows.start)
        smooth = cv2.GaussianBlur(around, (0, 0), 1.0)[first : first + rows.stop - rows.start]
        cv2.absdiff(flat[rows], smooth, dst=rough[rows])
    level = block_means(rough)
    least = np.float32(max(1e-6, 0.02 * median(level)))
    found = robust_surface(np.log(np.maximum(level, least)), order, flat.shape)
    # The median only matters where the noise is cut off: the deviation that it is divided by takes it off again.
    some = found.rows[::4] @ found.cols[:, ::4]
    middle = median(some)
    if max(some.max() - middle, middle - some.min()) > 0.9 * MOST_NOISE:
        middle = median(found.whole)
    # The first term is the same along rows and columns.
    found.rows[:, 0] -= middle
    return found


def canonical(image: npt.NDArray[Any], pixel_size_nm: float, settings: Preprocessing) -> Canonical:
    """The whole way from a frame (H, W) of any real type to the network's input."""
    direct = image.dtype in (np.uint8, np.uint16) and not has_gaps(image)
    pixels = remove_outliers(image if direct else fill_masked(image), settings.outlier_sigmas)
    resampled, scale = resample(pixels, pixel_size_nm / settings.pixel_size_nm)
    return Canonical(standardise(resampled, settings), scale, (image.shape[0], image.shape[1]))
