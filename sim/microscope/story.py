"""The story of a session: its settings and its events. Plain data, from and to JSON.

An event's `first` and `last` are frame numbers, both included. `docs/sessions.md` describes every field.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")
FrameNumber = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Kilovolts = Annotated[float, Field(ge=20, le=1000)]
Carbon = Annotated[float, Field(ge=1, le=12)]
Stobbs = Annotated[float, Field(ge=1, le=10)]


def _as_range(given: Any) -> Any:
    """A single number stands for a range that begins and ends with it."""
    return (given, given) if isinstance(given, int | float) else given


def _rising(given: tuple[float, float]) -> tuple[float, float]:
    if given[0] > given[1]:
        raise ValueError(f"the range ends at {given[1]:g}, before it begins at {given[0]:g}")
    return given


From = BeforeValidator(_as_range)
Rising = AfterValidator(_rising)


class StoryError(ValueError):
    """The settings of a story contradict each other."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Moment:
    """What happens at one frame."""

    first: FrameNumber


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Stretch:
    """What goes on for some frames."""

    first: FrameNumber
    last: FrameNumber

    @model_validator(mode="after")
    def _in_order(self) -> Stretch:
        if self.last < self.first:
            raise ValueError(f"the last frame, {self.last}, comes before the first, {self.first}")
        return self

    def progress(self, frame: int) -> float:
        """How far it has come in a frame: 0 outside, 1 in the last frame."""
        if not self.first <= frame <= self.last:
            return 0.0
        return (frame - self.first + 1) / (self.last - self.first + 1)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class StageMove(Moment):
    """The stage goes to a new field before this frame, besides the regular moves."""

    kind: Literal["stage_move"] = "stage_move"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DoseChange(Moment):
    """From this frame on the dose is so many times what was ordered, until the next change."""

    kind: Literal["dose_change"] = "dose_change"
    factor: Positive = 0.25


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BlankField(Moment):
    """The field of this frame is a hole: vacuum."""

    kind: Literal["blank_field"] = "blank_field"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class OffZoneField(Moment):
    """The grid is bent at the field of this frame: no particle is near a zone that would show a fault."""

    kind: Literal["off_zone_field"] = "off_zone_field"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BeamLoss(Stretch):
    """No electrons."""

    kind: Literal["beam_loss"] = "beam_loss"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class OffFocus(Stretch):
    """So much added to the defocus."""

    kind: Literal["off_focus"] = "off_focus"
    defocus_nm: Finite = -90.0


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Charging(Stretch):
    """The specimen charges: everything grows from frame to frame up to the values given, and is gone after the last."""

    kind: Literal["charging"] = "charging"
    blur_nm: NotNegative = 0.3
    """Way that the image shifts during an exposure."""
    shift_nm: NotNegative = 1.5
    """Way that it has shifted since before."""
    defocus_nm: Finite = 20.0
    astigmatism_nm: NotNegative = 12.0
    illumination: NotNegative = 0.25


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FrozenFrame(Stretch):
    """The camera gives the frame before the first again and again."""

    kind: Literal["frozen_frame"] = "frozen_frame"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Contamination(Stretch):
    """A dome of amorphous carbon grows in every field of the stretch, and stays until the stage moves."""

    kind: Literal["contamination"] = "contamination"
    thickness_nm: Positive = 6.0

    def growth(self, frame: int, here: range) -> float:
        """How thick the dome is in a frame of the field `here`, as a share of its last thickness."""
        return 1.0 if self.last in here and frame > self.last else self.progress(frame)


Event = Annotated[
    StageMove
    | DoseChange
    | BlankField
    | OffZoneField
    | BeamLoss
    | OffFocus
    | Charging
    | FrozenFrame
    | Contamination,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, config=_STRICT)
