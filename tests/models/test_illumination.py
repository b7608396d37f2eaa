"""What is not judged of a frame: shadows and stripes are, dark particles and steps of the film are not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from models.analysis import analyse
from models.bundle import load_bundle
from models.examples.augment import NEGATIVES
from models.illumination import _rough, filled, unjudged
from models.results import Analysis, Particle
from monitor.read.pictures import read_frame
from sim.microscope.library import load_library
from sim.microscope.play import Story, take_frames

Counts = npt.NDArray[np.uint16]
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "segmented" / "heated-particles"
SIDE = 512


@pytest.fixture(scope="module")
def frame() -> Counts:
    """A simulated frame of CdSe on carbon at 0.025 nm/px."""
    (taken,) = take_frames(Story(frames=1, size=SIDE, seed=11), load_library())
    return np.maximum(taken.counts.astype(np.int64) - 100, 0).astype(np.uint16)


def _grid() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    return rows, columns


def _dimmed(frame: Counts, light: npt.NDArray[np.float64]) -> Counts:
    """The frame with less light: fewer electrons, with the shot noise of those (20 counts an electron)."""
    rng = np.random.default_rng(5)
    left = rng.binomial(np.round(frame / 20).astype(np.int64), np.clip(light, 0, 1))
    return np.where(light < 1, left * 20 + rng.normal(5, 3, frame.shape), frame).clip(0).astype(np.uint16)


def dark_band(share: float) -> Callable[[Counts], tuple[Counts, npt.NDArray[np.bool_]]]:
    def change(frame: Counts) -> tuple[Counts, npt.NDArray[np.bool_]]:
        rows, _ = _grid()
        dark = rows < share * SIDE
        return _dimmed(frame, np.where(dark, 0.04, 1.0)), dark

    return change


def beam_edge(frame: Counts) -> tuple[Counts, npt.NDArray[np.bool_]]:
    rows, columns = _grid()
    away = np.hypot(rows - 200, columns - 180) - 300
    return _dimmed(frame, 1 / (1 + np.exp(away / 3)) * 0.999 + 0.0005 + (away < -25)), away > 0


def beam_stop(frame: Counts) -> tuple[Counts, npt.NDArray[np.bool_]]:
    rows, columns = _grid()
    dark = (np.abs(rows - 250) < 35) & (columns < 330)
    return _dimmed(frame, np.where(dark, 0.02, 1.0)), dark


def bright_stripes(frame: Counts) -> tuple[Counts, npt.NDArray[np.bool_]]:
    out, mask = frame.copy(), np.zeros(frame.shape, np.bool_)
    out[-9:], mask[-9:] = frame.max(), True
    out[:, :14], mask[:, :14] = 2 * frame[:, :14], True
    return out, mask


def repeated_lines(frame: Counts) -> tuple[Counts, npt.NDArray[np.bool_]]:
    out, mask = frame.copy(), np.zeros(frame.shape, np.bool_)
    out[:, -20:], mask[:, -20:] = frame[:, -21:-20], True
    return out, mask


CHANGES = {
    "dark band, two fifths": dark_band(0.4),
    "dark band, a tenth": dark_band(0.1),
    "beam edge": beam_edge,
    "beam stop": beam_stop,
    "bright stripes": bright_stripes,
    "repeated lines": repeated_lines,
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_holds_nothing_is_found(kind: str, frame: Counts) -> None:
    changed, truth = CHANGES[kind](frame)
    found = unjudged(changed)
    assert found[truth].mean() > 0.93
    assert found[~truth].mean() < 0.012


def _dark_particles(frame: Counts) -> Counts:
    rows, columns = _grid()
    light = np.ones(frame.shape)
    for row, column, radius in ((0, 100, 90), (300, 511, 70), (400, 150, 60)):
        light[np.hypot(rows - row, columns - column) < radius] = 0.3
    return _dimmed(frame, light)


def _step(frame: Counts) -> Counts:
    rows, columns = _grid()
    return _dimmed(frame, np.where(rows + 0.3 * columns < 250, 0.5, 1.0))


def _slope(frame: Counts) -> Counts:
    return _dimmed(frame, np.linspace(0.3, 0.999, SIDE)[None] * np.ones((SIDE, 1)))


def _scale_bar(frame: Counts) -> Counts:
    out = frame.copy()
    out[470:480, 30:160] = frame.max()
    return out


ORDINARY = {
    "as it is": lambda frame: frame,
    "dark particles": _dark_particles,
    "a step of the film": _step,
    "fading light": _slope,
    "a scale bar": _scale_bar,
    "8 bits": lambda frame: np.clip(frame / frame.mean() * 90, 0, 255).astype(np.uint8),
    "floats about 0": lambda frame: ((frame - frame.mean()) / frame.std()).astype(np.float32),
    "smoothed": lambda frame: cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 2),
    "few electrons": lambda frame: (
        np.random.default_rng(0).poisson(frame / frame.mean() * 0.05).astype(np.uint8)
    ),
    "constant": lambda frame: np.full_like(frame, 7),
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_all_of_an_ordinary_frame_is_judged(kind: str, frame: Counts) -> None:
    assert not unjudged(ORDINARY[kind](frame)).any()


def test_a_frame_without_beam_is_no_shadow_of_itself() -> None:
    dark = np.random.default_rng(0).normal(5, 2, (256, 256)).clip(0).astype(np.uint16)
    assert not unjudged(dark).any()


@pytest.mark.parametrize("number", [20, 43, 50, 52])
def test_nothing_is_found_beside_a_shadow_that_begins_slowly(number: int) -> None:
    """The dark side of a spot of light is not judged, and what is put in there has no seams."""
    kind = list(NEGATIVES).index("ramp")
    spot = NEGATIVES["ramp"](256, np.random.default_rng([4242, kind, number]))
    assert 0.1 < unjudged(spot).mean() < 0.6
    assert analyse(spot, 0.05, load_bundle()).particles == ()


def test_a_shadow_of_one_value_is_found_and_its_noise_is_none() -> None:
    """In frames that are no counts running sums leave something just below 0 where there is no noise."""
    for seed in range(3):
        scaled = 0.37 * np.random.default_rng(seed).poisson(3000, (SIDE, SIDE)).astype(np.float32)
        scaled[300:] = 1.1
        with np.errstate(invalid="raise"):
            found = unjudged(scaled)
        assert found[300:].all()
        assert not found[:300].any()


def test_what_is_put_in_has_the_rest_s_level_and_spread(frame: Counts) -> None:
    changed, truth = CHANGES["dark band, two fifths"](frame)
    done = filled(changed, truth)
    np.testing.assert_array_equal(done[~truth], changed[~truth])
    assert done[truth].mean() == pytest.approx(done[~truth].mean(), rel=0.05)
    assert done[truth].std() == pytest.approx(done[~truth].std(), rel=0.1)
    np.testing.assert_array_equal(done, filled(changed, truth))
    assert filled(changed, np.zeros_like(truth)) is changed


def _outside(result: Analysis, last_row: float) -> list[Particle]:
    return [p for p in result.particles if p.bbox[0] > last_row + 20 and p.particle_class != "empty"]


def _agreed(some: list[Particle], others: list[Particle]) -> int:
    """How many are of the same class within 8 px in both."""
    return sum(
        any(p.particle_class == q.particle_class and math.dist(p.centroid, q.centroid) < 8 for q in others)
        for p in some
    )


def test_nothing_is_counted_in_a_dark_band_and_the_rest_is_as_without_it() -> None:
    bundle = load_bundle(device="cpu")
    (taken,) = take_frames(Story(frames=1, size=1024, seed=4), load_library())
    changed = taken.counts.copy()
    changed[:410] = changed[:410] // 20
    plain, banded = (analyse(image, taken.pixel_size_nm, bundle) for image in (taken.counts, changed))
    assert plain.quality["unjudged_share"] == 0
    assert banded.quality["unjudged_share"] == pytest.approx(0.4, abs=0.01)
    assert all(p.centroid[0] > 405 for p in banded.particles)
    assert banded.labels is not None
    assert not banded.labels[:390].any()
    assert [p.label for p in banded.particles] == list(range(1, len(banded.particles) + 1))
    before, after = _outside(plain, 410), _outside(banded, 410)
    assert len(before) >= 2
    assert len(before) == len(after) == _agreed(before, after)


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="the real frames are not there (../shared/data)")
def test_a_dark_band_on_real_frames() -> None:
    bundle = load_bundle(device="cpu")
    agreed = total = 0
    for path in sorted(DATA.glob("*_image.png"))[:6]:
        image = read_frame(path)
        banded = image.copy()
        banded[:205] //= 20
        plain, found = (analyse(one, 0.05, bundle) for one in (image, banded))
        assert plain.quality["unjudged_share"] == 0
        assert found.quality["unjudged_share"] == pytest.approx(0.4, abs=0.01)
        assert all(p.centroid[0] > 200 for p in found.particles)
        before, after = (_outside(one, 205) for one in (plain, found))
        agreed, total = agreed + _agreed(before, after), total + max(len(before), len(after))
    assert agreed >= 0.9 * total


def test_particles_across_the_border_stay_where_most_of_them_is_judged() -> None:
    from models.illumination import without

    labels = np.zeros((100, 100), np.int32)
    labels[10:40, 10:20], labels[35:60, 40:50] = 1, 2
    mask = np.zeros((100, 100), np.bool_)
    mask[:40] = True

    def particle(label: int, bbox: tuple[int, int, int, int], centroid: tuple[float, float]) -> Particle:
        return Particle(label, "no", (0, 0, 1, 0), False, bbox, centroid, 1.0, 1.0, ())

    found = (particle(1, (10, 10, 40, 20), (24.5, 14.5)), particle(2, (35, 40, 60, 50), (47.0, 44.5)))
    result = Analysis((100, 100), 0.05, found, {}, {}, "b", "none", labels)
    (left,) = without(result, mask).particles
    assert left == replace(found[1], label=1)
    assert without(result, np.zeros_like(mask)) is result


@pytest.mark.parametrize("shape", [(32, 40), (64, 33), (65, 64), (200, 130)])
def test_the_noise_of_a_pixel_is_its_difference_across_rows_and_columns(shape: tuple[int, int]) -> None:
    """The strips in which it is computed leave no seam, and the frame is mirrored about its last row and column."""
    pixels = np.random.default_rng(1).normal(0, 3, shape).astype(np.float32)
    p = np.pad(pixels, ((0, 1), (0, 1)), mode="reflect")
    cross = p[:-1, :-1] - p[1:, :-1] - p[:-1, 1:] + p[1:, 1:]
    np.testing.assert_array_equal(_rough(pixels), cross * cross)
