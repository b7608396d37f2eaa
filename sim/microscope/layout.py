"""The layout of a session: the drift of every field, and the places of its particles.

It is settled for the whole session before the first frame, so that the share of faulted particles is exact. Places are
in pixels (row, column) of the field's first frame; a field reaches beyond the frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import cos, hypot, pi, sin
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.microscope.library import UNSCORED, Library
from sim.microscope.story import BlankField, Charging, OffZoneField, Story

GAP_NM = 0.3
"""Between the circles about two particles that do not touch [nm]."""
FAULTED = 0.45
"""Chance of a fault where the story leaves it to chance."""
LARGEST_PX = 16384
"""Side of the largest field that is composed: its wave takes 2 GB."""
_TRIES = 60

Offset = tuple[int, int]


@dataclass(frozen=True)
class Seat:
    """One physical particle and where it stands."""

    id: str
    """Stable over all frames that show it."""
    entry: int
    """Which of the library's particles."""
    place: Offset
    """Of its centre [px]."""
    turns: int
    """By so many right angles, from the row axis towards the negative column axis (`numpy.rot90`)."""
    mirrored: bool
    """Its columns reversed, before it is turned."""
    below: bool
    """Below the film: on the side where the beam comes from."""


@dataclass(frozen=True)
class FieldPlan:
    """One field."""

    number: int
    frames: range
    offsets: tuple[Offset, ...]
    """[px] Of every frame: where the specimen lies, from where it lay in the first."""
    seats: tuple[Seat, ...]
    blank: bool
    """A hole: vacuum, and no particle."""
    off_zone: bool


def turned(array: npt.NDArray[Any], turns: int, mirrored: bool) -> npt.NDArray[Any]:
    """An image (H, W) as a `Seat` has it: mirrored, then turned."""
    return np.rot90(array[:, ::-1] if mirrored else array, turns)


def turned_vector(vector: tuple[float, float], turns: int, mirrored: bool) -> tuple[float, float]:
    """A direction (row, column) in an image that is turned so."""
    row, column = vector[0], -vector[1] if mirrored else vector[1]
    for _ in range(turns % 4):
        row, column = -column, row
    return row, column


def turned_record(record: dict[str, Any], turns: int, mirrored: bool) -> dict[str, Any]:
    """A particle's record with every direction and place in the image (`…_rc`) turned along, also in its faults."""
    told: dict[str, Any] = {}
    for key, value in record.items():
        if key.endswith("_rc") and value is not None:
            told[key] = [x + 0.0 for x in turned_vector((value[0], value[1]), turns, mirrored)]
        elif key == "faults":
            told[key] = [turned_record(fault, turns, mirrored) for fault in value]
        else:
            told[key] = value
    return told


def way(story: Story, number: int, frames: range, pixel_size_nm: float) -> tuple[Offset, ...]:
    """Where the specimen lies in every frame of a field [px]: drift along one direction, jitter, and charging."""
    rng = np.random.default_rng([story.seed, 4, number])
    angle, pushed = rng.uniform(0, 2 * pi, 2)
    found: list[Offset] = []
    for i, frame in enumerate(frames):
        jitter = rng.normal(0, 1, 2) * story.jitter_nm
        row = story.drift_nm * i * cos(angle) + jitter[0]
        column = story.drift_nm * i * sin(angle) + jitter[1]
        for event in story.events:
            if isinstance(event, Charging):
                row += event.progress(frame) * event.shift_nm * cos(pushed)
                column += event.progress(frame) * event.shift_nm * sin(pushed)
        found.append((round(row / pixel_size_nm), round(column / pixel_size_nm)))
    first = found[0]
    return tuple((r - first[0], c - first[1]) for r, c in found)


@dataclass
class _Slot:
    """A place for a particle that is no wider than `radius` [px], centre at `row`, `column` [px]."""

    field: int
    row: float
    column: float
    radius: float
    below: bool
    anchor: _Slot | None
    """The slot that it touches."""
    wanted: str = ""
    """The class that its particle is to be of."""
    seat: Seat | None = None


