"""The template of a close packing finds the stacking axis, and carbon's speckle has none."""

import numpy as np
import pytest

from models.features.axes import APART, MOST, OTHER_ZONES, other_zones, smoothed, stacking_axes
from models.features.stack import LATERAL_RATIO

BINS, STEP = 256, 0.078
CDSE, GOLD = 2.85, 4.247


def spectrum(points: list[tuple[float, float]], seed: int = 0) -> np.ndarray:
    """Smoothed power over the background's (256, 256): noise, and spots ± at the given places (row, column) [nm⁻¹]."""
    ratio = np.random.default_rng(seed).exponential(1.0, (BINS, BINS))
    rows, cols = (np.mgrid[:BINS, :BINS] - BINS // 2) * STEP
    for r, c in points:
        for sign in (1, -1):
            ratio += 60 * np.exp(-((rows - sign * r) ** 2 + (cols - sign * c) ** 2) / (2 * 0.15**2))
    return smoothed(ratio)


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
    found = stacking_axes(spectrum(stack_of(layer, angle, heights)), STEP, [CDSE, GOLD])
    # In a cubic lattice, whose row is also another {111}, the second may be that one: both are stacks.
    turned = [abs(np.degrees(np.arctan2(a.col, a.row)) - angle) % 180 for a in found[:2]]
    assert min(min(t, 180 - t) for t in turned) < 3
    assert np.hypot(found[0].row, found[0].col) == pytest.approx(layer, rel=0.04)


def test_strong_spots_alone_are_outdone_by_a_row() -> None:
    """Two bright spots of another zone at the layers' frequency, and a stack whose own reflection is weaker."""
    other = [(0.0, CDSE), (0.0, CDSE)]
    ratio = spectrum([*other, *stack_of(CDSE, 50.0, (0, 0.5, -0.5, 1, -1))])
    first = stacking_axes(ratio, STEP, [CDSE])[0]
    assert np.degrees(np.arctan2(first.col, first.row)) == pytest.approx(50, abs=3)


def test_noise_scores_less_than_any_stack_and_axes_are_apart() -> None:
    noise = stacking_axes(spectrum([]), STEP, [CDSE, GOLD])
    stack = stacking_axes(spectrum(stack_of(CDSE, 20.0, (0, 0.5, -0.5))), STEP, [CDSE, GOLD])
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
    found = other_zones(spectrum([(k * np.cos(a), k * np.sin(a)) for k, a in turned]), STEP, [CDSE])
    assert (
        max(found, key=found.__getitem__) == zone or zone == "112"
    )  # two of its spots can be another zone's
    assert found[zone] > 2
    lacking = other_zones(spectrum([(k * np.cos(a), k * np.sin(a)) for k, a in turned[1:]]), STEP, [CDSE])
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
