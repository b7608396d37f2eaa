"""Follows the particles of one source through its frames, in order of acquisition."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from monitor.tracking.constellation import pair_shifts
from monitor.tracking.geometry import Outline
from monitor.tracking.matching import Matching, match, unexplained
from monitor.tracking.registration import Correlation, Shift, correlation
from monitor.tracking.signature import Signature
from monitor.tracking.tracks import Box, Sighting, Track

FIELD_OVERLAP = 0.3
"""Consecutive frames that overlap by less are of two fields."""
ACCEPTED = 6.0
"""Logarithm of the likelihood ratio from which two frames show the same place."""
BY_CHANCE = 8.0
"""Height to which the correlation of frames of different fields rises [robust standard deviations]; of 60 simulated
ones half reach 6.6 and one 8.6."""
BY_CHANCE_NEAR = {0.3: 4.0, 1.0: 5.5}
"""The same within so far of one given shift [nm]."""
RISE = 1.5
"""Evidence for each further standard deviation."""
WEAKEST, STRONGEST = -3.0, 15.0
"""Limits of a correlation's evidence: frames of one field may differ too much in focus to be correlated, and detectors
have patterns of their own, which stand still."""
STAGE = 3.0
"""Evidence of a stage that stood still; three times that against it of one that went away."""
STOOD_STILL, WENT_AWAY = 0.2, 4.0
"""How far the stage went at most, and at least, as shares of the frame's side."""
ALIGNED = 4.0
"""Evidence of one pair that overlaps well: what the pair seems to tell that a shift was made from."""
PAIRS_TRIED = 6
"""Shifts by which single particles come onto each other that are looked at closely."""
LOOKS_KEPT = 3
"""Former frames of the present map with which the next is compared."""
MAPS_KEPT = 4
"""Former places to which the stage may come back; of each the last frame is compared."""
RETURNING = 6.0
"""So much more evidence is asked for where a frame is to show a former place: there are several, and few come back."""


@dataclass(frozen=True)
class Look:
    """One frame as tracking sees it."""

    frame: int
    """Its number in the record."""
    height_nm: float
    width_nm: float
    sightings: tuple[Sighting, ...]
    signature: Signature | None = None
    weight: float = 1.0
    """Of its sightings' evidence; 0: they are followed and not counted."""
    repeats: bool = False
    """It has the pixels of another frame."""
    stage_nm: tuple[float, float] | None = None
    """(row, column) of the stage, in any fixed frame of reference [nm]."""


@dataclass(frozen=True)
class Place:
    """Where a frame lies, and which track each of its sightings is."""

    frame: int
    field: int
    """The number of the first frame of the field."""
    map: int
    """Of the first frame of the map, in whose coordinates `row_nm` and `col_nm` are: fields that overlap share one."""
    row_nm: float
    col_nm: float
    """Of the frame's upper left corner."""
    drift_nm: float | None
    """From the frame before, None where there is none in this map."""
    how: str
    """`first`, `correlation`, `particles`, `drift` as it was, `returned` to a former place, or `bridged`: no place is
    known."""
    tracks: dict[int, int]
    """The track of each sighting, by their numbers in the record; a sighting that only blurs a track is not in it."""


@dataclass
class _Map:
    """A stretch of specimen that was seen connectedly."""

    id: int
    tracks: dict[int, Track]
    looks: list[tuple[Look, Place]]
    """The last ones, the newest last."""


@dataclass(frozen=True)
class _Candidate:
    map: _Map
    place: tuple[float, float]
    matching: Matching
    tracks: list[Track]
    evidence: float
    how: str


@dataclass(frozen=True)
class Found:
    """What `Tracker.find` found."""

    drift_nm: float | None
    """Since the frame before; None where that shows another place, or this one's place is not known [nm]."""
    moved: bool
    """It shows another field than the frame before, as far as is known."""
    candidate: _Candidate | None


