"""The rule that names a particle's class, each threshold from both sides, and what is told of a particle."""

import json

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sim.specimen import truth
from sim.specimen.materials import MATERIALS, Material, parse_material
from sim.specimen.particle import Nanoparticle, build, crystal
from sim.specimen.stacking import POLYTYPE, RUNS, word
from sim.specimen.truth import (
    FAMILIES,
    RESOLVED,
    SEEN,
    UNRESOLVED,
    UNSEEN,
    Visibility,
    classify,
    counted,
    edges,
    fringe_signal_to_noise,
    nearest_zone,
    sensitive_heights,
    visibility,
)

X, Y, Z = np.eye(3)
CDSE = MATERIALS["CdSe-wurtzite"]
HAIR = 1e-6
IN_ZONE = Visibility(1.0, 0.0, 0.0, Y)

Vector = npt.NDArray[np.float64]
unit_vectors = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array).filter(lambda v: np.linalg.norm(v) > 0.1)
beams = unit_vectors.map(lambda v: v / np.linalg.norm(v))
materials = st.sampled_from(list(MATERIALS.values()))


def seen(weight: float = 1.0, plane_tilt_deg: float = 0.0) -> Visibility:
    return Visibility(weight, plane_tilt_deg, plane_tilt_deg, Y)


def test_the_thresholds_are_written_down() -> None:
    """They define the classes of every data set: a change here is a change of the truth."""
    assert (truth.RESOLVED, truth.UNRESOLVED) == (0.6, 0.4)
    assert (truth.SEEN, truth.UNSEEN) == (1.5, 1.0)
    assert truth.SHAPE_FACTOR == 0.75


def test_every_kind_of_planar_fault_has_a_family() -> None:
    kinds = {kind for runs in RUNS.values() for kind in runs} | {POLYTYPE, "other"}
    assert set(FAMILIES) == kinds
    assert set(FAMILIES.values()) == {"stacking fault", "twin boundary", "polytype interface"}


@pytest.mark.parametrize(
    ("faults", "planar", "stacking"),
    [
        ([], False, False),
        (["I1"], True, True),
        (["twin"], True, False),
        (["twin", "extrinsic"], True, True),
        (["polytype"], True, False),
    ],
)
def test_what_counts(faults: list[str], planar: bool, stacking: bool) -> None:
    assert counted(faults) == planar
    assert counted(faults, "stacking") == stacking


@pytest.mark.parametrize(
    ("weight", "faultless", "faulted"),
    [
        (RESOLVED, "no", "yes"),
        (RESOLVED - HAIR, None, None),
        (UNRESOLVED + HAIR, None, None),
        (UNRESOLVED, "null", "null"),
    ],
)
def test_resolution_by_geometry(weight: float, faultless: str | None, faulted: str | None) -> None:
    assert classify(seen(weight), False, 9.0) == faultless
    assert classify(seen(weight), True, 9.0) == faulted


@pytest.mark.parametrize(
    ("snr", "faultless", "faulted"),
    [(SEEN, "no", "yes"), (SEEN - HAIR, None, None), (UNSEEN + HAIR, None, None), (UNSEEN, "null", "null")],
)
def test_resolution_by_dose_and_transfer(snr: float, faultless: str | None, faulted: str | None) -> None:
    assert classify(IN_ZONE, False, snr) == faultless
    assert classify(IN_ZONE, True, snr) == faulted


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 5))
def test_faulted_and_faultless_particles_are_treated_alike(
    weight: float, elsewhere: float, snr: float
) -> None:
    here = Visibility(weight, 0.0, 0.0, Y, elsewhere, X, Z)
    faultless, faulted = classify(here, False, snr), classify(here, True, snr)
    assert (faultless, faulted) in [("no", "yes"), ("null", "null"), (None, None)]


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 5), st.floats(0, 5), st.booleans())
def test_more_contrast_never_turns_what_shows_into_what_does_not(
    weight: float, more_weight: float, snr: float, more_snr: float, faulted: bool
) -> None:
    order = {"null": 0, None: 1, "no": 2, "yes": 2}
    before = classify(seen(weight), faulted, snr)
    after = classify(seen(min(1.0, weight + more_weight)), faulted, snr + more_snr)
    assert order[after] >= order[before]
    assert after != ("no" if faulted else "yes")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CdSe-wurtzite", "CdSe-zincblende", "Au", "PbS"])
