"""The virtual microscope: plays a session of simulated frames as files or over ZeroMQ, as a camera would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from monitor.client import FrameSender
from sim.imaging import Conditions, expected_image, record_electrons
from sim.library import GPTS, Library, load_library
from sim.materials import MATERIALS
from sim.stacking import Fault
from sim.truth import FaultGeometry, Visibility, classify, fringe_signal_to_noise

Counts = npt.NDArray[np.uint16]
FORMATS = ("mrc", "tif", "npy")
GAIN = 20.0
"""Counts an electron."""
DARK = 100.0
"""Counts without beam."""
_TOLD = ("diameter_nm", "orientation", "zone_tilt_deg", "weight", "stack")


@dataclass(frozen=True)
class Story:
    """What happens in a session."""

    frames: int = 200
    size: int = 1024
    """Side of a frame [px]; a pixel is that of the library's waves, 0.025 nm."""
    seed: int = 0
    frames_per_field: int = 1
    """The stage moves to new particles after so many frames."""
    dose_e_per_A2: float = 400.0
    """Median dose of a frame; it varies by a tenth from frame to frame."""
    defocus_nm: float = -6.0
    """C1 about which the focus wanders by a few nanometres."""


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
    """Each piece in view with its particle's `id`, `class` (None: not scored), `bbox`, `centroid`, `whole`."""

    def truth(self) -> dict[str, Any]:
        """What a line of the truth file holds."""
        return {
            "frame": self.number,
            "field": self.field,
            "pixel_size_nm": self.pixel_size_nm,
            "conditions": asdict(self.conditions),
            "particles": self.particles,
        }


