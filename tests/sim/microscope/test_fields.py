"""Fields composed of particles and films, against full multislice of the same specimen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sim.microscope.fields import CLEARANCE_NM, CLOSE_NM, Composer, films_of
from sim.microscope.layout import FieldPlan, Offset, Planner, Seat, turned, turned_record, window
from sim.microscope.library import PIXEL_NM, Library, load_library, propagated
from sim.microscope.make_library import film_wave, particle_wave
from sim.microscope.story import Story
from sim.optics.conditions import Conditions
from sim.optics.imaging import expected_image
from sim.optics.multislice import exit_wave
from sim.optics.transfer import Image, Wave
from sim.specimen.carbon import amorphous_slab
from sim.specimen.draw import Placed, Specimen
from sim.specimen.materials import parse_material
from sim.specimen.particle import Nanoparticle, build
from sim.specimen.truth import fringe_signal_to_noise

SIDE_NM = 9.6
GPTS = 384
UPPER_NM, LOWER_NM = 1.0, 0.8


class Unmoved(Composer):
    """Composes with the films as they are, neither shifted nor turned."""

    def _film(self, which: int, distance_nm: float, shape: Offset, rng: np.random.Generator) -> Wave:
        film = self.library.films[which].wave
        side = film.shape[0]
        moved = propagated(film, self.library.pixel_size_nm, self.library.energy_kev, distance_nm)
        return moved[np.arange(shape[0])[:, None] % side, np.arange(shape[1])[None, :] % side]


def dots() -> tuple[Nanoparticle, ...]:
    rng = np.random.default_rng(3)
    return tuple(
        build(parse_material(name), d, "sphere", kinds, "near", 1.0, rng)
        for name, d, kinds in (("CdSe-wurtzite", 3.6, ["I1"]), ("Au", 2.4, []))
    )


SEATS = (Seat("a", 0, (120, 130), 0, False, False), Seat("b", 1, (280, 250), 0, False, False))


@pytest.fixture(scope="module")
def composed() -> tuple[Library, Composer]:
    films = (film_wave(SIDE_NM / 2, UPPER_NM, 1), film_wave(SIDE_NM, LOWER_NM, 2))
    waves = tuple(particle_wave(p) for p in dots())
    library = Library(Path("none"), PIXEL_NM, 300.0, waves, ("yes", "no"), films)
    return library, Unmoved(library, Story(frames=1, size=GPTS))


@pytest.fixture(scope="module")
def full(composed: tuple[Library, Composer]) -> Wave:
    """The wave of both particles on both films by one multislice, at the plane where fields are composed."""
    quarter = amorphous_slab(SIDE_NM / 2, UPPER_NM, 1).astype(np.float64)
    upper = np.concatenate(
        [quarter + np.array([i * SIDE_NM / 2, j * SIDE_NM / 2, 0]) for i in (0, 1) for j in (0, 1)]
    )
    lower = amorphous_slab(SIDE_NM, LOWER_NM, 2).astype(np.float64)
    top = 0.2 + LOWER_NM + UPPER_NM
    carbon = np.concatenate([lower, upper + np.array([0, 0, LOWER_NM])]) + np.array([0, 0, 0.2])
    placed = tuple(
        Placed(
            p,
            (
                s.place[0] * PIXEL_NM,
                s.place[1] * PIXEL_NM,
                top + CLEARANCE_NM + float(np.ptp(p.positions[:, 2])) / 2,
            ),
        )
        for p, s in zip(dots(), SEATS, strict=True)
    )
    library, composer = composed
    height = top + CLEARANCE_NM + max(w.height_nm for w in library.particles) + 0.2
    wave = exit_wave(Specimen(SIDE_NM, height, placed, carbon, LOWER_NM + UPPER_NM), GPTS)
    plane = top + CLEARANCE_NM + composer.mean_height_nm / 2
    return propagated(wave, PIXEL_NM, 300.0, plane - height)


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library()


def likeness(one: Image, other: Image, where: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Correlation, and root mean square difference as a share of the contrast, of two images in a region."""
    a, b = one[where], other[where]
    return float(np.corrcoef(a, b)[0, 1]), float((a - b).std() / a.std())


@pytest.mark.slow
@pytest.mark.parametrize(("defocus_nm", "least", "most"), [(-8.0, 0.999, 0.04), (0.0, 0.99, 0.12)])
def test_a_composed_field_is_what_full_multislice_gives(
    composed: tuple[Library, Composer], full: Wave, defocus_nm: float, least: float, most: float
) -> None:
    """Two particles of different height on two films; at 0 nm there is least contrast to be right about."""
    conditions = Conditions(defocus_nm=defocus_nm)
    field = composed[1].compose(FieldPlan(0, range(1), ((0, 0),), SEATS, False, False), 0)
    mine = expected_image(field.view(0, GPTS, 0, 0.0), PIXEL_NM, conditions)
    theirs = expected_image(full, PIXEL_NM, conditions)
    masks = np.zeros((GPTS, GPTS), bool)
    for standing in field.standing:
        found = window(standing.mask.shape, standing.seat.place, masks.shape)
        assert found is not None
        masks[found[1]] |= standing.mask[found[0]]
    for where in (masks, ~masks, np.ones_like(masks)):
        correlation, difference = likeness(theirs, mine, where)
        assert correlation > least
        assert difference < most


