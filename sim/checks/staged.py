"""Sessions in which things go wrong on purpose, for the check of the alarms: stories, and their frames as analysed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from models.analysis import analyse
from models.bundle import Bundle, load_bundle
from sim.microscope.library import Library, load_library
from sim.microscope.play import Taken, take_frames
from sim.microscope.story import (
    BeamLoss,
    BlankField,
    Charging,
    Contamination,
    DoseChange,
    Event,
    FrozenFrame,
    OffFocus,
    OffZoneField,
    Story,
)

SECONDS_A_FRAME = 2.0
LEAD = 10
"""Good frames before the first event."""


@dataclass(frozen=True)
class Played:
    """One frame as the session knows it, and what was staged in it."""

    frame: int
    field: int
    quality: dict[str, Any]
    counts: dict[str, int]
    drift_nm: float | None
    repeated: bool
    new_field: bool
    pixel_size_nm: float
    events: tuple[str, ...]
    conditions: dict[str, Any]


def staged_story(seed: int, frames: int = 90, size: int = 768) -> Story:
    """A story in which every kind of event comes once, in random order, between good frames."""
    rng = np.random.default_rng([seed, 40])
    each = int(rng.integers(3, 6))
    fields = frames // each
    kinds = rng.permutation(["dose", "focus", "beam", "blank", "charging", "frozen", "zone", "contamination"])
    first_field = -(-LEAD // each)
    slots = np.linspace(first_field, fields - 1, len(kinds) + 1)[:-1]
    events: list[Event] = []
    for kind, slot in zip(kinds, slots, strict=True):
        start = int(np.ceil(slot)) * each
        late = start + int(rng.integers(0, each))
        lasting = int(rng.integers(3, 6))
        if kind == "dose":
            events += [
                DoseChange(first=late, factor=float(rng.choice([0.25, 0.35, 3.0]))),
                DoseChange(first=late + lasting, factor=1.0),
            ]
        elif kind == "focus":
            defocus_nm = float(rng.choice([-120, -90, -60, 70, 100]))
            events.append(OffFocus(first=late, last=late + lasting - 1, defocus_nm=defocus_nm))
        elif kind == "beam":
            events.append(BeamLoss(first=late, last=late + lasting - 1))
        elif kind == "frozen":
            events.append(FrozenFrame(first=late, last=late + lasting - 1))
        elif kind == "charging":
            events.append(Charging(first=start, last=start + each + 1))
        elif kind == "contamination":
            events.append(Contamination(first=start, last=start + each - 1, thickness_nm=6.0))
        else:
            events.append(BlankField(first=start) if kind == "blank" else OffZoneField(first=start))
    return Story(
        frames=fields * each,
        size=size,
        seed=seed,
        frames_per_field=each,
        dose_e_per_A2=float(rng.choice([200, 400, 800])),
        defocus_nm=float(rng.uniform(-9, -3)),
        drift_nm=float(rng.uniform(0.1, 0.8)),
        focus_drift_nm=float(rng.choice([0.0, 0.5])),
        events=tuple(events),
    )


def played(story: Story, library: Library, bundle: Bundle) -> Iterator[Played]:
    """The frames of a story, each analysed as in a session; the drift is the true one."""
    before: Taken | None = None
    last: Played | None = None
    for taken in take_frames(story, library):
        new = before is None or taken.field != before.field
        moved = None
        if before is not None and not new:
            moved = hypot(*(a - b for a, b in zip(taken.offset_nm, before.offset_nm, strict=True)))
        repeated = taken.repeats is not None
        if repeated and last is not None:
            quality, counts = last.quality, last.counts
        else:
            found = analyse(taken.counts, taken.pixel_size_nm, bundle)
            quality, counts = dict(found.quality), dict(Counter(p.particle_class for p in found.particles))
        last = Played(
            taken.number,
            taken.field,
            quality,
            counts,
            moved,
            repeated,
            new,
            taken.pixel_size_nm,
            taken.events,
            {"defocus_nm": taken.conditions.defocus_nm, "dose": taken.conditions.dose_e_per_A2},
        )
        before = taken
        yield last


def kept(folder: Path, seeds: range, size: int = 768) -> Iterator[tuple[Story, list[Played]]]:
    """The stories of these seeds, each played once and kept in `folder` as JSON lines.

    What is kept is read again, also after the analysis has changed: another folder plays anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library, bundle = None, None
    for seed in tqdm(seeds, unit="story", disable=None):
        story, path = staged_story(seed, size=size), folder / f"story-{seed}-{size}.jsonl"
        if not path.is_file():
            library, bundle = library or load_library(), bundle or load_bundle(device="cpu")
            partial = path.with_suffix(".partial")
            with partial.open("w", encoding="utf-8") as file:
                for frame in played(story, library, bundle):
                    file.write(json.dumps(frame.__dict__) + "\n")
            partial.rename(path)
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        yield story, [Played(**{**line, "events": tuple(line["events"])}) for line in lines]
