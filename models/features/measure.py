"""What the forest is told of a region: figures of its Fourier transform, Sobel edges, contrast and stacking.

All come from the frame at canonical sampling, with frequencies in nm⁻¹; none changes with the crop's size, the
counts' gain or offset, or the region's orientation in the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from models.features.axes import Axis, other_zones, smoothed, stacking_axes
from models.features.fault_signs import edge_profile, signs_of
from models.features.stack import Reading, read_stack

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Real = npt.NDArray[np.float64]

RINGS = np.arange(0.5, 8.51, 0.5)
"""Edges of the rings of the radial profile [nm⁻¹]."""
TRANSFORM = 256
"""Side of the (zero-padded) transform [px]; larger regions are cut to it."""
PEAKS = 6
STRONG = 6.0
"""Power over the background's from which a peak is a Bragg spot."""

#: Known close-packed layer frequencies [nm⁻¹] by material; the window around each covers the pixel size's error.
LAYER_FREQUENCIES: dict[str, float] = {
    "CdSe": 2.850, "PbS": 2.918, "Au": 4.247, "Ag": 4.240, "Pt": 4.414,
}  # fmt: skip
PLAIN = 12.0
"""`Reading.significance` from which a fault is taken as plain when an axis is chosen to be shown."""
WINDOW = 0.05
"""Half width of the window around a layer frequency, relative."""
READ = (
    "perfect_h",
    "perfect_c",
    "faulted",
    "gain",
    "significance",
    "row_power",
    "turn_mean",
    "turn_spread",
    "depth",
    "misfit_perfect",
    "misfit_faulted",
    "evidence",
)
"""Figures of a reading that become features."""
SIGNS = ("streak", "twin_spots", "phase_jump", "halves", "edge_profile")
"""Of `models.features.fault_signs`, those that become features."""


@dataclass(frozen=True)
class Measured:
    """A region's features and what they were read from."""

    values: dict[str, float]
    reading: Reading | None
    """The stack along the best axis; `None` where no axis was found."""
    seen: Seen | None = None
    """What all of it was read from, where that is asked for."""


@dataclass(frozen=True)
class Spectrum:
    """A region's power spectrum: `TRANSFORM`² bins of 1 / (`TRANSFORM` · pixel size) [nm⁻¹], 0 in the middle."""

    power: npt.NDArray[np.float64]
    """Per unit of window area."""
    ratio: npt.NDArray[np.float64]
    """The same over the background's mean at that frequency; 0 beyond the `RINGS`."""
    peaks: list[tuple[float, float, float, float]]
    """The strongest Bragg spots of a half plane: (row bin, column bin, |k| [nm⁻¹], power over the background)."""


@dataclass(frozen=True)
class Seen:
    """One region as it is measured."""

    crop: Image
    """(h, w) of the standardised frame."""
    detail: Image
    """(h, w) the same without its slow variation, within the region's soft window."""
    soft: Image
    """(h, w) that window."""
    mask: npt.NDArray[np.bool_]
    background: npt.NDArray[np.float64]
    """Mean power of the frame's ground in each of the `RINGS`."""
    pixel_size_nm: float
    readings: tuple[Reading, ...]
    """The stack along every axis that was tried."""

    def spectrum(self) -> Spectrum:
        """The spectrum from which the features were taken."""
        return _spectrum(self.detail, self.soft, self.background, *_radii(self.pixel_size_nm))


