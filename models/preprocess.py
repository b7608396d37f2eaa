"""From a camera's counts to what the network sees: the same code for training and for a session.

A detector's gaps are filled, outlier pixels are replaced by their local median, the frame is resampled to the bundle's
pixel size through its Fourier transform, a low-order surface (fitted robustly) is taken off, the noise is made even
across the frame, and the whole frame is standardised. Everything is unchanged by gain and offset of the counts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

Image = npt.NDArray[np.float32]

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


def median(values: npt.NDArray[np.float32]) -> np.float32:
    """What `numpy.median` gives of values of any shape, none of them NaN, in an eighth of its time.

    One place in the order is found much faster than the two that it asks for at once.
    """
    ordered = values.flatten()
    half = ordered.size // 2
    ordered.partition(half)
    upper = ordered[half]
    if ordered.size % 2:
        return np.float32(upper)
    return np.float32((ordered[:half].max() + upper) / np.float32(2))


def fill_masked(image: npt.NDArray[Any]) -> Image:
    """A frame (H, W) as single precision, with what its detector could not count filled from around.

    Detectors mark gaps between modules and dead areas with the largest value of their type (unsigned, 16 bits or
    more). Each such pixel becomes the mean of its valid surroundings, as wide as need be. Where more than `MASKED` of
    a frame has that value it is overexposed, and left as it is; so are pictures of 8 bits, whose white is a colour.
    """
    pixels = np.ascontiguousarray(image, dtype=np.float32)
    if image.dtype.kind != "u" or image.dtype.itemsize < 2:
        return pixels
    masked = np.asarray(image == np.iinfo(image.dtype).max)
    if not masked.any() or masked.mean() > MASKED:
        return pixels
    known = (~masked).astype(np.float32)
    pixels = np.where(masked, np.float32(np.median(image[~masked])), pixels)
    for width in (32, 8, 2):  # the narrowest that has anything to go by is written last
        near = cv2.GaussianBlur(known, (0, 0), width)
        total = cv2.GaussianBlur(pixels * known, (0, 0), width)
        fill = masked & (near > 0.05)
        pixels[fill] = total[fill] / near[fill]
    return pixels


def remove_outliers(image: Image, sigmas: float) -> Image:
    """Replace hot and dead pixels and X-ray hits by the median of their 3 × 3 surroundings."""
    calm = cv2.medianBlur(image, 3)
    residual = image - calm
    np.abs(residual, out=residual)
    spread = 1.4826 * float(median(residual[::4, ::4])) + 1e-12
    # The residual of a 3 × 3 median is narrower than the noise itself: white noise keeps about 0.85 of it.
    far = np.unravel_index(np.flatnonzero(residual > sigmas * spread / 0.85), image.shape)
    found = residual  # its memory is used again
    np.copyto(found, image)
    found[far] = calm[far]
    return np.asarray(found)


def resample(image: Image, factor: float) -> tuple[Image, tuple[float, float]]:
    """Resample by `factor` (output pixels per input pixel) through the Fourier transform; never strided.

    The frame is mirrored up to a size that the transform likes. Returns the image and the exact factors along rows
    and columns, which differ from `factor` by less than half a pixel over the frame.
    """
    if abs(factor - 1) < 0.002:
        return image, (1.0, 1.0)
    sizes_in = [fft.next_fast_len(n + 16, real=True) for n in image.shape]
    pads = [s - n for s, n in zip(sizes_in, image.shape, strict=True)]
    padded = cv2.copyMakeBorder(image, 0, pads[0], 0, pads[1], cv2.BORDER_REFLECT)
    sizes_out = [max(2, 2 * round(s * factor / 2)) for s in sizes_in]
    rows = min(sizes_in[0], sizes_out[0]) // 2
    cols = min(sizes_in[1], sizes_out[1]) // 2
    # Of columns that are left out later only the first of both transforms is computed.
    spectrum = fft.fft(fft.rfft(padded, axis=1)[:, :cols], axis=0, overwrite_x=True)
    out = np.zeros((sizes_out[0], sizes_out[1] // 2 + 1), np.complex64)
    out[:rows, :cols] = spectrum[:rows]
    out[-rows:, :cols] = spectrum[-rows:]
    gain = (sizes_out[0] * sizes_out[1]) / (sizes_in[0] * sizes_in[1])
    resampled = fft.irfft2(out, s=sizes_out)
    exact = (sizes_out[0] / sizes_in[0], sizes_out[1] / sizes_in[1])
    kept = [max(2, round(n * e)) for n, e in zip(image.shape, exact, strict=True)]
    return np.asarray(resampled[: kept[0], : kept[1]] * np.float32(gain)), exact


def polynomials(shape: tuple[int, int], order: int) -> npt.NDArray[np.float32]:
    """Products of Legendre polynomials up to `order` on the grid, (terms, H·W)."""
    r = np.linspace(-1, 1, shape[0], dtype=np.float32)
    c = np.linspace(-1, 1, shape[1], dtype=np.float32)
    along_r = [np.polynomial.legendre.Legendre.basis(n)(r) for n in range(order + 1)]
    along_c = [np.polynomial.legendre.Legendre.basis(n)(c) for n in range(order + 1)]
    terms = [np.outer(along_r[i], along_c[j]) for i in range(order + 1) for j in range(order + 1 - i)]
    return np.stack([t.ravel() for t in terms]).astype(np.float32)


def robust_surface(image: Image, order: int, block: int = 16) -> Image:
    """A polynomial surface (H, W) fitted to the block means by Tukey's biweight, so that outliers have no weight."""
    h, w = image.shape
    coarse_shape = (max(4, h // block), max(4, w // block))
    coarse = cv2.resize(image, coarse_shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    basis = polynomials(coarse_shape, order).astype(np.float64)
    weights = np.ones(coarse.size)
    solution = np.zeros(len(basis))
    for _ in range(6):
        weighted = basis * weights
        solution = np.linalg.solve(weighted @ basis.T + 1e-6 * np.eye(len(basis)), weighted @ coarse)
        residual = coarse - solution @ basis
        spread = 1.4826 * np.median(np.abs(residual - np.median(residual))) + 1e-12
        weights = np.clip(1 - (residual / (4.0 * spread)) ** 2, 0, 1) ** 2 + 1e-6
    surface = (solution @ basis).reshape(coarse_shape).astype(np.float32)
    return np.asarray(cv2.resize(surface, (w, h), interpolation=cv2.INTER_CUBIC))


def standardise(image: Image, settings: Preprocessing) -> Image:
    """Flat field, even noise, zero mean, unit standard deviation over the whole frame; a constant frame gives zeros."""
    spread, mean = float(image.std()), np.float32(image.mean())
    if not np.isfinite(spread) or spread <= 1e-9 * (abs(float(mean)) + 1e-30):
        return np.zeros_like(image)
    flat = image - mean
    flat /= np.float32(spread)
    flat -= robust_surface(flat, settings.surface_order)
    if settings.noise_order > 0:
        rough = cv2.GaussianBlur(flat, (0, 0), 1.0)
        np.abs(np.subtract(flat, rough, out=rough), out=rough)
        level = cv2.resize(
            rough, (max(4, flat.shape[1] // 16), max(4, flat.shape[0] // 16)), interpolation=cv2.INTER_AREA
        )
        floor = max(1e-6, 0.02 * float(np.median(level)))
        noise = robust_surface(np.log(np.maximum(level, floor)), settings.noise_order, block=1)
        noise = cv2.resize(noise, flat.shape[::-1], interpolation=cv2.INTER_CUBIC)
        noise -= median(noise)
        # Bounded: the noise of a real frame varies by a few times; more than that is something else.
        flat /= np.exp(np.clip(noise, -1.5, 1.5, out=noise), out=noise)
    flat -= median(flat[::2, ::2])
    deviation = float(flat.std())
    if deviation <= 1e-9:
        return np.zeros_like(flat)
    flat /= np.float32(deviation)
    return np.clip(flat, -settings.clip, settings.clip, out=flat)


def canonical(image: npt.NDArray[Any], pixel_size_nm: float, settings: Preprocessing) -> Canonical:
    """The whole way from a frame (H, W) of any real type to the network's input."""
    pixels = remove_outliers(fill_masked(image), settings.outlier_sigmas)
    resampled, scale = resample(pixels, pixel_size_nm / settings.pixel_size_nm)
    return Canonical(standardise(resampled, settings), scale, (image.shape[0], image.shape[1]))
