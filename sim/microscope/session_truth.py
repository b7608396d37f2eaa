"""Writes the truth of a session: its story, every particle once, and a line for every frame.

`docs/sessions.md` has the schema.
"""

from __future__ import annotations

import json
from collections import Counter
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from sim.microscope.fields import films_of
from sim.microscope.layout import FieldPlan, turned_record
from sim.microscope.library import UNSCORED, Library, true_class
from sim.microscope.story import Story
from sim.specimen.truth import FAMILIES

FORMAT = "faultwatch session truth 1"
ENDING = ".truth"


def beside(target: str) -> Path | None:
    """Where the truth of a session goes unless it is told: next to a directory, nowhere for an address."""
    if "://" in target:
        return None
    folder = Path(target).resolve()
    return folder.with_name(folder.name + ENDING)


def is_folder(path: Path) -> bool:
    """Whether the truth goes into a folder of this name: one that is there, or a name that is none of a file."""
    return path.is_dir() or path.suffix in ("", ENDING)


class SessionTruth:
    """A folder with `story.json`, `particles.json`, `truth.jsonl` and `masks/`, or a file that gets the lines alone."""

    def __init__(self, path: Path) -> None:
        self.folder = path if is_folder(path) else None
        if self.folder:
            (self.folder / "masks").mkdir(parents=True, exist_ok=True)
            path = self.folder / "truth.jsonl"
        self._lines = path.open("w", encoding="utf-8")

    def begin(self, story: Story, library: Library, plans: tuple[FieldPlan, ...]) -> None:
        """What is settled before the first frame."""
        if self.folder is None:
            return
        particles = particles_of(library, plans, story.kinds)
        for name, told in (
            ("story.json", story_of(story, library, plans, particles)),
            ("particles.json", particles),
        ):
            (self.folder / name).write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")

    def add(self, told: dict[str, Any], labels: npt.NDArray[np.uint16] | None = None) -> None:
        """The line of a frame, and in a folder its instances (H, W) as `masks/frame_<number>.png`."""
        if self.folder is not None and labels is not None:
            cv2.imwrite(str(self.folder / "masks" / f"frame_{told['frame']:05d}.png"), labels)
        self._lines.write(json.dumps(told, allow_nan=False) + "\n")
        self._lines.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()


def particles_of(
    library: Library, plans: tuple[FieldPlan, ...], kinds: str = "planar"
) -> list[dict[str, Any]]:
    """Every physical particle of the session once; `kinds`: which faults count (`sim.specimen.truth.COUNTED`)."""
    return [
        {
            "id": seat.id,
            "field": plan.number,
            "class": true_class(library.particles[seat.entry].record, inf, kinds),
            "place_nm": [round(n * library.pixel_size_nm, 4) for n in seat.place],
            "below_film": seat.below,
            "wave": seat.entry,
            "turns": seat.turns,
            "mirrored": seat.mirrored,
            "height_nm": round(library.particles[seat.entry].height_nm, 3),
            "record": turned_record(library.particles[seat.entry].record, seat.turns, seat.mirrored),
        }
        for plan in plans
        for seat in plan.seats
    ]


def story_of(
    story: Story, library: Library, plans: tuple[FieldPlan, ...], particles: list[dict[str, Any]]
) -> dict[str, Any]:
    """The story, its fields, the fault fraction that came about, and the kinds of the faults."""
    count = Counter(particle["class"] or UNSCORED for particle in particles)
    resolved = [particle for particle in particles if particle["class"] in ("yes", "no")]
    by_field = Counter((particle["field"], particle["class"]) for particle in resolved)
    holding = [{fault["kind"] for fault in particle["record"]["faults"]} for particle in resolved]
    by_kind = Counter(kind for held in holding for kind in held)
    by_family = Counter(family for held in holding for family in {FAMILIES[kind] for kind in held})
    return {
        "format": FORMAT,
        "story": story.as_dict(),
        "library": library.path.name,
        "pixel_size_nm": library.pixel_size_nm,
        "fields": [
            {
                "field": plan.number,
                "first": plan.frames.start,
                "last": plan.frames.stop - 1,
                "blank": plan.blank,
                "off_zone": plan.off_zone,
                "carbon_nm": carbon_of(story, library, plan),
                "particles": len(plan.seats),
                "yes": by_field[plan.number, "yes"],
                "of": by_field[plan.number, "yes"] + by_field[plan.number, "no"],
            }
            for plan in plans
        ],
        "particles": {name: count[name] for name in ("yes", "no", "null", UNSCORED)},
        "fault_fraction": {
            "asked": story.fault_fraction,
            "realised": count["yes"] / len(resolved) if resolved else None,
            "yes": count["yes"],
            "of": len(resolved),
            "kinds": story.kinds,
        },
        "faults": {
            "by_kind": {kind: by_kind[kind] for kind in FAMILIES if by_kind[kind]},
            "by_family": {family: by_family[family] for family in dict.fromkeys(FAMILIES.values())},
        },
    }


def carbon_of(story: Story, library: Library, plan: FieldPlan) -> float:
    """Thickness of the films that a field stands on [nm]; 0 for a hole."""
    if plan.blank:
        return 0.0
    films = films_of(story, library, plan.number)
    return round(sum(library.films[which].thickness_nm for which in films), 2)