class Tracker:
    """Places one frame after another; `restore` repeats decisions that were recorded."""

    def __init__(self) -> None:
        self._maps: list[_Map] = []
        """The present one last."""
        self._closed: list[int] = []

    def tracks(self) -> list[tuple[int, Track]]:
        """Those that may still change, each with its map."""
        return [(m.id, track) for m in self._maps for track in m.tracks.values()]

    def closed(self) -> list[int]:
        """Tracks that can't change any more; each is told once."""
        closed, self._closed = self._closed, []
        return closed

    def find(self, look: Look) -> Found:
        """Where the next frame lies, as far as that is seen; changes nothing."""
        best = self._best(look)
        if best is None:
            return Found(None, True, None)
        last = best.map.looks[-1][1]
        present = best.map is self._maps[-1]
        drift = math.dist(best.place, (last.row_nm, last.col_nm)) if present else None
        moved = not present or self._overlap(best.map, look, best.place) < FIELD_OVERLAP
        return Found(drift, moved, best)

    def place(self, look: Look, found: Found) -> tuple[Place, list[Track]]:
        """Place the next frame where `find` found it, and tell which tracks it changed or began."""
        best = found.candidate
        if best is None and self._maps and (look.weight <= 0 or not look.sightings):
            return self._bridged(look), []
        if best is None:
            new = _Map(look.frame, {}, [])
            self._begin(new)
            place = Place(look.frame, look.frame, look.frame, 0.0, 0.0, None, "first", {})
            return self._settle(new, look, place, Matching((), (), 0.0), [])
        here = best.map
        field = look.frame if found.moved else here.looks[-1][1].field
        how = best.how if here is self._maps[-1] else "returned"
        place = Place(look.frame, field, here.id, *best.place, found.drift_nm, how, {})
        self._maps = [m for m in self._maps if m is not here] + [here]
        return self._settle(here, look, place, best.matching, best.tracks)

    def restore(self, look: Look, place: Place) -> None:
        """Repeat what `add` decided once for a frame, without looking at its picture."""
        if place.how == "bridged":
            return
        found = next((m for m in self._maps if m.id == place.map), None)
        if found is None:
            found = _Map(place.map, {}, [])
            self._begin(found)
        else:
            self._maps = [m for m in self._maps if m is not found] + [found]
        view = _view((place.row_nm, place.col_nm), look)
        near = [track for track in found.tracks.values() if _touch(track.box, view)]
        self._settle(found, look, place, match(near, look.sightings, view), near)

    # -- where it is -----------------------------------------------------------------------------------------

    def _best(self, look: Look) -> _Candidate | None:
        """The likeliest place, None where none is likelier than chance."""
        best: _Candidate | None = None
        for found, former, place in self._in_turn(look):
            for candidate in self._candidates(found, former, place, look):
                if found is not self._maps[-1]:
                    candidate = replace(candidate, evidence=candidate.evidence - RETURNING)
                if best is None or candidate.evidence > best.evidence:
                    best = candidate
            if best is not None and best.evidence >= 2 * ACCEPTED:
                return best
        return best if best is not None and best.evidence >= ACCEPTED else None

    def _in_turn(self, look: Look) -> Iterator[tuple[_Map, Look, Place]]:
        """The former frames that one is compared with: the last, then those that the correlation alone tells, the rest.

        So where the stage came back, places that single particles propose are not tried beside all the others.
        """
        views = [
            (found, former, place)
            for found in reversed(self._maps)
            for former, place in reversed(found.looks if found is self._maps[-1] else found.looks[-1:])
        ]
        yield from views[:1]
        yield from sorted(
            views[1:], key=lambda view: not _certain(correlation(view[1].signature, look.signature))
        )

    def _candidates(self, found: _Map, former: Look, place: Place, look: Look) -> Iterator[_Candidate]:
        """Places at which a frame may lie beside a former one."""

        def at(shift: Shift, chance: float, how: str, less: float = 0.0) -> _Candidate:
            risen = min(STRONGEST, max(WEAKEST, RISE * (shift.z - chance)))
            return _placed(found, former, place, look, shift, risen - less + stage, how)

        stage = _by_stage(former, look)

        if look.repeats and former is found.looks[-1][0]:
            yield at(Shift(0.0, 0.0, 100.0), BY_CHANCE, "correlation")
            return
        correlated = correlation(former.signature, look.signature)
        if correlated is not None:
            for shift in correlated.peaks(2):
                yield at(shift, BY_CHANCE, "correlation")
            if _certain(correlated):
                return
        known = []
        if len(found.looks) > 1 and former is found.looks[-1][0]:
            # The drift goes on as it was.
            before = found.looks[-2][1]
            drift = (place.row_nm - before.row_nm, place.col_nm - before.col_nm)
            known.append((drift, 1.0, 0.0, "drift"))
        known += _by_particles(found, place, look, correlated)
        for (rows, cols), reach, less, how in known:
            seen = None if correlated is None else correlated.near(rows, cols, reach)
            yield at(seen or Shift(rows, cols, 0.0), BY_CHANCE_NEAR[reach], how, less)

    def _overlap(self, found: _Map, look: Look, origin: tuple[float, float]) -> float:
        """With the frame before, as a share of the smaller of both."""
        former, place = found.looks[-1]
        a, b = _view((place.row_nm, place.col_nm), former), _view(origin, look)
        sides = [max(0.0, min(a[k + 2], b[k + 2]) - max(a[k], b[k])) for k in (0, 1)]
        smaller = min(former.height_nm * former.width_nm, look.height_nm * look.width_nm)
        return sides[0] * sides[1] / max(smaller, 1e-9)

    def _begin(self, found: _Map) -> None:
        self._closed += [number for m in self._maps[:-MAPS_KEPT] for number in m.tracks]
        self._maps = [*self._maps[-MAPS_KEPT:], found]

    def _bridged(self, look: Look) -> Place:
        last = self._maps[-1].looks[-1][1]
        return replace(last, frame=look.frame, drift_nm=None, how="bridged", tracks={})

    # -- what it shows ---------------------------------------------------------------------------------------

    def _settle(
        self, found: _Map, look: Look, place: Place, matching: Matching, near: list[Track]
    ) -> tuple[Place, list[Track]]:
        tracks: dict[int, int] = {}
        changed: list[Track] = []
        split = {r for r, _ in matching.parts}
        for r, c in matching.pairs:
            near[r].split = near[r].split + 1 if r in split else 0
            tracks[look.sightings[c].particle] = near[r].id
        for r, c in matching.parts:
            # Once it may be one particle in two pieces; what stays apart are two that touched before.
            if near[r].split >= 2:
                tracks[look.sightings[c].particle] = look.sightings[c].particle
        known = {c for _, c in (*matching.pairs, *matching.parts)}
        if look.weight > 0:
            for c, sighting in enumerate(look.sightings):
                if c not in known:
                    tracks[sighting.particle] = sighting.particle
        tracks = {
            particle: number
            for particle, number in tracks.items()
            if look.weight > 0 or number in found.tracks
        }
        place = replace(place, tracks=tracks)
        for sighting in look.sightings:
            if (number := tracks.get(sighting.particle)) is not None:
                changed.append(self._see(found, look, place, sighting, number))
        self._remember(found, look, place)
        return place, changed

    def _see(self, found: _Map, look: Look, place: Place, sighting: Sighting, number: int) -> Track:
        origin = (place.row_nm, place.col_nm)
        box = (
            sighting.box[0] + origin[0],
            sighting.box[1] + origin[1],
            sighting.box[2] + origin[0],
            sighting.box[3] + origin[1],
        )
        track = found.tracks.get(number)
        if track is None:
            track = Track(
                number,
                place.field,
                look.frame,
                look.frame,
                box,
                _view(origin, look),
                sighting.diameter_nm,
                not sighting.cut,
                _on_map(sighting, origin),
            )
            found.tracks[number] = track
        track.last_frame = look.frame
        fuller = not sighting.cut or (not track.whole and sighting.diameter_nm > track.diameter_nm)
        if look.weight > 0:
            if fuller:
                track.box, track.view = box, _view(origin, look)
                track.outline = _on_map(sighting, origin)
                track.diameter_nm = sighting.diameter_nm
                track.whole = track.whole or not sighting.cut
            track.add(sighting.probabilities, look.weight)
        return track

    def _remember(self, found: _Map, look: Look, place: Place) -> None:
        found.looks = [*found.looks[1 - LOOKS_KEPT :], (look, place)]


