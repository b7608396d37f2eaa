"""What the page knows of a session at one moment: plain records, made by `dashboard.view`.

Parts that did not change since the last moment are the same objects, so a component compares them with `is`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monitor.frames import MovieMode
from monitor.record.rows import AlarmRow
from monitor.statistics.audit import Agreement
from monitor.statistics.fraction import Rates

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SourceState:
    """One source as the session last described it."""

    kind: str
    address: str
    state: str
    """watching, lost or closed"""
    since: float
    """When that state began [s since 1970 UTC]."""
    message: str | None


@dataclass(frozen=True)
class Ledger:
    """arrived = analysed + queued + rejected + dropped, and what stands beside the sum."""

    analysed: int = 0
    queued: int = 0
    rejected: int = 0
    dropped: int = 0
    ignored: int = 0
    lost: int = 0
    duplicates: int = 0
    reasons: tuple[tuple[str, str, int], ...] = ()
    """(rejected or dropped, why, how many), the most frequent first; at most `running.REASONS` of them."""

    @property
    def arrived(self) -> int:
        return self.analysed + self.queued + self.rejected + self.dropped


@dataclass(frozen=True)
class Refusal:
    """A frame that was rejected or dropped, and the sentence that says why."""

    frame_id: int
    name: str
    state: str
    reason: str
    arrived: float


@dataclass(frozen=True)
class Figures:
    """The running figures after the last frame whose place in the order of acquisition is settled."""

    position: int
    at: float
    counts: tuple[int, int, int, int]
    """Sightings, in the order of `models.results.CLASSES`."""
    counted: float | None
    corrected: float | None
    low: float | None
    high: float | None
    tracks: tuple[int, int, int, int] | None = None
    """Each physical particle once; None where an older version recorded it, which followed none."""
    effective: float | None = None
    """How many independent particles the judged tracks are worth."""
    always_low: float | None = None
    always_high: float | None = None
    """Ends of the confidence sequence, which holds at every look."""
    labels: int = 0
    """Particles that an observer labelled."""
    reason: str | None = None
    """Why there is no interval."""
    sizes_nm: tuple[float, float] | None = None
    """The smallest and the largest diameter of the particles behind the fraction; None where they are not known."""

    @property
    def particles(self) -> tuple[int, int, int, int]:
        """Tracks, or sightings where particles were not followed."""
        return self.counts if self.tracks is None else self.tracks

    @property
    def judged(self) -> int:
        """Particles behind the fraction: `no` and `yes`."""
        return self.particles[2] + self.particles[3]


@dataclass(frozen=True, eq=False)
class Series:
    """The running fraction over the session, thinned to what a chart can show; NaN where there is none."""

    position: Floats
    at: Floats
    counted: Floats
    corrected: Floats
    low: Floats
    high: Floats
    always_low: Floats
    always_high: Floats

    @classmethod
    def empty(cls) -> Series:
        return cls(*(np.empty(0) for _ in range(8)))


@dataclass(frozen=True, eq=False)
class Sizes:
    """How many particles of each class have which diameter."""

    counts: npt.NDArray[np.int64]
    """(4, bins), rows in the order of `CLASSES`; the last bin holds everything larger too."""
    bin_nm: float

    @property
    def particles(self) -> int:
        return int(self.counts.sum())


@dataclass(frozen=True)
class Pace:
    """How fast frames come and go, over the last ones."""

    last_arrived: float | None = None
    last_committed: float | None = None
    arrived_per_s: float | None = None
    analysed_per_s: float | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    frames: int = 0
    """How many results the delay is taken over."""


@dataclass(frozen=True)
class BundleState:
    """The model that judged the newest frame."""

    id: str
    rates: Rates | None
    """How often it errs; None where that was not measured, and nothing is corrected."""
    others: int
    """How many other bundles judged earlier frames of this session."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything on the page except the frame that is looked at."""

    version: int
    """Rises by one whenever anything changed."""
    epoch: int
    """Rises when the record is another file than before, where frame numbers start again."""
    directory: Path
    exists: bool = False
    """There is a record to read."""
    problem: str | None = None
    """Why the record can't be read, a sentence; what else is here is then the last that could be read."""
    material: str | None = None
    goal: float | None = None
    """Half width of the interval that somebody set for all viewers; None: nobody did."""
    sources: tuple[SourceState, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)
    refusals: tuple[Refusal, ...] = ()
    figures: Figures | None = None
    series: Series = field(default_factory=Series.empty)
    sizes: Sizes | None = None
    pace: Pace = field(default_factory=Pace)
    bundle: BundleState | None = None
    newest: int | None = None
    """The last frame, in order of arrival, that is analysed."""
    alarms: tuple[AlarmRow, ...] = ()
    """Those that are on, the most severe first, then those cleared lately."""
    drawn: int = 0
    """Particles that audits drew to be labelled."""
    spacings: tuple[bool, str] | None = None
    """Whether the lattice spacings agree with the pixel size, and the sentence; None where they do not tell."""


@dataclass(frozen=True)
class ShownParticle:
    """A particle as it is drawn and described on the frame."""

    label: int
    """Its number in the frame, from 1."""
    particle_class: str
    probabilities: tuple[float, float, float, float]
    abstained: bool
    bbox: tuple[int, int, int, int]
    diameter_nm: float
    rows: Floats
    cols: Floats
    """Corners of the outline, in the frame's own pixels."""


@dataclass(frozen=True)
class Place:
    """Where a frame lies on the specimen."""

    field: int
    """Number of the field's first frame."""
    drift_nm: float | None
    """From the frame before; None where the stage moved."""
    uncounted: str | None
    """Why its particles are not counted; None: they are."""


@dataclass(frozen=True, eq=False)
class ShownFrame:
    """One analysed frame as it is looked at."""

    id: int
    name: str
    height: int
    width: int
    pixel_size_nm: float
    acquired: float | None
    arrived: float
    latency_ms: float
    stamp: str
    """Differs whenever the preview does; part of its address, so that browsers may keep it for ever."""
    has_preview: bool
    quality: dict[str, object]
    particles: tuple[ShownParticle, ...]
    hidden: int
    """Particles that are not drawn, because there are too many."""
    place: Place | None = None
    """None while it is not settled, and in older records."""


@dataclass(frozen=True)
class AuditState:
    """How far one observer is with the particles that audits drew."""

    drawn: int = 0
    done: int = 0
    """Labelled by this observer."""
    waiting: tuple[int, ...] = ()
    """`particles.id` of those to come."""
    agreement: Agreement | None = None
    """Of the two observers who labelled most."""


@dataclass(frozen=True)
class Sighting:
    """A particle in its frame, as an observer is asked about it: nothing in it tells what the model said."""

    particle: int
    frame_id: int
    path: str
    """Of the frame's file."""
    item: int | None
    file_size: int | None
    file_mtime_ns: int | None
    """Of the file that was analysed, by which another under its name is known; None where that was not kept."""
    height: int
    width: int
    pixel_size_nm: float
    bbox: tuple[int, int, int, int]
    outline: tuple[tuple[float, float], ...]
    """(row, column) [px]"""
    stamp: str
    movie: MovieMode = "frames"
    """What became of a movie of one field in the file."""
