"""The making of a library: what is drawn, what is stored, and going on after an interruption."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import faultwatch
import sim.microscope.make_library as module
from sim.microscope.layout import Planner
from sim.microscope.library import PIXEL_NM, WAVE_PIXEL_NM, load_library, propagated, regridded, true_class
from sim.microscope.make_library import LibraryOrder, film_wave, make_library, particle_wave
from sim.microscope.story import Story
from sim.optics.conditions import Conditions
from sim.optics.imaging import expected_image
from sim.optics.multislice import exit_wave
from sim.specimen.carbon import amorphous_slab
from sim.specimen.draw import Specimen, draw_particle
from sim.specimen.materials import parse_material
from sim.specimen.particle import build


@pytest.fixture
def small_films(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILMS", ((4.8, 0.8), (4.0, 0.8)))


ORDER = LibraryOrder(seed=1, near_zone=1.0, energies_kev=(300.0, 80.0), materials={"CdSe-wurtzite": 1.0})


def test_a_film_on_a_film_is_what_full_multislice_gives() -> None:
    upper, lower = film_wave(4.8, 1.0, 1), film_wave(4.8, 0.8, 2)
    both = np.vstack(
        [
            amorphous_slab(4.8, 0.8, 2) + np.array([0, 0, 0.2]),
            amorphous_slab(4.8, 1.0, 1) + np.array([0, 0, 1.0]),
        ]
    ).astype(np.float64)
    wave = exit_wave(Specimen(4.8, 2.2, (), both, 1.8), 192)
    full = propagated(wave, PIXEL_NM, 300.0, -0.7)  # to the upper film's middle
    product = upper.wave * propagated(lower.wave, PIXEL_NM, 300.0, 0.9)
    images = [expected_image(w, PIXEL_NM, Conditions(defocus_nm=-40)) for w in (full, product)]
    assert np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] > 0.999
    assert (images[0] - images[1]).std() < 0.03 * images[0].std()


@pytest.mark.slow
def test_ten_nanometres_of_carbon_are_films_one_upon_another() -> None:
    thickness, side = (2.2, 1.8, 2.2, 1.8, 2.0), 4.8
    slabs = [amorphous_slab(side, nm, n) for n, nm in enumerate(thickness)]
    above = [sum(thickness[n + 1 :]) for n in range(len(thickness))]
    atoms = np.vstack(
        [slab + np.array([0, 0, 0.2 + up]) for slab, up in zip(slabs, above, strict=True)]
    ).astype(np.float64)
    wave = exit_wave(Specimen(side, sum(thickness) + 0.4, (), atoms, sum(thickness)), 192)
    full = propagated(wave, PIXEL_NM, 300.0, -(0.2 + thickness[0] / 2))
    product = np.ones_like(full)
    for n, nm in enumerate(thickness):
        down = sum(thickness[:n]) + nm / 2 - thickness[0] / 2
        product = product * propagated(film_wave(side, nm, n).wave, PIXEL_NM, 300.0, down)
    images = [expected_image(w, PIXEL_NM, Conditions(defocus_nm=-40)) for w in (full, product)]
    assert np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] > 0.99
    assert (images[0] - images[1]).std() < 0.12 * images[0].std()


@pytest.mark.parametrize(("material", "energy_kev"), [("CdSe-wurtzite", 300.0), ("Au", 80.0)])
def test_the_coarser_grid_keeps_the_image(material: str, energy_kev: float) -> None:
    dot = build(parse_material(material), 3.0, "sphere", [], "near", 0.0, np.random.default_rng(2))
    one = particle_wave(dot, energy_kev)
    back = regridded(module._coarse(one.wave), one.mask.shape, WAVE_PIXEL_NM, PIXEL_NM)
    images = [
        expected_image(w, PIXEL_NM, Conditions(energy_kev=energy_kev, defocus_nm=-6))
        for w in (one.wave, back)
    ]
    assert (images[0] - images[1])[one.mask].std() < 0.01 * images[0][one.mask].std()


@pytest.mark.usefixtures("small_films")
def test_a_made_library_is_read_back(tmp_path: Path) -> None:
    path, again = tmp_path / "small.h5", tmp_path / "again.h5"
    for out in (path, again):
        make_library(out, ORDER, particles=3)
    assert path.read_bytes() == again.read_bytes()
    read = load_library(path)
    assert read.energy_kev == 300.0
    assert [f.thickness_nm for f in read.films] == [0.8, 0.8]
    drawn = [draw_particle(ORDER.recipe, np.random.default_rng([1, 2, n])) for n in range(3)]
    for particle, stored in zip(drawn, read.particles, strict=True):
        assert stored.record["stack"] == particle.stack
        fresh = particle_wave(particle)
        middle, own = (tuple(n // 2 for n in wave.shape) for wave in (stored.wave, fresh.wave))
        assert stored.wave[middle] == pytest.approx(fresh.wave[own], abs=0.03)
        assert stored.mask.sum() == fresh.mask.sum()
    with pytest.raises(ValueError, match=r"no particle of Au of the class"):
        Planner(Story(materials=("Au",)), read)


@pytest.mark.usefixtures("small_films")
def test_the_command_makes_one_as_ordered(tmp_path: Path) -> None:
    path = tmp_path / "own.h5"
    told = ["--specimens", "2", "--seed", "3", "--near-zone", "1", "--materials", "Au=1"]
    assert faultwatch.main(["simulate", str(path), "--preset", "library", *told]) == 0
    read = load_library(path, 200.0)
    assert [particle.material for particle in read.particles] == ["Au", "Au"]
    assert {particle.record["orientation"] for particle in read.particles} == {"near"}


@pytest.mark.usefixtures("small_films")
def test_an_interrupted_making_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "small.h5"
    whole, made = module._entry, []

    def stopped(task: tuple[LibraryOrder, int, tuple[float, float] | None]) -> object:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(task)
        return whole(task)

    monkeypatch.setattr(module, "_entry", stopped)
    with pytest.raises(KeyboardInterrupt):
        make_library(path, ORDER, particles=3)
    assert not path.exists()
    with pytest.raises(ValueError, match="made to another order"):
        make_library(path, LibraryOrder(seed=2), particles=3)
    after: list[object] = []

    def counted(task: tuple[LibraryOrder, int, tuple[float, float] | None]) -> object:
        after.append(task)
        return whole(task)

    monkeypatch.setattr(module, "_entry", counted)
    make_library(path, ORDER, particles=3)
    assert len(after) == 2  # of two films and three particles
    assert len(load_library(path).particles) == 3
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
@pytest.mark.usefixtures("small_films")
def test_processes_make_the_same_library(tmp_path: Path) -> None:
    # Films of other sizes would be made in the processes: the small ones are known to this one alone.
    make_library(tmp_path / "one.h5", ORDER, particles=0)
    made = list(module._made([(ORDER, n, None) for n in range(2)], 2))
    alone = list(module._made([(ORDER, n, None) for n in range(2)], 1))
    for one, other in zip(made, alone, strict=True):
        assert one.attributes == other.attributes
        np.testing.assert_array_equal(one.waves["80"][0], other.waves["80"][0])


def classes_of(order: LibraryOrder, count: int) -> Iterator[str]:
    for n in range(count):
        particle = draw_particle(order.recipe, np.random.default_rng([order.seed, 2, n]))
        yield true_class(particle.record(), np.inf) or "unscored"


def test_null_has_its_natural_share() -> None:
    """Of particles in any orientation most do not resolve the stacking; near a zone most do."""
    random = Counter(classes_of(LibraryOrder(near_zone=0.0, named_zone=0.0), 100))
    near = Counter(classes_of(LibraryOrder(near_zone=1.0), 100))
    assert random["null"] / 100 > 0.75
    assert near["null"] / 100 < 0.25
    assert near["yes"] + near["no"] > 60
