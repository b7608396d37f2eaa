"""What is written to and read from the record, as plain records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.results import Particle
from monitor.frames import FrameRef


@dataclass(frozen=True)
class SourceRow:
    """One source as the record knows it."""

    id: int
    kind: str
    address: str
    state: str
    since: float
    message: str | None
    lost: int
    duplicates: int
    ignored: int


@dataclass(frozen=True)
class FrameRow:
    """One frame of the ledger."""

    id: int
    source_id: int
    path: Path
    """Resolved: where it lies now."""
    index: int | None
    revision: int
    content: str | None
    sender: str | None
    sequence: int | None
    acquired: float | None
    arrived: float
    file_size: int | None
    file_mtime_ns: int | None
    pixel_size_nm: float | None
    metadata: dict[str, Any]
    state: str
    reason: str | None

    @property
    def order(self) -> tuple[float, int]:
        """Its place in the order of acquisition, of arrival where the time of acquisition is unknown."""
        return (self.arrived if self.acquired is None else self.acquired, self.id)

    @property
    def ref(self) -> FrameRef:
        """As a source announced it."""
        return FrameRef(
            path=self.path,
            index=self.index,
            pixel_size_nm=self.pixel_size_nm,
            acquired=self.acquired,
            sender=self.sender,
            sequence=self.sequence,
            metadata=self.metadata,
            file_size=self.file_size,
            file_mtime_ns=self.file_mtime_ns,
            content=self.content,
            rejected=self.reason if self.state == "rejected" else None,
            dropped=self.reason if self.state == "dropped" else None,
        )


@dataclass(frozen=True)
class Recorded:
    """What stands in the record of one analysed frame."""

    frame: FrameRow
    bundle: str
    backend: str
    shape: tuple[int, int]
    pixel_size_nm: float
    """That was used."""
    particles: tuple[Particle, ...]
    """In the order of their labels."""
    material: str | None
    """By which it was judged, None: all that are known were tried."""


ALARM_COLUMNS = (
    "id, kind, severity, cause, action, since_frame, since, last_frame, frames, "
    "until_frame, until, acknowledged"
)
"""Those of `alarms`, in the order of `AlarmRow`."""


@dataclass(frozen=True)
class AlarmRow:
    """One alarm as the record knows it. Frames are `frames.id`, times are seconds since 1970 UTC."""

    id: int
    kind: str
    severity: str
    """notice, warning or critical"""
    cause: str
    action: str
    """What to do."""
    since_frame: int | None
    since: float | None
    last_frame: int | None
    frames: int
    until_frame: int | None
    until: float | None
    """When it was cleared; None: it lasts."""
    acknowledged: float | None
    """When a person did."""

    @property
    def urgent(self) -> bool:
        """It lasts, nobody has acknowledged it, and it is more than a notice."""
        return self.until is None and self.acknowledged is None and self.severity != "notice"