def _view(origin: tuple[float, float], look: Look) -> Box:
    return (origin[0], origin[1], origin[0] + look.height_nm, origin[1] + look.width_nm)


def _on_map(sighting: Sighting, origin: tuple[float, float]) -> Outline | None:
    return None if sighting.outline is None else sighting.outline + np.array(origin, np.float32)


def _touch(box: Box, view: Box) -> bool:
    return box[0] < view[2] and box[2] > view[0] and box[1] < view[3] and box[3] > view[1]


def _certain(correlated: Correlation | None) -> bool:
    """Whether a correlation is so high that there is no need to ask the particles for other shifts."""
    return correlated is not None and correlated.highest > 2 * BY_CHANCE


def _by_stage(former: Look, look: Look) -> float:
    """Evidence of the stage's positions. Their axes are turned against the picture's, so only the distance tells."""
    if former.stage_nm is None or look.stage_nm is None:
        return 0.0
    distance = math.dist(former.stage_nm, look.stage_nm)
    side = min(look.height_nm, look.width_nm)
    if distance <= STOOD_STILL * side:
        return STAGE
    return -3 * STAGE if distance >= WENT_AWAY * side else 0.0


def _by_particles(
    found: _Map, place: Place, look: Look, correlation: Correlation | None
) -> list[tuple[tuple[float, float], float, float, str]]:
    """Shifts that bring particles onto each other: where, how exactly [nm], and what choosing among so many costs."""
    shifts, agree = pair_shifts(list(found.tracks.values()), look.sightings, (place.row_nm, place.col_nm))
    if not len(shifts):
        return []
    heights = np.zeros(len(shifts))
    if correlation is not None:
        near = (correlation.near(float(r), float(c), 0.3) for r, c in shifts)
        heights = np.array([-9.0 if shift is None else shift.z for shift in near])
    best = np.argsort(-(RISE * heights + 2 * agree), kind="stable")[:PAIRS_TRIED]
    cost = math.log(len(shifts) + 1) + ALIGNED
    return [((float(shifts[k, 0]), float(shifts[k, 1])), 0.3, cost, "particles") for k in best]


