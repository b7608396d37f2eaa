"""A signal of a file: an image or a stack of images, how one is loaded, or why it is no image."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.scale import doubt, parse_unit, square_pixel

#: A picture with a shorter side [px] has no room for a particle.
SMALLEST_SIDE = 16
#: Largest frame [px]: 16k x 16k. A header that announces more is damaged, or the file is no frame of a camera.
LARGEST_PIXELS = 2**28
#: A header that announces more frames than this is damaged.
LARGEST_COUNT = 10_000_000


@dataclass(frozen=True)
class Axis:
    """One axis of an image or of a spectrum: its scale per pixel, in `unit`."""

    scale: float | None = None
    unit: str | None = None
    origin: str | None = None
    """From where the scale is, in words."""


@dataclass(frozen=True)
class Details:
    """What is known of one frame besides its pixels."""

    acquired: float | None = None
    """[s since 1970 UTC]"""
    exposure_s: float | None = None
    dose_e_per_A2: float | None = None
    magnification: float | None = None
    tilt_deg: float | None = None
    """Of the stage [°]."""
    defocus_nm: float | None = None
    """As the microscope says it [nm]."""
    scanning: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The original metadata, whole; a frame has them as plain JSON values."""


@dataclass(frozen=True)
class Signal:
    """An image or a stack of images in a file, not loaded yet."""

    count: int
    shape: tuple[int, ...]
    """Of one frame: (H, W), or (H, W, channels)."""
    dtype: np.dtype[Any]
    load: Callable[[int], npt.NDArray[Any]]
    """Loads the frame with this index; raises any exception of the format's library."""
    rows: Axis = Axis()
    columns: Axis = Axis()
    title: str | None = None
    details: Callable[[int], Details] = lambda _: Details()
    """Of the frame with this index."""
    refusal: str | None = None
    """Why it is no image, where only the format can tell (for example a spectrum image)."""
    scale_doubt: str | None = None
    """Why the pixel size in the file is not believed, as a sentence; `rows` and `columns` then have none."""
    notes: tuple[str, ...] = ()
    """Sentences about how its pixels were read."""
    found: Callable[[], tuple[str, ...]] = tuple
    """More such sentences, known once a frame is loaded."""
    series: str | None = None
    """What tells that its frames are a series (of tilts, of foci), as a sentence; None where nothing does."""
    exposures: int = 1
    """How many exposures were summed to one frame."""
    check: Callable[[int], object] | None = None
    """Reads what shows that the frame with this index is whole, where that is less than loading it."""

    def verify(self, index: int) -> None:
        """Read a frame so far that it is known to be whole; raises any exception of the format's library."""
        (self.check or self.load)(index)

    def pixel_size(self) -> tuple[float | None, str | None, str | None]:
        """The pixel size [nm] of its frames; why it can't be used; why it is not believed."""
        rows, columns = self.rows, self.columns
        doubted = self.scale_doubt or doubt(rows.scale, columns.scale, columns.unit or rows.unit)
        if doubted is not None:
            return None, None, doubted
        return *square_pixel(_length_nm(rows), _length_nm(columns)), None


def refuse(signal: Signal) -> str | None:
    """Why a signal cannot be analysed, as a sentence; None where it can.

    Refused without loading pixels: spectra, lines, complex data, diffraction patterns, and pictures that are
    too small or absurdly large.
    """
    if signal.refusal is not None:
        return signal.refusal
    if len(signal.shape) < 2 or min(signal.shape[:2]) == 1:
        return f"it is a line or a spectrum of {max(signal.shape, default=0)} points, not an image"
    if signal.dtype.kind == "c":
        return "it holds complex numbers (a Fourier transform or an exit wave), not an image"
    if signal.dtype.kind not in "iufb":
        return f"its values are of the type {signal.dtype}, not numbers of a camera"
    height, width = signal.shape[:2]
    kinds = [parse_unit(axis.unit)[0] for axis in (signal.rows, signal.columns)]
    if "reciprocal" in kinds:
        scale = signal.columns.scale
        size = f" ({abs(scale):.4g} {signal.columns.unit} per pixel)" if scale else ""
        return f"it is a diffraction pattern or a Fourier transform{size}, not an image"
    units = [axis.unit or "" for axis in (signal.rows, signal.columns)]
    if any(_is_energy_or_time(unit) for unit in units):
        return f"its axes are in {units[0] or 'pixels'} and {units[1] or 'pixels'}: a spectrum or a line scan"
    if min(height, width) < SMALLEST_SIDE:
        return f"it is too small: {height} × {width} px, at least {SMALLEST_SIDE} on each side are needed"
    if math.prod(signal.shape) > LARGEST_PIXELS:
        return (
            f"it announces {height} × {width} px, more than the {LARGEST_PIXELS} that are taken for a frame"
        )
    if not 0 < signal.count <= LARGEST_COUNT:
        return f"it announces {signal.count} frames"
    return None


def _length_nm(axis: Axis) -> float | None:
    kind, unit_nm = parse_unit(axis.unit)
    return None if kind != "length" or axis.scale is None else float(axis.scale) * unit_nm


def series_along(axes: list[tuple[str, Axis]]) -> str | None:
    """What the axes along which frames were taken tell of a series, as a sentence; None where they tell nothing.

    An axis in nm or in degrees, or one that is named for tilt or focus, is one of a series.
    """
    for name, axis in axes:
        kind, _ = parse_unit(axis.unit)
        angle = (axis.unit or "").strip().lower() in ("°", "deg", "degree", "degrees", "rad", "mrad")
        if kind == "length" or angle or re.search(r"tilt|focus|angle|height|depth", name, re.IGNORECASE):
            return f"a series along {name or 'an axis'} in {axis.unit or 'steps'}"
    return None


def _is_energy_or_time(unit: str) -> bool:
    return unit.strip().lower() in {"ev", "kev", "mev", "s", "ms", "us", "µs", "ns", "sec", "seconds", "hz"}


def within(offset: int, nbytes: int, size: int, what: str = "the pixels") -> None:
    """Check that a file of `size` bytes has `nbytes` bytes at `offset`.

    Raises
    ------
    IncompleteFile
        The file ends before them: it was cut off, or is still being written.
    UnreadableFrame
        The offset or the length is negative: a damaged header.
    """
    if offset < 0 or nbytes < 0:
        raise UnreadableFrame(f"the header is damaged: {what} at {offset}, {nbytes} bytes long")
    if offset + nbytes > size:
        raise IncompleteFile(
            f"the file is incomplete: {what} should end at byte {offset + nbytes}, the file has {size} bytes"
        )
