"""Signatures and shifts, on textures whose shift is known."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from monitor.tracking.registration import Correlation
from monitor.tracking.signature import LARGEST_SIDE, Signature, from_png, signature, to_png

PIXEL_NM = 0.05
Frame = npt.NDArray[np.float32]


def texture(seed: int, side: int = 1400) -> Frame:
    """Amorphous film: noise of a grain of 0.2 nm."""
    noise = np.random.default_rng(seed).standard_normal((side, side)).astype(np.float32)
    grain = cv2.GaussianBlur(noise, (0, 0), 4.0)
    return grain / grain.std()


def cut(film: Frame, row: int, col: int, noise: int, side: int = 512) -> Frame:
    """A frame of the film, with shot noise twice as strong as its contrast."""
    shot = np.random.default_rng(noise).standard_normal((side, side)).astype(np.float32)
    return film[row : row + side, col : col + side] + 2 * shot


@pytest.mark.parametrize(("rows", "cols"), [(0, 0), (7, -13), (170, 60), (-200, 250), (300, -120)])
def test_the_shift_is_found_to_a_tenth_of_a_nanometre(rows: int, cols: int) -> None:
    film = texture(0)
    a, b = cut(film, 400, 400, 1), cut(film, 400 + rows, 400 + cols, 2)
    best = Correlation(signature(a, PIXEL_NM), signature(b, PIXEL_NM)).peaks(1)[0]
    assert (best.rows_nm, best.cols_nm) == pytest.approx((rows * PIXEL_NM, cols * PIXEL_NM), abs=0.1)
    assert best.z > (12 if abs(rows) + abs(cols) < 300 else 7)


def test_frames_of_different_film_do_not_correlate() -> None:
    heights = [
        Correlation(
            signature(cut(texture(2 * k), 100, 100, k), PIXEL_NM),
            signature(cut(texture(2 * k + 1), 100, 100, k + 9), PIXEL_NM),
        )
        .peaks(1)[0]
        .z
        for k in range(4)
    ]
    assert max(heights) < 8


def test_a_lattice_does_not_align_a_frame_a_period_away() -> None:
    rows = np.arange(512, dtype=np.float32)
    fringes = np.zeros((512, 512), np.float32)
    fringes[150:350, 150:350] = 4 * np.sin(2 * np.pi * rows[150:350] * PIXEL_NM / 0.35)[:, None]
    film = texture(3)
    a = cut(film, 400, 400, 1) + fringes
    # Drifted by two and a half periods, the particle with the film.
    moved = np.roll(fringes, -17, axis=0)
    b = cut(film, 417, 400, 2) + moved
    best = Correlation(signature(a, PIXEL_NM), signature(b, PIXEL_NM)).peaks(1)[0]
    assert (best.rows_nm, best.cols_nm) == pytest.approx((0.85, 0.0), abs=0.1)


def test_near_looks_only_near() -> None:
    film = texture(4)
    a, b = cut(film, 400, 400, 1), cut(film, 460, 440, 2)
    correlation = Correlation(signature(a, PIXEL_NM), signature(b, PIXEL_NM))
    found = correlation.near(3.2, 1.9, 0.5)
    assert found is not None
    assert (found.rows_nm, found.cols_nm) == pytest.approx((3.0, 2.0), abs=0.1)
    elsewhere = correlation.near(-5.0, 0.0, 0.5)
    assert elsewhere is not None
    assert elsewhere.z < 5 < found.z
    assert correlation.near(100.0, 0.0, 0.5) is None


def test_two_magnifications_are_compared_at_the_coarser() -> None:
    film = texture(5)
    a = cut(film, 300, 300, 1, side=800)
    b = cv2.resize(cut(film, 340, 320, 2, side=400), (800, 800), interpolation=cv2.INTER_CUBIC)
    best = Correlation(signature(a, PIXEL_NM), signature(b, PIXEL_NM / 2)).peaks(1)[0]
    assert (best.rows_nm, best.cols_nm) == pytest.approx((2.0, 1.0), abs=0.1)
    assert best.z > 10


def test_a_signature_is_small_and_comes_back_from_its_bytes() -> None:
    given = signature(cut(texture(6, 5000), 0, 0, 1, side=4096).astype(np.float64), PIXEL_NM)
    assert max(given.image.shape) <= LARGEST_SIDE
    assert abs(float(given.image.mean())) < 1e-3
    data = to_png(given)
    assert len(data) < 70_000
    back = from_png(data, 4096 * PIXEL_NM)
    assert back is not None
    assert back.step_nm == pytest.approx(given.step_nm, rel=0.01)
    assert np.corrcoef(back.image.ravel(), given.image.ravel())[0, 1] > 0.98
    assert from_png(b"no picture", 10.0) is None


def test_gain_offset_and_type_do_not_matter() -> None:
    frame = cut(texture(7), 0, 0, 1)
    counts = np.rint(100 + 20 * frame).clip(0).astype(np.uint16)
    a, b = signature(frame, PIXEL_NM), signature(counts, PIXEL_NM)
    assert np.corrcoef(a.image.ravel(), b.image.ravel())[0, 1] > 0.99


def test_a_blank_frame_has_a_signature_that_says_nothing() -> None:
    blank = signature(np.full((256, 256), 7, np.uint16), PIXEL_NM)
    assert not blank.image.any()
    other = signature(cut(texture(8), 0, 0, 1, side=256), PIXEL_NM)
    assert all(shift.z < 8 for shift in Correlation(blank, other).peaks(2))
    assert isinstance(blank, Signature)
