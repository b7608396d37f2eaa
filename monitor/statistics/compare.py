"""Two sessions beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot


@dataclass(frozen=True)
class Difference:
    """Of two fractions, first less second."""

    value: float
    interval: tuple[float, float]

    @property
    def apart(self) -> bool:
        """Whether the interval leaves 0 out."""
        return not self.interval[0] <= 0 <= self.interval[1]


def difference(
    first: float, first_interval: tuple[float, float], second: float, second_interval: tuple[float, float]
) -> Difference:
    """The difference of two fractions from their intervals, by squares of the distances to their ends.

    Method 10 of Newcombe (Stat. Med. 17, 1998, 873), for any two intervals of the same level by Zou and Donner (Stat.
    Med. 27, 2008, 1693). The two are taken as independent. Where one bundle judged both, an error of its rates moves
    both the same way, and the interval is wider than need be.
    """
    (l1, u1), (l2, u2) = first_interval, second_interval
    if min(first - l1, u1 - first, second - l2, u2 - second) < -1e-9:
        raise ValueError("a fraction lies in its interval")
    value = first - second
    return Difference(value, (value - hypot(first - l1, u2 - second), value + hypot(u1 - first, second - l2)))
