"""The template of a close packing finds the stacking axis, and carbon's speckle has none."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy import ndimage

from models.features.axes import (
    ANGLES,
    APART,
    HEIGHTS,
    MOST,
    OTHER_ZONES,
    ROW_COUNTS,
    other_zones,
    refine,
    smoothed,
    stacking_axes,
    templates,
)
from models.features.layers import LATERAL_RATIO
from models.features.spectrum import TRANSFORM, Spectrum, bins, by_bins

PIXEL = 0.05
STEP, REACH = 1 / (TRANSFORM * PIXEL), bins(PIXEL).reach
CDSE, GOLD = 2.85, 4.247


class Axis(NamedTuple):
    """As `stacking_axes` has it."""

    row: float
    col: float
    score: float
    layers: float
    top: float


def spectrum(points: list[tuple[float, float]], seed: int = 0) -> np.ndarray:
    """Smoothed half plane of power over the background's: noise, and spots ± at given places (row, column) [nm⁻¹]."""
    ratio = np.random.default_rng(seed).exponential(1.0, (REACH + 1, 2 * REACH + 1))
    rows, cols = (np.mgrid[: REACH + 1, -REACH : REACH + 1]) * STEP
    for r, c in points:
        for sign in (1, -1):
            ratio += 60 * np.exp(-((rows - sign * r) ** 2 + (cols - sign * c) ** 2) / (2 * 0.15**2))
    ratio[0] = (ratio[0] + ratio[0, ::-1]) / 2  # this row holds both halves
    return smoothed(ratio.astype(np.float32))


def axes_in(smooth: np.ndarray, frequencies: tuple[float, ...]) -> list[Axis]:
    (found,) = stacking_axes(by_bins(smooth[None]), templates(frequencies, STEP, REACH)).tolist()
    return [Axis(*axis) for axis in found]


def zones_in(smooth: np.ndarray, frequencies: tuple[float, ...] = (CDSE,)) -> dict[str, float]:
    (found,) = other_zones(by_bins(smooth[None]), templates(frequencies, STEP, REACH)).tolist()
    return dict(zip(OTHER_ZONES, found, strict=True))


def stack_of(layer: float, angle_deg: float, heights: tuple[float, ...]) -> list[tuple[float, float]]:
    """The layers' reflection and a row beside it, turned by an angle."""
    angle = np.radians(angle_deg)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    points = [layer * along] + [layer * (h * along + LATERAL_RATIO * across) for h in heights]
    return [(float(r), float(c)) for r, c in points]


@pytest.mark.parametrize("angle", [0.0, 37.0, 90.0, 151.0])
@pytest.mark.parametrize(
    ("layer", "heights"),
    [(CDSE, (0, 0.5, -0.5, 1, -1)), (GOLD, (1 / 3, -2 / 3)), (GOLD * 1.03, (1 / 3, -2 / 3))],
)
def test_the_axis_of_a_stack_comes_first(layer: float, heights: tuple[float, ...], angle: float) -> None:
    found = axes_in(spectrum(stack_of(layer, angle, heights)), (CDSE, GOLD))
    # In a cubic lattice, whose row is also another {111}, the second may be that one: both are stacks.
    turned = [abs(np.degrees(np.arctan2(a.col, a.row)) - angle) % 180 for a in found[:2]]
    assert min(min(t, 180 - t) for t in turned) < 3
    assert np.hypot(found[0].row, found[0].col) == pytest.approx(layer, rel=0.04)


def test_strong_spots_alone_are_outdone_by_a_row() -> None:
    """Two bright spots of another zone at the layers' frequency, and a stack whose own reflection is weaker."""
    other = [(0.0, CDSE), (0.0, CDSE)]
    ratio = spectrum([*other, *stack_of(CDSE, 50.0, (0, 0.5, -0.5, 1, -1))])
    first = axes_in(ratio, (CDSE,))[0]
    assert np.degrees(np.arctan2(first.col, first.row)) == pytest.approx(50, abs=3)


def test_noise_scores_less_than_any_stack_and_axes_are_apart() -> None:
    noise = axes_in(spectrum([]), (CDSE, GOLD))
    stack = axes_in(spectrum(stack_of(CDSE, 20.0, (0, 0.5, -0.5))), (CDSE, GOLD))
    assert stack[0].score > noise[0].score + 0.3
    assert len(noise) == MOST
    angles = [np.arctan2(a.col, a.row) for a in noise]
    for i, one in enumerate(angles):
        for other in angles[:i]:
            assert abs((one - other + np.pi / 2) % np.pi - np.pi / 2) >= APART - 1e-6
    assert [a.score for a in noise] == sorted((a.score for a in noise), reverse=True)


