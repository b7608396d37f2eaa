"""Half layers are summed as the definition has it, along several axes in one call."""

import numpy as np
import pytest

from models.features.layers import BESIDE, FEWEST_LAYERS, LATERAL_RATIO, WIDE, half_layers

STEP = 0.05
AXES = np.array([(2.85, 0.0), (1.9, -2.2), (-0.7, 4.2)])


def region(rows: int, cols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An ellipse of noise on fringes: values, rows and columns [nm] of its pixels."""
    r, c = np.mgrid[:rows, :cols]
    inside = ((r - rows / 2) / (rows / 2)) ** 2 + ((c - cols / 2) / (cols / 2)) ** 2 < 1
    rng = np.random.default_rng(rows)
    values = rng.standard_normal((rows, cols)) + np.cos(2 * np.pi * 2.85 * r * STEP)
    return values[inside].astype(np.float32), r[inside] * STEP, c[inside] * STEP


@pytest.mark.parametrize("shape", [(60, 90), (140, 75)])
def test_sums_are_those_of_the_definition(shape: tuple[int, int]) -> None:
    values, rows, cols = region(*shape)
    for axis, found in zip(AXES, half_layers(values, rows, cols, AXES), strict=True):
        assert found is not None
        length = np.hypot(*axis)
        position = rows * axis[0] + cols * axis[1]
        across = (cols * axis[0] - rows * axis[1]) / length
        origin = np.angle(np.sum(values * np.exp(-2j * np.pi * position))) / (2 * np.pi)
        half = np.floor(2 * (position + origin) + 0.5)
        counts = np.array([(half == n).sum() for n in np.arange(half.min(), half.max() + 1)])
        wide = np.flatnonzero(counts >= WIDE * np.percentile(counts, 90)) + half.min()
        first = wide[0] - wide[0] % 2
        assert found.layers == (wide[-1] + 1 - first) // 2
        assert found.first_nm == pytest.approx((first / 2 - origin) / length, abs=1e-5)
        numbers = first + np.arange(2 * found.layers)
        np.testing.assert_array_equal(found.count, [(half == n).sum() for n in numbers])
        sums = np.array(
            [
                [
                    np.sum((values * np.exp(-2j * np.pi * f * LATERAL_RATIO * length * across))[half == n])
                    for n in numbers
                ]
                for f in (1.0, *BESIDE)
            ]
        )
        np.testing.assert_allclose(found.sums, sums[0], atol=2e-4 * np.abs(sums[0]).max())
        assert found.beside == pytest.approx(np.mean(np.abs(sums[1:]) ** 2 / found.count), rel=1e-3)


def test_axes_are_read_alike_alone_and_together_and_thin_regions_not_at_all() -> None:
    together = half_layers(*region(60, 90), AXES)
    for axis, found in zip(AXES, together, strict=True):
        (alone,) = half_layers(*region(60, 90), axis[None])
        assert alone is not None
        assert found is not None
        np.testing.assert_array_equal(alone.sums, found.sums)
    thin = half_layers(*region(24, 120), np.array([(2.85, 0.0), (0.0, 2.85)]))
    assert thin[0] is None  # 1.2 nm are 3.4 layers
    assert thin[1] is not None
    assert thin[1].layers >= FEWEST_LAYERS


def test_a_gap_in_a_region_holds_zeros() -> None:
    """Of two pieces along the axis, with half layers between them that have no pixel."""
    values, rows, cols = region(60, 60)
    far = rows + 5.0
    (found,) = half_layers(
        np.concatenate([values, values]),
        np.concatenate([rows, far]),
        np.concatenate([cols, cols]),
        np.array([(2.85, 0.0)]),
    )
    assert found is not None
    empty = np.abs(found.sums) == 0
    assert empty.any()
    assert (found.count[empty] == 1).all()  # so that nothing is divided by zero
    apart = np.flatnonzero(empty)
    assert (np.diff(apart) == 1).all()
