"""A sender's frame numbers: which were never received, and how that changes with each number that comes."""

from __future__ import annotations

from dataclasses import dataclass

#: A jump beyond this is a counter that was set anew, no gap.
LARGEST_GAP = 1_000_000

#: So many gaps are remembered, in case their frames arrive late.
_GAPS_KEPT = 256


@dataclass(frozen=True)
class Numbers:
    """What has been received of one sender. Immutable: after a write that failed the old state is still there."""

    last: int | None = None
    gaps: tuple[tuple[int, int], ...] = ()
    """Half-open runs of numbers that were passed over."""

    def after(self, number: int, *, starts_at_zero: bool = False) -> tuple[Numbers, int]:
        """The state once `number` was received, and by how much the count of lost frames changes.

        Parameters
        ----------
        starts_at_zero
            The sender is known to count from 0, so what is missing before its first number was lost as well.
        """
        if self.last is None:
            expected = 0 if starts_at_zero else number
        else:
            expected = self.last + 1
        missing = number - expected
        if 0 <= missing <= LARGEST_GAP:
            gaps = (*self.gaps, (expected, number))[-_GAPS_KEPT:] if missing else self.gaps
            return Numbers(number, gaps), missing
        for i, (first, end) in enumerate(self.gaps):
            if first <= number < end:
                rest = tuple(run for run in ((first, number), (number + 1, end)) if run[0] < run[1])
                return Numbers(self.last, (*self.gaps[:i], *rest, *self.gaps[i + 1 :])), -1
        return Numbers(number), 0
