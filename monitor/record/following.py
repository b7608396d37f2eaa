"""What follows from one analysed frame after the other: places, tracks, and the running statistics."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from models.results import CLASSES
from monitor.record.changes import Change, gate_kinds
from monitor.record.tracks import AnalysedFrame, TrackRow
from monitor.statistics.alarm_kinds import Alarm
from monitor.statistics.alarms import AlarmState, after_frame, gate
from monitor.statistics.course import Counts, StatisticsRow
from monitor.statistics.estimate_course import Estimator
from monitor.statistics.frame_alarms import FrameSeen
from monitor.statistics.tally import Tally, Vote
from monitor.tracking.tracker import Place, Tracker
from monitor.tracking.tracks import Track


@dataclass(frozen=True)
class Settled:
    """What one frame brought."""

    place: Place
    uncounted: str | None
    tracks: tuple[TrackRow, ...]
    """Those that began or changed."""
    row: StatisticsRow
    alarms: tuple[Alarm, ...]
    """Those that are on, and those that this frame cleared."""
    changed: tuple[Alarm, ...]
    """Those that this frame raised or cleared."""


class Following:
    """The state after the last settled frame, from which the next one follows."""

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self._trackers: dict[int, Tracker] = {}
        self._votes: dict[int, Vote] = {}
        """Of the tracks that may still change."""
        self._tally = Tally()
        self._alarms = AlarmState()
        self.acknowledged: dict[tuple[str, int | None], float] = {}
        """When people acknowledged alarms that are raised again, by kind and first frame."""
        self.labels_due = False
        """Labels belong to tracks that are settled again."""
        self.last: StatisticsRow | None = None
        self.changes: list[Change] = []
        """Of settings, in the middle of the session."""

    def restore(
        self,
        last: StatisticsRow | None,
        closed: Tally,
        placed: Iterable[tuple[AnalysedFrame, Place]],
    ) -> list[TrackRow]:
        """Begin after a frame that was settled before; returns the tracks that may still change, as they were then.

        Parameters
        ----------
        last : its row; None: begin with the first frame.
        closed : the sums over the tracks that can't change any more.
        placed : the frames that the other tracks are seen in, in order of acquisition, and what was decided of them.
        """
        self._trackers, self._votes, self._tally, self.last = {}, {}, closed, last
        state = None if last is None else last.state
        self._alarms = AlarmState() if state is None else AlarmState.from_dict(json.loads(state))
        for frame, place in placed:
            self._trackers.setdefault(frame.source_id, Tracker()).restore(frame.look, place)
        rows = []
        for tracker in self._trackers.values():
            for number, track in tracker.tracks():
                row = self._count(number, track)
                rows.append(row)
        return rows

    def relabel(self, labels: dict[int, tuple[str, Vote]]) -> StatisticsRow | None:
        """Take other labels; returns the last row as it is with them."""
        self._estimator.labels = labels
        last = self.last
        if last is not None:
            row = self._estimator.row(
                last.frame_id, last.position, last.at, last.counts, self._tally, unlike_training=self._unlike
            )
            self.last = replace(row, state=json.dumps(self._alarms.as_dict()))
        return self.last

    def step(self, frame: AnalysedFrame, *, full: bool = True) -> Settled:
        """Settle the next frame, with `full` off without an estimate. The cost does not grow with the session."""
        tracker = self._trackers.setdefault(frame.source_id, Tracker())
        found = tracker.find(frame.look)
        seen = FrameSeen(
            frame.frame_id, frame.at, frame.quality, dict(zip(CLASSES, frame.counts, strict=True)),
            found.drift_nm, bool(frame.quality.get("repeated")), found.moved, frame.pixel_size_nm,
        )  # fmt: skip
        self._alarms = after_frame(self._alarms, seen)
        reason = _uncounted(frame, self._alarms, gate_kinds(self.changes, frame.order))
        look = frame.look if reason is None else replace(frame.look, weight=0.0)
        place, changed = tracker.place(look, found)
        rows = [self._count(place.map, track) for track in changed]
        for number in tracker.closed():
            self._votes.pop(number, None)
        last = self.last
        sums = (0, 0, 0, 0) if last is None else last.counts
        counts: Counts = (
            sums[0] + frame.counts[0], sums[1] + frame.counts[1], sums[2] + frame.counts[2],
            sums[3] + frame.counts[3],
        )  # fmt: skip
        position = 1 if last is None else last.position + 1
        row = self._estimator.row(
            frame.frame_id, position, frame.at, counts, self._tally, unlike_training=self._unlike, full=full
        )
        if full:
            row = replace(row, state=json.dumps(self._alarms.as_dict()))
        self.last = row
        cleared = tuple(alarm for alarm in self._alarms.changed if alarm.cleared)
        return Settled(
            place, reason, tuple(rows), row, (*self._alarms.alarms, *cleared), self._alarms.changed
        )

    @property
    def _unlike(self) -> bool:
        return "model unlike these frames" in self._alarms.raised

    def _count(self, number: int, track: Track) -> TrackRow:
        """Bring a track's vote up to date."""
        p = track.probabilities
        height, width = track.view[2] - track.view[0], track.view[3] - track.view[1]
        # The larger a particle, the more often some of it lies in view (Miles 1974; Lantuéjoul 1980).
        weight = height * width / ((height + track.diameter_nm) * (width + track.diameter_nm))
        row = TrackRow(
            track.id, track.field, number, track.particle_class, p, max(p) >= self._estimator.sure_from, track.seen,
            track.first_frame, track.last_frame, track.diameter_nm, track.whole, weight,
            (track.box[0] + track.box[2]) / 2, (track.box[1] + track.box[3]) / 2,
        )  # fmt: skip
        vote = Vote(track.field, track.particle_class, row.sure, weight) if track.seen else None
        self._tally.change(self._votes.get(track.id), vote)
        if vote is not None:
            self._votes[track.id] = vote
            if (known := self._estimator.labels.get(track.id)) is not None:
                self._estimator.labels[track.id] = (known[0], vote)
        return row


def _uncounted(frame: AnalysedFrame, alarms: AlarmState, kinds: frozenset[str]) -> str | None:
    """Why the particles of a frame are shown and not counted; None: they are counted."""
    if frame.quality.get("scanning"):
        return "it is no HRTEM image"
    return gate(frame.quality, alarms.of_last_frame(), kinds)
