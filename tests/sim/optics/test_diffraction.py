"""Diffraction of simulated images: each polytype has its spots, each fault its streaks.

A small particle is imaged with the beam along ⟨11-20⟩ (cubic ⟨110⟩), the stacking axis along the columns. In the
transform of the image, the row through the origin (000l) knows nothing of the letters A, B, C, and the row at the
lateral frequency 2 / (√3 net), for which h - k is not a multiple of 3, is the one that they make.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import map_coordinates

from sim.optics.conditions import Conditions
from sim.optics.imaging import image_wave
from sim.optics.multislice import exit_wave
from sim.specimen.draw import Placed, Specimen
from sim.specimen.materials import MATERIALS, Material
from sim.specimen.particle import Nanoparticle, build, crystal
from sim.specimen.shapes import inside
from sim.specimen.stacking import RUNS, find_faults, word
from sim.specimen.truth import Visibility

SIDE_NM, GPTS, DIAMETER_NM, THICKNESS_NM = 6.4, 256, 5.4, 2.2
IN_ZONE = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
"""From the crystal's frame to the laboratory's: the stacking axis along the columns, ⟨11-20⟩ along the beam."""
WINDOW_NM = 0.9
"""Standard deviation of the Gaussian window: it makes spots 1 / (2π 0.9) = 0.18 nm⁻¹ wide, without side lobes."""
SPOT_PER_NM = 0.5
"""What lies further from every spot is streak [nm⁻¹]."""
IMAGED = Conditions(defocus_nm=-8.0, cs_um=0.0, focal_spread_nm=1.0, angular_spread_mrad=0.0)
"""One sign of contrast for all the spots looked at: the first zero of the transfer lies beyond 7 nm⁻¹."""
NAMES = ("CdSe-wurtzite", "CdSe-zincblende", "Au", "PbS")
FAULTED = [(name, kind) for name in NAMES for kind in RUNS[MATERIALS[name].base]]


def stack(name: str, kind: str | None) -> str:
    """A word with a fault in its middle or none."""
    material = MATERIALS[name]
    layers = 2 * round(DIAMETER_NM / material.layer_nm / 2) + 6
    faults = [] if kind is None else [(kind, layers // 2 - len(RUNS[material.base][kind]) // 2)]
    return word(material.base, layers, faults)


@cache
def image(name: str, kind: str | None) -> npt.NDArray[np.float64]:
    """A slice of a sphere in zone, with a fault in its middle or none, (256, 256)."""
    return picture_of(MATERIALS[name], stack(name, kind))


def picture_of(material: Material, letters: str) -> npt.NDArray[np.float64]:
    """A slice of a sphere in zone, its layers as the word says, (256, 256); thin, so that spots scatter once."""
    positions, numbers, _ = crystal(material, letters, DIAMETER_NM)
    kept = inside(positions, "sphere", DIAMETER_NM, np.random.default_rng(0))
    kept &= np.abs(positions[:, 0]) <= THICKNESS_NM / 2
    turned = positions[kept] @ IN_ZONE.T
    seen = Visibility(1.0, 0.0, 0.0, np.array([0.0, 1.0, 0.0]))
    particle = Nanoparticle(
        material, turned, numbers[kept], "", (), IN_ZONE, seen, "sphere", DIAMETER_NM, "11-20"
    )
    placed = Placed(particle, (SIDE_NM / 2, SIDE_NM / 2, THICKNESS_NM))
    wave = exit_wave(Specimen(SIDE_NM, 2 * THICKNESS_NM, (placed,), np.zeros((0, 3)), 0.0), GPTS)
    return np.asarray(image_wave(wave, SIDE_NM / GPTS, IMAGED), dtype=np.float64)


def row(
    picture: npt.NDArray[np.float64], lateral_per_nm: float, along_per_nm: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Power of the windowed image's transform along one row, at any frequencies (n,) [nm⁻¹]."""
    x = np.arange(GPTS) * SIDE_NM / GPTS - SIDE_NM / 2
    window = np.exp(-(x**2) / (2 * WINDOW_NM**2))
    windowed = window[:, None] * window
    contrast = (picture - np.average(picture, weights=windowed)) * windowed
    lateral = np.exp(-2j * np.pi * lateral_per_nm * x) @ contrast
    return np.asarray(np.abs(np.exp(-2j * np.pi * np.outer(along_per_nm, x)) @ lateral) ** 2)


def spots(material: Material) -> npt.NDArray[np.float64]:
    """Where the perfect crystal's spots are on the row of the letters [nm⁻¹].

    Wurtzite: halves of 1/d. Cubic: from one layer to the next the letters go a third of the row's period on (A to B to
    C), so that the layers are in phase at -1/3, 2/3, ...
    """
    orders = np.arange(-6, 7)
    return (orders / 2 if material.hexagonal else orders - 1 / 3) / material.layer_nm


def along(material: Material) -> npt.NDArray[np.float64]:
    """Frequencies along a row, out to a little more than 1/d [nm⁻¹]."""
    return np.linspace(-1.2, 1.2, 481) / material.layer_nm


def streak(name: str, kind: str | None) -> float:
    """Share of the power on the row of the letters that is in none of the perfect crystal's spots."""
    material = MATERIALS[name]
    where = along(material)
    power = row(image(name, kind), material.row_per_nm, where)
    beside = np.abs(where[:, None] - spots(material)).min(axis=1) > SPOT_PER_NM
    return float(power[beside].sum() / power.sum())


def blur_of_the_row_through_the_origin(name: str, kind: str | None) -> float:
    """Share of the power around the first spot of the row through the origin that is outside of it."""
    material = MATERIALS[name]
    where = along(material)
    power = row(image(name, kind), 0.0, where)
    beyond = where > 0.5 / material.layer_nm
    beside = beyond & (np.abs(where - 1 / material.layer_nm) > SPOT_PER_NM)
    return float(power[beside].sum() / power[beyond].sum())