@pytest.mark.parametrize("diameter_nm", [2.5, 5.0])
def test_resolution_does_not_depend_on_whether_there_is_a_fault(name: str, diameter_nm: float) -> None:
    """Over drawn particles: yes / (yes + no) is the share of faulted ones among all, within two standard errors."""
    rng = np.random.default_rng(17)
    classes, faulted = [], []
    for _ in range(250):
        kinds = list(RUNS[MATERIALS[name].base])[:1] if rng.random() < 0.4 else []
        orientation = "near" if rng.random() < 0.6 else "random"
        tilt = float(abs(rng.normal(0, 4)))
        particle = build(MATERIALS[name], diameter_nm, "sphere", kinds, orientation, tilt, rng)
        faulted.append(bool(particle.faults))
        classes.append(classify(particle.seen, faulted[-1], np.inf))
    yes, no = classes.count("yes"), classes.count("no")
    share, whole = yes / (yes + no), float(np.mean(faulted))
    assert yes + no > 60
    assert abs(share - whole) < 2 * np.sqrt(whole * (1 - whole) / (yes + no))


@settings(deadline=None)
@given(materials, beams, st.floats(1, 12))
def test_visibility_has_the_symmetry_of_the_stack(material: Material, beam: Vector, thickness: float) -> None:
    """Threefold about the stacking axis, the same from below, and the same in a mirror that holds the axis."""
    weight = visibility(material, beam, thickness).weight
    third = Rotation.from_rotvec([0, 0, 2 * np.pi / 3]).apply(beam)
    assert visibility(material, third, thickness).weight == pytest.approx(weight, abs=1e-6)
    assert visibility(material, -beam, thickness).weight == pytest.approx(weight, abs=1e-9)
    assert visibility(material, beam * [1, -1, 1], thickness).weight == pytest.approx(weight, abs=1e-6)
    assert 0 <= weight <= 1


@settings(deadline=None)
@given(materials, st.floats(0, 2 * np.pi), st.floats(0, 3), st.floats(1.2, 3))
def test_visibility_falls_with_tilt_and_thickness(
    material: Material, towards: float, tilt_deg: float, factor: float
) -> None:
    """Within the first lobe: 3 nm thick, up to 3° and three times of either."""
    axis = np.array([0.0, np.cos(towards), np.sin(towards)])

    def weight(degrees: float, thickness_nm: float) -> float:
        beam = Rotation.from_rotvec(np.radians(degrees) * axis).apply(X)
        return visibility(material, beam, thickness_nm).weight

    assert weight(factor * tilt_deg, 3.0) <= weight(tilt_deg, 3.0) + 1e-9
    assert weight(tilt_deg, factor * 3.0) <= weight(tilt_deg, 3.0) + 1e-9


@pytest.mark.parametrize("name", MATERIALS)
def test_zones_that_show_the_stacking_and_zones_that_hide_it(name: str) -> None:
    material = MATERIALS[name]
    assert visibility(material, X, 5.0).weight == pytest.approx(1.0)
    assert visibility(material, np.array([0.5, np.sqrt(3) / 2, 0]), 5.0).weight == pytest.approx(1.0)
    assert visibility(material, Y, 5.0).weight < UNRESOLVED  # ⟨10-10⟩, ⟨112⟩
    assert visibility(material, Z, 5.0).weight < UNRESOLVED  # [0001], [111]