@pytest.mark.parametrize("zone", OTHER_ZONES)
@pytest.mark.parametrize("angle", [0.0, 53.0])
def test_a_zone_is_known_by_its_spots(zone: str, angle: float) -> None:
    spots = OTHER_ZONES[zone]
    turned = [(CDSE * k, np.radians(a + angle)) for k, a in spots]
    found = zones_in(spectrum([(k * np.cos(a), k * np.sin(a)) for k, a in turned]))
    assert (
        max(found, key=found.__getitem__) == zone or zone == "112"
    )  # two of its spots can be another zone's
    assert found[zone] > 2
    lacking = zones_in(spectrum([(k * np.cos(a), k * np.sin(a)) for k, a in turned[1:]]))
    assert lacking[zone] < found[zone] - 0.5


def test_the_spots_lie_where_the_crystals_have_them() -> None:
    """Gold, a = 0.4078 nm: |200| = 2 / a, |220| = 2√2 / a, of layers √3 / a; wurtzite's {10-10} = 2 / (√3 a)."""
    layers = np.sqrt(3) / 0.4078
    assert [k * layers for k, _ in OTHER_ZONES["100"]] == pytest.approx(
        [4.904, 4.904, 6.936, 6.936], abs=1e-3
    )
    assert OTHER_ZONES["111"][0][0] * layers == pytest.approx(6.936, abs=1e-3)
    ideal = 0.4299 * np.sqrt(2 / 3)  # distance of the layers in an ideal close packing of this net
    assert OTHER_ZONES["0001"][0][0] / ideal == pytest.approx(2 / (np.sqrt(3) * 0.4299))


def read_at(smooth: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """A half plane read at places [nm⁻¹] as the definition has it: bilinear, in the whole plane."""
    centre = TRANSFORM // 2
    plane = Spectrum(smooth, smooth, []).plane()
    return ndimage.map_coordinates(plane, [rows / STEP + centre, cols / STEP + centre], order=1)


def test_templates_are_read_as_they_are_defined() -> None:
    """The best score of all directions and frequencies, and the best of every zone, place by place."""
    smooth = spectrum(stack_of(CDSE, 37.0, (0, 0.5, -0.5)))
    known = templates((CDSE, GOLD), STEP, REACH)
    f, angle = known.tried[:, None, None], ANGLES[None, :, None]
    along, across = np.array([1.0, *HEIGHTS]), np.array([0.0, *[LATERAL_RATIO] * len(HEIGHTS)])
    rows = f * (along * np.cos(angle) - across * np.sin(angle))
    cols = f * (along * np.sin(angle) + across * np.cos(angle))
    power = read_at(smooth, rows, cols)
    score = (power[..., 0] + ROW_COUNTS * power[..., 1:].mean(axis=-1)) / (1 + ROW_COUNTS)
    first = axes_in(smooth, (CDSE, GOLD))[0]
    i, j = np.unravel_index(score.argmax(), score.shape)
    assert first.score == pytest.approx(score.max(), rel=1e-5)
    assert (first.row, first.col) == pytest.approx((rows[i, j, 0], cols[i, j, 0]))
    assert first.layers == pytest.approx(power[i, j, 0], rel=1e-5)
    assert first.top == pytest.approx(np.sort(power[i, j, 1:])[-3:].mean(), rel=1e-5)
    for name, found in zones_in(smooth, (CDSE, GOLD)).items():
        spots = np.array(OTHER_ZONES[name])
        turned = angle + np.radians(spots[:, 1])
        here = read_at(smooth, f * spots[:, 0] * np.cos(turned), f * spots[:, 0] * np.sin(turned))
        assert found == pytest.approx(here.min(axis=-1).max(), rel=1e-5)


def test_a_reflection_is_placed_between_the_bins() -> None:
    """Two waves whose places are known, started from the nearest bins; 80 pixels are a fifth of a bin each way."""
    rows, cols = np.mgrid[:80, :96] * PIXEL
    true = np.array([(2.871, 0.333), (-1.218, 3.107)])
    picture = sum(np.cos(2 * np.pi * (r * rows + c * cols)) for r, c in true).astype(np.float32)
    found = refine(picture, PIXEL, np.round(true / STEP) * STEP)
    np.testing.assert_allclose(found, true, atol=0.01)
    assert refine(picture, PIXEL, np.zeros((0, 2))).shape == (0, 2)


def test_regions_are_looked_at_alike_alone_and_together() -> None:
    """Axes, zones and refined places of several regions in one call are those of each alone."""
    planes = np.stack([spectrum(stack_of(CDSE, angle, (0, 0.5, -0.5)), seed=int(angle)) for angle in (9, 80)])
    known = templates((CDSE, GOLD), STEP, REACH)
    pictures = np.random.default_rng(0).standard_normal((2, 60, 72)).astype(np.float32)
    axes = stacking_axes(by_bins(planes), known)
    zones, places = other_zones(by_bins(planes), known), refine(pictures, PIXEL, axes[:, :, :2])
    for i in range(2):
        alone = by_bins(planes[i : i + 1])
        np.testing.assert_allclose(axes[i], stacking_axes(alone, known)[0], rtol=1e-5)
        np.testing.assert_allclose(zones[i], other_zones(alone, known)[0], rtol=1e-5)
        np.testing.assert_allclose(places[i], refine(pictures[i], PIXEL, axes[i, :, :2]), rtol=1e-5)
