"""How many tracks were called what, by field: kept up to date as tracks begin and change."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.results import CLASSES, ParticleClass

CALLED = ("other", "no sure", "no doubtful", "yes sure", "yes doubtful")
"""How a track is called; `other` is `empty` or `null`."""


@dataclass(frozen=True)
class Vote:
    """What one track counts for."""

    field: int
    particle_class: ParticleClass
    sure: bool
    """It is not too close to call."""
    weight: float
    """Inverse of the probability with which a particle of its size comes into view, 1 for a small one."""

    @property
    def called(self) -> int:
        """Its place in `CALLED`."""
        if self.particle_class in ("empty", "null"):
            return 0
        return (1 if self.particle_class == "no" else 3) + (0 if self.sure else 1)


@dataclass
class Tally:
    """Sums over tracks."""

    classes: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    """Tracks of each class."""
    called: list[float] = field(default_factory=lambda: [0.0] * len(CALLED))
    """Weights of the tracks by how they are called."""
    squares: float = 0.0
    """Sum of the squared weights of the judged ones (`no` and `yes`)."""
    fields: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Weights of the `yes` and of the judged tracks of each field that has any."""
    products: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Over the fields: sums of yes², yes × judged, judged²."""

    def change(self, before: Vote | None, after: Vote | None) -> None:
        """A track's vote was `before` and is `after`; None: it counts for nothing."""
        if before == after:
            return
        for vote, sign in ((before, -1), (after, 1)):
            if vote is None:
                continue
            self.classes[CLASSES.index(vote.particle_class)] += sign
            self.called[vote.called] += sign * vote.weight
            if vote.called:
                self.squares += sign * vote.weight**2
                self._add(vote.field, sign * vote.weight * (vote.called >= 3), sign * vote.weight)

    def _add(self, number: int, yes: float, judged: float) -> None:
        old = self.fields.get(number, (0.0, 0.0))
        new = (old[0] + yes, old[1] + judged)
        for k, (a, b) in enumerate(((0, 0), (0, 1), (1, 1))):
            self.products[k] += new[a] * new[b] - old[a] * old[b]
        if abs(new[1]) < 1e-9:
            self.fields.pop(number, None)
        else:
            self.fields[number] = new

    @property
    def judged(self) -> int:
        """Tracks called `no` or `yes`."""
        return self.classes[2] + self.classes[3]

    def design_effect(self) -> float:
        """Variance of the weighted share of `yes` over that of as many independent particles of equal weight.

        The variance is that of a ratio of sums over fields, by linearisation (Cochran, Sampling Techniques, 3rd ed.
        1977, eq. 9A.6 for clusters of unequal size); never below Kish's effect of unequal weights.
        """
        weights = sum(self.called[1:])
        if self.judged < 2 or weights <= 0:
            return 1.0
        kish = max(1.0, self.judged * self.squares / weights**2)
        count = len(self.fields)
        if count < 2:
            return kish
        share = (sum(self.called[3:]) + 0.5) / (weights + 1)
        yy, ym, mm = self.products
        squares = max(0.0, yy - 2 * share * ym + share**2 * mm)
        variance = count / (count - 1) * squares / weights**2
        return max(kish, variance * self.judged / (share * (1 - share)))
