"""A particle cut out of its frame, at the frame's own resolution where its file is still there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from dashboard.frame_files import FrameFiles, Pixels, Recorded, Unavailable
from dashboard.snapshot import Sighting

#: Around a particle so much of its size is shown, and at least so much of the specimen [nm].
MARGIN = 0.35
LEAST_NM = 4.0
#: Of what is seen, these percentiles become black and white.
STRETCH = (0.5, 99.5)
#: A crop is shown at this many pixels a side at most.
SIDE = 1024

Box = tuple[int, int, int, int]


class Boxed(Protocol):
    """A particle in its frame."""

    @property
    def bbox(self) -> Box: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def pixel_size_nm(self) -> float: ...


def crop_box(sighting: Boxed) -> Box:
    """The square around a particle that is shown, half-open (row0, col0, row1, col1) [px], within the frame."""
    row0, col0, row1, col1 = sighting.bbox
    side = max((1 + 2 * MARGIN) * max(row1 - row0, col1 - col0), LEAST_NM / sighting.pixel_size_nm)
    height, width = min(round(side), sighting.height), min(round(side), sighting.width)
    top = min(max(0, (row0 + row1 - height) // 2), sighting.height - height)
    left = min(max(0, (col0 + col1 - width) // 2), sighting.width - width)
    return top, left, top + height, left + width


class Crops:
    """Cuts particles out of frames."""

    def __init__(self, files: FrameFiles | None = None) -> None:
        self._files = files or FrameFiles()

    def png(self, session: Path, sighting: Sighting, preview: bytes | None) -> bytes | None:
        """The crop of a particle, 8 bit grey; None where neither its frame's file nor a preview is there."""
        box = crop_box(sighting)
        try:
            pixels = self._files.pixels(session, sighting)
        except Unavailable:
            return None if preview is None else _png(enlarged(preview, sighting, box))
        return _png(pixels[box[0] : box[2], box[1] : box[3]])


def enlarged(preview: bytes, frame: Recorded, box: Box) -> Pixels:
    """A part of a frame out of its preview, at the frame's own sampling."""
    top, left, bottom, right = box
    small = Image.open(io.BytesIO(preview)).convert("L")
    y, x = small.height / frame.height, small.width / frame.width
    cut = (left * x, top * y, right * x, bottom * y)
    return np.asarray(small.resize((right - left, bottom - top), Image.Resampling.BICUBIC, cut))


def _png(pixels: Pixels) -> bytes:
    values = pixels.astype(np.float32)
    low, high = np.percentile(values, STRETCH)
    grey = ((values - low) / max(high - low, 1e-12) * 255).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(grey)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
