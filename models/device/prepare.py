"""From a camera's counts to what the network sees, in torch, for batches of frames (B, H, W) of one size.

The steps are those of `models.preprocess.canonical`, from the outliers on; `tests/models/device/test_prepare.py` holds
both forms together. A detector's gaps are filled before a frame comes here: few frames have any.
"""

from __future__ import annotations

import torch
from scipy import fft
from torch import Tensor
from torch.nn.functional import pad

from models.batched import Standardiser, median
from models.device.laps import Lap, nothing
from models.preprocess import Preprocessing


def counts(frames: Tensor) -> Tensor:
    """Frames of whole numbers or of floats as single precision.

    Sixteen bits without a sign are read as sixteen with one, and put right: torch has few operations for them.
    """
    if frames.dtype == torch.uint16:
        return frames.view(torch.int16).to(torch.int32).bitwise_and_(0xFFFF).float()
    return frames.float()


def median_of_nine(frames: Tensor) -> Tensor:
    """(B, H, W) the median of each pixel's 3 × 3 surroundings; at the border the frame's edge is repeated.

    The three of each column are ordered first; the median of all nine is then that of the largest of the least, the
    median of the middle ones and the least of the largest (Paeth 1990, *Graphics Gems*).
    """
    padded = pad(frames[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    low, middle, high = _ordered(padded[:, :-2], padded[:, 1:-1], padded[:, 2:])
    left, centre, right = (slice(k, k + frames.shape[2]) for k in range(3))
    least = torch.maximum(torch.maximum(low[..., left], low[..., centre]), low[..., right])
    most = torch.minimum(torch.minimum(high[..., left], high[..., centre]), high[..., right])
    between = _middle(middle[..., left], middle[..., centre], middle[..., right])
    return _middle(least, between, most)


def _ordered(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The least, the middle and the largest of three."""
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    rest = torch.minimum(high, c)
    return torch.minimum(low, rest), torch.maximum(low, rest), torch.maximum(high, c)


def _middle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


def without_outliers(frames: Tensor, sigmas: float) -> Tensor:
    """`models.preprocess.remove_outliers` of (B, H, W)."""
    near = median_of_nine(frames)
    away = (frames - near).abs()
    spread = 1.4826 * median(away[:, ::4, ::4].flatten(1))[:, :, None] + 1e-12
    return torch.where(away > sigmas * spread / 0.85, near, frames)


class Resampler:
    """`models.preprocess.resample` for frames of one size.

    Parameters
    ----------
    shape : (H, W) of the frames.
    factor : output pixels per input pixel.
    """

    def __init__(self, shape: tuple[int, int], factor: float) -> None:
        self.before = shape
        self.same = abs(factor - 1) < 0.002
        self._padded = tuple(fft.next_fast_len(n + 16, real=True) for n in shape)
        self._after = tuple(max(2, 2 * round(n * factor / 2)) for n in self._padded)
        exact = tuple(after / before for after, before in zip(self._after, self._padded, strict=True))
        self.scale: tuple[float, float] = (1.0, 1.0) if self.same else (exact[0], exact[1])
        """Output pixels per input pixel, along rows and columns."""
        kept = tuple(max(2, round(n * e)) for n, e in zip(shape, self.scale, strict=True))
        self.shape: tuple[int, int] = shape if self.same else (kept[0], kept[1])
        """(h, w) of what comes out."""

    def __call__(self, frames: Tensor) -> Tensor:
        """(B, h, w) from (B, H, W)."""
        if self.same:
            return frames
        for axis in (1, 2):
            length, more = self.before[axis - 1], self._padded[axis - 1] - self.before[axis - 1]
            frames = torch.cat([frames, frames.narrow(axis, length - more, more).flip(axis)], dim=axis)
        spectrum = torch.fft.rfft2(frames)
        rows, cols = (min(a, b) // 2 for a, b in zip(self._padded, self._after, strict=True))
        cut = spectrum.new_zeros((len(frames), self._after[0], self._after[1] // 2 + 1))
        cut[:, :rows, :cols] = spectrum[:, :rows, :cols]
        cut[:, -rows:, :cols] = spectrum[:, -rows:, :cols]
        gain = (self._after[0] * self._after[1]) / (self._padded[0] * self._padded[1])
        resampled = torch.fft.irfft2(cut, s=self._after) * gain
        kept: Tensor = resampled[:, : self.shape[0], : self.shape[1]].contiguous()
        return kept


class Preparer:
    """`models.preprocess.canonical` for frames of one size and sampling.

    Parameters
    ----------
    shape : (H, W) of the frames; `pixel_size_nm` theirs [nm].
    """

    def __init__(
        self, shape: tuple[int, int], pixel_size_nm: float, settings: Preprocessing, device: str
    ) -> None:
        self._sigmas = settings.outlier_sigmas
        self._resampler = Resampler(shape, pixel_size_nm / settings.pixel_size_nm)
        self._standardiser = Standardiser(self._resampler.shape, settings, device)
        self.scale = self._resampler.scale
        """Canonical pixels per frame pixel, along rows and columns."""
        self.shape = self._resampler.shape
        """(h, w) at canonical sampling."""

    def __call__(self, frames: Tensor, lap: Lap = nothing) -> Tensor:
        """(B, h, w) standardised, from (B, H, W) in single precision."""
        plain = without_outliers(frames, self._sigmas)
        lap("outliers")
        resampled = self._resampler(plain)
        lap("resample")
        images: Tensor = self._standardiser(resampled)
        lap("standardise")
        return images