class Story:
    """What is taken, of what, and what happens. The defaults are a calm session."""

    frames: Annotated[int, Field(ge=1)] = 200
    size: Annotated[int, Field(ge=64, le=8192)] = 1024
    """Side of a frame [px]; a pixel is that of the library, 0.025 nm."""
    seed: Annotated[int, Field(ge=0)] = 0
    frames_per_field: Annotated[int, Field(ge=1)] = 1
    """The stage moves to new particles after so many frames."""
    dose_e_per_A2: Positive = 400.0
    """Median dose of a frame; it varies by a tenth from frame to frame."""
    defocus_nm: Finite = -6.0
    """C1 about which the focus wanders by a few nanometres; it counts from the particles' middle, and in an uncorrected
    microscope from Scherzer's defocus."""
    energy_kev: Kilovolts = 300.0
    """Voltage [kV]; the library must have waves of it."""
    corrected: bool = True
    """Whether the microscope has a corrector of spherical aberration; one without is drawn from its kind."""
    stobbs: Annotated[tuple[Stobbs, Stobbs], From, Rising] = (1.0, 1.0)
    """By how much the contrast is below that of multislice: a number, or from and to, drawn once for the session."""
    carbon_nm: Annotated[tuple[Carbon, Carbon], From, Rising] | None = None
    """Thickness of the carbon [nm]: a number, or from and to, drawn for every field. It is met to a quarter of a
    nanometre from 2.2 nm on. `None`: two films of the library, 2.2 to 4 nm together."""
    drift_nm: NotNegative = 0.3
    """Way that the specimen drifts from frame to frame, in a direction that every field has of its own."""
    jitter_nm: NotNegative = 0.1
    """Standard deviation, along each axis, of where a frame lies off that way."""
    focus_drift_nm: Finite = 0.0
    """Added to the defocus from frame to frame; the operator focuses again at every stage move."""
    fault_fraction: Share | None = None
    """Share of `yes` among the particles that would show a fault, met as closely as whole particles allow. `None`:
    each of them has a fault by a chance of 0.45."""
    field_icc: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Intra-class correlation of `yes` among the particles of one field that would show a fault. Above 0 every field
    has a fraction of its own, from a beta distribution whose mean is `fault_fraction`, and the fraction of the session
    is met on average alone."""
    kinds: Literal["planar", "stacking"] = "planar"
    """What makes a particle `yes`: any planar fault, or stacking faults alone; then one that holds nothing but twin
    boundaries or interfaces of polytypes is `no`."""
    null_share: Share | None = None
    """Chance of a particle to be one that would not show a fault. `None`: as many as in the library, where particles
    are drawn as they come."""
    unscored_share: Share | None = None
    """Chance of a particle to be one that the rule of `sim.specimen.truth` does not score; `None` as before."""
    materials: tuple[str, ...] = ("CdSe-wurtzite", "CdSe-zincblende")
    density_per_nm2: Annotated[float, Field(ge=0, le=0.03)] = 0.009
    """Particles a square nanometre."""
    touching_share: Share = 0.1
    """Chance of a particle to touch the one before."""
    overlapping_share: Share = 0.0
    """Chance of a particle to lie below the film, where others may overlap it."""
    events: tuple[Event, ...] = ()

    @model_validator(mode="after")
    def _within(self) -> Story:
        for event in self.events:
            if getattr(event, "last", event.first) >= self.frames:
                raise ValueError(
                    f"{event.kind} at frame {getattr(event, 'last', event.first)}: "
                    f"the session ends with frame {self.frames - 1}"
                )
            if isinstance(event, FrozenFrame) and event.first == 0:
                raise ValueError("frozen_frame at frame 0: there is no frame before it to be given again")
        if (self.null_share or 0) + (self.unscored_share or 0) > 1:
            raise ValueError("null_share and unscored_share are more than 1 together")
        return self

    def fields(self) -> tuple[range, ...]:
        """The frames of every field."""
        moves = {0, *range(0, self.frames, self.frames_per_field)}
        moves |= {event.first for event in self.events if isinstance(event, StageMove)}
        ends = [*sorted(moves), self.frames]
        return tuple(range(a, b) for a, b in pairwise(ends))

    def dose_factor(self, frame: int) -> float:
        """By what the last dose change before or at a frame has it; 0 while the beam is lost."""
        if any(isinstance(event, BeamLoss) and event.progress(frame) for event in self.events):
            return 0.0
        changes = [e for e in self.events if isinstance(e, DoseChange) and e.first <= frame]
        return max(changes, key=lambda e: e.first).factor if changes else 1.0

    def frozen_since(self, frame: int) -> int | None:
        """The frame that the camera gives again in place of this one."""
        since = [e.first - 1 for e in self.events if isinstance(e, FrozenFrame) and e.progress(frame)]
        return min(since) if since else None

    def active(self, frame: int, here: range) -> list[str]:
        """The kinds of the events that have to do with a frame of the field `here`, in the story's order."""
        found = []
        for event in self.events:
            if isinstance(event, Contamination):
                on = event.growth(frame, here) > 0
            elif isinstance(event, Stretch):
                on = event.progress(frame) > 0
            elif isinstance(event, BlankField | OffZoneField):
                on = event.first in here
            elif isinstance(event, DoseChange):
                on = event.first <= frame and self.dose_factor(frame) == event.factor != 1
            else:
                on = event.first == frame
            if on:
                found.append(event.kind)
        return list(dict.fromkeys(found))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; `read_story` takes them back."""
        return asdict(self)


S = TypeVar("S", bound=Stretch)


def eventful(frames: int, frames_per_field: int) -> tuple[Event, ...]:
    """Everything once, spread over the frames.

    Raises
    ------
    StoryError
        Too few frames or fields for it.
    """
    fields = -(-frames // frames_per_field)
    if frames < 30 or fields < 5:
        raise StoryError(
            f"the story eventful takes at least 30 frames in 5 fields, not {frames} frames in {fields}"
        )

    def during(kind: type[S], begin: float, share: float) -> S:
        first = max(1, round(begin * frames))
        return kind(first=first, last=min(frames - 1, first + max(1, round(share * frames)) - 1))

    def field_at(share: float) -> int:
        return round(share * fields) * frames_per_field

    return (
        DoseChange(first=round(0.10 * frames), factor=0.3),
        DoseChange(first=round(0.20 * frames), factor=1.0),
        during(OffFocus, 0.25, 0.06),
        during(BeamLoss, 0.36, 0.04),
        BlankField(first=field_at(0.5)),
        during(Charging, 0.60, 0.08),
        during(FrozenFrame, 0.72, 0.04),
        OffZoneField(first=min(field_at(0.8), (fields - 1) * frames_per_field)),
        during(Contamination, 0.92, 0.06),
    )


#: Stories by name, without their events: what departs from the defaults.
READY_MADE: dict[str, dict[str, Any]] = {
    "calm": {},
    "drifting": {"frames_per_field": 5, "drift_nm": 0.8, "focus_drift_nm": 1.5},
    "eventful": {"frames_per_field": 4, "drift_nm": 0.5, "focus_drift_nm": 0.5},
}


def _validated(values: dict[str, Any], about: str) -> Story:
    try:
        return TypeAdapter(Story).validate_python(values)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(str(part) for part in wrong["loc"])
        told = wrong["msg"].removeprefix("Value error, ")
        raise ValueError(f"{about}: {where}: {told}" if where else f"{about}: {told}") from error


def read_story(path: Path) -> dict[str, Any]:
    """What a JSON file orders: fields of a `Story`, or a `story.json` as it is written beside a session.

    Raises
    ------
    ValueError
        The file can't be read as such.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ValueError(f"the story {path} can't be read: {reason}") from error
    told = told.get("story", told) if isinstance(told, dict) else told
    if not isinstance(told, dict):
        raise ValueError(f"the story {path} is no JSON object")
    return told