def _placed(
    found: _Map, former: Look, place: Place, look: Look, shift: Shift, evidence: float, how: str
) -> _Candidate:
    origin = (place.row_nm + shift.rows_nm, place.col_nm + shift.cols_nm)
    view = _view(origin, look)
    near = [track for track in found.tracks.values() if _touch(track.box, view)]
    matching = match(near, look.sightings, view)
    if (moved := _refined(origin, near, matching, look)) != origin:
        origin, view = moved, _view(moved, look)
        near = [track for track in found.tracks.values() if _touch(track.box, view)]
        matching = match(near, look.sightings, view)
    known = {c for _, c in (*matching.pairs, *matching.parts)}
    rest = [s for c, s in enumerate(look.sightings) if c not in known]
    evidence += matching.evidence + unexplained(rest, origin, _view((place.row_nm, place.col_nm), former))
    return _Candidate(found, origin, matching, near, evidence, how)


def _refined(
    origin: tuple[float, float], tracks: list[Track], matching: Matching, look: Look
) -> tuple[float, float]:
    """The place corrected by the median offset of three or more particles that are seen whole."""
    rows, cols = [], []
    for r, c in matching.pairs:
        track, sighting = tracks[r], look.sightings[c]
        if track.whole and not sighting.cut:
            rows.append((track.box[0] + track.box[2] - sighting.box[0] - sighting.box[2]) / 2 - origin[0])
            cols.append((track.box[1] + track.box[3] - sighting.box[1] - sighting.box[3]) / 2 - origin[1])
    if len(rows) < 3:
        return origin
    middle = len(rows) // 2
    moved = (origin[0] + sorted(rows)[middle], origin[1] + sorted(cols)[middle])
    return moved if math.dist(moved, origin) >= 0.05 else origin
