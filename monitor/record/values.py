"""What the columns of a frame, a result and a particle are filled with."""

from __future__ import annotations

from typing import Any

from models.results import Particle
from monitor.frames import FrameRef
from monitor.record.queries import as_text, to_json

#: A frame that came while its file was being watched was whole when the file was last written, unless that
#: lies further back than this [s]: then it was there before, or was moved in, and its arrival is what
#: counts.
_WRITTEN_JUST_NOW_S = 30.0


def knowledge(ref: FrameRef, at: float) -> tuple[Any, ...]:
    """The columns `content` to `reason` of a frame that arrives."""
    return (
        ref.content,
        ref.file_size,
        ref.file_mtime_ns,
        as_text(ref.sender),
        ref.sequence,
        ref.acquired,
        at,
        ref.pixel_size_nm,
        to_json(ref.metadata),
        "queued" if waits(ref) else "rejected" if ref.dropped is None else "dropped",
        as_text(ref.rejected if ref.dropped is None else ref.dropped),
    )


def waits(ref: FrameRef) -> bool:
    """Whether it is to be analysed."""
    return ref.rejected is None and ref.dropped is None


def whole_since(arrived: float, mtime_ns: int | None) -> float:
    """When a frame's file was whole: its last write while it was being watched, else its arrival [s]."""
    written = arrived if mtime_ns is None else mtime_ns / 1e9
    return written if 0 <= arrived - written <= _WRITTEN_JUST_NOW_S else arrived


def particle_values(frame_id: int, particle: Particle) -> tuple[Any, ...]:
    return (
        frame_id,
        particle.label,
        particle.particle_class,
        *particle.probabilities,
        particle.abstained,
        *particle.bbox,
        *particle.centroid,
        particle.diameter_nm,
        particle.area_nm2,
        _outline(particle),
        to_json(particle.features),
    )


def _outline(particle: Particle) -> str:
    """JSON, to .01 px; most corners are whole pixels."""
    corners = ", ".join(f"[{r:.2f}, {c:.2f}]" for r, c in particle.outline)
    return f"[{corners.replace('.00', '.0')}]"
