"""How many tracks were called what, by field: kept up to date as tracks begin and change."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.results import CLASSES, ParticleClass
from monitor.statistics.confusion import CALLED, called_category
from monitor.statistics.design import design_effect_of_sums


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
        return called_category(self.particle_class, not self.sure)


@dataclass
class Sums:
    """Sums over tracks, from which the fraction is estimated."""

    classes: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    """Tracks of each class."""
    called: list[float] = field(default_factory=lambda: [0.0] * len(CALLED))
    """Weights of the tracks by how they are called."""
    squares: float = 0.0
    """Sum of the squared weights of the judged ones (`no` and `yes`)."""
    judged_fields: int = 0
    """Fields that hold a judged track."""
    products: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Over the fields: sums of yes², yes × judged, judged²."""

    @property
    def judged(self) -> int:
        """Tracks called `no` or `yes`."""
        return self.classes[2] + self.classes[3]

    def design_effect(self) -> float:
        """By which fields widen the variance of the fraction; see `monitor.statistics.design`."""
        yes, judged = sum(self.called[3:]), sum(self.called[1:])
        return design_effect_of_sums(self.judged_fields, yes, judged, self.products)

    def scale(self) -> float:
        """Factor by which weights together are the effective number of judged tracks (Kish 1965, section 11.7)."""
        judged = sum(self.called[1:])
        return judged / self.squares if self.squares > 0 else 1.0


@dataclass
class Tally(Sums):
    """Sums that are kept up to date as tracks begin and change."""

    fields: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Weights of the `yes` and of the judged tracks of each field that has any."""

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
        yy, ym, mm = self.products
        self.products = (
            yy + new[0] ** 2 - old[0] ** 2, ym + new[0] * new[1] - old[0] * old[1], mm + new[1] ** 2 - old[1] ** 2,
        )  # fmt: skip
        if abs(new[1]) < 1e-9:
            self.fields.pop(number, None)
        else:
            self.fields[number] = new
        self.judged_fields = len(self.fields)
