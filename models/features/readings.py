"""The readings of a region's stack along its likeliest axes, as features, and which of them is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from models.features.fault_signs import signs_of
from models.features.layers import HalfLayers
from models.features.spectrum import Image, Real
from models.features.stack import Reading, read_stacks, readings_of

PLAIN = 12.0
"""`Reading.significance` from which a fault is taken as plain when an axis is chosen to be shown."""
READ = (
    "perfect_h",
    "perfect_c",
    "faulted",
    "gain",
    "significance",
    "row_power",
    "turn_mean",
    "turn_spread",
    "depth",
    "misfit_perfect",
    "misfit_faulted",
    "evidence",
)
"""Figures of a reading that become features."""
SIGNS = ("streak", "twin_spots")
"""Of `models.features.fault_signs`, those that become features."""

COUNTED = 2
"""So many readings become features."""


@dataclass(frozen=True)
class Stacks:
    """The stack of one region along every axis that is tried, read no earlier than it is asked for."""

    values: Image
    """(P,) the region's pixels, their mean and slow variation removed."""
    rows_nm: Real
    cols_nm: Real
    """(P,) where they lie [nm]."""
    axes: Real
    """(A, 2) reflections of the layers (row, column), the likeliest first [nm⁻¹]."""

    def _along(self, which: slice) -> list[Reading]:
        return read_stacks(self.values, self.rows_nm, self.cols_nm, self.axes[which])

    @cached_property
    def counted(self) -> list[Reading]:
        """The first `COUNTED` readings, from which the features are taken."""
        first = self._along(slice(COUNTED))
        return first if len(first) == COUNTED else self.readings[:COUNTED]

    @cached_property
    def readings(self) -> list[Reading]:
        """All of them. An axis along which the region has fewer than five layers has none."""
        known = self.__dict__.get("counted")
        if known is None:
            return self._along(slice(None))
        return [*known, *self._along(slice(COUNTED, None))]


@dataclass(frozen=True)
class CutStacks(Stacks):
    """The same where the region was cut into half layers before, and its pixels are not at hand."""

    cuts: Sequence[HalfLayers | None] = ()
    """Of every axis."""

    def _along(self, which: slice) -> list[Reading]:
        return readings_of(self.cuts[which], self.axes[which])


def _trust(reading: Reading) -> float:
    """How much of the row an axis explains, whichever word does it: chooses between the candidates."""
    return max(reading.perfect_h, reading.perfect_c, reading.faulted) * max(reading.row_power, 0.0)


def most_trusted(readings: Sequence[Reading]) -> Reading | None:
    """The axis of which the words explain most; `None` where there is none."""
    return max(readings, key=_trust, default=None)


def most_faulted(readings: Sequence[Reading]) -> Reading | None:
    """The axis along which a fault is best attested: in cubic crystals only one of two visible {111} may carry it."""
    return max(readings, key=lambda r: r.significance * max(r.faulted, 0.0), default=None)


def telling(readings: Sequence[Reading]) -> Reading | None:
    """The axis to show: the faulted one if the fault is plain, else the one that the words explain best."""
    faulted = most_faulted(readings)
    if faulted is not None and faulted.significance > PLAIN and faulted.faulted > 0.4:
        return faulted
    return most_trusted(readings)


def stack_features(readings: Sequence[Reading]) -> dict[str, float]:
    """What was read along the two likeliest axes: in cubic crystals two {111} stand edge-on, and one has the fault."""
    values: dict[str, float] = {}
    for i, prefix in enumerate(("first", "second")):
        reading = readings[i] if i < len(readings) else None
        for name in READ:
            values[f"{prefix}_{name}"] = float(getattr(reading, name)) if reading else 0.0
        values[f"{prefix}_significance_a_layer"] = reading.significance / reading.layers if reading else 0.0
        signs = signs_of(reading) if reading else {}
        values |= {f"{name}_{prefix}": signs.get(name, 0.0) for name in SIGNS}
    return values
