"""Axes, lines and texts of the plots."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from dashboard.report.svg import Plot, share, thinned, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (1, 40, [10, 20, 30, 40]), (-3, 3, [-3, -2, -1, 0, 1, 2, 3]),
        (5, 5, [5]), (0, float("inf"), [0]), (1e-6, 3e-6, [1e-6, 1.5e-6, 2e-6, 2.5e-6, 3e-6]),
    ],
)  # fmt: skip
def test_ticks_are_round_and_within(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_never_more_steps_than_asked():
    rng = np.random.default_rng(1)
    for _ in range(200):
        low, span = rng.normal(0, 100), 10 ** rng.uniform(-6, 6)
        found = ticks(low, low + span, 5)
        assert len(found) <= 6
        assert all(low - 1e-9 * span <= value <= low + span * (1 + 1e-9) for value in found)


def test_a_line_is_broken_where_nothing_is_known_and_stays_in_the_frame():
    plot = Plot(200, 100, (0, 4), (0, 1), about="x")
    plot.line([0, 1, 2, 3, 4], [0.5, np.nan, 9.0, 0.2, np.nan], "#000")
    root = ElementTree.fromstring(plot.svg())
    names = [child.tag.split("}")[1] for child in root]
    assert names == ["circle", "polyline"]
    points = [tuple(map(float, pair.split(","))) for pair in root[1].get("points").split()]
    assert points[0] == (plot.x(2), plot.top)  # 9 lies above the frame
    assert points[1] == pytest.approx((plot.x(3), plot.y(0.2)), abs=0.05)


def test_words_are_escaped():
    plot = Plot(200, 100, (0, 1), (0, 1), about='"><script>')
    plot.text(1, 1, "<b>&")
    plot.axes('"<x>', "<y>", y_format=share)
    svg = plot.svg()
    assert "<script>" not in svg
    assert "<b>" not in svg
    assert ElementTree.fromstring(svg).get("aria-label") == '"><script>'


def test_a_series_is_thinned_to_its_extremes_and_medians():
    values = np.arange(1000.0)
    values[500:510] = np.nan
    values[3] = 5000
    place, least, middle, most = thinned(values, 100)
    assert len(place) == 100
    assert most[0] == 5000
    assert (least[0], middle[0]) == (0, 5.5)
    assert np.isnan(middle[50])
    assert place[1] == 14.5
    assert all(len(part) == 0 for part in thinned(np.empty(0)))
