"""The fraction by size and by field, from a record's tracks and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from monitor.record.reader import RecordReader
from monitor.statistics.confusion import CALLED, TRUE, confusion_of, true_category
from monitor.statistics.estimate import Estimate
from monitor.statistics.strata import by_size, by_stratum
from monitor.statistics.tally import Tally

SIZES_NM = (0.0, 2.0, 3.0, 5.0, 8.0, inf)
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
    """Divides the tracks of one record; everything is read when it is made."""

    def __init__(self, record: RecordReader) -> None:
        self._tracks = record.counted_tracks()
        self._labels = record.labelled()
        self._confusion = confusion_of(record.bundle_details())
        self._unlike = record.unlike_training()
        tally = Tally()
        for track in self._tracks:
            tally.change(None, track.vote)
        self._scale, self._effect = tally.scale(), tally.design_effect()

    def sizes(self) -> list[tuple[tuple[float, float], Stratum]]:
        """Each range of diameters [nm] that holds a track, and what is in it."""
        of = by_size([track.diameter_nm for track in self._tracks], SIZES_NM)
        keys = sorted(set(of.tolist()))
        index = np.searchsorted(keys, of) if keys else of
        strata = self._divided(index, keys, [1] * len(keys), self._effect)
        return [((SIZES_NM[s.key], SIZES_NM[s.key + 1]), s) for s in strata]

    def fields(self) -> list[Stratum]:
        """Each field that holds a track, in order of its first frame; beyond `MOST_FIELDS` the others in one.

        Tracks of one field are taken as independent, given the field's own fraction.
        """
        judged: dict[int, int] = {}
        for track in self._tracks:
            judged[track.vote.field] = judged.get(track.vote.field, 0) + (track.vote.called > 0)
        largest = sorted(judged, key=lambda number: (-judged[number], number))[:MOST_FIELDS]
        keys = sorted(largest)
        place = {number: i for i, number in enumerate(keys)}
        others = len(judged) - len(keys)
        index = np.array([place.get(track.vote.field, len(keys)) for track in self._tracks], int)
        if others:
            keys.append(-1)
        return self._divided(index, keys, [1] * len(place) + [others] * (others > 0), 1.0)

    def _divided(
        self, index: npt.NDArray[np.int64], keys: Sequence[int], parts: Sequence[int], effect: float
    ) -> list[Stratum]:
        if not keys:
            return []
        counts = np.zeros((len(keys), len(CALLED)))
        labels = np.zeros((len(keys), len(TRUE), len(CALLED)))
        classes = np.zeros((len(keys), 4), int)
        for track, s in zip(self._tracks, index, strict=True):
            classes[s, track.class_index] += 1
            label = self._labels.get(track.id)
            if label is None:
                counts[s, track.vote.called] += track.vote.weight * self._scale
            else:
                labels[s, true_category(label), track.vote.called] += 1
        found = by_stratum(counts, self._confusion, labels, effect, unlike_training=self._unlike)
        return [
            Stratum(key, number, (int(c[0]), int(c[1]), int(c[2]), int(c[3])), estimate)
            for key, number, c, estimate in zip(keys, parts, classes, found, strict=True)
        ]
