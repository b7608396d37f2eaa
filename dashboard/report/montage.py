"""Pictures of particles: cut from the frame's file where it is there unchanged, else from the preview."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from dashboard.report.facts import Particles
from dashboard.report.svg import drawing, tag
from dashboard.style import CLASS_STYLES, SHOWN_ORDER
from models.features.readings import PLAIN
from models.results import Particle
from monitor.errors import UnreadableFrame
from monitor.frames import pixels_hash
from monitor.read import open_frames
from monitor.record import RecordReader
from monitor.record.rows import FrameRow

EACH = 12
"""Particles of a class that are shown at most."""
SIDE = 160
"""Of a picture [px]."""
MARGIN = 1.3
"""Side of the square that is cut out, over the particle's."""
READ_BYTES = 400_000_000
"""Files of so many bytes together are read at most; pictures beyond come from previews."""
READ_FROM = 0.2
"""A word that explains less of the row is not told."""

Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Shown:
    """One particle with its picture."""

    picture: Markup | None
    """None: neither the frame nor a preview is there."""
    particle: Particle
    where: str
    """Which particle of which frame."""
    reading: str
    from_preview: bool


def montage(record: RecordReader, particles: Particles, counts_tracks: bool) -> dict[str, list[Shown]]:
    """Up to `EACH` particles of each class, spread evenly over the session, each by its largest sighting."""
    frames = _Frames(record)
    chosen = [(name, number) for name in SHOWN_ORDER for number in _spread(particles, name)]
    sightings = [(name, _sighting(record, number, name, counts_tracks)) for name, number in chosen]
    shown: dict[str, list[Shown]] = {name: [] for name in SHOWN_ORDER}
    for name, (frame, label) in sightings:
        found = record.recorded(frame)
        particle = None if found is None else next((p for p in found.particles if p.label == label), None)
        if found is not None and particle is not None:
            picture, from_preview = frames.picture(found.frame, found.shape, particle, found.pixel_size_nm)
            where = f"frame {frame}, particle {label}"
            shown[name].append(Shown(picture, particle, where, stack_text(particle.features), from_preview))
    return shown


def stack_text(features: Mapping[str, Any]) -> str:
    """What was read of the stack along its likeliest axis, in words."""
    readings = []
    for axis in ("first", "second"):
        names = ("perfect_h", "perfect_c", "faulted", "significance", "row_power")
        values = [features.get(f"{axis}_{name}") for name in names]
        if all(isinstance(value, int | float) for value in values):
            readings.append((axis, [float(value) for value in values if value is not None]))
    if not readings or not any(max(v[:3]) * v[4] > 0 for _, v in readings):
        return "no stack read"
    plain = max(readings, key=lambda r: r[1][3] * max(r[1][2], 0.0))
    if plain[1][3] > PLAIN and plain[1][2] > 0.4:
        place = features.get("stack_place")
        at = f" at layer {place:g}" if isinstance(place, int | float) else ""
        return f"fault{at}, evidence {plain[1][3]:.0f}"
    _, best = max(readings, key=lambda r: max(r[1][:3]) * max(r[1][4], 0.0))
    if max(best[0], best[1]) < READ_FROM:
        return "no stack read"
    name = "hexagonal" if best[0] >= best[1] else "cubic"
    return f"{name}, explains {max(best[0], best[1]):.0%}"


def _spread(particles: Particles, name: str) -> list[int]:
    ids = [int(n) for n, own in zip(particles.ids, particles.classes, strict=True) if own == name]
    places = np.unique(np.linspace(0, len(ids) - 1, min(EACH, len(ids))).round().astype(int))
    return [ids[i] for i in places] if ids else []


def _sighting(record: RecordReader, number: int, name: str, counts_tracks: bool) -> tuple[int, int]:
    """Frame and label of the sighting that shows most of a particle, of those called as its track is called."""
    if not counts_tracks:
        row = record.rows("SELECT frame_id, label FROM particles WHERE id = ?", number)[0]
    else:
        row = record.rows(
            "SELECT p.frame_id, p.label FROM particles p JOIN places s ON s.frame_id = p.frame_id "
            "WHERE p.track = ? AND s.uncounted IS NULL ORDER BY p.class = ? DESC, p.area_nm2 DESC, p.id "
            "LIMIT 1",
            number,
            name,
        )[0]
    return int(row[0]), int(row[1])


