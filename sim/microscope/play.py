"""The virtual microscope: plays a session of simulated frames as files or over ZeroMQ, as a camera would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from monitor.client import FrameSender
from sim.microscope.fields import Composed, Composer, Standing
from sim.microscope.instrument import aligned, conditions_of, margin_px
from sim.microscope.layout import Planner, window
from sim.microscope.library import Library, load_library, true_class
from sim.microscope.session_truth import SessionTruth
from sim.microscope.story import Contamination, Story
from sim.optics.conditions import Conditions
from sim.optics.imaging import expected_image, record, weaken
from sim.optics.transfer import Image
from sim.specimen.materials import parse_material
from sim.specimen.truth import fringe_signal_to_noise

Counts = npt.NDArray[np.uint16]
FORMATS = ("mrc", "tif", "npy")
EXPOSURE_S = 0.16
LEAST_SHARE = 0.05
"""Of a particle's mask that is in view for it to be told of."""


@dataclass(frozen=True)
class Taken:
    """One frame as the virtual camera gives it, and what is true of it."""

    number: int
    counts: Counts
    """(H, W)."""
    pixel_size_nm: float
    exposure_s: float
    conditions: Conditions
    field: int
    particles: list[dict[str, Any]]
    """Each particle in view with its `id`, `class` (None: not scored), `bbox`, `centroid`, `whole`."""
    offset_nm: tuple[float, float] = (0.0, 0.0)
    """Where the specimen lies (row, column), from where it lay in the field's first frame."""
    labels: npt.NDArray[np.uint16] | None = None
    """(H, W): 0, or the `label` of the particle that a pixel shows; where two overlap, the later one."""
    events: tuple[str, ...] = ()
    repeats: int | None = None
    """The frame whose pixels these are, for a camera that has stopped: all but the events is that one's."""
    carbon_nm: float = 0.0
    """Thickness of the films [nm]."""

    def truth(self) -> dict[str, Any]:
        """What a line of the truth file holds."""
        return {
            "frame": self.number,
            "field": self.field,
            "pixel_size_nm": self.pixel_size_nm,
            "offset_nm": list(self.offset_nm),
            "dose_e_per_A2": self.conditions.dose_e_per_A2,
            "carbon_nm": self.carbon_nm,
            "events": list(self.events),
            "repeats": self.repeats,
            "conditions": self.conditions.as_dict(),
            "particles": self.particles,
        }


def take_frames(story: Story, library: Library, truth: SessionTruth | None = None) -> Iterator[Taken]:
    """The frames of a story, each drawn when it is asked for; all follows from the story's seed.

    Within a field the specimen drifts from frame to frame and the focus wanders; dose and noise are fresh for every
    frame. What is true of the session as a whole goes to `truth` before the first frame.

    Raises
    ------
    ValueError
        The library is of another voltage, or lacks what the story needs (`sim.microscope.layout.Planner`).
    """
    if library.energy_kev != story.energy_kev:
        raise ValueError(
            f"the story is of {story.energy_kev:g} kV, the waves of {library.path} are of {library.energy_kev:g}"
        )
    plans = Planner(story, library).plan()
    if truth is not None:
        truth.begin(story, library, plans)
    composer, start = Composer(library, story), aligned(story, library.energy_kev)
    margin = margin_px(story, library.pixel_size_nm, start)
    focus_nm = 0.0
    last: Taken | None = None
    for plan in plans:
        field: Composed | None = None
        for number in plan.frames:
            rng = np.random.default_rng([story.seed, 2, number])
            focus_nm = 0.95 * focus_nm + rng.normal(0, 1.0)
            events = tuple(story.active(number, plan.frames))
            since = story.frozen_since(number)
            if since is not None and last is not None:
                yield replace(last, number=number, events=events, repeats=since)
                continue
            field = field or composer.compose(plan, margin)
            conditions = conditions_of(story, start, number, plan.frames, focus_nm, rng)
            last = _take(story, library, field, number, margin, conditions, events, rng)
            yield last


def _take(
    story: Story,
    library: Library,
    field: Composed,
    number: int,
    margin: int,
    conditions: Conditions,
    events: tuple[str, ...],
    rng: np.random.Generator,
) -> Taken:
    here, size, pixel = field.plan.frames, story.size, library.pixel_size_nm
    growth = max((e.growth(number, here) for e in story.events if isinstance(e, Contamination)), default=0.0)
    wide = weaken(expected_image(field.view(number, size, margin, growth), pixel, conditions), conditions)
    clean = np.ascontiguousarray(wide[margin : margin + size, margin : margin + size])
    counts = np.clip(np.rint(record(clean, pixel, conditions, rng)), 0, 65535).astype(np.uint16)
    row, column = field.plan.offsets[number - here.start]
    particles: list[dict[str, Any]] = []
    labels = np.zeros(clean.shape, np.uint16)
    for standing in field.standing:
        place = (standing.seat.place[0] + row, standing.seat.place[1] + column)
        told = sighting(standing, place, clean, conditions, pixel, story.kinds)
        found = window(standing.mask.shape, place, clean.shape)
        if told is not None and found is not None:
            particles.append({"id": told["id"], "label": len(particles) + 1, **told})
            labels[found[1]][standing.mask[found[0]]] = len(particles)
    return Taken(
        number,
        counts,
        pixel,
        EXPOSURE_S,
        conditions,
        field.plan.number,
        particles,
        (round(row * pixel, 4), round(column * pixel, 4)),
        labels,
        events,
        carbon_nm=round(field.carbon_nm, 2),
    )


