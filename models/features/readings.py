"""The readings of a region's stack along its likeliest axes, as features, and which of them is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from operator import attrgetter

import numpy as np

from models.features.axes import MOST
from models.features.layers import Summed, summed
from models.features.spectrum import Columns, Image, Real
from models.features.stack import Reading, readings_of

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
    "significance_a_layer",
)
"""Figures of a reading that become features."""
SIGNS = ("streak", "twin_spots")
"""Of `models.features.fault_signs`, those that become features."""

COUNTED = 2
"""So many readings become features."""
_figures = attrgetter(*READ, *SIGNS)


@dataclass(frozen=True)
class Pixels:
    """The pixels of one region, from which its stack is read along any axis."""

    values: Image
    """(P,) their mean and slow variation removed."""
    rows_nm: Real
    cols_nm: Real
    """(P,) where they lie [nm]."""
    axes: Real
    """(A, 2) reflections of the layers (row, column), the likeliest first [nm⁻¹]."""

    def cut(self, which: slice) -> list[Summed]:
        """The half layers along some of the axes."""
        return summed(self.values, self.rows_nm, self.cols_nm, self.axes[which])


@dataclass(frozen=True)
class Cut:
    """The same of a region that was cut into half layers elsewhere, along every axis."""

    cuts: Sequence[Summed]

    def cut(self, which: slice) -> list[Summed]:
        """The half layers along some of the axes."""
        return list(self.cuts[which])


@dataclass(frozen=True)
class Stacks:
    """The stack of one region along every axis that is tried, read no earlier than it is asked for."""

    region: Pixels | Cut
    counted: list[Reading]
    """The first `COUNTED` readings, from which the features are taken."""
    tried: int
    """Along so many axes it was read for them."""

    @cached_property
    def readings(self) -> list[Reading]:
        """All of them. An axis along which the region has fewer than five layers has none."""
        return self.counted + _found(readings_of(self.region.cut(slice(self.tried, None))))


def read_further(stacks: Sequence[Stacks]) -> None:
    """Read several regions together along the axes that their features did not need, as `Stacks.readings` would."""
    waiting = [each for each in stacks if each.tried == COUNTED and "readings" not in vars(each)]
    rest = _read_along([each.region for each in waiting], slice(COUNTED, None))
    for each, more in zip(waiting, rest, strict=True):
        vars(each)["readings"] = each.counted + more  # where a cached property keeps it


def stacks_of(regions: Sequence[Pixels | Cut]) -> list[Stacks]:
    """The stacks of all regions of a frame, read together, along `COUNTED` axes.

    Those that have fewer layers than are read along one of them are read along the others too.
    """
    first = _read_along(regions, slice(COUNTED))
    lacking = [i for i, found in enumerate(first) if len(found) < COUNTED]
    others = _read_along([regions[i] for i in lacking], slice(COUNTED, MOST))
    more = dict(zip(lacking, others, strict=True))
    return [
        Stacks(region, found + more[i], MOST) if i in more else Stacks(region, found, COUNTED)
        for i, (region, found) in enumerate(zip(regions, first, strict=True))
    ]


def _read_along(regions: Sequence[Pixels | Cut], which: slice) -> list[list[Reading]]:
    """Of every region the readings along some of its axes."""
    cuts = [region.cut(which) for region in regions]
    found = iter(readings_of([one for each in cuts for one in each]))
    return [_found(islice(found, len(each))) for each in cuts]


def _found(readings: Iterable[Reading | None]) -> list[Reading]:
    return [reading for reading in readings if reading is not None]


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


def stack_features(counted: Sequence[Sequence[Reading]]) -> Columns:
    """What was read along the two likeliest axes: in cubic crystals two {111} stand edge-on, and one has the fault.

    Parameters
    ----------
    counted : the readings of every region.
    """
    values: Columns = {}
    nothing = (0.0,) * (len(READ) + len(SIGNS))
    for i, prefix in enumerate(("first", "second")):
        rows = [_figures(readings[i]) if i < len(readings) else nothing for readings in counted]
        names = [*(f"{prefix}_{name}" for name in READ), *(f"{name}_{prefix}" for name in SIGNS)]
        values |= dict(zip(names, np.array(rows).reshape(-1, len(names)).T, strict=True))
    return values