class _Frames:
    """The pixels of frames, the last one kept: particles of one frame come one after the other."""

    def __init__(self, record: RecordReader) -> None:
        self._record = record
        self._left = READ_BYTES
        self._has_hashes = any(row[1] == "pixels" for row in record.rows("PRAGMA table_info(results)"))
        self._held: tuple[int, Grey | None, bool] | None = None

    def picture(
        self, frame: FrameRow, shape: tuple[int, int], particle: Particle, pixel_nm: float
    ) -> tuple[Markup | None, bool]:
        """The picture, and whether it comes from the preview."""
        if self._held is None or self._held[0] != frame.id:
            pixels = self._from_file(frame, shape)
            preview = pixels is None
            self._held = (frame.id, self._from_preview(frame.id) if preview else pixels, preview)
        _, pixels, preview = self._held
        if pixels is None:
            return None, preview
        return _picture(pixels, pixels.shape[0] / shape[0], particle, pixel_nm), preview

    def _from_file(self, frame: FrameRow, shape: tuple[int, int]) -> Grey | None:
        try:
            size = frame.path.stat().st_size
            if size > self._left:
                return None
            self._left -= size
            with open_frames(frame.path) as file:
                pixels = file.frame(frame.index or 0).pixels
        except (OSError, UnreadableFrame, ValueError):
            return None
        if pixels.shape != shape or not self._is_the_same(frame, pixels):
            return None
        return pixels.astype(np.float32)

    def _is_the_same(self, frame: FrameRow, pixels: npt.NDArray[Any]) -> bool:
        """Whether these are the pixels that were analysed; before version 3 only the file can be compared."""
        if self._has_hashes:
            (row,) = self._record.rows("SELECT pixels FROM results WHERE frame_id = ?", frame.id)
            if row[0] is not None:
                return bool(row[0] == pixels_hash(pixels))
        told = frame.path.stat()
        return (frame.file_size, frame.file_mtime_ns) == (told.st_size, told.st_mtime_ns)

    def _from_preview(self, frame: int) -> Grey | None:
        (row,) = self._record.rows("SELECT preview FROM results WHERE frame_id = ?", frame)
        if row[0] is None:
            return None
        try:
            grey = cv2.imdecode(np.frombuffer(row[0], np.uint8), cv2.IMREAD_GRAYSCALE)
        except cv2.error:
            return None
        return None if grey is None else grey.astype(np.float32)


def _picture(pixels: Grey, scale: float, particle: Particle, pixel_nm: float) -> Markup | None:
    """The particle in the middle of a square, with its outline and a bar of 1, 2, 5 ... nm."""
    row0, col0, row1, col1 = (side * scale for side in particle.bbox)
    side = max(8, round(MARGIN * max(row1 - row0, col1 - col0)))
    top, left = round((row0 + row1 - side) / 2), round((col0 + col1 - side) / 2)
    inner = pixels[max(0, top) : top + side, max(0, left) : left + side]
    if not inner.size or not np.isfinite(inner).any():
        return None
    low, high = np.nanpercentile(inner, (0.5, 99.5))
    square = np.full((side, side), np.nan, np.float32)
    square[max(0, -top) :, max(0, -left) :][: inner.shape[0], : inner.shape[1]] = inner
    grey = np.nan_to_num((square - low) * (255 / ((high - low) or 1.0)), nan=235.0).clip(0, 255)
    how = cv2.INTER_AREA if side > SIDE else cv2.INTER_CUBIC
    small = cv2.resize(grey.astype(np.uint8), (SIDE, SIDE), interpolation=how)
    done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not done:
        return None
    data = base64.b64encode(encoded.tobytes()).decode()
    zoom = SIDE / side
    corners = " ".join(
        f"{((c + 0.5) * scale - left) * zoom:.1f},{((r + 0.5) * scale - top) * zoom:.1f}"
        for r, c in particle.outline
    )
    style = CLASS_STYLES[particle.particle_class]
    bar_nm = _bar(side / scale * pixel_nm)
    bar = bar_nm / pixel_nm * scale * zoom
    parts = [
        tag("image", href=f"data:image/jpeg;base64,{data}", width=SIDE, height=SIDE),
        tag("polygon", points=corners, fill="none", stroke=style.colour, stroke_width=2,
            stroke_dasharray=None if style.dash == "solid" else style.dash),
        tag("rect", x=6, y=SIDE - 27, width=max(bar, 34.0) + 8, height=22, fill="#fff", fill_opacity="0.75"),
        tag("rect", x=10, y=SIDE - 11, width=bar, height=3, fill="#000"),
        tag("text", f"{bar_nm:g} nm", x=10, y=SIDE - 14, font_size=12, fill="#000"),
    ]  # fmt: skip
    return drawing(SIDE, SIDE, f"a particle called {particle.particle_class}", parts)


def _bar(width_nm: float) -> float:
    """The longest round length within a third of the picture [nm]."""
    power = 10.0 ** np.floor(np.log10(width_nm / 3))
    return float(max(k * power for k in (1, 2, 5) if k * power <= width_nm / 3))