def test_perfect_wurtzite_has_its_spots_at_halves() -> None:
    material = MATERIALS["CdSe-wurtzite"]
    where = along(material)
    power = row(image("CdSe-wurtzite", None), material.row_per_nm, where)
    peak = (power[1:-1] > power[:-2]) & (power[1:-1] > power[2:]) & (power[1:-1] > 0.02 * power.max())
    found = where[1:-1][peak] * material.layer_nm
    np.testing.assert_allclose(found, [-1, -0.5, 0, 0.5, 1], atol=0.02)


@pytest.mark.parametrize("name", [n for n in NAMES if not MATERIALS[n].hexagonal])
def test_perfect_cubic_crystals_have_their_spots_at_thirds(name: str) -> None:
    material = MATERIALS[name]
    where = along(material)
    power = row(image(name, None), material.row_per_nm, where)
    peak = (power[1:-1] > power[:-2]) & (power[1:-1] > power[2:]) & (power[1:-1] > 0.02 * power.max())
    found = where[1:-1][peak] * material.layer_nm
    np.testing.assert_allclose(found, [-1 / 3, 2 / 3], atol=0.02)


@pytest.mark.parametrize(("name", "kind"), FAULTED)
def test_a_fault_streaks_the_row_of_the_letters_and_no_other(name: str, kind: str) -> None:
    perfect = streak(name, None)
    assert perfect < 0.01
    assert streak(name, kind) > max(0.05, 20 * perfect)
    sharp = blur_of_the_row_through_the_origin(name, None)
    assert sharp < 0.002
    assert blur_of_the_row_through_the_origin(name, kind) == pytest.approx(sharp, abs=0.001)


@pytest.mark.parametrize("name", [n for n in NAMES if not MATERIALS[n].hexagonal])
def test_a_twin_brings_the_mirror_image_of_the_spots(name: str) -> None:
    material = MATERIALS[name]
    own = np.array([-1 / 3, 2 / 3]) / material.layer_nm

    def mirrored(kind: str | None) -> float:
        """Power where the mirror image has its spots, in units of the power in the crystal's own."""
        power = [row(image(name, kind), material.row_per_nm, side * own).sum() for side in (1, -1)]
        return float(power[1] / power[0])

    assert mirrored(None) < 0.005
    assert 0.3 < mirrored("twin") < 1.5


def test_the_middle_layers_carry_the_fault() -> None:
    """What the pictures show is what was asked for."""
    for name, kind in FAULTED:
        letters = stack(name, kind)
        (fault,) = find_faults(letters, MATERIALS[name].base)
        assert fault.kind == kind
        assert abs(fault.centre - (len(letters) - 1) / 2) <= 1


def test_half_wurtzite_half_zinc_blende_shows_both() -> None:
    """At 0 is a spot of wurtzite alone, at -1/3 one of zinc blende alone; each half gives its own."""
    material = MATERIALS["CdSe-wurtzite"]
    where = np.array([0.0, -1 / 3, 1 / 3]) / material.layer_nm
    layers = len(stack("CdSe-wurtzite", None))
    power = {
        letters: row(picture_of(material, letters), material.row_per_nm, where)
        for letters in (
            word("h", layers),
            word("c", layers),
            word("h", layers, lamellas=[(layers // 2, layers)]),
        )
    }
    wurtzite, zinc_blende, both = power.values()
    assert wurtzite[0] > 100 * wurtzite[1:].max()
    cubic = 1 + int(zinc_blende[1:].argmax())
    assert zinc_blende[cubic] > 100 * zinc_blende[0]
    assert both[0] > 0.05 * wurtzite[0]
    assert both[1:].max() > 0.05 * zinc_blende[cubic]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_image_has_the_fault_where_the_record_says(seed: int) -> None:
    """Mirrored in the trace of a twin the image is itself, mirrored in any line beside it is not."""
    rng = np.random.default_rng(seed)
    still = {"displacement_nm": 0.0, "roughness": 0.0}
    while True:  # until the plane of the twin is seen edge-on
        particle = build(MATERIALS["Au"], 4.4, "sphere", ["twin"], "near", 0.0, rng, **still)
        if particle.seen.by_own_plane:
            break
    half = float(np.ptp(particle.positions[:, 2])) / 2 + 0.5
    placed = Placed(particle, (SIDE_NM / 2, SIDE_NM / 2, half))
    wave = exit_wave(Specimen(SIDE_NM, 2 * half, (placed,), np.zeros((0, 3)), 0.0), GPTS)
    picture = image_wave(wave, SIDE_NM / GPTS, IMAGED) - 1.0
    record = particle.record()
    (twin,) = record["faults"]
    normal, pixel = np.array(record["stacking_rc"])[:, None, None], SIDE_NM / GPTS
    at = np.mgrid[:GPTS, :GPTS].astype(float)
    beside = np.arange(-16, 17) * 0.02
    likeness = []
    for offset in beside:
        point = (np.array(twin["trace_rc"])[:, None, None] + SIDE_NM / 2) / pixel + offset / pixel * normal
        mirrored = at - 2 * ((at - point) * normal).sum(axis=0) * normal
        near = np.hypot(*(at - point)) * pixel < 1.0
        other = map_coordinates(picture, mirrored, order=1)
        likeness.append(np.corrcoef(picture[near], other[near])[0, 1])
    assert abs(beside[int(np.argmax(likeness))]) < 0.03
    assert max(likeness) > 0.5
    assert max(likeness) > 1.5 * np.array(likeness)[np.abs(beside) > 0.07].max()
