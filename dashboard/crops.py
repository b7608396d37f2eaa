"""A particle cut out of its frame, at the frame's own resolution where its file is still there."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dashboard.snapshot import Sighting
from monitor.errors import InputError
from monitor.read.files import open_frames

#: Around a particle so much of its size is shown, and at least so much of the specimen [nm].
MARGIN = 0.35
LEAST_NM = 4.0
#: Of what is seen, these percentiles become black and white.
STRETCH = (0.5, 99.5)
#: A crop is shown at this many pixels a side at most.
SIDE = 1024
_KEPT = 2

Pixels = npt.NDArray[Any]
Box = tuple[int, int, int, int]


def crop_box(sighting: Sighting) -> Box:
    """The square around a particle that is shown, half-open (row0, col0, row1, col1) [px], within the frame."""
    row0, col0, row1, col1 = sighting.bbox
    side = max((1 + 2 * MARGIN) * max(row1 - row0, col1 - col0), LEAST_NM / sighting.pixel_size_nm)
    height, width = min(round(side), sighting.height), min(round(side), sighting.width)
    top = min(max(0, (row0 + row1 - height) // 2), sighting.height - height)
    left = min(max(0, (col0 + col1 - width) // 2), sighting.width - width)
    return top, left, top + height, left + width


class Crops:
    """Cuts particles out of frames; the last few frames are kept, for particles come from one several times."""

    def __init__(self) -> None:
        self._frames: OrderedDict[tuple[str, int, int | None], Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def png(self, session: Path, sighting: Sighting, preview: bytes | None) -> bytes | None:
        """The crop of a particle, 8 bit grey; None where neither its frame's file nor a preview is there."""
        with self._lock:  # readers of some formats have one process, which answers one at a time
            pixels = self._frame(session, sighting)
        top, left, bottom, right = crop_box(sighting)
        if pixels is not None:
            cut = pixels[top:bottom, left:right]
        elif preview is not None:
            small = Image.open(io.BytesIO(preview)).convert("L")
            y, x = small.height / sighting.height, small.width / sighting.width
            box = (left * x, top * y, right * x, bottom * y)
            cut = np.asarray(small.resize((right - left, bottom - top), Image.Resampling.BICUBIC, box))
        else:
            return None
        return _png(cut)

    def _frame(self, session: Path, sighting: Sighting) -> Pixels | None:
        path = session / sighting.path
        try:
            status = path.stat()
            known = sighting.file_size, sighting.file_mtime_ns
            if None not in known and known != (status.st_size, status.st_mtime_ns):
                return None  # another file has taken its name
            key = (str(path), status.st_mtime_ns, sighting.item)
            if key not in self._frames:
                with open_frames(path) as file:
                    self._frames[key] = file.frame(sighting.item or 0).pixels
                while len(self._frames) > _KEPT:
                    self._frames.popitem(last=False)
        except (OSError, InputError, ValueError):
            return None
        self._frames.move_to_end(key)
        pixels = self._frames[key]
        return pixels if pixels.shape == (sighting.height, sighting.width) else None


def _png(pixels: Pixels) -> bytes:
    values = pixels.astype(np.float32)
    low, high = np.percentile(values, STRETCH)
    grey = ((values - low) / max(high - low, 1e-12) * 255).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(grey)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