@pytest.mark.slow
def test_defocus_counts_from_the_particles_middle(composed: tuple[Library, Composer], full: Wave) -> None:
    """A reference plane 6 nm further on gives the same image at 6 nm less defocus, and another one at the same."""
    library, _ = composed
    composer = Unmoved(library, Story(frames=1, size=GPTS))
    composer.mean_height_nm += 12.0
    wave = composer.compose(FieldPlan(0, range(1), ((0, 0),), SEATS, False, False), 0).view(0, GPTS, 0, 0.0)
    everywhere = np.ones((GPTS, GPTS), bool)
    theirs = expected_image(full, PIXEL_NM, Conditions(defocus_nm=-8))
    there = expected_image(wave, PIXEL_NM, Conditions(defocus_nm=-14))
    assert likeness(theirs, there, everywhere)[0] > 0.999
    off = expected_image(wave, PIXEL_NM, Conditions(defocus_nm=-8))
    assert likeness(theirs, off, everywhere)[0] < 0.97


@pytest.mark.parametrize(("turns", "mirrored"), [(1, False), (2, True), (3, True)])
def test_a_turned_particle_shows_its_stack_where_its_record_says(
    library: Library, turns: int, mirrored: bool
) -> None:
    def way(entry: int) -> float:
        """How far the stack turns: a mirror leaves one that lies along it where it is."""
        record = library.particles[entry].record
        return -abs(np.dot(record["stacking_rc"], turned_record(record, turns, mirrored)["stacking_rc"]))

    one = library.particles[max(library.of_class("yes", "CdSe-wurtzite"), key=way)]
    material = parse_material("CdSe-wurtzite")

    def signal(wave: Wave, mask: npt.NDArray[np.bool_], record: dict[str, Any]) -> float:
        clean = expected_image(np.ascontiguousarray(wave), PIXEL_NM, Conditions())
        lateral, stacking = tuple(record["lateral_rc"]), tuple(record["stacking_rc"])
        return fringe_signal_to_noise(clean, mask, lateral, stacking, material, PIXEL_NM, 3e4)

    straight = signal(one.wave, one.mask, one.record)
    wave, mask = (turned(x, turns, mirrored) for x in (one.wave, one.mask))
    # Layers are cut at other pixels, and a mirror turns the asymmetric part of the fringes round.
    assert signal(wave, mask, turned_record(one.record, turns, mirrored)) == pytest.approx(straight, rel=0.05)
    if turns % 2:
        assert signal(wave, mask, one.record) < 0.5 * straight


def test_particles_touch_but_do_not_overlap_unless_asked(library: Library) -> None:
    def shared(story: Story) -> tuple[int, int]:
        """Pixels in two masks, and pairs that come closer than three pixels."""
        both = touching = 0
        for plan in Planner(story, library).plan():
            canvas = np.zeros((1200, 1200), np.uint8)
            near = canvas.copy()
            for seat in plan.seats:
                mask = turned(library.particles[seat.entry].mask, seat.turns, seat.mirrored)
                found = window(mask.shape, (seat.place[0] + 88, seat.place[1] + 88), canvas.shape)
                assert found is not None
                own = mask[found[0]].astype(np.uint8)
                wide = np.asarray(cv2.dilate(own, np.ones((7, 7), np.uint8)))
                touching += int((near[found[1]] & wide).any())
                both += int((canvas[found[1]] & own).sum())
                canvas[found[1]] |= own
                near[found[1]] |= own
        return both, touching

    apart = shared(Story(frames=12, seed=1, touching_share=0.0))
    assert apart == (0, 0)
    close = shared(Story(frames=12, seed=1, touching_share=0.6))
    assert close[0] == 0
    assert close[1] > 5
    assert shared(Story(frames=12, seed=1, overlapping_share=0.5, density_per_nm2=0.02))[0] > 1000


def test_a_field_too_long_to_be_held_is_refused(library: Library) -> None:
    with pytest.raises(ValueError, match="move the stage more often"):
        Planner(Story(frames=1000, frames_per_field=1000, drift_nm=1.0), library).plan()


@pytest.mark.parametrize("wanted_nm", [2.2, 3.0, 5.0, 7.3, 10.0])
def test_the_carbon_is_as_thick_as_asked(library: Library, wanted_nm: float) -> None:
    story = Story(frames=1, carbon_nm=(wanted_nm, wanted_nm))
    stacks = [films_of(story, library, field) for field in range(20)]
    for stack in stacks:
        assert sum(library.films[i].thickness_nm for i in stack) == pytest.approx(wanted_nm, abs=CLOSE_NM)
        assert len({library.films[i].wave.shape for i in stack}) == 2
    assert stacks == [films_of(story, library, field) for field in range(20)]


def test_a_range_of_carbon_is_used_from_end_to_end(library: Library) -> None:
    story = Story(frames=1, carbon_nm=(2.2, 10.0))
    drawn = [
        sum(library.films[i].thickness_nm for i in films_of(story, library, field)) for field in range(200)
    ]
    assert min(drawn) < 3
    assert max(drawn) > 9
    assert np.mean(drawn) == pytest.approx(6.1, abs=0.6)


def test_thicker_carbon_is_grainier(library: Library) -> None:
    def grain(nm: float) -> float:
        story = Story(frames=1, size=256, carbon_nm=(nm, nm), density_per_nm2=0.0)
        field = Composer(library, story).compose(Planner(story, library).plan()[0], 16)
        assert field.carbon_nm == pytest.approx(nm, abs=CLOSE_NM)
        return float(expected_image(field.view(0, 256, 16, 0.0), PIXEL_NM, Conditions(defocus_nm=-40)).std())

    # Films one upon another scatter independently: the speckle grows as the root of the thickness.
    assert grain(9.0) / grain(3.0) == pytest.approx(3**0.5, rel=0.25)