@pytest.mark.parametrize("name", MATERIALS)
def test_the_sensitive_reflections_are_the_ones_that_a_fault_changes(name: str) -> None:
    """Structure factors of the built crystal: they are strong in the perfect one or its twin, and a fault in the
    middle brings their halves out of phase; the row through the origin keeps its amplitude."""
    material = MATERIALS[name]

    def amplitude(stack: str, lateral: float, height: float) -> float:
        positions, numbers, _ = crystal(material, stack, 1.0)
        g = np.array([0.0, lateral * material.row_per_nm, height / material.layer_nm])
        return float(abs((numbers * np.exp(2j * np.pi * positions @ g)).sum()) / numbers.sum())

    layers = 24
    perfect = word(material.base, layers)
    mirrored = "".join({"A": "A", "B": "C", "C": "B"}[letter] for letter in perfect)
    for height in sensitive_heights(material):
        own = perfect if amplitude(perfect, 1, height) >= amplitude(mirrored, 1, height) else mirrored
        assert amplitude(own, 1, height) > 0.15
        for kind in RUNS[material.base]:
            faulted = word(material.base, layers, [(kind, layers // 2)])
            if own is mirrored:
                faulted = "".join({"A": "A", "B": "C", "C": "B"}[letter] for letter in faulted)
            assert amplitude(faulted, 1, height) < 0.9 * amplitude(own, 1, height)
            assert amplitude(faulted, 0, 1.0) == pytest.approx(amplitude(own, 0, 1.0), rel=0.05)


@pytest.mark.parametrize(
    ("name", "orientation", "zone"),
    [
        ("CdSe-wurtzite", "near", "[11-20]"),
        ("CdSe-wurtzite", "10-10", "[10-10]"),
        ("CdSe-wurtzite", "0001", "[0001]"),
        ("Au", "near", "[110]"),
        ("Au", "112", "[112]"),
        ("Au", "0001", "[111]"),
        ("PbS", "100", "[100]"),
        ("PbS", "111", "[111]"),
    ],
)
def test_the_zone_is_named(name: str, orientation: str, zone: str) -> None:
    material = MATERIALS[name]
    for tilt in (0.0, 3.0):
        particle = build(material, 4.0, "sphere", [], orientation, tilt, np.random.default_rng(1))
        assert particle.record()["zone"] == zone
        assert particle.record()["zone_tilt"] == pytest.approx(tilt, abs=0.01)


def test_zones_of_the_cube_lie_where_they_must() -> None:
    """[100] is 54.74° from the stacking axis [111], 45° and 90° from ⟨110⟩, whatever the sense of the stack."""
    gold = MATERIALS["Au"]
    for sense in (1, -1):
        edge = np.array([0.0, sense * np.sqrt(2 / 3), np.sqrt(1 / 3)])
        name, tilt = nearest_zone(gold, edge, sense)
        assert (name, tilt) == ("[100]", pytest.approx(0, abs=1e-4))
        assert nearest_zone(gold, edge, -sense)[1] > 5
        assert np.degrees(np.arccos(edge @ Z)) == pytest.approx(54.74, abs=0.01)
    assert nearest_zone(gold, X, 1)[0] == nearest_zone(gold, X, -1)[0] == "[110]"


@settings(deadline=None)
@given(materials, beams, st.sampled_from([1, -1]))
def test_the_nearest_zone_is_that_of_the_symmetric_beam(material: Material, beam: Vector, sense: int) -> None:
    _, tilt = nearest_zone(material, beam, sense)
    turned = Rotation.from_rotvec([0, 0, 2 * np.pi / 3]).apply(beam)
    assert nearest_zone(material, turned, sense)[1] == pytest.approx(tilt, abs=1e-4)
    assert nearest_zone(material, -beam, sense)[1] == pytest.approx(tilt, abs=1e-4)
    # Of wurtzite's zones the ones between [0001] and the basal plane are not looked at: 46.0° from the nearest at most.
    assert 0 <= tilt <= (46.01 if material.hexagonal else 25.0)


def found_fault(name: str, kind: str, seed: int) -> Nanoparticle:
    """A particle in zone, seen along the plane of its fault."""
    rng = np.random.default_rng(seed)
    while True:
        particle = build(MATERIALS[name], 5.0, "sphere", [kind], "near", 0.0, rng, displacement_nm=0.0)
        if particle.seen.by_own_plane:
            return particle


@pytest.mark.parametrize(
    ("name", "kind"),
    [("CdSe-wurtzite", "I2"), ("CdSe-wurtzite", "I1"), ("Au", "twin"), ("PbS", "twin")],
)
def test_place_and_trace_of_a_fault(name: str, kind: str) -> None:
    """In zone the trace lies across the stacking axis, so far from the centre as the plane is."""
    for seed in range(4):
        particle = found_fault(name, kind, seed)
        record = particle.record()
        (told,) = record["faults"]
        assert told["kind"] == kind
        assert told["plane"] == ("(0001)" if particle.material.hexagonal else "(111)")
        along = float(np.dot(told["trace_rc"], record["stacking_rc"]))
        assert along == pytest.approx(told["place_nm"], abs=0.002)
        assert abs(told["place_nm"]) < 2.5
        # So many whole layers are left to the nearer cap.
        to_cap = 2.5 - abs(told["place_nm"])
        assert told["depth_layers"] == pytest.approx(to_cap / particle.material.layer_nm, abs=2.0)


def test_faults_lie_on_any_close_packed_plane_of_a_cubic_crystal() -> None:
    """Near a zone ⟨110⟩ two of the four {111} are seen edge on. Of the six zones three lie in the fault's plane, and in
    the other three the fault is inclined: as often as not it is another plane that resolves the stacking."""
    rng = np.random.default_rng(4)
    drawn = [build(MATERIALS["Au"], 4.0, "sphere", ["intrinsic"], "near", 0.0, rng) for _ in range(60)]
    resolved = [p for p in drawn if p.faults and p.seen.resolved_weight >= RESOLVED]
    assert len(resolved) > 50
    assert 0.3 < sum(p.seen.by_own_plane for p in resolved) / len(resolved) < 0.7
    inclined = [p for p in resolved if not p.seen.by_own_plane]
    assert all(p.seen.plane_tilt_deg == pytest.approx(54.7, abs=0.1) for p in inclined)
    assert {p.record()["resolved_plane"] for p in inclined} == {"other"}


def test_the_place_is_where_the_letters_change() -> None:
    """Found from the atoms alone: the cations of a twin's plane are the mirror of all others."""
    particle = found_fault("Au", "twin", 3)
    (told,) = particle.record()["faults"]
    plane = particle.rotation[:, 2]
    mirrored = particle.positions - 2 * np.outer(particle.positions @ plane - told["place_nm"], plane)
    inner = mirrored[np.linalg.norm(mirrored, axis=1) < 1.5]
    distance = np.linalg.norm(inner[:, None] - particle.positions[None], axis=2).min(axis=1)
    assert np.median(distance) < 0.01


def test_a_fault_off_zone_keeps_its_place_along_the_axis() -> None:
    rng = np.random.default_rng(5)
    particle = build(CDSE, 6.0, "sphere", ["I2"], "random", 0.0, rng, displacement_nm=0.0)
    (told,) = particle.record()["faults"]
    levels = particle.positions @ particle.rotation[:, 2]
    # An I2 slips between a layer's anions, 3/4 up, and the next layer's cations: half of that quarter from either.
    assert np.abs(levels - told["place_nm"]).min() == pytest.approx(CDSE.layer_nm / 8, abs=1e-3)


def test_records_are_json() -> None:
    for seed, material in enumerate(MATERIALS.values()):
        rng = np.random.default_rng(seed)
        particle = build(material, 4.0, "irregular", list(RUNS[material.base]), "random", 0.0, rng)
        stored = json.loads(json.dumps(particle.record()))
        assert parse_material(stored["material"]) == particle.material
        assert stored["zone"].startswith("[")


def test_fringe_signal_to_noise_of_a_known_fringe() -> None:
    """A fringe of amplitude 0.1 over N electrons a layer: 0.1 √(N/2), whatever its phase, and none without it."""
    pixel = 0.025
    rows, cols = np.mgrid[:240, :240] * pixel
    mask: npt.NDArray[np.bool_] = np.hypot(rows - 3, cols - 3) < 2.5
    fringe = 1 + 0.1 * np.cos(2 * np.pi * CDSE.row_per_nm * rows + 1.0)
    dose = 4e2
    measured = fringe_signal_to_noise(fringe, mask, (1, 0), (0, 1), CDSE, pixel, dose)
    chord = 4.0  # about the median chord of a disc of radius 2.5 nm
    expected = 0.1 * np.sqrt(dose * CDSE.layer_nm * chord / 2)
    assert measured == pytest.approx(expected, rel=0.15)
    assert fringe_signal_to_noise(fringe, mask, (1, 0), (0, 1), CDSE, pixel, 4 * dose) == pytest.approx(
        2 * measured, rel=0.05
    )
    assert fringe_signal_to_noise(np.ones_like(rows), mask, (1, 0), (0, 1), CDSE, pixel, dose) < 1e-6


def test_speckle_is_noise_to_the_fringe() -> None:
    """At an endless dose the film's speckle alone limits the signal to noise, in proportion to its amplitude."""
    pixel = 0.025
    rows, cols = np.mgrid[:240, :240] * pixel
    mask: npt.NDArray[np.bool_] = np.hypot(rows - 3, cols - 3) < 2.5
    fringe = 0.1 * np.cos(2 * np.pi * CDSE.row_per_nm * rows)
    speckle = np.random.default_rng(3).standard_normal(rows.shape)

    def measured(amplitude: float) -> float:
        clean = 1 + fringe + amplitude * speckle
        return fringe_signal_to_noise(clean, mask, (1, 0), (0, 1), CDSE, pixel, 1e12)

    weak, strong = measured(1.0), measured(2.0)
    assert strong == pytest.approx(weak / 2, rel=0.25)
    assert measured(0.0) > 3 * weak


def test_a_cubic_crystal_is_resolved_by_any_close_packed_plane() -> None:
    """Half a turn about a cube's edge brings another {111} to the place of the one with the word."""
    gold = MATERIALS["Au"]
    steps = crystal_steps(gold)
    for beam in (X, steps[0]):
        here = visibility(gold, beam, 4.0)
        assert here.elsewhere == pytest.approx(1.0)  # two {111} stand edge-on in every ⟨110⟩
    in_zone, inclined = visibility(gold, X, 4.0), visibility(gold, steps[0], 4.0)
    assert in_zone.weight == pytest.approx(1.0)
    assert in_zone.by_own_plane
    assert inclined.weight < UNRESOLVED
    assert not inclined.by_own_plane
    # The other plane contains the beam, and so does neither its normal nor the direction across the letters.
    assert inclined.resolved_normal @ steps[0] == pytest.approx(0, abs=1e-6)
    assert inclined.resolved_lateral @ steps[0] == pytest.approx(0, abs=1e-6)
    assert inclined.resolved_lateral @ inclined.resolved_normal == pytest.approx(0, abs=1e-6)
    assert abs(inclined.resolved_normal @ Z) == pytest.approx(1 / 3)  # {111} planes meet at arccos(1/3)
    assert classify(inclined, False, 9.0) == "no"
    assert classify(inclined, True, 9.0) == "yes"
    along_cube = visibility(gold, (steps[0] + steps[1] - steps[2]) / np.sqrt(2), 8.0)
    assert along_cube.resolved_weight < UNRESOLVED  # no {111} stands edge-on
    assert classify(along_cube, False, 9.0) == "null"
    assert visibility(CDSE, steps[0], 4.0).elsewhere == 0.0  # wurtzite has one such plane


def test_faults_of_cubic_crystals_lie_on_any_close_packed_plane() -> None:
    """Near ⟨110⟩ about half of the particles are seen along a zone of another plane than the word's."""
    rng = np.random.default_rng(2)
    own = [build(MATERIALS["Au"], 3.0, "sphere", [], "near", 0.0, rng).seen.by_own_plane for _ in range(60)]
    assert 15 <= sum(own) <= 45
    assert all(build(CDSE, 3.0, "sphere", [], "near", 0.0, rng).seen.by_own_plane for _ in range(10))
    for sense in (1, -1):
        assert edges(sense) @ edges(sense).T == pytest.approx(np.eye(3), abs=1e-9)


def crystal_steps(material: Material) -> Vector:
    """(3, 3) unit vectors from an atom to its neighbours in the next layer: ⟨110⟩ out of the stacking plane."""
    positions, _, layer = crystal(material, "ABCABC", 2.0)
    below, above = positions[layer == 2], positions[layer == 3]
    start = below[np.argmin(np.linalg.norm(below[:, :2], axis=1))]
    apart = above - start
    nearest = apart[np.argsort(np.linalg.norm(apart, axis=1))[:3]]
    return nearest / np.linalg.norm(nearest, axis=1)[:, None]
