"""The shift between two frames of one field, from their signatures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

from monitor.tracking.signature import Real, Signature

FARTHEST = 0.8
"""The largest shift that is looked for, as a share of the frame's side."""
SPREAD_FROM_EVERY = 23
"""The spread of the correlation is taken from every so many of its values."""
TAPER = 0.08
"""Share of each side over which a frame is faded out, so that its border makes no line in the spectrum."""


@dataclass(frozen=True)
class Shift:
    """One shift that two frames may have."""

    rows_nm: float
    cols_nm: float
    """Where the second frame's origin lies in the first frame [nm]."""
    z: float
    """Height of the correlation there, in robust standard deviations of the whole correlation."""


class Correlation:
    """The phase correlation of two frames (Kuglin and Hines, Proc. IEEE Conf. Cybern. Soc., 1975, 163).

    The frames are padded by zeros, so that shifts of more than half a frame are told from those to the other side.
    """

    def __init__(self, first: Signature, second: Signature) -> None:
        self._step = max(first.step_nm, second.step_nm)
        a, b = (_size_at(given, self._step) for given in (first, second))
        self._shape = _padded(a[0] + b[0]), _padded(a[1] + b[1])
        # Each is divided by its moduli before, for it is compared with several.
        cross = np.conj(_phases(second, self._step, self._shape))
        cross *= _phases(first, self._step, self._shape)
        z = fft.irfft2(cross, self._shape, overwrite_x=True).astype(np.float32, copy=False)
        # The second frame's origin may lie from -FARTHEST of its own side to FARTHEST of the first one's.
        self._limits = tuple((-FARTHEST * n, FARTHEST * m) for m, n in zip(a, b, strict=True))
        forbidden, some = _places(self._shape, self._limits)
        values = z.ravel()[some]
        middle = float(np.median(values))
        sigma = 1.4826 * float(np.median(np.abs(values - middle))) + 1e-30
        z -= np.float32(middle)
        z /= np.float32(sigma)
        np.copyto(z, -np.inf, where=forbidden)
        self._z = z
        self.highest = float(z.max())
        """Of all shifts that are looked for [robust standard deviations]."""

    def peaks(self, count: int) -> list[Shift]:
        """The highest peaks, at least 0.8 nm from each other."""
        z, reach, found = self._z.copy(), max(2, round(0.8 / self._step)), []
        for _ in range(count):
            peak = np.unravel_index(int(np.argmax(z)), z.shape)
            if not np.isfinite(z[peak]):
                break
            found.append(self._shift(int(peak[0]), int(peak[1])))
            z[self._around(int(peak[0]), int(peak[1]), reach)] = -np.inf
        return found

    def near(self, rows_nm: float, cols_nm: float, reach_nm: float) -> Shift | None:
        """The highest place within so far of a shift; None where shifts that large are not looked for."""
        reach = max(1, round(reach_nm / self._step))
        middle = [round(n / self._step) for n in (rows_nm, cols_nm)]
        if not all(low <= n <= high for n, (low, high) in zip(middle, self._limits, strict=True)):
            return None
        rows, cols = self._around(middle[0], middle[1], reach)
        window = self._z[rows, cols]
        best = np.unravel_index(int(np.argmax(window)), window.shape)
        if not np.isfinite(window[best]):
            return None
        return self._shift(int(rows[best[0], 0]), int(cols[0, best[1]]))

    def _around(self, row: int, col: int, reach: int) -> tuple[np.ndarray, ...]:
        axes = (
            np.arange(n - reach, n + reach + 1) % size
            for n, size in zip((row, col), self._shape, strict=True)
        )
        return np.ix_(*axes)

    def _shift(self, row: int, col: int) -> Shift:
        place = (_refined(self._z, (row, col), axis) for axis in (0, 1))
        rows, cols = (p - n if p > n / 2 else p for p, n in zip(place, self._shape, strict=True))
        return Shift(rows * self._step, cols * self._step, float(self._z[row, col]))


@lru_cache(maxsize=8)
def correlation(first: Signature | None, second: Signature | None) -> Correlation | None:
    """Of two frames; None where one has no picture. The last ones are kept."""
    return None if first is None or second is None else Correlation(first, second)


def _padded(length: int) -> int:
    return int(fft.next_fast_len(length, real=True))


def _size_at(given: Signature, step_nm: float) -> tuple[int, int]:
    """Its (rows, columns) at another pixel size, which is not finer."""
    factor = given.step_nm / step_nm
    height, width = given.image.shape
    return (
        (height, width) if factor > 0.995 else (max(8, round(height * factor)), max(8, round(width * factor)))
    )


@lru_cache(maxsize=24)
def _phases(given: Signature, step_nm: float, shape: tuple[int, int]) -> npt.NDArray[np.complex64]:
    """The spectrum of a signature at a pixel size, padded, every value divided by its modulus."""
    height, width = _size_at(given, step_nm)
    image = given.image
    if image.shape != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    spectrum: npt.NDArray[np.complex64] = fft.rfft2(_tapered(image), shape)
    modulus = np.abs(spectrum)
    spectrum /= modulus + np.float32(1e-6 * max(float(modulus.max()), 1e-30))
    return spectrum


def _tapered(image: Real) -> Real:
    windows = []
    for side in image.shape:
        ramp = max(1, round(TAPER * side))
        window = np.ones(side, np.float32)
        rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp, dtype=np.float32) + 0.5) / ramp)
        window[:ramp], window[side - ramp :] = rise, rise[::-1]
        windows.append(window)
    return image * windows[0][:, None] * windows[1][None, :]


@lru_cache(maxsize=8)
def _places(
    shape: tuple[int, int], limits: tuple[tuple[float, float], ...]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """(m, n) where the shift is none that is looked for, and flat places of some of the others (`SPREAD_FROM_EVERY`).

    Shifts are held modulo the shape.
    """
    axes = []
    for padded, (low, high) in zip(shape, limits, strict=True):
        shift = np.arange(padded)
        shift = np.where(shift > padded / 2, shift - padded, shift)
        axes.append((shift >= low) & (shift <= high))
    allowed = axes[0][:, None] & axes[1][None, :]
    return ~allowed, np.flatnonzero(allowed)[::SPREAD_FROM_EVERY]


def _refined(z: npt.NDArray[np.float32], peak: tuple[int, int], axis: int) -> float:
    """The peak's place along one axis, by a parabola through it and its neighbours [px]."""
    size, at = z.shape[axis], peak[axis]
    line = z[:, peak[1]] if axis == 0 else z[peak[0]]
    left, here, right = (float(line[(at + k) % size]) for k in (-1, 0, 1))
    bend = left - 2 * here + right
    if not np.isfinite(bend) or bend >= 0:
        return float(at)
    return at + 0.5 * (left - right) / bend
