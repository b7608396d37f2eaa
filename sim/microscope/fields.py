"""Composes the wave of a field from films and particles: the product approximation, with all focus planes in agreement.

Below a film and a particle one after the other the wave is, to first order in how either scatters,
ψ(z) = P(z - z_film) T_film · P(z - z_particle) T_particle, with P the propagation in vacuum and each T the wave of its
part alone at that part's mid-plane. The product is taken at the mid-plane of a particle of mean height that lies on the
film: there the terms that are left out, which mix both, are smallest. Defocus counts from that plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from sim.microscope.layout import FieldPlan, Offset, Seat, turned, turned_record, window
from sim.microscope.library import Library, ParticleWave, propagated
from sim.microscope.story import Contamination, Story
from sim.optics.transfer import Image, Wave

CLEARANCE_NM = 0.1
"""Between the film and a particle [nm]."""
MOST_FILMS = 6
"""One upon another in a field."""
CLOSE_NM = 0.25
"""Carbon may be so much thicker or thinner than asked for, where fewer films do then [nm]."""
KEPT = 24
"""Films that are kept as they are at the plane of a field."""


def films_of(story: Story, library: Library, field: int) -> tuple[int, ...]:
    """Which films of a library a field stands on, from the particles downwards.

    At least two of different side, so that nothing repeats. One of each where the story does not say how thick the
    carbon is; else those whose sum comes close to a thickness drawn from its range.
    """
    rng = np.random.default_rng([story.seed, 9, field])
    sides = [film.wave.shape[0] for film in library.films]
    if story.carbon_nm is None:
        return tuple(
            int(rng.choice([i for i, own in enumerate(sides) if own == side]))
            for side in (min(sides), max(sides))
        )
    wanted_nm = float(rng.uniform(*story.carbon_nm))
    least = min(2, len(set(sides)))
    stacks = [
        stack
        for count in range(least, MOST_FILMS + 1)
        for stack in combinations_with_replacement(range(len(sides)), count)
        if len({sides[i] for i in stack}) >= least
    ]
    off = [abs(sum(library.films[i].thickness_nm for i in stack) - wanted_nm) for stack in stacks]
    close = [stack for stack, nm in zip(stacks, off, strict=True) if nm <= max(CLOSE_NM, min(off))]
    fewest = [stack for stack in close if len(stack) == len(close[0])]
    return tuple(int(i) for i in rng.permutation(fewest[int(rng.integers(len(fewest)))]))


@dataclass(frozen=True)
class Standing:
    """A particle in its field."""

    seat: Seat
    mask: npt.NDArray[np.bool_]
    """(h, w), its middle pixel at the seat's place."""
    area: int
    """Of the mask [px]."""
    particle: ParticleWave
    """As it stands: turned."""


@dataclass(frozen=True)
class Composed:
    """The wave of a field and what stands in it."""

    plan: FieldPlan
    wave: Wave
    """(H, W)."""
    origin: Offset
    """Where in `wave` the upper left pixel of the field's first frame lies."""
    standing: tuple[Standing, ...]
    dome: Image | None
    """(H, W) phase that a full dome of contamination adds [rad]; `None` where none grows."""
    carbon_nm: float
    """Thickness of the films [nm]."""

    def view(self, frame: int, size: int, margin: int, growth: float) -> Wave:
        """The wave that a frame shows, with a margin about it: (size + 2 margin,) × 2.

        Parameters
        ----------
        growth : of the contamination, as a share of its last thickness.
        """
        row, column = self.plan.offsets[frame - self.plan.frames.start]
        top, left = self.origin[0] - row - margin, self.origin[1] - column - margin
        side = size + 2 * margin
        here = (slice(top, top + side), slice(left, left + side))
        if growth <= 0 or self.dome is None:
            return self.wave[here]
        return np.asarray(self.wave[here] * np.exp(1j * growth * self.dome[here]), dtype=np.complex64)