class Planner:
    """Lays a session out.

    Raises
    ------
    ValueError
        The library has no particle of a kind that the story needs, or the specimen drifts too far within a field.
    """

    def __init__(self, story: Story, library: Library) -> None:
        self.story, self.library = story, library
        self.radius = [_radius(particle.mask) for particle in library.particles]
        self.pools = {
            name: [i for material in story.materials for i in library.of_class(name, material, story.kinds)]
            for name in ("yes", "no", "null", UNSCORED)
        }
        self.shares = self._shares()
        for name, pool in self.pools.items():
            if not pool and (name in ("yes", "no") or self.shares[name] > 0 or self._bent(name)):
                raise ValueError(
                    f"{library.path} has no particle of {', '.join(story.materials)} of the class {name}"
                )
            pool.sort(key=lambda i: self.radius[i])

    def _shares(self) -> dict[str, float]:
        """Chances of a particle to be `null` and to be unscored: the story's, or as many as the library has."""
        story, drawn = self.story, sum(map(len, self.pools.values()))
        own = {name: len(self.pools[name]) / max(1, drawn) for name in ("null", UNSCORED)}
        null = own["null"] if story.null_share is None else story.null_share
        unscored = min(own[UNSCORED], 1 - null) if story.unscored_share is None else story.unscored_share
        return {"null": min(null, 1 - unscored), UNSCORED: unscored}

    def _bent(self, name: str) -> bool:
        """Whether a bent grid takes particles of this class."""
        return name == "null" and any(isinstance(event, OffZoneField) for event in self.story.events)

    def plan(self) -> tuple[FieldPlan, ...]:
        """All fields of the session."""
        story = self.story
        fields, slots = [], []
        for number, frames in enumerate(story.fields()):
            blank = any(isinstance(e, BlankField) and e.first in frames for e in story.events)
            off_zone = any(isinstance(e, OffZoneField) and e.first in frames for e in story.events)
            offsets = way(story, number, frames, self.library.pixel_size_nm)
            reach = int(np.ptp(offsets, axis=0).max())
            if reach + story.size > LARGEST_PX:
                raise ValueError(
                    f"field {number}: the specimen drifts by {reach * self.library.pixel_size_nm:.0f} "
                    f"nm in {len(frames)} frames, too far to be held; move the stage more often, or let it drift less"
                )
            field = FieldPlan(number, frames, offsets, (), blank, off_zone)
            fields.append(field)
            if not blank:
                slots += list(self._slots(field))
        self._choose_classes(slots, fields)
        seats: dict[int, list[Seat]] = {field.number: [] for field in fields}
        for slot in slots:
            slot.seat = self._seated(slot, len(seats[slot.field]), seats[slot.field])
            seats[slot.field].append(slot.seat)
        return tuple(replace(field, seats=tuple(seats[field.number])) for field in fields)

    def _slots(self, field: FieldPlan) -> Iterator[_Slot]:
        """Room for particles whose centres come into view in some frame that shows anything."""
        story, size = self.story, self.story.size
        views = [
            (-row, -column)
            for frame, (row, column) in zip(field.frames, field.offsets, strict=True)
            if story.dose_factor(frame) > 0 and story.frozen_since(frame) is None
        ]
        if not views:
            return
        low = np.min(views, axis=0)
        high = np.max(views, axis=0) + size
        area_nm2 = float(np.prod(high - low)) * self.library.pixel_size_nm**2
        rng = np.random.default_rng([story.seed, 5, field.number])
        narrowest = max(
            self.radius[pool[0]] for name, pool in self.pools.items() if pool and name != UNSCORED
        )
        entries = [entry for pool in self.pools.values() for entry in pool]
        gap = GAP_NM / self.library.pixel_size_nm
        made: list[_Slot] = []
        for _ in range(int(story.density_per_nm2 * area_nm2 + rng.random())):
            radius = max(narrowest, self.radius[int(rng.choice(entries))])
            below = bool(rng.random() < story.overlapping_share)
            same_side = [slot for slot in made if slot.below == below]
            anchor = same_side[-1] if same_side and rng.random() < story.touching_share else None
            for _ in range(_TRIES):
                if anchor is None:
                    row, column = rng.uniform(low, high)
                else:
                    angle = rng.uniform(0, 2 * pi)
                    apart = radius + anchor.radius + 1
                    row, column = anchor.row + apart * cos(angle), anchor.column + apart * sin(angle)
                seen = any(0 <= row - v[0] < size and 0 <= column - v[1] < size for v in views)
                if seen and all(
                    hypot(row - s.row, column - s.column) >= radius + s.radius + (0 if s is anchor else gap)
                    for s in same_side
                ):
                    slot = _Slot(field.number, float(row), float(column), radius, below, anchor)
                    made.append(slot)
                    yield slot
                    break

    def _choose_classes(self, slots: list[_Slot], fields: list[FieldPlan]) -> None:
        """Which class each slot's particle is of; of those that would show it, exactly as many are faulted as asked."""
        rng = np.random.default_rng([self.story.seed, 6])
        off_zone = {field.number for field in fields if field.off_zone}
        for slot in slots:
            chance = rng.random()
            if slot.field in off_zone or chance < self.shares["null"]:
                slot.wanted = "null"
            elif chance < self.shares["null"] + self.shares[UNSCORED] and self._room(slot):
                slot.wanted = UNSCORED
        showing = [slot for slot in slots if not slot.wanted]
        faulted = faulted_of(self.story, [slot.field for slot in showing], rng)
        for slot, has in zip(showing, faulted, strict=True):
            slot.wanted = "yes" if has else "no"

    def _room(self, slot: _Slot) -> bool:
        """Whether an unscored particle fits a slot: there are few of them, and all may be wide."""
        return self.radius[self.pools[UNSCORED][0]] <= slot.radius

    def _seated(self, slot: _Slot, number: int, others: list[Seat]) -> Seat:
        """A particle of the slot's class that fits it, moved up to the one that it touches."""
        pool = self.pools[slot.wanted]
        fitting = [entry for entry in pool if self.radius[entry] <= slot.radius]
        rng = np.random.default_rng([self.story.seed, 7, slot.field, number])
        seat = Seat(
            id=f"f{slot.field:04d}-p{number:02d}",
            # One of the widest that fit, or slots of every width would be filled by small particles.
            entry=int(rng.choice(fitting[-max(6, len(pool) // 4) :])),
            place=(round(slot.row), round(slot.column)),
            turns=int(rng.integers(4)),
            mirrored=bool(rng.integers(2)),
            below=slot.below,
        )
        if slot.anchor is None or slot.anchor.seat is None:
            return seat
        closer = self._moved_up(seat, slot.anchor.seat)
        free = all(
            hypot(closer.place[0] - o.place[0], closer.place[1] - o.place[1])
            >= self.radius[closer.entry] + self.radius[o.entry]
            for o in others
            if o is not slot.anchor.seat and o.below == closer.below
        )
        return closer if free else seat

    def _moved_up(self, seat: Seat, anchor: Seat) -> Seat:
        """The seat as close to its anchor as their masks allow without overlapping."""
        masks = [turned(self.library.particles[s.entry].mask, s.turns, s.mirrored) for s in (anchor, seat)]
        row, column = seat.place[0] - anchor.place[0], seat.place[1] - anchor.place[1]
        for share in np.arange(0.99, 0.3, -2 / hypot(row, column)):
            closer = (round(anchor.place[0] + share * row), round(anchor.place[1] + share * column))
            if _overlap(masks[0], anchor.place, masks[1], closer):
                break
            seat = replace(seat, place=closer)
        return seat


def faulted_of(story: Story, fields: Sequence[int], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which of the particles that would show a fault have one.

    With an intra-class correlation ρ the fraction of a field is drawn from the beta distribution of mean p and variance
    ρ p (1 - p); two particles of one field are then correlated by ρ, those of different fields not.

    Parameters
    ----------
    fields : the field of each particle.
    """
    count = len(fields)
    fraction = FAULTED if story.fault_fraction is None else story.fault_fraction
    if story.field_icc > 0 and 0 < fraction < 1:
        size = (1 - story.field_icc) / story.field_icc
        names, member = np.unique(np.asarray(fields, dtype=np.int64), return_inverse=True)
        own = rng.beta(fraction * size, (1 - fraction) * size, len(names))
        return np.asarray(rng.random(count) < own[member])
    if story.fault_fraction is None:
        return np.asarray(rng.random(count) < FAULTED)
    faulted = np.zeros(count, bool)
    faulted[rng.permutation(count)[: round(fraction * count)]] = True
    return faulted


def _radius(mask: npt.NDArray[np.bool_]) -> float:
    """Of the circle about the middle pixel that holds a mask [px]."""
    rows, columns = np.nonzero(mask)
    return float(np.hypot(rows - mask.shape[0] // 2, columns - mask.shape[1] // 2).max())


def window(
    shape: tuple[int, ...], place: Offset, within: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Which part of an image of odd `shape`, its middle at `place`, lies in another, and where in that one it lies."""
    theirs, own = [], []
    for size, middle, limit in zip(shape, place, within, strict=True):
        start = middle - size // 2
        low, high = max(start, 0), min(start + size, limit)
        if low >= high:
            return None
        theirs.append(slice(low, high))
        own.append(slice(low - start, high - start))
    return (own[0], own[1]), (theirs[0], theirs[1])


def _overlap(one: npt.NDArray[np.bool_], at: Offset, other: npt.NDArray[np.bool_], other_at: Offset) -> bool:
    middle = (one.shape[0] // 2 + other_at[0] - at[0], one.shape[1] // 2 + other_at[1] - at[1])
    found = window(other.shape, middle, one.shape)
    return found is not None and bool((one[found[1]] & other[found[0]]).any())