def take_frames(story: Story, library: Library) -> Iterator[Taken]:
    """The frames of a story, each drawn when it is asked for; all follows from the story's seed.

    A field is a mosaic of waves of one film of the library, shifted as a whole. Within it the specimen drifts from
    frame to frame and the focus wanders; defocus, dose and noise are fresh for every frame.
    """
    side = -(-story.size // GPTS)
    films = np.unique(library.films)
    defocus_walk = 0.0
    wave = np.zeros((0, 0), np.complex64)
    labels = np.zeros((0, 0), np.int32)
    placed: list[dict[str, Any]] = []
    offset = np.zeros(2)
    session = np.random.default_rng([story.seed, 1])
    aligned = Conditions(
        astigmatism_nm=float(abs(session.normal(0, 0.8))),
        astigmatism_deg=float(session.uniform(0, 180)),
        coma_nm=float(abs(session.normal(0, 20))),
        coma_deg=float(session.uniform(0, 360)),
        cs_um=-8.0,
        mtf_nyquist=0.45,
        energy_kev=library.energy_kev,
        illumination=0.08,
        illumination_seed=int(session.integers(2**31)),
        hot_pixels=2e-6,
    )
    for number in range(story.frames):
        field = number // story.frames_per_field
        rng = np.random.default_rng([story.seed, 2, number])
        if number % story.frames_per_field == 0:
            stage = np.random.default_rng([story.seed, 3, field])
            film = int(stage.choice(films))
            wave, labels, placed = _mosaic(library, film, side, field, stage)
            offset = stage.integers(0, wave.shape[0], 2).astype(float)
        offset = offset + rng.normal(0, 6, 2)
        defocus_walk = 0.95 * defocus_walk + rng.normal(0, 1.0)
        conditions = replace(
            aligned,
            defocus_nm=story.defocus_nm + defocus_walk,
            dose_e_per_A2=story.dose_e_per_A2 * float(np.exp(rng.normal(0, 0.1))),
            drift_nm=float(abs(rng.normal(0, 0.02))),
            drift_deg=float(rng.uniform(0, 180)),
        )
        shift = (int(offset[0]) % wave.shape[0], int(offset[1]) % wave.shape[1])
        yield _take(number, field, np.roll(wave, shift, (0, 1)), np.roll(labels, shift, (0, 1)), placed,
                    story.size, library.pixel_size_nm, conditions, rng)  # fmt: skip


def _mosaic(
    library: Library, film: int, side: int, field: int, stage: np.random.Generator
) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.int32], list[dict[str, Any]]]:
    """side × side waves of one film put side by side, their labels numbered through, and the particles."""
    wave = np.empty((side * GPTS, side * GPTS), np.complex64)
    labels = np.zeros(wave.shape, np.int32)
    placed: list[dict[str, Any]] = []
    choices = np.flatnonzero(library.films == film)
    # No wave twice in a field while there are others.
    order = np.concatenate([stage.permutation(choices) for _ in range(-(-side * side // len(choices)))])
    for r in range(side):
        for c in range(side):
            which = int(order[r * side + c])
            here = (slice(r * GPTS, (r + 1) * GPTS), slice(c * GPTS, (c + 1) * GPTS))
            wave[here] = library.waves[which]
            own = library.labels[which].astype(np.int32)
            labels[here] = np.where(own > 0, own + len(placed), 0)
            for i, particle in enumerate(library.particles[which]):
                placed.append({**particle, "id": f"field{field}-r{r}c{c}-p{i}", "wave": which})
    return wave, labels, placed


def _take(
    number: int,
    field: int,
    wave: npt.NDArray[np.complex64],
    labels: npt.NDArray[np.int32],
    placed: list[dict[str, Any]],
    size: int,
    pixel_size_nm: float,
    conditions: Conditions,
    rng: np.random.Generator,
) -> Taken:
    clean = expected_image(wave, pixel_size_nm, conditions)[:size, :size]
    electrons = record_electrons(np.ascontiguousarray(clean), pixel_size_nm, conditions, rng)
    counts = np.clip(np.rint(electrons * GAIN + DARK), 0, 65535).astype(np.uint16)
    shown = labels[:size, :size]
    total = np.bincount(labels.ravel(), minlength=len(placed) + 1)
    dose = conditions.dose_e_per_A2 * 100 * conditions.dqe
    particles = []
    for i, particle in enumerate(placed, start=1):
        # A particle over the border of a periodic field comes in again on the other side: two pieces, none whole.
        for box, mask in _pieces(shown == i, least=0.05 * total[i]):
            snr = fringe_signal_to_noise(
                clean[box], mask, tuple(particle["lateral_rc"]), tuple(particle["stacking_rc"]),
                MATERIALS[particle["material"]], pixel_size_nm, dose,
            )  # fmt: skip
            rows, cols = np.nonzero(mask)
            (top, bottom), (left, right) = ((side.start, side.stop) for side in box)
            particles.append(
                {
                    "id": particle["id"],
                    "class": true_class(particle, snr),
                    "whole": bool(len(rows) == total[i] and min(top, left) > 0 and max(bottom, right) < size),
                    "bbox": [top, left, bottom, right],
                    "centroid": [round(float(rows.mean()) + top, 1), round(float(cols.mean()) + left, 1)],
                    "snr": round(snr, 2),
                    **{key: particle[key] for key in _TOLD},
                    "faults": [fault["kind"] for fault in particle["faults"]],
                }
            )
    return Taken(number, counts, pixel_size_nm, 0.16, conditions, field, particles)


def _pieces(
    mask: npt.NDArray[np.bool_], least: float
) -> Iterator[tuple[tuple[slice, slice], npt.NDArray[np.bool_]]]:
    """Bounding box and mask of every connected piece of at least so many pixels."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for part in range(1, count):
        left, top, width, height, area = (int(n) for n in stats[part])
        if area >= max(least, 1):
            box = (slice(top, top + height), slice(left, left + width))
            yield box, parts[box] == part


def true_class(particle: dict[str, Any], signal_to_noise: float) -> str | None:
    """The class of a library's particle by the rule of `sim.truth`; `None`: not scored."""
    seen = Visibility(particle["weight"], particle["zone_tilt_deg"], particle["plane_tilt_deg"], np.zeros(3))
    faults = tuple(
        FaultGeometry(
            Fault(f["kind"], f["layer"], f["layers"]), f["depth_layers"], f["chord_nm"], f["thickness_nm"]
        )
        for f in particle["faults"]
    )
    return classify(MATERIALS[particle["material"]], seen, faults, signal_to_noise)


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
    *,
    frames: int,
    rate: float,
    size: int,
    seed: int,
    frames_per_field: int = 1,
    dose_e_per_A2: float = 400.0,
    file_format: str = "mrc",
    truth: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Play a session into a directory or to a ZeroMQ address; returns 0, or 1 if frames are not known to have arrived.

    Parameters
    ----------
    rate : frames a second; where drawing a frame takes longer, as many as can be drawn.
    truth : a file that gets what is true of every frame, one JSON line each, before the frame is handed over.

    Raises
    ------
    ValueError
        No such address, file format or library.
    """
    from tqdm import tqdm

    story = Story(frames, size, seed, frames_per_field, dose_e_per_A2)
    library = load_library()
    camera: Camera = SocketCamera(target) if "://" in target else DirectoryCamera(Path(target), file_format)
    lines: IO[str] | None = truth.open("w", encoding="utf-8") if truth else None
    missing: list[int] = []
    try:
        begun = clock()
        for taken in tqdm(take_frames(story, library), total=frames, unit="frame", disable=None):
            ahead = begun + taken.number / rate - clock()
            if ahead > 0:
                sleep(ahead)
            if lines:
                lines.write(json.dumps(taken.truth()) + "\n")
                lines.flush()
            camera.give(taken)
    finally:
        missing = camera.close()
        if lines:
            lines.close()
    if missing:
        print(f"{len(missing)} frames were not acknowledged: {missing[:10]}")
    return 1 if missing else 0