class Composer:
    """Composes the fields of a story; what fields share is kept."""

    def __init__(self, library: Library, story: Story) -> None:
        self.library, self.story = library, story
        self.mean_height_nm = float(np.mean([particle.height_nm for particle in library.particles]))
        self._films: dict[tuple[int, float], Wave] = {}

    def compose(self, plan: FieldPlan, margin: int) -> Composed:
        """The wave of a field, so large that every frame finds itself in it with a margin [px]."""
        rows, columns = np.transpose(plan.offsets)
        origin = (int(rows.max()) + margin, int(columns.max()) + margin)
        shape = (
            origin[0] - int(rows.min()) + self.story.size + margin,
            origin[1] - int(columns.min()) + self.story.size + margin,
        )
        if plan.blank:
            return Composed(plan, np.ones(shape, np.complex64), origin, (), None, 0.0)
        rng = np.random.default_rng([self.story.seed, 8, plan.number])
        chosen = films_of(self.story, self.library, plan.number)
        thickness = [self.library.films[which].thickness_nm for which in chosen]
        # Heights along the beam from the mid-plane of the film that the particles lie on.
        plane = thickness[0] / 2 + CLEARANCE_NM + self.mean_height_nm / 2
        wave = self._film(chosen[0], plane, shape, rng)
        for i, which in enumerate(chosen[1:], 1):
            down = thickness[0] / 2 + sum(thickness[1:i]) + thickness[i] / 2
            wave *= self._film(which, plane + down, shape, rng)
        standing = []
        for seat in plan.seats:
            own = self._turned(seat)
            half = CLEARANCE_NM + own.height_nm / 2
            upper = thickness[0] / 2
            height = upper - sum(thickness) - half if seat.below else upper + half
            standing.append(Standing(seat, own.mask, int(own.mask.sum()), own))
            place = (seat.place[0] + origin[0], seat.place[1] + origin[1])
            found = window(own.wave.shape, place, shape)
            if found is not None:
                moved = propagated(
                    own.wave, self.library.pixel_size_nm, self.library.energy_kev, plane - height
                )
                wave[found[1]] *= moved[found[0]]
        return Composed(plan, wave, origin, tuple(standing), self._dome(plan, shape, rng), sum(thickness))

    def _turned(self, seat: Seat) -> ParticleWave:
        one = self.library.particles[seat.entry]
        return ParticleWave(
            np.ascontiguousarray(turned(one.wave, seat.turns, seat.mirrored)),
            np.ascontiguousarray(turned(one.mask, seat.turns, seat.mirrored)),
            turned_record(one.record, seat.turns, seat.mirrored),
            one.height_nm,
        )

    def _film(self, which: int, distance_nm: float, shape: Offset, rng: np.random.Generator) -> Wave:
        """A film's wave so far below its mid-plane, shifted and turned at random, over the whole field (H, W)."""
        key = (which, round(distance_nm, 6))
        if key not in self._films:
            if len(self._films) >= KEPT:
                self._films.clear()
            self._films[key] = propagated(
                self.library.films[which].wave,
                self.library.pixel_size_nm,
                self.library.energy_kev,
                distance_nm,
            )
        film = turned(self._films[key], int(rng.integers(4)), bool(rng.integers(2)))
        side = film.shape[0]
        shift = rng.integers(0, side, 2)
        rows = (np.arange(shape[0]) + shift[0]) % side
        columns = (np.arange(shape[1]) + shift[1]) % side
        return np.asarray(film[rows[:, None], columns[None, :]])

    def _dome(self, plan: FieldPlan, shape: Offset, rng: np.random.Generator) -> Image | None:
        """Phase of the contamination at its thickest (H, W) [rad], if any grows in the field."""
        thickness_nm = max(
            (
                event.thickness_nm
                for event in self.story.events
                if isinstance(event, Contamination) and any(event.growth(f, plan.frames) for f in plan.frames)
            ),
            default=0.0,
        )
        if thickness_nm == 0:
            return None
        which = len(self.library.films) - 1
        phase = np.angle(self._film(which, 0.0, shape, rng))
        centre = [rng.uniform(0.25, 0.75) * n for n in shape]
        width = 0.25 * self.story.size
        r = np.exp(-(((np.arange(shape[0]) - centre[0]) / width) ** 2) / 2)
        c = np.exp(-(((np.arange(shape[1]) - centre[1]) / width) ** 2) / 2)
        share = thickness_nm / self.library.films[which].thickness_nm
        return np.asarray(share * r[:, None] * c[None, :] * phase, dtype=np.float32)
