"""An explanation tells of a known lattice what is in it, and of the judgement what it was made of."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models.analysis import analyse
from models.bundle import Bundle, load_bundle
from models.errors import ModelError
from models.explain.explanation import Explainer, contributions, spots_of, stack_of
from models.explain.picture import as_png, picture
from models.features.axes import MOST
from models.features.crystals import CRYSTALS, candidates, lines, of_material
from models.features.layers import LATERAL_RATIO
from models.features.measure import feature_names, measure
from models.features.stack import layers_seen, read_stacks
from models.forest import load_forest
from models.preprocess import Preprocessing, standardise

STEP = 0.05
LAYER_PER_NM = 2.851
FAULTED, PERFECT = "ABABABCBCBCBC", "ABABABABABABA"


def lattice(
    stack: str, angle_deg: float, noise: float = 0.3, size: int = 200
) -> tuple[np.ndarray, np.ndarray]:
    """A particle of dark columns stacked as `stack` along (cos, sin) of an angle: image and labels (size, size)."""
    rng = np.random.default_rng(0)
    row = 1 / (LATERAL_RATIO * LAYER_PER_NM)
    a, b = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    grid = np.stack(np.mgrid[:size, :size], axis=-1) * STEP
    middle = size / 2 * STEP
    reach = len(stack) / LAYER_PER_NM / 2
    image = np.zeros((size, size), np.float32)
    for i, letter in enumerate(stack):
        z = (i - (len(stack) - 1) / 2) / LAYER_PER_NM
        for n in range(-12, 13):
            x = (n + "ABC".index(letter) / 3) * row
            if np.hypot(x, z) <= reach:
                spot = np.array([middle + z * a - x * b, middle + z * b + x * a])
                image -= np.exp(-((grid - spot) ** 2).sum(-1) / (2 * 0.07**2)).astype(np.float32)
    labels = (np.linalg.norm(grid - middle, axis=-1) < reach).astype(np.int32)
    return image + noise * rng.standard_normal(image.shape).astype(np.float32), labels


def found_in(stack: str, angle_deg: float):
    image, labels = lattice(stack, angle_deg)
    (measured,) = measure(standardise(image, Preprocessing()), labels, STEP, keep=True)
    assert measured.seen is not None
    assert measured.reading is not None
    spectrum = measured.seen.spectrum()
    told = stack_of(measured.reading, spectrum, STEP)
    return told, spots_of(measured.seen, spectrum, told, "CdSe")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(None, "cpu")


def test_spacings_are_the_published_ones() -> None:
    d = {
        (x.crystal.structure, x.index): 1 / x.frequency
        for c in CRYSTALS
        for x in lines(c)
        if c.material != "Ag"
    }
    assert d["wurtzite", "0002"] == pytest.approx(0.35076, abs=1e-5)
    assert d["wurtzite", "10-10"] == pytest.approx(0.37226, abs=1e-5)
    assert d["wurtzite", "11-20"] == pytest.approx(0.21493, abs=1e-5)
    assert d["zinc blende", "111"] == pytest.approx(0.35086, abs=1e-5)
    assert 1 / of_material("au")[0].frequency(1, 1, 1) == pytest.approx(0.23545, abs=1e-5)
    names = {index for _, index in d}
    assert {"0004", "10-13", "220", "311"} <= names
    assert not names & {"0001", "11-21", "100", "110", "210"}  # extinct


def test_angles_are_those_to_the_stacking_direction() -> None:
    wurtzite, cubic = of_material("CdSe")
    assert wurtzite.angles(0, 0, 2) == pytest.approx((0,))
    assert wurtzite.angles(1, 1, 0) == pytest.approx((90,))
    assert wurtzite.angles(1, 0, 1) == pytest.approx((62.04,), abs=0.01)
    assert cubic.angles(1, 1, 1) == pytest.approx((0, 70.529), abs=1e-3)
    assert cubic.angles(2, 2, 0) == pytest.approx((35.264, 90), abs=1e-3)


def test_candidates_come_nearest_first_and_of_the_material() -> None:
    found = candidates(4.245, 0.03)
    assert [x.crystal.material for x in found[:2]] == ["Au", "Ag"]
    assert candidates(4.245, 0.03, "CdSe") == []
    assert candidates(4.245, 0.0001, "AU") == []


@pytest.mark.parametrize("angle", [0.0, 33.0, 120.0])
def test_a_fault_is_told_with_its_place_and_direction(angle: float) -> None:
    stack, spots = found_in(FAULTED, angle)
    assert stack.faulted
    assert stack.fault == "I1"
    assert stack.sequence == "hexagonal"
    # Rows go down: a direction of 0° in (row, column) is upright as the frame is looked at.
    assert stack.direction_deg == pytest.approx((angle - 90) % 180, abs=1.5)
    assert stack.d_nm == pytest.approx(1 / LAYER_PER_NM, rel=0.01)
    assert stack.fault_layer is not None
    # The particle's sixth layer of thirteen; a cap may be lost, and the direction may be read either way.
    assert stack.fault_nm == pytest.approx(stack.fault_layer * stack.d_nm)
    assert abs(stack.fault_layer - (len(stack.word) - 1) / 2) <= 1.5
    away = [(layer.place - "ABC".index(layer.letter) / 3 + 0.5) % 1 - 0.5 for layer in stack.layers]
    assert np.sqrt(np.mean(np.square(away))) < 0.1
    indices = {spot.index for spot in spots}
    assert {"0002", "10-10"} & indices
    own = next(spot for spot in spots if spot.index == "0002")
    assert own.frequency_per_nm == pytest.approx(LAYER_PER_NM, rel=0.01)
    assert own.from_stacking_deg == pytest.approx(0, abs=1.5)
    assert "CdSe wurtzite 0002" in own.may_be


def test_a_faultless_stack_is_told_without_a_fault() -> None:
    stack, _ = found_in(PERFECT, 33.0)
    assert not stack.faulted
    assert (stack.fault, stack.fault_nm) == (None, None)
    assert set(stack.word) == {"A", stack.word[1]}
    assert stack.explained["hexagonal"] > stack.explained["faulted"] - 0.05


def test_the_first_layer_lies_where_it_is_said() -> None:
    """Of pixels whose layers are known: bright planes at 0.2 nm and every third of a nanometre on."""
    rows, cols = (x.ravel().astype(float) * STEP for x in np.mgrid[:80, :80])
    values = np.cos(2 * np.pi * 3.0 * (rows - 0.2)) * (1 + np.cos(2 * np.pi * 3.0 * LATERAL_RATIO * cols))
    (reading,) = read_stacks(values, rows, cols, np.array([(3.0, 0.0)]))
    assert (reading.first_nm - 0.2) * 3 == pytest.approx(round((reading.first_nm - 0.2) * 3), abs=0.05)
    assert -0.2 < reading.first_nm < 0.4


def test_layers_of_noise_are_not_pulled_onto_their_letters() -> None:
    rng = np.random.default_rng(3)
    rows, cols = (x.ravel().astype(float) * STEP for x in np.mgrid[:120, :120])
    away: list[float] = []
    for _ in range(6):
        (reading,) = read_stacks(rng.standard_normal(rows.size), rows, cols, np.array([(2.85, 0.0)]))
        turns = np.angle(layers_seen(reading, reading.perfect_word, reading.ramps[1])) / (2 * np.pi)
        letters = np.array(["ABC".index(letter) for letter in reading.perfect_word]) / 3
        away += list((turns - letters + 0.5) % 1 - 0.5)
    assert np.sqrt(np.mean(np.square(away))) > 0.18  # 0.29 where nothing at all is known


def test_contributions_sum_to_the_votes(bundle: Bundle) -> None:
    forest = load_forest(bundle.path / "forest.skops")
    rows = np.random.default_rng(0).normal(0, 3, (3, len(bundle.feature_names))).astype(np.float32)
    for row, votes in zip(rows, forest.predict_proba(rows), strict=True):
        expected, parts = contributions(forest, row)
        np.testing.assert_allclose(expected + parts.sum(axis=0), votes, atol=1e-9)
        assert expected.sum() == pytest.approx(1)
        np.testing.assert_allclose(parts.sum(axis=1), 0, atol=1e-9)  # what one class gains the others lose


def test_an_explanation_agrees_with_the_judgement(bundle: Bundle) -> None:
    image, _ = lattice(FAULTED, 33.0)
    plain, kept = (analyse(1000 + 100 * image, STEP, bundle, "CdSe", keep) for keep in (False, True))
    assert plain.particles == kept.particles
    assert plain.particles
    particle = kept.particles[0]
    explanation = Explainer(bundle, "cdse").explain(particle, 1)
    assert explanation.material == "CdSe"
    assert tuple(explanation.probabilities.values()) == particle.probabilities
    assert explanation.particle_class == particle.particle_class
    assert particle.particle_class in explanation.why
    assert {c.feature for c in explanation.counted} <= set(feature_names())
    assert 0 <= explanation.votes <= 1
    told = json.loads(json.dumps(explanation.as_dict(), allow_nan=False))
    assert told["class"] == particle.particle_class
    assert told["stack"]["word"]
    with pytest.raises(ModelError, match="can't be explained"):
        Explainer(bundle).explain(plain.particles[0], 1)


@pytest.mark.parametrize("with_stack", [True, False])
def test_a_picture_is_drawn_of_everything(bundle: Bundle, with_stack: bool) -> None:
    image, _ = lattice(FAULTED, 33.0)
    particle = analyse(1000 + 100 * image, STEP, bundle, None, keep=True).particles[0]
    measured = particle.measured
    assert measured is not None
    assert measured.seen is not None
    if not with_stack:  # as of a particle with fewer than five layers
        stacks = replace(measured.stacks, counted=[], tried=MOST)
        measured = replace(measured, stacks=stacks, seen=replace(measured.seen, readings=()))
        particle = replace(particle, measured=measured)
    explanation = Explainer(bundle).explain(particle, 1)
    assert (explanation.stack is None) == ("there is no stack to read" in explanation.why) == (not with_stack)
    assert {spot.index for spot in explanation.spots} == {None}  # no material was given
    png = as_png(picture(explanation, measured.seen, "frame_$x_1$.tif, particle 1"))
    with Image.open(io.BytesIO(png)) as drawn:
        assert drawn.size[0] > 1000
        assert np.asarray(drawn.convert("L")).std() > 20
