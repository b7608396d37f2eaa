"""The stack reading names the word that made an image, and its features do not change with what must not matter."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.features.fits import RAMPS, fit_words
from models.features.layers import LATERAL_RATIO
from models.features.measure import measure
from models.features.readings import COUNTED, read_further
from models.features.stack import read_stacks
from models.features.words import words
from models.preprocess import Preprocessing, standardise

STEP = 0.05
LAYER = 1 / 2.85


def lattice(stack: str, angle_deg: float = 0.0, noise: float = 0.3, seed: int = 0, size: int = 200):
    """A particle of atomic columns as dark discs on noise, stacked as `stack`: image and labels (size, size)."""
    rng = np.random.default_rng(seed)
    row = 1 / (LATERAL_RATIO * 2.85)
    angle = np.radians(angle_deg)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-np.sin(angle), np.cos(angle)])
    centre = np.array([size / 2, size / 2]) * STEP
    grid = np.stack(np.mgrid[:size, :size], axis=-1) * STEP
    image = np.zeros((size, size), np.float32)
    reach = len(stack) * LAYER / 2
    for i, letter in enumerate(stack):
        z = (i - (len(stack) - 1) / 2) * LAYER
        for n in range(-12, 13):
            x = (n + "ABC".index(letter) / 3) * row
            if np.hypot(x, z) > reach:
                continue
            spot = centre + z * along + x * across
            image -= np.exp(-((grid - spot) ** 2).sum(-1) / (2 * 0.07**2)).astype(np.float32)
    labels = (np.linalg.norm(grid - centre, axis=-1) < reach).astype(np.int32)
    return image + noise * rng.standard_normal(image.shape).astype(np.float32), labels


def reading_of(stack: str, angle_deg: float = 0.0, noise: float = 0.3):
    image, labels = lattice(stack, angle_deg, noise)
    rows, cols = np.nonzero(labels)
    axis = (2.85 * np.cos(np.radians(angle_deg)), 2.85 * np.sin(np.radians(angle_deg)))
    values = image[rows, cols].astype(float)
    (reading,) = read_stacks(values - values.mean(), rows * STEP, cols * STEP, np.array([axis]))
    return reading


def test_perfect_words_are_told_apart() -> None:
    wurtzite, cubic = reading_of("ABABABABABABA"), reading_of("ABCABCABCABCA")
    assert wurtzite.perfect_h > 0.7 > 0.3 > wurtzite.perfect_c
    assert cubic.perfect_c > 0.7 > 0.3 > cubic.perfect_h
    assert wurtzite.turn_mean > 0.7
    assert cubic.turn_mean < -0.2


@pytest.mark.parametrize(
    ("stack", "kind"),
    [
        ("ABABABCBCBCBC", "I1"),
        ("ABABABCACACAC", "I2"),
        ("ABABABCABABAB", "E"),
        ("ABCABCBACBACB", "twin"),
        ("ABCABCBCABCAB", "intrinsic"),
        ("ABCABCBABCABC", "extrinsic"),
    ],
)
@pytest.mark.parametrize("angle", [0.0, 33.0, 120.0])
def test_every_fault_is_named_and_placed(stack: str, kind: str, angle: float) -> None:
    reading = reading_of(stack, angle)
    assert reading.kind == kind
    assert reading.significance > 15
    assert reading.gain > 0.1
    assert 4 <= reading.place <= 9


def test_faultless_stacks_gain_little() -> None:
    for stack in ("ABABABABABABA", "ABCABCABCABCA"):
        assert reading_of(stack).significance < 12


def test_the_words_of_a_length_are_all_there() -> None:
    found = words(10)
    assert (found.kind == "").sum() == 4  # two bases, two hands
    assert (found.kind == "I1").sum() == 2 * 8
    np.testing.assert_allclose(np.abs(found.phases), 1)


def test_too_few_layers_are_not_read() -> None:
    image, labels = lattice("ABA")
    rows, cols = np.nonzero(labels)
    assert read_stacks(image[rows, cols], rows * STEP, cols * STEP, np.array([(2.85, 0.0)])) == []


def features_of(image: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    (measured,) = measure(standardise(image, Preprocessing()), labels, STEP)
    return measured.values


def test_features_ignore_gain_and_offset() -> None:
    image, labels = lattice("ABABABCBCBCBC")
    a, b = features_of(image, labels), features_of(37 * image + 900, labels)
    for name in a:
        assert a[name] == pytest.approx(b[name], abs=0.05, rel=0.05), name


def test_features_ignore_the_crops_size() -> None:
    """The same particle in a larger frame of the same noise: what is far away must not matter."""
    image, labels = lattice("ABABABCBCBCBC", size=200)
    rng = np.random.default_rng(7)
    wide = 0.3 * rng.standard_normal((420, 420)).astype(np.float32)
    wide[110:310, 110:310] = image
    wide_labels = np.zeros((420, 420), np.int32)
    wide_labels[110:310, 110:310] = labels
    preprocessing = Preprocessing(surface_order=0, noise_order=0)
    (a,) = measure(standardise(image, preprocessing), labels, STEP)
    (b,) = measure(standardise(wide, preprocessing), wide_labels, STEP)
    for name in a.values:
        if name.startswith(("first_perfect", "first_faulted", "first_turn", "uneven", "sobel_mean")):
            assert a.values[name] == pytest.approx(b.values[name], abs=0.15, rel=0.1), name
        else:  # these stand over the background, whose estimate has its own noise
            assert a.values[name] == pytest.approx(b.values[name], abs=0.5, rel=0.15), name


def test_features_ignore_the_orientation() -> None:
    for angle in (25.0, 90.0, 145.0):
        a = features_of(*lattice("ABABABCBCBCBC", 0.0))
        b = features_of(*lattice("ABABABCBCBCBC", angle))
        for name in ("first_perfect_h", "first_faulted", "first_gain", "ring_2.5", "sobel_mean"):
            assert a[name] == pytest.approx(b[name], abs=0.2), (angle, name)


def test_a_frame_without_regions_has_no_features() -> None:
    assert measure(np.zeros((64, 64), np.float32), np.zeros((64, 64), np.int32), STEP) == []


def test_a_huge_crescent_is_measured_where_it_is() -> None:
    """A region larger than the transform whose middle is not its own still gives finite features."""
    r, c = np.mgrid[:700, :700]
    ring = (np.hypot(r - 350, c - 350) < 330) & (np.hypot(r - 350, c - 350) > 300) & (c < 350)
    image = np.random.default_rng(0).standard_normal((700, 700)).astype(np.float32)
    (measured,) = measure(image, ring.astype(np.int32), STEP)
    assert all(np.isfinite(value) for value in measured.values.values())


@pytest.mark.parametrize("layers", [5, 9, 16])
def test_every_word_is_fitted_by_least_squares(layers: int) -> None:
    """The share that each explains at each ramp, against a plain solution of its regressors."""
    rng = np.random.default_rng(layers)
    pixels = rng.integers(20, 200, (layers, 2)).astype(float)
    samples = rng.standard_normal((layers, 2)) + 1j * rng.standard_normal((layers, 2))
    candidates = words(layers)
    fits = fit_words(samples, pixels, candidates)
    share = fits.share
    assert share.shape == (len(RAMPS), len(candidates.kind))
    assert (fits.explained == share.max(axis=0)).all()
    assert fits.ramps(fits.faulted) == RAMPS[share[:, fits.faulted].argmax()]
    together = fit_words(np.stack([samples[::-1], samples]), np.stack([pixels[::-1], pixels]), candidates)
    np.testing.assert_allclose(together.share[1], share, rtol=1e-5)
    assert together.faulted[1] == fits.faulted
    for word in range(0, len(candidates.kind), 7):
        told = np.concatenate([[0], candidates.phases[word], [0]])
        design = np.zeros((layers, 2, 5), complex)
        design[:, 0, :3] = np.stack([told[1:-1], told[:-2], told[2:]], axis=1)
        design[:, 1, 3:] = np.stack([told[1:-1], told[2:]], axis=1)
        design *= np.sqrt(pixels)[..., None]
        for a in (0, 4, 7):
            turned = samples * np.exp(-2j * np.pi * RAMPS[a] * np.arange(layers))[:, None]
            fitted = design.reshape(-1, 5) @ np.linalg.lstsq(design.reshape(-1, 5), turned.ravel())[0]
            energy = np.sum(np.abs(fitted) ** 2) / np.sum(np.abs(samples) ** 2)
            assert share[a, word] == pytest.approx(energy, abs=1e-4), (candidates.kind[word], a)


@pytest.mark.parametrize(
    ("stack", "angle", "noise"),
    [("ABABABCBCBCBC", 17.0, 0.6), ("ABCABCABCABC", 101.0, 1.2), ("ABABABA", 64.0, 2.5)],
)
def test_features_are_those_that_the_shipped_forest_learnt(stack: str, angle: float, noise: float) -> None:
    """Kept values: a forest must be refitted where they change. Computed in double precision, pixel by pixel."""
    kept = json.loads(Path(__file__).with_name("measured.json").read_text())[stack]
    found = features_of(*lattice(stack, angle, noise, seed=4))
    assert list(found) == list(kept)
    for name, value in kept.items():
        assert found[name] == pytest.approx(value, rel=2e-3, abs=2e-3), name


def test_several_regions_are_read_further_together_as_they_would_be_one_by_one() -> None:
    stacks = [("ABCABCABCABC", 0.0), ("ABABABABCBCB", 30.0), ("ABABABABABAB", 70.0)]
    drawn = [lattice(stack, angle, seed=n) for n, (stack, angle) in enumerate(stacks)]
    image = standardise(np.hstack([image for image, _ in drawn]), Preprocessing())
    labels = np.hstack([(n + 1) * mask for n, (_, mask) in enumerate(drawn)]).astype(np.int32)
    alone, together = ([one.stacks for one in measure(image, labels, STEP)] for _ in range(2))
    read_further(together)
    assert len(together) == 3
    for one, other in zip(alone, together, strict=True):
        assert other.tried == COUNTED
        assert "readings" in vars(other)
        assert len(one.readings) == len(other.readings) > COUNTED
        for expected, found in zip(one.readings, other.readings, strict=True):
            assert (found.word, found.axis_rc) == (expected.word, expected.axis_rc)
            assert found.significance == pytest.approx(expected.significance, rel=1e-5, abs=1e-6)