def sighting(
    standing: Standing,
    place: tuple[int, int],
    clean: Image,
    conditions: Conditions,
    pixel_size_nm: float,
    kinds: str = "planar",
) -> dict[str, Any] | None:
    """What is true of a particle in a frame, its middle at `place` [px]; `None` where hardly any of it is in view.

    Parameters
    ----------
    clean : (H, W) the frame without noise.
    kinds : which faults count (`sim.specimen.truth.COUNTED`).
    """
    found = window(standing.mask.shape, place, clean.shape)
    if found is None:
        return None
    mask = standing.mask[found[0]]
    rows, columns = np.nonzero(mask)
    if len(rows) < max(1, LEAST_SHARE * standing.area):
        return None
    top, left = found[1][0].start + int(rows.min()), found[1][1].start + int(columns.min())
    bottom, right = found[1][0].start + int(rows.max()) + 1, found[1][1].start + int(columns.max()) + 1
    box = slice(top, bottom), slice(left, right)
    shown = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    told = standing.particle.record
    dose = conditions.dose_e_per_A2 * 100 * conditions.camera.dqe
    lateral, stacking = (tuple(told[f"resolved_{name}_rc"]) for name in ("lateral", "stacking"))
    material = parse_material(told["material"])
    snr = fringe_signal_to_noise(clean[box], shown, lateral, stacking, material, pixel_size_nm, dose)
    whole = len(rows) == standing.area and min(top, left) > 0
    return {
        "id": standing.seat.id,
        "class": true_class(told, snr, kinds),
        "whole": bool(whole and bottom < clean.shape[0] and right < clean.shape[1]),
        "bbox": [top, left, bottom, right],
        "centroid": [
            round(float(rows.mean()) + found[1][0].start, 1),
            round(float(columns.mean()) + found[1][1].start, 1),
        ],
        "snr": round(snr, 2),
        **told,
        "faults": [fault["kind"] for fault in told["faults"]],
    }


class Camera(Protocol):
    """Where the frames go."""

    def give(self, taken: Taken) -> None:
        """Hand over one frame."""

    def close(self) -> list[int]:
        """Finish; returns the numbers of frames that are not known to have arrived."""


class DirectoryCamera:
    """Writes each frame as one file, as a camera's software does: opened, filled, closed, never renamed."""

    def __init__(self, folder: Path, file_format: str = "mrc", prefix: str = "frame") -> None:
        if file_format not in FORMATS:
            raise ValueError(f"no format {file_format}; there are {', '.join(FORMATS)}")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file_format, self.prefix = folder, file_format, prefix

    def give(self, taken: Taken) -> None:
        """Write one frame; an `.npy` has no place for the pixel size, the others carry it."""
        path = self.folder / f"{self.prefix}_{taken.number:05d}.{self.file_format}"
        if self.file_format == "npy":
            np.save(path, taken.counts)
        elif self.file_format == "tif":
            import tifffile

            per_cm = 1e7 / taken.pixel_size_nm
            tifffile.imwrite(
                path,
                taken.counts,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                description=json.dumps(
                    {"pixel_size_nm": taken.pixel_size_nm, "exposure_s": taken.exposure_s}
                ),
            )
        else:
            import mrcfile

            with mrcfile.new(path, overwrite=True) as file:
                file.set_data(taken.counts)
                file.voxel_size = taken.pixel_size_nm * 10

    def close(self) -> list[int]:
        """Nothing is under way."""
        return []


class SocketCamera:
    """Sends each frame to a session's socket."""

    def __init__(self, address: str) -> None:
        self.sender = FrameSender(address, source="virtual microscope")

    def give(self, taken: Taken) -> None:
        """Send one frame; waits while the session does not take any."""
        self.sender.send(
            taken.counts,
            pixel_size_nm=taken.pixel_size_nm,
            exposure_s=taken.exposure_s,
            dose_e_per_A2=taken.conditions.dose_e_per_A2,
        )

    def close(self) -> list[int]:
        """Wait for what is under way."""
        return self.sender.close(timeout_s=60.0)


def play(
    target: str,
    story: Story,
    *,
    rate: float,
    file_format: str = "mrc",
    truth: Path | None = None,
    library: Library | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Play a session into a directory or to a ZeroMQ address; returns 0, or 1 if frames are not known to have arrived.

    Parameters
    ----------
    rate : frames a second; where drawing a frame takes longer, as many as can be drawn.
    truth : where what is true of every frame is written before the frame is handed over (see `SessionTruth`).
    library : of waves, for the story's voltage; the one that ships with the package.

    Raises
    ------
    ValueError
        No such address, file format or library.
    """
    from tqdm import tqdm

    library = library or load_library(energy_kev=story.energy_kev)
    camera: Camera = SocketCamera(target) if "://" in target else DirectoryCamera(Path(target), file_format)
    missing: list[int] = []
    with ExitStack() as open_files:
        told = open_files.enter_context(SessionTruth(truth)) if truth else None
        try:
            begun = clock()
            frames = take_frames(story, library, told)
            for taken in tqdm(frames, total=story.frames, unit="frame", disable=None):
                ahead = begun + taken.number / rate - clock()
                if ahead > 0:
                    sleep(ahead)
                if told:
                    told.add(taken.truth(), taken.labels)
                camera.give(taken)
        finally:
            missing = camera.close()
    if missing:
        print(f"{len(missing)} frames were not acknowledged: {missing[:10]}")
    return 1 if missing else 0