def order(name: str = "calm", *, fields: int | None = None, **given: Any) -> Story:
    """The story of a session as it is ordered.

    Parameters
    ----------
    name : a ready-made story, or a JSON file.
    fields : so many, of `frames_per_field` frames each.
    given : fields of `Story` that take the place of the story's own; `None` leaves them.

    Raises
    ------
    StoryError
        Frames, fields and frames a field contradict each other, or the story takes more.
    ValueError
        No such story, or a file that tells none.
    """
    given = {key: value for key, value in given.items() if value is not None}
    values = dict(READY_MADE[name]) if name in READY_MADE else None
    if values is None:
        if not name.endswith(".json"):
            raise ValueError(f"no story {name}; there are {', '.join(READY_MADE)}, and JSON files (.json)")
        values = read_story(Path(name))
    if fields is not None:
        frames, each = given.get("frames"), given.get("frames_per_field")
        if each is None:
            if frames is None:
                each = values.get("frames_per_field", 1)
            elif frames % fields:
                raise StoryError(f"{frames} frames are not the same number in each of {fields} fields")
            else:
                each = frames // fields
        if frames is not None and frames != fields * each:
            raise StoryError(f"{fields} fields of {each} frames are {fields * each} frames, not {frames}")
        given |= {"frames": fields * each, "frames_per_field": each}
    story = _validated({**values, **given}, f"the story {name}")
    if name == "eventful":
        return replace(story, events=eventful(story.frames, story.frames_per_field))
    return story
