"""Fields composed of particles and films, against full multislice of the same specimen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from sim.carbon import amorphous_slab
from sim.conditions import Conditions
from sim.fields import CLEARANCE_NM, Composer
from sim.imaging import expected_image
from sim.layout import FieldPlan, Offset, Planner, Seat, turned, turned_record, window
from sim.library import PIXEL_NM, Library, film_wave, load_library, particle_wave, propagated
from sim.materials import parse_material
from sim.multislice import exit_wave
from sim.particle import Nanoparticle, build
from sim.specimen import Placed, Specimen
from sim.story import Story
from sim.transfer import Image, Wave

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
    upper = np.concatenate([quarter + [i * SIDE_NM / 2, j * SIDE_NM / 2, 0] for i in (0, 1) for j in (0, 1)])
    lower = amorphous_slab(SIDE_NM, LOWER_NM, 2).astype(np.float64)
    top = 0.2 + LOWER_NM + UPPER_NM
    carbon = np.concatenate([lower + [0, 0, 0.2], upper + [0, 0, 0.2 + LOWER_NM]])
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


def likeness(one: Image, other: Image, where: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Correlation, and root mean square difference as a share of the contrast, of two images in a region."""
    a, b = one[where], other[where]
    return float(np.corrcoef(a, b)[0, 1]), float((a - b).std() / a.std())


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


def test_a_film_in_a_wrong_plane_would_be_noticed(composed: tuple[Library, Composer], full: Wave) -> None:
    """Without the propagation between the mid-planes the carbon looks different: the comparison can fail."""
    library, composer = composed
    composer = Unmoved(library, Story(frames=1, size=GPTS))
    composer.mean_height_nm += 12.0  # the films 6 nm further away than they are
    field = composer.compose(FieldPlan(0, range(1), ((0, 0),), SEATS, False, False), 0)
    conditions = Conditions(defocus_nm=-8)
    off = Conditions(defocus_nm=-8 - 6.0)  # the particles are as they were from this plane
    images = [
        expected_image(w, PIXEL_NM, c) for w, c in ((full, conditions), (field.view(0, GPTS, 0, 0.0), off))
    ]
    assert np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] > 0.999  # only the reference plane moved
    images[1] = expected_image(field.view(0, GPTS, 0, 0.0), PIXEL_NM, conditions)
    assert np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] < 0.97
