"""The half plane of a spectrum holds what a plain transform of the whole plane gives."""

import numpy as np
import pytest
from scipy import ndimage

from models.features.spectrum import (
    APART_BINS,
    PEAKS,
    RINGS,
    TILE,
    TRANSFORM,
    Spectrum,
    background_profile,
    bins,
    ring_features,
    ring_sums,
    spectrum_of,
)

PIXEL = 0.05
CENTRE = TRANSFORM // 2


@pytest.fixture(scope="module", params=[(70, 93), (71, 92), (256, 101)])
def crop(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Fringes in noise under a window, on sides that differ, even and odd: (h, w) detail and window."""
    rows, cols = np.mgrid[: request.param[0], : request.param[1]] * PIXEL
    soft = np.exp(-(((rows - 1.7) / 1.2) ** 2) - ((cols - 2.3) / 1.6) ** 2).astype(np.float32)
    fringes = np.cos(2 * np.pi * (2.6 * rows + 1.1 * cols)) + np.cos(2 * np.pi * (0.4 * rows - 3.9 * cols))
    noise = np.random.default_rng(0).standard_normal(rows.shape)
    return ((fringes + noise) * soft).astype(np.float32), soft


@pytest.fixture(scope="module")
def background() -> np.ndarray:
    return np.linspace(2.0, 0.3, len(RINGS) - 1)


def plain(crop: tuple[np.ndarray, np.ndarray], background: np.ndarray) -> tuple[np.ndarray, ...]:
    """Power, power over the background's, |k| and ring of every bin of the whole plane, zero in the middle."""
    detail, soft = crop
    power = np.abs(np.fft.fftshift(np.fft.fft2(detail.astype(float), (TRANSFORM, TRANSFORM)))) ** 2
    power /= (soft.astype(float) ** 2).sum()
    k = np.fft.fftshift(np.fft.fftfreq(TRANSFORM, PIXEL))
    radius = np.hypot(k[:, None], k[None])
    ring = np.digitize(radius, RINGS) - 1
    inside = (ring >= 0) & (ring < len(background))
    return power, np.where(inside, power / background[ring.clip(0, len(background) - 1)], 0), radius, ring


def found_in(crop: tuple[np.ndarray, np.ndarray], background: np.ndarray) -> Spectrum:
    return spectrum_of(*crop, bins(PIXEL).over(background), PIXEL)


def test_power_and_ratio_are_those_of_the_whole_plane(crop, background) -> None:
    found, reach = found_in(crop, background), bins(PIXEL).reach
    power, ratio, *_ = plain(crop, background)
    here = (slice(CENTRE, CENTRE + reach + 1), slice(CENTRE - reach, CENTRE + reach + 1))
    np.testing.assert_allclose(found.power, power[here], rtol=1e-4, atol=1e-5 * power.max())
    np.testing.assert_allclose(found.plane(), ratio, rtol=1e-4, atol=1e-5 * ratio.max())


def test_rings_are_summed_over_the_whole_plane(crop, background) -> None:
    power, _, _, ring = plain(crop, background)
    sums = ring_sums(found_in(crop, background).power[None], bins(PIXEL))
    found = {name: float(value[0]) for name, value in ring_features(sums, background).items()}
    for i in range(len(background)):
        mean = power[ring == i].mean()
        assert found[f"ring_{RINGS[i]:.1f}"] == pytest.approx(np.log(mean / background[i]), abs=1e-4)
        if 2 <= i < len(background) - 2:
            uneven = (power[ring == i] ** 2).mean() / (2 * mean**2)
            assert found[f"uneven_{RINGS[i]:.1f}"] == pytest.approx(np.log(uneven), abs=1e-4)


def test_peaks_are_the_largest_of_the_whole_blurred_plane(crop, background) -> None:
    _, ratio, radius, _ = plain(crop, background)
    smooth = ndimage.gaussian_filter(ratio, 1.0, truncate=4.0)
    top = smooth == ndimage.maximum_filter(smooth, 2 * APART_BINS + 1)
    rows, cols = np.nonzero(top & (radius > 1.5) & (radius < 7.5))
    upper = (rows > CENTRE) | ((rows == CENTRE) & (cols > CENTRE))
    rows, cols = rows[upper], cols[upper]
    order = np.argsort(-smooth[rows, cols])[:PEAKS]
    found = found_in(crop, background).peaks
    assert [(r, c) for r, c, _, _ in found] == [(rows[i] - CENTRE, cols[i] - CENTRE) for i in order]
    assert [k for *_, k, _ in found] == pytest.approx(radius[rows[order], cols[order]])
    assert [p for *_, p in found] == pytest.approx(smooth[rows[order], cols[order]], rel=1e-3)


@pytest.mark.parametrize("shape", [(320, 257), (64, 130), (40, 90)])
def test_the_background_is_the_median_of_free_tiles(shape: tuple[int, int]) -> None:
    """As the definition has it, tile by tile; of a frame smaller than a tile, a tile filled up with zeros."""
    rng = np.random.default_rng(2)
    image = rng.standard_normal(shape).astype(np.float32)
    labels = np.zeros(shape, np.int32)
    labels[: shape[0] // 3, : shape[1] // 4] = 1
    window = np.outer(np.hanning(TILE), np.hanning(TILE))
    powers = []
    for r in range(0, shape[0] - TILE + 1, TILE):
        for c in range(0, shape[1] - TILE + 1, TILE):
            if not labels[r : r + TILE, c : c + TILE].any():
                tile = image[r : r + TILE, c : c + TILE].astype(float)
                powers.append(np.abs(np.fft.fft2((tile - tile.mean()) * window)) ** 2)
    if not powers:
        tile = np.zeros((TILE, TILE))
        tile[: shape[0], : shape[1]] = image[:TILE, :TILE]
        powers.append(np.abs(np.fft.fft2((tile - tile.mean()) * window)) ** 2)
    power = np.median(powers, axis=0) / (window**2).sum() / np.log(2)
    k = np.fft.fftfreq(TILE, PIXEL)
    ring = np.digitize(np.hypot(k[:, None], k[None]), RINGS) - 1
    expected = [power[ring == i].mean() for i in range(len(RINGS) - 1)]
    np.testing.assert_allclose(background_profile(image, labels, PIXEL), expected, rtol=1e-4)
