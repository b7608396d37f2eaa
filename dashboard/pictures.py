"""Pictures of recorded frames as a viewer asks for them: a part at full resolution, the power spectrum, a thumbnail."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from dashboard.crops import Box, enlarged
from dashboard.frame_files import Pixels, Recorded

#: A part of a frame is shown at this many pixels a side at most.
MOST = 2048
#: Of a frame, these percentiles become black and white: as in its preview, so that the grey does not change.
STRETCH = (0.5, 99.5)
#: Tiles of a frame whose power is averaged, and so many along a side at most.
TILE, TILES = 1024, 3
#: A spectrum is shown up to this frequency, or to half the sampling rate where that is less [nm⁻¹].
WIDEST_PER_NM = 10.0
#: What varies more slowly than this is not looked at when the grey of a spectrum is chosen [nm⁻¹].
SLOW_PER_NM = 0.8
#: Of the logarithm of the power, these percentiles become black and white.
SPECTRUM_STRETCH = (20.0, 99.97)
#: A thumbnail's side [px].
THUMB = 72

Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PowerSpectrum:
    """A picture of a power spectrum."""

    grey: Grey
    """(n, n) the logarithm of the power, zero frequency in the middle."""
    reach_per_nm: float
    """From the middle to the border [nm⁻¹]."""


def part(pixels: Pixels, box: Box, side: int) -> Grey:
    """A part of a frame, 8 bit, at most `side` pixels long; stretched as the whole frame's preview is."""
    height, width = pixels.shape
    sample = pixels[:: max(1, height // 256), :: max(1, width // 256)]
    low, high = (float(value) for value in np.percentile(sample, STRETCH))
    cut = np.ascontiguousarray(pixels[box[0] : box[2], box[1] : box[3]], dtype=np.float32)
    scale = min(side, MOST) / max(cut.shape)
    if scale < 1:
        size = max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))
        cut = cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
    return np.asarray(((cut - low) * (255.0 / ((high - low) or 1.0))).clip(0, 255).astype(np.uint8))


def power_spectrum(pixels: npt.NDArray[Any], pixel_size_nm: float) -> PowerSpectrum:
    """The power spectrum of a frame: of its tiles under a Hann window, averaged (Welch's method).

    Parameters
    ----------
    pixels : (H, W) of any real type.
    """
    side = min(TILE, *pixels.shape) // 2 * 2
    window = np.outer(np.hanning(side), np.hanning(side)).astype(np.float32)
    power = np.zeros((side, side // 2 + 1), np.float32)
    for row in _starts(pixels.shape[0], side):
        for col in _starts(pixels.shape[1], side):
            tile = pixels[row : row + side, col : col + side].astype(np.float32)
            power += np.abs(np.fft.rfft2((tile - tile.mean()) * window)) ** 2
    step = 1 / (side * pixel_size_nm)
    reach = min(side // 2 - 1, int(WIDEST_PER_NM / step))
    right = np.fft.fftshift(power, axes=0)[side // 2 - reach : side // 2 + reach + 1, : reach + 1]
    whole = np.concatenate([right[::-1, :0:-1], right], axis=1)
    level = np.log10(cv2.GaussianBlur(whole, (0, 0), 0.8) + 1e-12)
    away = np.hypot(*np.ogrid[-reach : reach + 1, -reach : reach + 1]) * step > SLOW_PER_NM
    low, high = np.percentile(level[away] if away.any() else level, SPECTRUM_STRETCH)
    grey = ((level - low) * (255.0 / ((high - low) or 1.0))).clip(0, 255).astype(np.uint8)
    return PowerSpectrum(np.asarray(grey), (reach + 0.5) * step)


def _starts(length: int, side: int) -> list[int]:
    count = min(TILES, -(-length // side))
    return [round(n * (length - side) / max(1, count - 1)) for n in range(count)]


def read_preview(preview: bytes) -> Grey:
    """The pixels of a preview."""
    return np.asarray(Image.open(io.BytesIO(preview)).convert("L"))


def thumbnail(preview: bytes, frame: Recorded, box: Box) -> bytes:
    """A small PNG of a part of a frame, out of its preview."""
    grey = Image.fromarray(enlarged(preview, frame, box))
    grey = grey.resize((THUMB, THUMB), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    grey.save(file, "PNG", compress_level=1)
    return file.getvalue()


def jpeg_address(grey: Grey) -> str:
    """A picture as the address of itself."""
    done, jpeg = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")
