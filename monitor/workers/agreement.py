"""Two analyses of the same frame: which particles are the same, and how far what is said of them differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.results import CLASSES, Analysis, Particle
from monitor.record import Recorded

#: How far the probabilities of the same frame may differ between two backends or devices, which round in
#: other ways. Between the network in whole numbers and in floats (153 particles in 24 simulated frames) 95 %
#: differed by less than 0.09 and one by more than this, no class changed, and one particle was found by one of
#: them alone: such a comparison tells where to look. The same backend on a CPU is to say exactly the same.
TOLERANCE = 0.2

#: Bounding boxes that share so much of what they cover together are the same particle's.
OVERLAP = 0.5


@dataclass(frozen=True)
class Agreement:
    """The result of comparing one frame."""

    matched: int
    """Particles that are there both times."""
    largest: float
    """Largest difference of any probability of a particle that is there both times."""
    differences: tuple[str, ...]
    """A sentence each; none: it agrees."""


def tolerance_of(then: tuple[str, str], now: tuple[str, str]) -> float:
    """How far probabilities may differ between two pairs of bundle and backend; 0: nothing may differ.

    A device rounds in other ways with every size of a batch, and which frames wait together is a matter of chance. So
    even the same device is not held to the last digit.
    """
    return 0.0 if then == now and not now[1].startswith("torch-") else TOLERANCE


def compare(recorded: Recorded | Analysis, found: Analysis, tolerance: float) -> Agreement:
    """Compare what was recorded of a frame with what is found in it now.

    Parameters
    ----------
    tolerance
        How far probabilities may differ. With 0, boxes and classes have to be the same as well; else boxes
        have to overlap by half, and a class may be the other one of two whose probabilities are closer to
        each other than the tolerance.
    """
    said: list[str] = []
    if recorded.shape != found.shape:
        said.append(f"the frame had {_shape(recorded.shape)} px and has {_shape(found.shape)} px now")
    pairs, gone, new = match(recorded.particles, found.particles)
    said += [
        f"the particle at {_place(particle)} ({particle.particle_class}) is not found" for particle in gone
    ]
    said += [
        f"a particle at {_place(particle)} ({particle.particle_class}) was not recorded" for particle in new
    ]
    largest = 0.0
    for then, now in pairs:
        apart = max(abs(p - q) for p, q in zip(then.probabilities, now.probabilities, strict=True))
        largest = max(largest, apart)
        where = f"the particle at {_place(then)}"
        if then.particle_class != now.particle_class and not _close_call(then, now, tolerance):
            said.append(f"{where} was {then.particle_class} and is {now.particle_class} now")
        elif apart > tolerance:
            said.append(f"{where} has probabilities that differ by {apart:.3g}")
        if not tolerance and then.bbox != now.bbox:
            said.append(f"{where} covered {list(then.bbox)} and covers {list(now.bbox)} now")
    return Agreement(len(pairs), largest, tuple(said))


def match(
    then: Sequence[Particle], now: Sequence[Particle]
) -> tuple[list[tuple[Particle, Particle]], list[Particle], list[Particle]]:
    """Pairs of the same particle, the most alike first, and what is left of either side."""
    scored = sorted(
        ((overlap(a.bbox, b.bbox), -i, -k) for i, a in enumerate(then) for k, b in enumerate(now)),
        reverse=True,
    )
    of_then: dict[int, int] = {}
    taken: set[int] = set()
    for score, i, k in scored:
        if score < OVERLAP:
            break
        if -i not in of_then and -k not in taken:
            of_then[-i] = -k
            taken.add(-k)
    pairs = [(then[i], now[k]) for i, k in sorted(of_then.items())]
    gone = [particle for i, particle in enumerate(then) if i not in of_then]
    return pairs, gone, [particle for k, particle in enumerate(now) if k not in taken]


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection of two half-open boxes (row, column, row, column) over their union."""
    rows = min(a[2], b[2]) - max(a[0], b[0])
    columns = min(a[3], b[3]) - max(a[1], b[1])
    if rows <= 0 or columns <= 0:
        return 0.0
    both = rows * columns
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _close_call(then: Particle, now: Particle, tolerance: float) -> bool:
    """Whether the recorded probabilities of the two classes are so close that the tolerance decides."""
    old, new = (then.probabilities[CLASSES.index(name)] for name in (then.particle_class, now.particle_class))
    return abs(old - new) < tolerance


def _place(particle: Particle) -> str:
    row, column = particle.centroid
    return f"row {row:.0f}, column {column:.0f}"


def _shape(shape: tuple[int, int]) -> str:
    return f"{shape[0]} × {shape[1]}"
