"""The fraction by size and by field, from a record's tracks and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from models.results import CLASSES
from monitor.record import totals
from monitor.record.reader import RecordReader
from monitor.record.totals import Calls
from monitor.statistics.confusion import CALLED, TRUE, confusion_of, true_category
from monitor.statistics.estimate import Estimate
from monitor.statistics.strata import by_stratum

SIZES_NM = (0.0, *totals.SIZES_NM, inf)
"""Edges of the ranges of diameters: those for which a bundle states its rates [nm]."""
MOST_FIELDS = 40
"""So many fields, those with the most judged tracks, have a row of their own; the others share one."""


@dataclass(frozen=True)
class Stratum:
    """One part of a session's tracks, with its fraction."""

    key: int
    """Index of the range of sizes, or number of the field; -1: of all fields without a row of their own."""
    parts: int
    """Fields in it, 1 for a range of sizes."""
    tracks: tuple[int, int, int, int]
    """In the order of `models.results.CLASSES`."""
    estimate: Estimate

    @property
    def judged(self) -> int:
        """Tracks called `no` or `yes`."""
        return self.tracks[2] + self.tracks[3]


class Strata:
    """Divides the tracks of one record. The cost grows with the number of labels alone."""

    def __init__(self, record: RecordReader) -> None:
        self._record = record
        self._labelled = record.labelled_tracks()
        self._confusion = confusion_of(record.bundle_details())
        self._unlike = record.unlike_training()
        sums = record.sums()
        self._scale, self._effect = sums.scale(), sums.design_effect()
        self._calls = record.calls_by_size()

    def sizes(self) -> list[tuple[tuple[float, float], Stratum]]:
        """Each range of diameters [nm] that holds a track, and what is in it."""
        keys = sorted({call.key for call in self._calls})
        of = {
            track: int(np.searchsorted(SIZES_NM, known.diameter_nm, side="right")) - 1
            for track, known in self._labelled.items()
        }
        strata = self._divided(self._calls, of, keys, [1] * len(keys), self._effect)
        return [((SIZES_NM[s.key], SIZES_NM[s.key + 1]), s) for s in strata]

    def fields(self) -> list[Stratum]:
        """Each field that holds a track, in order of its first frame; beyond `MOST_FIELDS` the others in one.

        Tracks of one field are taken as independent, given the field's own fraction.
        """
        largest, number = self._record.largest_fields(MOST_FIELDS)
        keys = sorted(largest)
        others = number - len(keys)
        calls = self._record.calls_of_fields(keys)
        of = {
            track: known.vote.field if known.vote.field in keys else -1
            for track, known in self._labelled.items()
        }
        if others:
            # What is not in these fields is in the others.
            calls += [replace(call, key=-1) for call in self._calls]
            calls += [
                replace(call, key=-1, n=-call.n, weight=-call.weight) for call in calls if call.key >= 0
            ]
            keys.append(-1)
        parts = [1] * (len(keys) - (others > 0)) + [others] * (others > 0)
        return self._divided(calls, of, keys, parts, 1.0)

    def _divided(
        self,
        calls: Sequence[Calls],
        of: dict[int, int],
        keys: Sequence[int],
        parts: Sequence[int],
        effect: float,
    ) -> list[Stratum]:
        """
        Parameters
        ----------
        of : the key of each labelled track.
        """
        if not keys:
            return []
        place = {key: index for index, key in enumerate(keys)}
        counts = np.zeros((len(keys), len(CALLED)))
        labels = np.zeros((len(keys), len(TRUE), len(CALLED)))
        classes = np.zeros((len(keys), 4), int)
        for call in calls:
            classes[place[call.key], CLASSES.index(call.particle_class)] += call.n
            counts[place[call.key], call.called] += call.weight * self._scale
        for track, known in self._labelled.items():
            counts[place[of[track]], known.vote.called] -= known.vote.weight * self._scale
            labels[place[of[track]], true_category(known.label), known.vote.called] += 1
        # Sums that are kept up to date round in other ways than sums that are made anew.
        counts[np.abs(counts) < 1e-6] = 0.0
        found = by_stratum(counts, self._confusion, labels, effect, unlike_training=self._unlike)
        return [
            Stratum(key, number, (int(c[0]), int(c[1]), int(c[2]), int(c[3])), estimate)
            for key, number, c, estimate in zip(keys, parts, classes, found, strict=True)
        ]