def background_profile(image: Image, labels: Labels, pixel_size_nm: float) -> npt.NDArray[np.float64]:
    """Mean power of the frame outside all regions in each of the `RINGS`, (rings,), per unit of window area.

    Median over tiles that are free of regions; where there is none, over the quietest tiles.
    """
    size = 64
    window = np.outer(np.hanning(size), np.hanning(size)).astype(np.float32)
    tiles, occupied = [], []
    for r in range(0, max(1, image.shape[0] - size + 1), size):
        for c in range(0, max(1, image.shape[1] - size + 1), size):
            tile = image[r : r + size, c : c + size]
            if tile.shape == (size, size):
                tiles.append(tile)
                occupied.append(float((labels[r : r + size, c : c + size] > 0).mean()))
    if not tiles:
        padded = np.zeros((size, size), np.float32)
        padded[: image.shape[0], : image.shape[1]] = image[:size, :size]
        tiles, occupied = [padded], [0.0]
    order = np.argsort(occupied, kind="stable")
    free = [i for i in order if occupied[i] == 0.0] or list(order[: max(1, len(order) // 8)])
    stack = np.stack([tiles[i] for i in free[:32]])
    stack = (stack - stack.mean(axis=(1, 2), keepdims=True)) * window
    power = np.median(np.abs(fft.fft2(stack)) ** 2, axis=0) / (window**2).sum() / np.log(2)
    radius = np.hypot(fft.fftfreq(size, pixel_size_nm)[:, None], fft.fftfreq(size, pixel_size_nm)[None])
    ring = np.digitize(radius.ravel(), RINGS) - 1
    inside = (ring >= 0) & (ring < len(RINGS) - 1)
    sums = np.bincount(ring[inside], power.ravel()[inside], len(RINGS) - 1)
    return np.asarray(sums / np.bincount(ring[inside], minlength=len(RINGS) - 1) + 1e-9)


def _radii(pixel_size_nm: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    k = fft.fftshift(fft.fftfreq(TRANSFORM, pixel_size_nm))
    radius = np.hypot(k[:, None], k[None])
    return radius, np.digitize(radius, RINGS) - 1


def measure(
    image: Image,
    labels: Labels,
    pixel_size_nm: float,
    layer_frequencies: Sequence[float] | None = None,
    keep: bool = False,
) -> list[Measured]:
    """Features of every region 1, 2, … of a label image (h, w), from the standardised frame (h, w).

    Parameters
    ----------
    layer_frequencies : of the materials that may be there [nm⁻¹]; all known ones if not given.
    keep : with what was seen, to explain it.
    """
    frequencies = sorted(set(layer_frequencies or LAYER_FREQUENCIES.values()))
    count = int(labels.max(initial=0))
    if count == 0:
        return []
    background = background_profile(image, labels, pixel_size_nm)
    radius, ring = _radii(pixel_size_nm)
    slow = cv2.GaussianBlur(image, (0, 0), 0.5 / pixel_size_nm)
    gradients = _sobel(image)
    outside = labels == 0
    outside_gradient = float(np.median(gradients[outside])) if outside.any() else float(np.median(gradients))
    found = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        region = _region(labels, label, box, pixel_size_nm)
        found.append(
            _measure_one(
                image, slow, gradients, outside_gradient, region, labels, label, background, radius, ring,
                pixel_size_nm, frequencies, keep,
            )
        )  # fmt: skip
    return found


@cache
def feature_names() -> tuple[str, ...]:
    """The names of all features, in the order in which `measure` gives them."""
    labels = np.zeros((64, 64), np.int32)
    labels[16:48, 16:48] = 1
    (measured,) = measure(np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32), labels, 0.05)
    return tuple(measured.values)


@dataclass(frozen=True)
class _Region:
    top: int
    left: int
    soft: Image
    """(h, w) the region's window, 1 inside, falling to 0 over 0.15 nm at its border."""
    mask: npt.NDArray[np.bool_]


def _region(labels: Labels, label: int, box: tuple[slice, slice], pixel_size_nm: float) -> _Region:
    """The region in a crop that leaves 0.4 nm around it; of one larger than the transform, a part that it covers."""
    margin = round(0.4 / pixel_size_nm)
    rows, cols = (_widened(side, margin, n) for side, n in zip(box, labels.shape, strict=True))
    cut = labels[rows, cols] == label
    if not cut.any():  # a crescent: its box's middle is not its own
        own = np.argwhere(labels[box] == label)
        row, col = own[len(own) // 2] + [box[0].start, box[1].start]
        rows, cols = (
            _widened(slice(int(at), int(at) + 1), TRANSFORM // 2 - 1, n)
            for at, n in zip((row, col), labels.shape, strict=True)
        )
        cut = labels[rows, cols] == label
    soft = cv2.GaussianBlur(cut.astype(np.float32), (0, 0), 0.15 / pixel_size_nm)
    return _Region(rows.start, cols.start, soft, cut)


def _widened(side: slice, margin: int, length: int) -> slice:
    """One side of a box with a margin, within the frame, and of it the middle `TRANSFORM` pixels at the most."""
    start, stop = max(0, side.start - margin), min(length, side.stop + margin)
    if stop - start > TRANSFORM:
        start = (start + stop - TRANSFORM) // 2
        stop = start + TRANSFORM
    return slice(start, stop)


def _measure_one(
    image: Image,
    slow: Image,
    gradients: Image,
    outside_gradient: float,
    region: _Region,
    labels: Labels,
    label: int,
    background: npt.NDArray[np.float64],
    radius: npt.NDArray[np.float64],
    ring: npt.NDArray[np.intp],
    pixel_size_nm: float,
    frequencies: Sequence[float],
    keep: bool,
) -> Measured:
    h, w = region.soft.shape
    here = (slice(region.top, region.top + h), slice(region.left, region.left + w))
    detail = (image[here] - slow[here]) * region.soft
    spectrum = _spectrum(detail, region.soft, background, radius, ring)
    power, ratio, peaks = spectrum.power, spectrum.ratio, spectrum.peaks
    values: dict[str, float] = {}

    # Radial profile over the background's: what the region adds at each spatial frequency.
    inside = (ring >= 0) & (ring < len(RINGS) - 1)
    rings = ring[inside]
    n = np.bincount(rings, minlength=len(RINGS) - 1)
    mean = np.bincount(rings, power[inside], len(RINGS) - 1) / n
    square = np.bincount(rings, power[inside] ** 2, len(RINGS) - 1) / n
    for i in range(len(RINGS) - 1):
        values[f"ring_{RINGS[i]:.1f}"] = float(np.log(mean[i] / background[i] + 1e-6))
    # Unevenness within a ring, 1 for pure noise: rises where a few spots hold the power.
    for i in range(2, len(RINGS) - 3):
        values[f"uneven_{RINGS[i]:.1f}"] = float(np.log(square[i] / (2 * mean[i] ** 2) + 1e-6))

    values |= _peak_features(peaks)
    pixels = np.nonzero(region.mask)
    blurred = cv2.GaussianBlur(image[here], (0, 0), 1.0)
    gradient_rows = cv2.Sobel(blurred, cv2.CV_32F, 0, 1)[pixels].astype(np.float64)
    gradient_cols = cv2.Sobel(blurred, cv2.CV_32F, 1, 0)[pixels].astype(np.float64)
    values |= _edge_features(gradients[here][pixels], gradient_rows, gradient_cols, outside_gradient)
    values |= _contrast(image, labels, label, region, pixel_size_nm)

    levels = detail[pixels].astype(np.float64)
    rows_nm = pixels[0].astype(np.float64) * pixel_size_nm
    cols_nm = pixels[1].astype(np.float64) * pixel_size_nm
    readings: list[Reading] = []
    edges: list[float] = []
    step = 1 / (TRANSFORM * pixel_size_nm)
    smooth = smoothed(ratio)
    axes = stacking_axes(smooth, step, frequencies)
    values |= {f"zone_{name}": power for name, power in other_zones(smooth, step, frequencies).items()}
    for axis in axes:
        refined = refine(detail, region.mask, pixel_size_nm, (axis.row, axis.col))
        reading = read_stack(levels, rows_nm, cols_nm, refined)
        if reading is not None:
            readings.append(reading)
            length = float(np.hypot(*refined))
            along = (rows_nm * refined[0] + cols_nm * refined[1]) / length
            edges.append(edge_profile(gradient_rows, gradient_cols, along, 1 / length))
    values |= _axis_features(axes) | _stack_features(readings, edges)
    seen = None
    if keep:
        here_seen = (image[here], detail, region.soft, region.mask)
        seen = Seen(*here_seen, background, pixel_size_nm, tuple(readings))
    return Measured(values, _telling(readings), seen)


def _spectrum(
    detail: Image,
    soft: Image,
    background: npt.NDArray[np.float64],
    radius: npt.NDArray[np.float64],
    ring: npt.NDArray[np.intp],
) -> Spectrum:
    area = float((soft**2).sum()) + 1e-6
    transform = fft.fftshift(fft.fft2(detail, s=(TRANSFORM, TRANSFORM)))
    power = (transform.real**2 + transform.imag**2) / area
    inside = (ring >= 0) & (ring < len(RINGS) - 1)
    ratio = power / np.where(inside, background[np.clip(ring, 0, len(RINGS) - 2)], np.inf)
    return Spectrum(power, ratio, _peaks(ratio, radius))


def _sobel(image: Image) -> Image:
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    return np.asarray(np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)))


def _peaks(
    ratio: npt.NDArray[np.float64], radius: npt.NDArray[np.float64]
) -> list[tuple[float, float, float, float]]:
    """The strongest Bragg spots of a half plane: (row bin, column bin, |k| [nm⁻¹], power over the background)."""
    smooth = cv2.GaussianBlur(ratio.astype(np.float32), (0, 0), 1.0)
    band = (radius > 1.5) & (radius < 7.5)
    top = (smooth >= cv2.dilate(smooth, np.ones((9, 9), np.uint8))) & band
    centre = TRANSFORM // 2
    rows, cols = np.nonzero(top)
    half = (rows > centre) | ((rows == centre) & (cols > centre))
    rows, cols = rows[half], cols[half]
    order = np.argsort(smooth[rows, cols])[::-1][:PEAKS]
    return [
        (float(r - centre), float(c - centre), float(radius[r, c]), float(smooth[r, c]))
        for r, c in zip(rows[order], cols[order], strict=True)
    ]


def _peak_features(peaks: list[tuple[float, float, float, float]]) -> dict[str, float]:
    values: dict[str, float] = {}
    for i in range(4):
        values[f"peak_{i}"] = float(np.log(peaks[i][3] + 1e-3)) if i < len(peaks) else -5.0
    values["peak_first_k"] = peaks[0][2] if peaks else 0.0
    strong = [p for p in peaks if p[3] > STRONG]
    values["peak_count"] = float(len(strong))
    # The strongest spot that is not a multiple of the first: two directions make columns of fringes.
    second = 0.0
    for p in peaks[1:]:
        cross = abs(p[0] * peaks[0][1] - p[1] * peaks[0][0])
        if cross > 0.35 * np.hypot(p[0], p[1]) * np.hypot(peaks[0][0], peaks[0][1]):
            second = max(second, p[3])
    values["peak_across"] = float(np.log(second + 1e-3))
    return values


def _edge_features(strength: Image, rows: Real, cols: Real, outside_gradient: float) -> dict[str, float]:
    """Sobel edges: their strength over the frame's ground, their evenness, and how far they share a direction.

    Parameters
    ----------
    strength, rows, cols : (P,) of the region's pixels.
    """
    aligned = np.abs(((rows + 1j * cols) ** 2).sum()) / ((rows**2 + cols**2).sum() + 1e-9)
    return {
        "sobel_mean": float(np.log(strength.mean() / (outside_gradient + 1e-6) + 1e-6)),
        "sobel_spread": float(strength.std() / (strength.mean() + 1e-6)),
        "sobel_aligned": float(aligned),
    }


def _contrast(
    image: Image, labels: Labels, label: int, region: _Region, pixel_size_nm: float
) -> dict[str, float]:
    """Mean and spread inside against a ring of 1 nm around the region, in the ring's standard deviations."""
    pad = round(1.0 / pixel_size_nm)
    top, left = max(0, region.top - pad), max(0, region.left - pad)
    here = (
        slice(top, region.top + region.soft.shape[0] + pad),
        slice(left, region.left + region.soft.shape[1] + pad),
    )
    cut = labels[here]
    own = (cut == label).astype(np.uint8)
    around = (cv2.dilate(own, np.ones((2 * pad + 1, 2 * pad + 1), np.uint8)) > 0) & (cut == 0)
    inside = image[here][own > 0]
    ring = image[here][around] if around.sum() > 20 else image[here]
    spread = float(ring.std()) + 1e-6
    return {
        "contrast_mean": float((inside.mean() - ring.mean()) / spread),
        "contrast_spread": float(np.log(inside.std() / spread + 1e-6)),
    }


def refine(
    detail: Image, mask: npt.NDArray[np.bool_], pixel_size_nm: float, axis: tuple[float, float]
) -> tuple[float, float]:
    """The reflection's place between the bins: a quadratic through the transform at nine points, twice."""
    inside = np.where(mask, detail, np.float32(0)).astype(np.complex64)
    rows, cols = (np.arange(n) * pixel_size_nm for n in detail.shape)
    step = 0.03
    k = np.array(axis)
    for _ in range(2):
        offsets = np.array([-step, 0.0, step])
        wave_r = np.exp(-2j * np.pi * np.outer(offsets + k[0], rows)).astype(np.complex64)
        wave_c = np.exp(-2j * np.pi * np.outer(offsets + k[1], cols)).astype(np.complex64)
        grid = np.abs(wave_r @ inside @ wave_c.T)
        for i, line in enumerate((grid[:, 1], grid[1])):
            bend = line[0] - 2 * line[1] + line[2]
            if bend < 0:
                k[i] += float(np.clip(0.5 * (line[0] - line[2]) / bend, -1, 1)) * step
        step /= 2
    return float(k[0]), float(k[1])


def _trust(reading: Reading) -> float:
    """How much of the row an axis explains, whichever word does it: chooses between the candidates."""
    return max(reading.perfect_h, reading.perfect_c, reading.faulted) * max(reading.row_power, 0.0)


def most_trusted(readings: Sequence[Reading]) -> Reading | None:
    """The axis of which the words explain most; `None` where there is none."""
    return max(readings, key=_trust, default=None)


def most_faulted(readings: Sequence[Reading]) -> Reading | None:
    """The axis along which a fault is best attested: in cubic crystals only one of two visible {111} may carry it."""
    return max(readings, key=lambda r: r.significance * max(r.faulted, 0.0), default=None)


def _telling(readings: list[Reading]) -> Reading | None:
    """The axis to show: the faulted one if the fault is plain, else the one that the words explain best."""
    faulted = most_faulted(readings)
    if faulted is not None and faulted.significance > PLAIN and faulted.faulted > 0.4:
        return faulted
    return most_trusted(readings)


def _axis_features(axes: list[Axis]) -> dict[str, float]:
    """How much the two likeliest axes look like axes of a stack."""
    values: dict[str, float] = {}
    for i in range(2):
        axis = axes[i] if i < len(axes) else Axis(0.0, 0.0, 0.0, 0.0, 0.0)
        values |= {f"axis_{i}": axis.score, f"axis_{i}_layers": axis.layers, f"axis_{i}_top": axis.top}
    return values


def _stack_features(readings: list[Reading], edges: list[float]) -> dict[str, float]:
    """What was read along the two likeliest axes: in cubic crystals two {111} stand edge-on, and one has the fault."""
    values: dict[str, float] = {}
    for i, prefix in enumerate(("first", "second")):
        reading = readings[i] if i < len(readings) else None
        for name in READ:
            values[f"{prefix}_{name}"] = float(getattr(reading, name)) if reading else 0.0
        values[f"{prefix}_significance_a_layer"] = reading.significance / reading.layers if reading else 0.0
        signs = signs_of(reading) | {"edge_profile": edges[i]} if reading else {}
        values |= {f"{name}_{prefix}": signs.get(name, 0.0) for name in SIGNS}
    return values
